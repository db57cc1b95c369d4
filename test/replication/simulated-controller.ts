import type { PartitionState } from '../../src/metadata/metadata-record.ts'
import {
  changeRecord,
  type ElectionFacts,
  elect,
  electable,
  removeFromIsr,
} from '../../src/metadata/partition-election.ts'
import { changePartition } from '../../src/metadata/partition-state.ts'
import type { IsrProposal, ProposalAnswer } from '../../src/replication/in-sync-replicas.ts'
import type { ReplicaIdentity } from '../../src/replication/partition-metadata.ts'

/** What a node sees once it has applied the metadata up to some index. */
export interface MetadataStep {
  readonly state: PartitionState
  readonly nodes: ReadonlyMap<number, RegisteredNode>
}

export interface RegisteredNode extends ReplicaIdentity {
  readonly isFenced: boolean
}

const OF = { topicId: 'topic', partition: 0 }

/** The controller as far as one partition needs it: registrations, fencing, elections, and the compare-and-set of ISRs. */
export class SimulatedController {
  readonly log: MetadataStep[] = []
  readonly #minInsyncReplicas: number
  readonly #acceptsStale: boolean
  #state: PartitionState
  #nodes = new Map<number, RegisteredNode>()
  /** The controller stream of a node that counts; what comes over an older one is dropped (C5). */
  readonly #streams = new Map<number, number>()
  onEnter: (nodeId: number) => void = () => {}

  constructor(options: { replicas: readonly number[]; minInsyncReplicas: number; acceptsStale: boolean }) {
    this.#minInsyncReplicas = options.minInsyncReplicas
    this.#acceptsStale = options.acceptsStale
    this.#state = {
      replicas: options.replicas,
      isr: options.replicas,
      elr: [],
      leader: null,
      leaderEpoch: 0,
      partitionEpoch: 0,
      lastUncleanEpoch: null,
    }
    this.#note()
  }

  get state(): PartitionState {
    return this.#state
  }

  node(nodeId: number): RegisteredNode | undefined {
    return this.#nodes.get(nodeId)
  }

  /** A process has started, with or without the disk of the one before it. */
  register(nodeId: number, directoryId: string): number {
    const before = this.#nodes.get(nodeId)
    const nodeEpoch = (before?.nodeEpoch ?? 0) + 1
    if (before) this.#remove(nodeId, before.directoryId === directoryId)
    this.#nodes.set(nodeId, { nodeId, nodeEpoch, directoryId, isFenced: true })
    this.#note()
    return nodeEpoch
  }

  fence(nodeId: number): void {
    const node = this.#nodes.get(nodeId)
    if (!node || node.isFenced) return
    this.#nodes.set(nodeId, { ...node, isFenced: true })
    this.#remove(nodeId, true)
    this.#note()
  }

  unfence(nodeId: number): void {
    const node = this.#nodes.get(nodeId)
    if (!node?.isFenced) return
    this.#nodes.set(nodeId, { ...node, isFenced: false })
    this.#change(elect(this.#state, this.#facts()))
    this.#note()
  }

  /** A node says that its replica is damaged (B4). */
  reportDamage(nodeId: number): void {
    this.#remove(nodeId, false)
    this.#note()
  }

  /** Leadership moves to another member of the ISR, as a handover does. */
  move(nodeId: number): void {
    const { isr, leader } = this.#state
    if (leader === nodeId || !isr.includes(nodeId) || this.#nodes.get(nodeId)?.isFenced !== false) return
    this.#change({ ...this.#state, leader: nodeId })
    this.#note()
  }

  /** A reassignment takes the replica away, and the next one gives it back: its log goes in between, once it hears of that. */
  moveAwayAndBack(nodeId: number): void {
    const { leader, isr, elr, replicas } = this.#state
    if (leader === null || leader === nodeId) return
    const [rest, keepers] = [isr.filter(id => id !== nodeId), elr.filter(id => id !== nodeId)]
    const without = replicas.filter(id => id !== nodeId)
    const of = { isr: rest, minInsyncReplicas: this.#minInsyncReplicas }
    this.#change({ ...this.#state, replicas: without, isr: rest, elr: electable(keepers, of) })
    this.#note()
    this.#change({ ...this.#state, replicas })
    this.#note()
  }

  openStream(nodeId: number, stream: number): void {
    this.#streams.set(nodeId, stream)
  }

  /** Undefined: it came over an older stream of the node. */
  alter(from: { nodeId: number; stream: number }, proposal: IsrProposal): ProposalAnswer | undefined {
    if (this.#streams.get(from.nodeId) !== from.stream && !this.#acceptsStale) return undefined
    const before = this.#state
    const { partitionEpoch, leader, leaderEpoch } = before
    const refused = { kind: 'refused', partitionEpoch } as const
    const isCurrent = proposal.leaderEpoch === leaderEpoch && proposal.partitionEpoch === partitionEpoch
    if (leader !== from.nodeId || !(isCurrent || this.#acceptsStale)) return refused
    const entering = proposal.isr.filter(member => !before.isr.includes(member.nodeId))
    const isEligible = entering.every(({ nodeId, nodeEpoch }) => {
      const node = this.#nodes.get(nodeId)
      return node && !node.isFenced && node.nodeEpoch === nodeEpoch
    })
    if (!isEligible) return refused
    for (const { nodeId } of entering) this.onEnter(nodeId)
    const isr = proposal.isr.map(member => member.nodeId)
    const left = before.isr.filter(nodeId => !isr.includes(nodeId))
    const elr = [...before.elr, ...left].filter(id => !isr.includes(id) && !proposal.damaged.includes(id))
    this.#change({ ...before, isr, elr: electable(elr, { isr, minInsyncReplicas: this.#minInsyncReplicas }) })
    this.#note()
    return { kind: 'accepted' }
  }

  #remove(nodeId: number, keepsRecords: boolean): void {
    const { isr, elr } = this.#state
    if (!isr.includes(nodeId) && !elr.includes(nodeId)) return
    const removal = { isRemoved: (other: number) => other === nodeId, keepsRecords }
    const facts = this.#facts()
    const isActive = (other: number) => other !== nodeId && facts.isActive(other)
    this.#change(removeFromIsr(this.#state, removal, { ...facts, isActive, isUp: isActive }))
  }

  #change(after: PartitionState): void {
    const record = changeRecord(OF, { before: this.#state, after })
    if (record) this.#state = changePartition(this.#state, record)
  }

  #facts(): ElectionFacts {
    const isActive = (nodeId: number) => this.#nodes.get(nodeId)?.isFenced === false
    return {
      isActive,
      isUp: isActive,
      minInsyncReplicas: this.#minInsyncReplicas,
      isUncleanAllowed: false,
    }
  }

  #note(): void {
    this.log.push({ state: this.#state, nodes: new Map(this.#nodes) })
  }
}
