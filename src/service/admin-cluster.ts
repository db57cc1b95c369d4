import type { NodeId } from '../base/brands.ts'
import { quorumMembers } from '../drivers/controller/quorum-members.ts'
import type { NodeImage } from '../metadata/node-image.ts'
import { resolveTopicSettings } from '../metadata/topic-settings.ts'
import type {
  DescribeClusterResponse,
  ListNodesRequest,
  ListNodesResponse,
  NodeDescription,
  NodeState,
  TopicPartition,
} from '../wire/messages.ts'
import { clusterFacts } from './metadata-views.ts'
import { pageOf } from './pages.ts'
import type { ServiceNode } from './service-node.ts'

const UNHEALTHY_MAX = 100

/** The calls of naru.v1.Admin that show the cluster. */
export class AdminCluster {
  readonly #node: ServiceNode

  constructor(node: ServiceNode) {
    this.#node = node
  }

  describe(): DescribeClusterResponse {
    const { image } = this.#node.controller
    const health = this.#health()
    return {
      ...clusterFacts(this.#node),
      featureLevel: image.featureLevel,
      nodes: this.#describeNodes(image.nodes.all(), health.replicas),
      topicCount: image.topics.count,
      partitionCount: image.topics.partitionCount,
      underReplicatedCount: health.underReplicatedCount,
      underMinIsrCount: health.underMinIsr.length,
      offlineCount: health.offline.length,
      reassigningCount: health.reassigningCount,
      unhealthy: health.unhealthy,
    }
  }

  listNodes(request: ListNodesRequest): ListNodesResponse {
    const { image } = this.#node.controller
    const keyOf = (node: NodeImage) => String(node.nodeId).padStart(10, '0')
    const { items, nextPageToken } = pageOf(image.nodes.all(), keyOf, request)
    return { nodes: this.#describeNodes(items, this.#health().replicas), nextPageToken }
  }

  #describeNodes(
    nodes: readonly NodeImage[],
    replicas: ReadonlyMap<NodeId, { replicaCount: number; leaderCount: number }>,
  ): NodeDescription[] {
    const { controller } = this.#node
    const members = quorumMembers(controller)
    return nodes.map(node => {
      const { nodeId, clientAddress, peerAddress, rack, nodeEpoch, directoryId, release, registeredAtMs } =
        node
      const ofNode = members.filter(member => member.nodeId === nodeId)
      const { appliedIndex } = ofNode.find(member => member.appliedIndex !== undefined) ?? {}
      return {
        nodeId,
        address: clientAddress,
        peerAddress,
        rack,
        state: stateOf(node),
        nodeEpoch,
        directoryId,
        version: release,
        voter: ofNode.some(member => member.isVoter),
        controller: nodeId === controller.leaderId,
        replicaCount: replicas.get(nodeId)?.replicaCount ?? 0,
        leaderCount: replicas.get(nodeId)?.leaderCount ?? 0,
        registeredAtMs,
        ...(appliedIndex !== undefined && { appliedIndex }),
      }
    })
  }

  /** One walk over all partitions, however many questions there are about them. */
  #health() {
    const replicas = new Map<NodeId, { replicaCount: number; leaderCount: number }>()
    const offline: TopicPartition[] = []
    const underMinIsr: TopicPartition[] = []
    const underReplicated: TopicPartition[] = []
    const defaults = this.#node.controllerOptions.topicDefaults ?? {}
    let underReplicatedCount = 0
    let reassigningCount = 0
    for (const topic of this.#node.controller.image.topics.all()) {
      const { replicationFactor } = topic
      const minIsr = resolveTopicSettings(topic.settings, { replicationFactor, defaults })[
        'min.insync.replicas'
      ]
      for (const [partition, state] of topic.partitions()) {
        const place = { topic: topic.name, partition }
        if (state.reassignment !== undefined) reassigningCount++
        for (const nodeId of state.replicas) {
          const counts = replicas.get(nodeId) ?? { replicaCount: 0, leaderCount: 0 }
          counts.replicaCount++
          if (state.leader === nodeId) counts.leaderCount++
          replicas.set(nodeId, counts)
        }
        if (state.leader === null || this.#isNotServing(topic.id, partition, state.leader))
          offline.push(place)
        else if (state.isr.length < minIsr) underMinIsr.push(place)
        else if (state.isr.length < state.replicas.length) underReplicated.push(place)
        if (state.isr.length < state.replicas.length) underReplicatedCount++
      }
    }
    const unhealthy = [...offline, ...underMinIsr, ...underReplicated].slice(0, UNHEALTHY_MAX)
    return { replicas, offline, underMinIsr, underReplicatedCount, reassigningCount, unhealthy }
  }

  /** Led here by the metadata, but its log is damaged or offline. */
  #isNotServing(topicId: string, partition: number, leader: NodeId): boolean {
    const { nodeId, replicas } = this.#node
    return leader === nodeId && replicas.leader(topicId, partition) === undefined
  }
}

function stateOf(node: NodeImage): NodeState {
  if (node.isFenced) return 'FENCED'
  return node.isDraining ? 'DRAINING' : 'ACTIVE'
}
