/**
 * Campaigning, in both of its forms: a pre-candidate asks who would vote for it in the next term and changes
 * nothing; a candidate has raised the term, voted for itself, and asks for votes.
 *
 * The candidate counts its own vote when it is durable, as it would any other (rule A6).
 */
import type { MemberId } from './membership.ts'
import type { RaftMessage } from './messages.ts'
import type { NodeState } from './node-state.ts'
import { tallyVotes } from './quorum.ts'
import type { Role, Transitions } from './role.ts'

export class Candidate implements Role {
  readonly name: 'pre-candidate' | 'candidate'
  readonly leader = undefined
  readonly hearsLeader = false
  readonly #state: NodeState
  readonly #transitions: Transitions
  readonly #answers = new Map<MemberId, boolean>()
  /** The least of those who vote for it: who does not know may have heard the leader just now. */
  #quietMs = Number.POSITIVE_INFINITY
  #deadlineMs: number

  constructor(phase: 'pre-candidate' | 'candidate', state: NodeState, transitions: Transitions) {
    this.name = phase
    this.#state = state
    this.#transitions = transitions
    this.#deadlineMs = state.drawElectionDeadline()
  }

  get nextDeadlineMs(): number {
    return this.#deadlineMs
  }

  /** Separate from the constructor: the node must already be in this role when the answer of a sole voter decides it. */
  campaign(transfer: boolean): void {
    const { self, term, membership, log, outbox } = this.#state
    for (const voter of membership.voters) {
      if (voter === self) continue
      const envelope = { from: self, to: voter, term, last: log.last }
      if (this.name === 'candidate') outbox.send({ type: 'vote-request', ...envelope, transfer })
      else outbox.send({ type: 'pre-vote-request', ...envelope })
    }
    if (this.name === 'pre-candidate') this.#count(self, true)
  }

  onMessage(message: RaftMessage): void {
    if (message.type === 'vote-answer' && this.name === 'candidate') {
      if (message.granted && !this.#answers.has(message.from)) this.#noteQuiet(message.quietMs)
      this.#count(message.from, message.granted)
    } else if (message.type === 'pre-vote-answer' && this.name === 'pre-candidate') {
      if (message.requestTerm === this.#state.term) this.#count(message.from, message.granted)
    }
  }

  onPersisted(): void {
    if (this.name === 'candidate' && this.#state.persistedTerm >= this.#state.term) {
      this.#noteQuiet(this.#state.quietMs)
      this.#count(this.#state.self, true)
    }
  }

  onTick(): void {
    if (this.#state.nowMs < this.#deadlineMs) return
    if (this.#state.mayCampaign) this.#transitions.becomePreCandidate('no majority answered in time')
    else this.#transitions.becomeFollower({ leader: undefined, reason: 'no longer a voter' })
  }

  onStall(stalledMs: number): void {
    this.#deadlineMs += stalledMs
  }

  onVoteGranted(): void {}

  onReadIndex(ticket: number): void {
    this.#state.outbox.tell({ type: 'reads-aborted', tickets: [ticket], reason: 'no leader is known' })
  }

  onConnection(): void {}

  onEnd(): void {}

  #noteQuiet(quietMs = 0): void {
    this.#quietMs = Math.min(this.#quietMs, quietMs)
  }

  /** The first answer of a voter stands: a copy of it changes nothing, and a second opinion is never sent. */
  #count(voter: MemberId, granted: boolean): void {
    if (this.#answers.has(voter)) return
    this.#answers.set(voter, granted)
    const verdict = tallyVotes(this.#state.membership.voters, this.#answers)
    if (verdict === 'lost') {
      this.#transitions.becomeFollower({ leader: undefined, reason: 'a majority refused' })
    } else if (verdict === 'won') {
      if (this.name === 'candidate') {
        this.#state.electorsHeardMs = this.#state.nowMs - this.#quietMs
        this.#transitions.becomeLeader()
      } else this.#transitions.becomeCandidate({ transfer: false, reason: 'a majority would vote' })
    }
  }
}
