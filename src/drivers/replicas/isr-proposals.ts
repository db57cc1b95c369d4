import { NaruError } from '../../base/errors.ts'
import type { Clock, Timer } from '../../ports/clock.ts'
import type { IsrProposal, ProposalAnswer } from '../../replication/in-sync-replicas.ts'
import type { AlterPartitions, Proposer, ReplicationLimits } from './replication-options.ts'

/**
 * The proposals of all partitions that this node leads, gathered: one call to the controller at a time, with all that
 * wait. What gets no answer is sent again, unchanged, until it does or metadata end it (C5).
 */
export class IsrProposals {
  readonly #clock: Clock
  readonly #alterPartitions: AlterPartitions
  readonly #limits: ReplicationLimits
  readonly #waiting = new Map<Proposer, IsrProposal>()
  #isScheduled = false
  #isSending = false
  #retry: Timer | undefined
  #isClosed = false

  constructor(options: { clock: Clock; alterPartitions: AlterPartitions; limits: ReplicationLimits }) {
    this.#clock = options.clock
    this.#alterPartitions = options.alterPartitions
    this.#limits = options.limits
  }

  propose(proposer: Proposer, proposal: IsrProposal): void {
    this.#waiting.set(proposer, proposal)
    this.#schedule()
  }

  close(): void {
    this.#isClosed = true
    this.#retry?.cancel()
    this.#waiting.clear()
  }

  #schedule(): void {
    if (this.#isScheduled || this.#isSending || this.#isClosed) return
    this.#isScheduled = true
    this.#clock.afterTurn(() => {
      this.#isScheduled = false
      if (!this.#isSending && !this.#isClosed) void this.#send()
    })
  }

  async #send(): Promise<void> {
    const sent: [Proposer, IsrProposal][] = []
    for (const [proposer, proposal] of this.#waiting) {
      if (proposer.proposal !== proposal) this.#waiting.delete(proposer)
      else if (sent.length < this.#limits.proposalsMax) sent.push([proposer, proposal])
    }
    if (sent.length === 0) return
    this.#isSending = true
    const answers = await this.#ask(sent)
    this.#isSending = false
    if (this.#isClosed) return
    let isRetried = false
    sent.forEach(([proposer, proposal], at) => {
      const answer = answers[at] ?? UNKNOWN
      const isLatest = this.#waiting.get(proposer) === proposal
      if (answer.kind !== 'unknown' && isLatest) this.#waiting.delete(proposer)
      isRetried ||= answer.kind === 'unknown'
      proposer.onProposalAnswer(proposal, answer)
    })
    if (!isRetried) {
      if (this.#waiting.size > 0) this.#schedule()
      return
    }
    this.#retry?.cancel()
    this.#retry = this.#clock.setTimer(this.#limits.proposalRetryMs, () => this.#schedule())
  }

  async #ask(sent: readonly [Proposer, IsrProposal][]): Promise<readonly ProposalAnswer[]> {
    try {
      return await this.#alterPartitions(
        sent.map(([{ topicId, partition }, proposal]) => ({ topicId, partition, ...proposal })),
      )
    } catch (thrown) {
      if (!(thrown instanceof NaruError)) throw thrown
      return []
    }
  }
}

const UNKNOWN: ProposalAnswer = { kind: 'unknown' }
