import { NaruError } from '../../base/errors.ts'
import type { Clock, Timer } from '../../ports/clock.ts'
import type { IsrProposal, ProposalAnswer } from '../../replication/in-sync-replicas.ts'
import type { AlterPartitions, Proposer, ReplicationLimits } from './replication-options.ts'

/** Each is one change of the metadata: what comes while others are being committed waits for none of them. */
const CALLS_MAX = 4

/**
 * The proposals of all partitions that this node leads, gathered: those of one turn go to the controller in one call, one
 * of a partition at a time. What gets no answer is sent again, unchanged, until it does or metadata end it (C5).
 */
export class IsrProposals {
  readonly #clock: Clock
  readonly #alterPartitions: AlterPartitions
  readonly #limits: ReplicationLimits
  readonly #waiting = new Map<Proposer, IsrProposal>()
  /** A call with a proposal of theirs is under way. */
  readonly #asking = new Set<Proposer>()
  #calls = 0
  #isScheduled = false
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
    if (this.#isScheduled || this.#isClosed) return
    this.#isScheduled = true
    this.#clock.afterTurn(() => {
      this.#isScheduled = false
      while (this.#calls < CALLS_MAX && !this.#isClosed) {
        const due = this.#takeDue()
        if (due.length === 0) return
        void this.#send(due)
      }
    })
  }

  #takeDue(): [Proposer, IsrProposal][] {
    const due: [Proposer, IsrProposal][] = []
    for (const [proposer, proposal] of this.#waiting) {
      if (due.length >= this.#limits.proposalsMax) break
      if (proposer.proposal !== proposal) this.#waiting.delete(proposer)
      else if (!this.#asking.has(proposer)) due.push([proposer, proposal])
    }
    for (const [proposer] of due) this.#asking.add(proposer)
    return due
  }

  async #send(sent: readonly [Proposer, IsrProposal][]): Promise<void> {
    this.#calls++
    const answers = await this.#ask(sent)
    this.#calls--
    for (const [proposer] of sent) this.#asking.delete(proposer)
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
