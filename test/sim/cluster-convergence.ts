import type { MetadataImage } from '../../src/metadata/metadata-image.ts'
import { type MemberId, nodeIdOf } from '../../src/raft/membership.ts'
import type { ClusterNode, SimBrokerCluster } from '../harness/sim-broker-cluster.ts'
import type { DurableRaft } from '../harness/sim-cluster-disk.ts'

export interface ConvergenceOptions {
  readonly cluster: SimBrokerCluster
  /** Of the quorum as it was committed last. */
  readonly voters: () => readonly MemberId[]
  readonly diskOf: (nodeId: number) => DurableRaft
  readonly areClientsIdle: () => boolean
}

/** What a healed cluster must come to: one leader that all follow (L1, L4), equal metadata, all replicas in sync (L3, L6). */
export class ClusterConvergence {
  readonly #options: ConvergenceOptions

  constructor(options: ConvergenceOptions) {
    this.#options = options
  }

  get leader(): ClusterNode | undefined {
    return this.#options.cluster.running.find(({ node }) => node.quorum?.isLeading)
  }

  /** As the node has it that leads the quorum. */
  get image(): MetadataImage | undefined {
    return this.leader?.node?.quorum?.image
  }

  get draining(): ClusterNode[] {
    const nodes = this.image?.nodes
    return this.#options.cluster.running.filter(({ nodeId }) => nodes?.get(nodeId)?.isDraining)
  }

  allVotersHaveDisks(): boolean {
    const { voters, diskOf } = this.#options
    return voters().every(voter => diskOf(nodeIdOf(voter)).memberId === voter)
  }

  /** Every replica of every partition that has several is in sync, and nobody moves. */
  areReplicasWhole(): boolean {
    for (const topic of this.image?.topics.all() ?? [])
      for (const [, { replicas, isr, reassignment, leader }] of topic.partitions())
        if (replicas.length > 1 && (isr.length < replicas.length || reassignment || leader === null))
          return false
    return true
  }

  /** Partitions that nobody can be elected for, of those that `isGivenUp`. Whoever is in the ELR only has to come back. */
  offline(isGivenUp: (topic: string, partition: number) => boolean): { topic: string; partition: number }[] {
    const found = []
    for (const topic of this.image?.topics.all() ?? [])
      for (const [partition, { leader, isr, elr }] of topic.partitions())
        if (leader === null && isr.length + elr.length === 0 && isGivenUp(topic.name, partition))
          found.push({ topic: topic.name, partition })
    return found
  }

  whyNot(): string | undefined {
    const { cluster, areClientsIdle } = this.#options
    const { members, running } = cluster
    if (running.length < members.length) return 'a node is down'
    const { leader, image } = this
    if (!leader || !image) return 'nobody leads'
    for (const { nodeId, node } of running) {
      const { refusal, quorum } = node.broker
      if (refusal || !quorum) return `node ${nodeId} does not serve: ${refusal?.message}`
      if (quorum.leaderId !== leader.nodeId)
        return `node ${nodeId} follows ${quorum.leaderId}, not ${leader.nodeId}`
      if (image.nodes.get(nodeId)?.isFenced !== false) return `node ${nodeId} is fenced`
      // While clients change things, nobody is ever quite equal; and who leads may be the last to apply.
      const apart = Math.abs(image.appliedEndIndex - quorum.image.appliedEndIndex)
      if (apart > (areClientsIdle() ? 0 : 50)) return `node ${nodeId} has not the metadata of its leader`
    }
    if (!this.allVotersHaveDisks()) return 'a voter has lost its disk, and was not replaced'
    return this.#whyReplicasNot(image)
  }

  #whyReplicasNot(image: MetadataImage): string | undefined {
    for (const topic of image.topics.all())
      for (const [partition, { replicas, isr, elr, leader, reassignment }] of topic.partitions()) {
        const name = `${topic.name}-${partition}`
        // A draining node leads nothing, and enters no ISR, before its next start (C11), which comes.
        const isDraining = (nodeId: number) => image.nodes.get(nodeId)?.isDraining
        const able = [...isr, ...elr]
        if (leader === null && able.length > 0 && able.every(isDraining)) continue
        if (leader === null) return `${name} has no leader`
        const out = replicas.find(nodeId => !isr.includes(nodeId) && !isDraining(nodeId))
        if (out !== undefined) return `node ${out} is not in the ISR ${isr} of ${name}`
        if (reassignment && this.draining.length === 0)
          return `${name} is still moving to ${reassignment.target}`
      }
    return undefined
  }
}
