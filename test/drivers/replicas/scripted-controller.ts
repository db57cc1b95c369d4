import type { PartitionProposal } from '../../../src/drivers/replicas/replication-options.ts'
import { MetadataImage } from '../../../src/metadata/metadata-image.ts'
import type { MetadataRecord, PartitionState } from '../../../src/metadata/metadata-record.ts'
import { isActive } from '../../../src/metadata/node-image.ts'
import { changeRecord, elect, electable, removeFromIsr } from '../../../src/metadata/partition-election.ts'
import { advanceReassignment } from '../../../src/metadata/partition-reassignment.ts'
import { settingsOf } from '../../../src/metadata/topic-elections.ts'
import type { ProposalAnswer } from '../../../src/replication/in-sync-replicas.ts'

export const TOPIC_ID = 'AAAAAAAAAAAAAAAAAAAAAA'

/** Entries of the metadata log, committed at once; who applies them when is the test's matter. */
export class ScriptedController {
  readonly image = new MetadataImage()
  readonly entries: { records: readonly MetadataRecord[]; endIndex: number }[] = []
  /** Called after each entry. */
  onCommit: () => void = () => {}

  constructor() {
    this.commit([
      { type: 'featureLevel', version: 0, level: 1 },
      { type: 'cluster', version: 0, clusterId: 'cluster' },
    ])
  }

  commit(records: readonly MetadataRecord[]): void {
    if (records.length === 0) return
    const entry = { records, endIndex: this.image.appliedEndIndex + 1 }
    this.image.apply(entry)
    this.entries.push(entry)
    this.onCommit()
  }

  partition(partition = 0): PartitionState {
    const state = this.image.topics.byId(TOPIC_ID)?.partition(partition)
    if (!state) throw new Error(`no partition ${partition}`)
    return state
  }

  register(node: { nodeId: number; directoryId: string; peerAddress: string }): number {
    const { nodeId } = node
    const before = this.image.nodes.get(nodeId)
    if (before) this.#leave(nodeId, before.directoryId === node.directoryId)
    const nodeEpoch = this.image.nodes.lastEpoch(nodeId) + 1
    this.commit([
      {
        type: 'nodeRegistered',
        version: 0,
        nodeEpoch,
        incarnation: `${nodeId}-${nodeEpoch}`,
        rack: '',
        clientAddress: `${node.peerAddress}0`,
        release: '0',
        registeredAtMs: 0,
        ...node,
      },
    ])
    return nodeEpoch
  }

  unfence(nodeId: number): void {
    const nodeEpoch = this.image.nodes.lastEpoch(nodeId)
    this.commit([{ type: 'nodeUnfenced', version: 0, nodeId, nodeEpoch }])
    this.#changeAll(state => elect(state, this.#facts()))
  }

  drain(nodeId: number): void {
    const nodeEpoch = this.image.nodes.lastEpoch(nodeId)
    this.commit([{ type: 'nodeDraining', version: 0, nodeId, nodeEpoch }])
  }

  fence(nodeId: number): void {
    const nodeEpoch = this.image.nodes.lastEpoch(nodeId)
    this.commit([{ type: 'nodeFenced', version: 0, nodeId, nodeEpoch }])
    this.#leave(nodeId, true)
  }

  createTopic(
    options: {
      replicas?: number[]
      partitions?: number
      settings?: Record<string, string>
      isr?: number[]
    } = {},
  ): void {
    const { replicas = [1, 2, 3], partitions = 1, settings = { 'min.insync.replicas': '2' } } = options
    const isr = options.isr ?? replicas
    const state = {
      replicas,
      isr,
      elr: [],
      leader: isr[0] ?? null,
      leaderEpoch: 0,
      partitionEpoch: 0,
      lastUncleanEpoch: null,
    }
    this.commit([
      { type: 'topic', version: 0, topicId: TOPIC_ID, name: 'logs', settings },
      ...Array.from({ length: partitions }, (_, partition) => ({
        type: 'partition' as const,
        version: 0 as const,
        topicId: TOPIC_ID,
        partition,
        ...state,
      })),
    ])
  }

  /** Leadership moves, to whomever. */
  lead(leader: number, more: Partial<PartitionState> = {}): void {
    this.change(0, { ...this.partition(), leader, ...more })
  }

  change(partition: number, after: PartitionState): void {
    const record = changeRecord(
      { topicId: TOPIC_ID, partition },
      { before: this.partition(partition), after },
    )
    if (record) this.commit([record])
  }

  /** B4: its replicas here are not electable any more. */
  reportDamage(nodeId: number): void {
    this.#leave(nodeId, false)
  }

  alter(from: number, proposals: readonly PartitionProposal[]): ProposalAnswer[] {
    return proposals.map(proposal => {
      const { partition, isr: members, successorId } = proposal
      const before = this.partition(partition)
      const { partitionEpoch } = before
      const isCurrent =
        before.leader === from &&
        before.leaderEpoch === proposal.leaderEpoch &&
        partitionEpoch === proposal.partitionEpoch
      const isEligible = members.every(({ nodeId, nodeEpoch }) => {
        const node = this.image.nodes.get(nodeId)
        return before.isr.includes(nodeId) || (isActive(node) && node?.nodeEpoch === nodeEpoch)
      })
      const isr = members.map(member => member.nodeId)
      const isSame = isr.length === before.isr.length && isr.every(nodeId => before.isr.includes(nodeId))
      const changesNothing = isSame && successorId === undefined
      if (!isCurrent || !isEligible || changesNothing) return { kind: 'refused', partitionEpoch }
      const left = before.isr.filter(nodeId => !isr.includes(nodeId))
      const elr = [...before.elr, ...left].filter(nodeId => !isr.includes(nodeId))
      const { minInsyncReplicas } = this.#facts()
      const leader = successorId ?? before.leader
      const after = { ...before, leader, isr, elr: electable(elr, { isr, minInsyncReplicas }) }
      this.change(partition, advanceReassignment(after, this.#facts()))
      return { kind: 'accepted' }
    })
  }

  #leave(nodeId: number, keepsRecords: boolean): void {
    const removal = { isRemoved: (other: number) => other === nodeId, keepsRecords }
    const facts = this.#facts()
    const isActiveThen = (other: number) => other !== nodeId && facts.isActive(other)
    this.#changeAll(state =>
      state.isr.includes(nodeId) || state.elr.includes(nodeId)
        ? removeFromIsr(state, removal, { ...facts, isActive: isActiveThen, isUp: isActiveThen })
        : state,
    )
  }

  #changeAll(change: (state: PartitionState) => PartitionState): void {
    const topic = this.image.topics.byId(TOPIC_ID)
    for (const [partition, state] of topic ? [...topic.partitions()] : [])
      this.change(partition, change(state))
  }

  #facts() {
    const topic = this.image.topics.byId(TOPIC_ID)
    const settings = topic && settingsOf(topic)
    const mayLead = (nodeId: number) => isActive(this.image.nodes.get(nodeId))
    return {
      isActive: mayLead,
      isUp: mayLead,
      minInsyncReplicas: settings?.['min.insync.replicas'] ?? 1,
      isUncleanAllowed: false,
    }
  }
}
