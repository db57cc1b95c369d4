import type { NodeId } from '../../base/brands.ts'
import type { IsrProposal, ProposalAnswer } from '../../replication/in-sync-replicas.ts'
import type { LeaderState } from '../../replication/leader-state.ts'
import type { PartitionMetadata } from '../../replication/partition-metadata.ts'
import type { LeaderContext } from './replication-options.ts'

export interface LeaderHandoverOptions {
  readonly state: LeaderState
  readonly metadata: PartitionMetadata
  readonly context: LeaderContext
  /** Carries the wish to the controller. */
  readonly propose: (proposal: IsrProposal) => void
}

interface UnderWay {
  readonly successor: NodeId
  /** Of the phase: waiting for the followers, then for the controller. */
  sinceMs: number
  isAsked: boolean
  readonly over: Promise<void>
  readonly settle: () => void
}

/**
 * How a leader gives its partition to another replica without a failed write (C11): because its node drains, because the
 * partition moves to other nodes, or because the preferred leader is back.
 *
 *   idle -> holding (new produces wait) -> asking (all is committed; the controller is asked for this very successor)
 *   asking -> ended with the leadership: what waited finds the new leader, and nothing of it was written
 *   holding, asking -> idle: the followers or the controller take too long, or it is refused; what waited goes on here
 *
 * Invariant: from the question on nothing is appended, so the successor has everything, and no produce is left in doubt.
 * Driven by the partition's leader: its ticks, and each change of its state.
 */
export class LeaderHandover {
  readonly #options: LeaderHandoverOptions
  #metadata: PartitionMetadata
  #under: UnderWay | undefined
  #notBeforeMs = 0
  #preferredSinceMs: number | undefined

  constructor(options: LeaderHandoverOptions) {
    this.#options = options
    this.#metadata = options.metadata
  }

  /** Who takes over; undefined: no handover is under way, and produces are taken. */
  get successor(): NodeId | undefined {
    return this.#under?.successor
  }

  /** Resolves when it is over, one way or the other. */
  get over(): Promise<void> {
    return this.#under?.over ?? Promise.resolve()
  }

  /** Nothing is under way, and nothing will be before the metadata or what is known of the followers change. */
  get isQuiet(): boolean {
    const successor = this.#heir ?? this.#readyPreferred
    return this.#under === undefined && !this.#options.context.isDraining && successor === undefined
  }

  tick(): void {
    const { nowMs } = this.#options.context.time
    const { handoverMsMax } = this.#options.context.timing
    if (this.#under === undefined) this.#beginIfWished(nowMs)
    else if (nowMs - this.#under.sinceMs > handoverMsMax) this.#giveUp(nowMs)
    else this.advance()
  }

  /** More is committed, or a proposal has ended: perhaps it is time to ask. */
  advance(): void {
    const { state, context, propose } = this.#options
    const under = this.#under
    if (under === undefined) return
    // Metadata have ended the question, and this node leads still: it is asked anew.
    if (under.isAsked && state.proposal?.successorId === undefined) under.isAsked = false
    if (under.isAsked) return
    const effect = state.handOver(under.successor)
    if (effect?.type !== 'propose') return
    under.isAsked = true
    under.sinceMs = context.time.nowMs
    propose(effect.proposal)
  }

  onMetadata(metadata: PartitionMetadata): void {
    this.#metadata = metadata
    this.advance()
  }

  onAnswer(proposal: IsrProposal, answer: ProposalAnswer): void {
    const { state, context } = this.#options
    const isOver = state.proposal?.successorId === undefined
    if (proposal.successorId !== undefined && answer.kind === 'refused' && isOver)
      this.#giveUp(context.time.nowMs)
    else this.advance()
  }

  /** The leadership is over. */
  end(): void {
    this.#settle()
  }

  #beginIfWished(nowMs: number): void {
    const { context } = this.#options
    const successor = this.#wished(nowMs)
    if (successor === undefined || nowMs < this.#notBeforeMs || !context.handovers.take()) return
    let settle = () => {}
    const over = new Promise<void>(resolve => {
      settle = resolve
    })
    this.#under = { successor, sinceMs: nowMs, isAsked: false, over, settle }
    this.advance()
  }

  #wished(nowMs: number): NodeId | undefined {
    const { state, context } = this.#options
    const heir = this.#heir
    if (heir !== undefined) return heir
    if (context.isDraining) return state.successors[0]
    const preferred = this.#readyPreferred
    if (preferred === undefined) {
      this.#preferredSinceMs = undefined
      return undefined
    }
    this.#preferredSinceMs ??= nowMs
    return nowMs - this.#preferredSinceMs >= context.timing.preferredReadyMs ? preferred : undefined
  }

  /** The first of a move's target that could take over, where the move only waits for this leader to go. */
  get #heir(): NodeId | undefined {
    const { state, context } = this.#options
    const { isr, reassignment } = this.#metadata
    const { original = [], target = [] } = reassignment ?? {}
    if (target.includes(context.self.nodeId)) return undefined
    const isCopied = target.every(nodeId => original.includes(nodeId) || isr.includes(nodeId))
    return isCopied ? target.find(nodeId => state.successors.includes(nodeId)) : undefined
  }

  /** The preferred leader, where that is another node, which could take over. */
  get #readyPreferred(): NodeId | undefined {
    const { state, context } = this.#options
    const { replicas, reassignment } = this.#metadata
    const [preferred] = replicas
    const isAway = preferred !== context.self.nodeId && reassignment === undefined
    return isAway && state.successors[0] === preferred ? preferred : undefined
  }

  #giveUp(nowMs: number): void {
    const { state, context } = this.#options
    this.#notBeforeMs = nowMs + context.timing.handoverRetryMs
    this.#preferredSinceMs = undefined
    state.withdrawHandover()
    this.#settle()
  }

  #settle(): void {
    const under = this.#under
    if (under === undefined) return
    this.#under = undefined
    this.#options.context.handovers.release()
    under.settle()
  }
}
