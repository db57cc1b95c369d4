import type { NodeId, PartitionId } from '../base/brands.ts'
import { NaruError } from '../base/errors.ts'
import type { PartitionState } from '../metadata/metadata-record.ts'
import { elect } from '../metadata/partition-election.ts'
import type { PartitionPlace } from '../metadata/reassignment-control.ts'
import { electionFacts, settingsOf } from '../metadata/topic-elections.ts'
import type { TopicView } from '../metadata/topic-image.ts'
import type { ReplicaState } from '../wire/generated/controller.ts'
import { Controller } from '../wire/generated/internal-services.ts'
import { invalidRequest } from './request-checks.ts'
import type { ServiceNode } from './service-node.ts'
import { findTopic } from './topic-lookup.ts'

/** For one node to say what it has; who takes longer counts as down. */
const ANSWER_MS = 2000

/** What is left of a partition that has no leader, and who would lead it. */
export interface Recovery {
  readonly topic: TopicView
  readonly partition: PartitionId
  /** undefined: no replica is alive and undamaged. */
  readonly elected: NodeId | undefined
  /** It has all that was committed. */
  readonly isClean: boolean
  readonly replicas: readonly { readonly nodeId: NodeId; readonly state: ReplicaState | undefined }[]
}

/**
 * Asks the replicas of partitions without a leader what they have, and picks the one with most: the latest epoch of a last
 * record, then the longest log (as Raft compares logs), then the order of preference. A replica that is in sync or
 * eligible has all that was committed and goes first. Who is wanted must not be damaged: it would lead, and answer nothing.
 */
export async function planRecoveries(
  node: ServiceNode,
  places: readonly PartitionPlace[],
  wanted: NodeId | undefined,
): Promise<Recovery[]> {
  const found = places.map(({ topic: name, topicId, partition }) => {
    const topic = findTopic(node, name, topicId)
    const state = topic.partition(partition)
    if (state === undefined) throw invalidRequest(`topic "${name}" has no partition ${partition}`)
    if (state.leader !== null)
      throw invalidRequest(`${name}-${partition} is led by node ${state.leader}: there is nothing to recover`)
    return { topic, partition, state }
  })
  const nodeIds = [...new Set(found.flatMap(({ state }) => state.replicas))]
  const answers = new Map(
    await Promise.all(nodeIds.map(async nodeId => [nodeId, await statesOn(node, nodeId, found)] as const)),
  )
  return found.map(({ topic, partition, state }) => {
    const replicas = state.replicas.map(nodeId => ({
      nodeId,
      state: answers.get(nodeId)?.get(keyOf(topic.id, partition)),
    }))
    return { topic, partition, replicas, ...choose(node, { topic, partition, state, replicas, wanted }) }
  })
}

function choose(
  node: ServiceNode,
  of: {
    topic: TopicView
    partition: PartitionId
    state: PartitionState
    replicas: Recovery['replicas']
    wanted: NodeId | undefined
  },
): { elected: NodeId | undefined; isClean: boolean } {
  const { topic, partition, state, replicas, wanted } = of
  const { controller, controllerOptions } = node
  const facts = electionFacts(controller.image, settingsOf(topic, controllerOptions.topicDefaults))
  const clean = elect(state, { ...facts, isUncleanAllowed: false }).leader
  if (clean !== null) return { elected: clean, isClean: true }
  if (wanted !== undefined) {
    if (replicas.some(({ nodeId, state: has }) => nodeId === wanted && has?.damaged))
      throw invalidRequest(
        `node ${wanted} cannot lead ${topic.name}-${partition}: its copy is damaged (name another replica, or none to take the one that has most)`,
      )
    return { elected: wanted, isClean: false }
  }
  let best: { nodeId: NodeId; state: ReplicaState } | undefined
  for (const { nodeId, state: has } of replicas)
    if (has && !has.damaged && facts.isUp(nodeId) && (!best || hasMore(has, best.state)))
      best = { nodeId, state: has }
  return { elected: best?.nodeId, isClean: false }
}

function hasMore(a: ReplicaState, b: ReplicaState): boolean {
  const byEpoch = (a.lastEpoch ?? -1) - (b.lastEpoch ?? -1)
  return byEpoch > 0 || (byEpoch === 0 && a.logEndOffset > b.logEndOffset)
}

/** What a node has of these partitions; nothing if it does not answer. */
async function statesOn(
  node: ServiceNode,
  nodeId: NodeId,
  partitions: readonly { topic: TopicView; partition: PartitionId; state: PartitionState }[],
): Promise<Map<string, ReplicaState>> {
  const replicas = partitions
    .filter(({ state }) => state.replicas.includes(nodeId))
    .map(({ topic, partition }) => ({ topicId: topic.id, partition }))
  const states = nodeId === node.nodeId ? describeReplicas(node, replicas) : await ask(node, nodeId, replicas)
  return new Map(states.map(state => [keyOf(state.topicId, state.partition), state]))
}

async function ask(
  { cluster }: ServiceNode,
  nodeId: NodeId,
  replicas: readonly { topicId: string; partition: PartitionId }[],
): Promise<readonly ReplicaState[]> {
  const address = cluster?.addressOfNode(nodeId)
  if (cluster === undefined || address === undefined) return []
  const channel = cluster.transport.connect(address, { purpose: 'forward' })
  const { path, request, response } = Controller.describeReplicas
  try {
    const answer = await channel.unary(path, request.encode({ replicas }), { timeoutMs: ANSWER_MS })
    return response.decode(answer).replicas
  } catch (thrown) {
    if (!(thrown instanceof NaruError)) throw thrown
    return []
  } finally {
    channel.close()
  }
}

/** Of those that are open here. */
export function describeReplicas(
  { replicas: hosted }: ServiceNode,
  replicas: readonly { readonly topicId: string; readonly partition: PartitionId }[],
): ReplicaState[] {
  return replicas.flatMap(({ topicId, partition }) => {
    const found = hosted.describe(topicId, partition)
    if (found === undefined) return []
    const { lastEpoch, ...rest } = found
    return [{ topicId, partition, ...rest, ...(lastEpoch !== undefined && { lastEpoch }) }]
  })
}

function keyOf(topicId: string, partition: PartitionId): string {
  return `${topicId} ${partition}`
}
