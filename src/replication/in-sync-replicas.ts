import { assert } from '../base/assert.ts'
import type { Epoch, NodeId } from '../base/brands.ts'
import type { PartitionMetadata } from './partition-metadata.ts'

/** What a leader asks of the controller: compare-and-set of the ISR (rule C5). Immutable, resent as it is. */
export interface IsrProposal {
  readonly leaderEpoch: Epoch
  /** Of the metadata that it starts from: any change since then makes the controller refuse it. */
  readonly partitionEpoch: Epoch
  readonly isr: readonly ProposedMember[]
  /** Of those that leave: they have lost what they acknowledged, and must not be elected. */
  readonly damaged: readonly NodeId[]
  /** The ISR stays, and this member leads from now on (C11). Nothing was appended since all that there is is committed. */
  readonly successorId?: NodeId
}

export interface ProposedMember {
  readonly nodeId: NodeId
  /** Of the process that acknowledged (C5). Undefined for a member that stays and is not connected now. */
  readonly nodeEpoch: Epoch | undefined
}

/** What became of a proposal. */
export type ProposalAnswer =
  /** The metadata will say so. */
  | { readonly kind: 'accepted' }
  /**
   * The controller looked and said no. `partitionEpoch`: the partition's when it did; above the proposal's, there are
   * metadata that this node has not seen yet. Given only where nothing sent earlier can still be accepted.
   */
  | { readonly kind: 'refused'; readonly partitionEpoch: Epoch }
  /** Not known: no controller, a timeout, a broken stream. */
  | { readonly kind: 'unknown' }

/**
 * The in-sync replicas of a partition as its leader has to count them. The high watermark waits for the *maximal* ISR,
 * those in the metadata and those proposed: the controller may have accepted the proposal already, and elect from it.
 * So a proposal ends only by metadata with a higher partition epoch, or by a refusal of the controller.
 */
export class InSyncReplicas {
  #members: readonly NodeId[]
  #maximal: readonly NodeId[]
  #eligible: readonly NodeId[]
  #partitionEpoch: Epoch
  #proposal: IsrProposal | undefined
  #mayBeDeposed = false

  constructor(metadata: PartitionMetadata) {
    this.#members = metadata.isr
    this.#maximal = metadata.isr
    this.#eligible = metadata.elr
    this.#partitionEpoch = metadata.partitionEpoch
  }

  /** As in the newest metadata. */
  get members(): readonly NodeId[] {
    return this.#members
  }

  get maximal(): readonly NodeId[] {
    return this.#maximal
  }

  /**
   * It is, or may be any moment, in the ISR or ELR of the controller. Nobody comes into either but by a proposal of the
   * leader, so what the leader knows of it errs on the safe side only.
   */
  mayBeElected(nodeId: NodeId): boolean {
    return this.#maximal.includes(nodeId) || this.#eligible.includes(nodeId)
  }

  get partitionEpoch(): Epoch {
    return this.#partitionEpoch
  }

  get proposal(): IsrProposal | undefined {
    return this.#proposal
  }

  /**
   * The controller was asked for what may make it let another lead, and nothing says yet that it did not: metadata of a
   * higher partition epoch, or a refusal, which goes for all that was asked before, too.
   */
  get mayBeDeposed(): boolean {
    return this.#mayBeDeposed
  }

  /** `mayDepose`: whatever becomes of it, another may lead from then on. */
  propose(change: Omit<IsrProposal, 'partitionEpoch'>, { mayDepose = false } = {}): IsrProposal {
    assert(this.#proposal === undefined, 'one proposal at a time')
    const { isr } = change
    this.#mayBeDeposed ||= mayDepose
    const proposal = { ...change, partitionEpoch: this.#partitionEpoch }
    this.#proposal = proposal
    const added = isr.map(member => member.nodeId).filter(nodeId => !this.#members.includes(nodeId))
    this.#maximal = [...this.#members, ...added]
    return proposal
  }

  /** False: older than what is known. */
  onMetadata(metadata: PartitionMetadata): boolean {
    if (metadata.partitionEpoch <= this.#partitionEpoch) return false
    this.#partitionEpoch = metadata.partitionEpoch
    this.#members = metadata.isr
    this.#eligible = metadata.elr
    this.#mayBeDeposed = false
    this.#settle()
    return true
  }

  /** True: the proposal is over, and nobody was added or removed by it. */
  onAnswer(proposal: IsrProposal, answer: ProposalAnswer): boolean {
    if (proposal !== this.#proposal || answer.kind !== 'refused') return false
    // It may be an earlier copy of this very proposal that changed the epoch: the metadata will tell.
    if (answer.partitionEpoch > proposal.partitionEpoch) return false
    this.#mayBeDeposed = false
    this.#settle()
    return true
  }

  /**
   * Only of a proposal that leaves the ISR as it is: whether a copy on its way is accepted or not, the maximal ISR is the
   * same. What it started from is compared, so it cannot undo a later one. Until then this leader may be deposed by it.
   */
  withdraw(): void {
    assert(this.#proposal?.successorId !== undefined, 'only a handover is withdrawn')
    this.#settle()
  }

  #settle(): void {
    this.#proposal = undefined
    this.#maximal = this.#members
  }
}
