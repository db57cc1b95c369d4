/**
 * One member of the metadata quorum: Raft (Ongaro's thesis) with pre-vote, check-quorum, leadership transfer,
 * read-index, learners, single-server membership change and snapshots.
 *
 * Pure: the driver calls `step` for everything that happens and does what the output says; `raft-output.ts`
 * is that contract. Steps run to completion, so no state is ever seen half changed.
 *
 * This class holds the role, makes the transitions between roles, and applies the rules on terms that come
 * before any role's own. Durability follows etcd-io/raft's asynchronous storage writes.
 */
import { assert, unreachable } from '../base/assert.ts'
import { NaruError } from '../base/errors.ts'
import { Candidate } from './candidate.ts'
import { Follower } from './follower.ts'
import { Leader } from './leader.ts'
import type { MemberId, Membership } from './membership.ts'
import { findMessageFlaw } from './message-check.ts'
import type { RaftMessage, SnapshotMark } from './messages.ts'
import { NodeState } from './node-state.ts'
import type { RaftInput } from './raft-input.ts'
import type { RaftOptions, SavedRaft } from './raft-options.ts'
import type { RaftOutput } from './raft-output.ts'
import { makeStatus, type RaftStatus } from './raft-status.ts'
import type { LeaderRequests, Role, Transitions } from './role.ts'
import { isDisturbance, onPreVoteRequest, onVoteRequest } from './voting.ts'

/** A tick that is later than this many heartbeats means that this process, not the others, stood still. */
const STALL_HEARTBEATS = 2

export class RaftNode {
  readonly #state: NodeState
  readonly #transitions: Transitions
  #role: Role
  #tickedMs: number

  constructor(options: RaftOptions, saved: SavedRaft, nowMs: number) {
    this.#state = new NodeState(options, saved, nowMs)
    this.#tickedMs = nowMs
    this.#transitions = {
      becomeFollower: next => this.#becomeFollower(next.leader, next.reason),
      becomePreCandidate: reason => this.#becomeCandidate('pre-candidate', { transfer: false, reason }),
      becomeCandidate: next => this.#becomeCandidate('candidate', next),
      becomeLeader: () => this.#becomeLeader(),
    }
    const follower = new Follower(this.#state, this.#transitions, undefined)
    if (options.campaignAtOnce) follower.campaignAtOnce()
    this.#role = follower
  }

  step(input: RaftInput, nowMs: number): RaftOutput {
    this.#state.nowMs = nowMs
    this.#take(input)
    return this.#state.outbox.take({
      persist: this.#state.takePersist(),
      committed: this.#state.log.takeCommitted(),
    })
  }

  /** By then the next `tick` is due. Never more than a heartbeat away, so that a stall of this process shows. */
  get nextTickMs(): number {
    return Math.min(this.#tickedMs + this.#state.timing.heartbeatMs, this.#role.nextDeadlineMs)
  }

  get heartbeatMs(): number {
    return this.#state.timing.heartbeatMs
  }

  get status(): RaftStatus {
    return makeStatus(this.#state, this.#role)
  }

  /**
   * Then, what is applied here was the newest that there was, for certain: this member asked, and a leader that a majority
   * confirmed has answered since (`freshness.ts`). A sole voter that leads asks nobody. Undefined: never in this process.
   */
  freshMs(nowMs: number): number | undefined {
    if (this.#role instanceof Leader && this.#state.isSoleVoter) return nowMs
    return this.#state.freshness.freshMs
  }

  get membership(): Membership {
    return this.#state.membership
  }

  /** What a snapshot of the state after entry `index` must carry. `index`: applied, and not compacted. */
  snapshotMarkAt(index: number): SnapshotMark {
    return this.#state.snapshotMarkAt(index)
  }

  #take(input: RaftInput): void {
    const state = this.#state
    switch (input.type) {
      case 'tick':
        this.#onTick()
        break
      case 'message':
        this.#onMessage(input.message)
        break
      case 'persisted':
        state.persisted(input.mark)
        this.#role.onPersisted()
        break
      case 'applied':
        state.log.appliedTo(input.index)
        state.freshness.applied(input.index)
        break
      case 'read-index':
        this.#role.onReadIndex(input.ticket)
        break
      case 'propose':
        assert(input.commands.length > 0, 'a proposal without commands')
        this.#askLeader(leader => {
          const refusal = leader.propose(input.commands)
          if (refusal === undefined) state.outbox.accept(state.log.last)
          return refusal
        })
        break
      case 'transfer':
        this.#askLeader(leader => leader.transfer(input.to))
        break
      case 'change-membership':
        this.#askLeader(leader => leader.changeMembership(input.change))
        break
      case 'compacted':
        state.compact(input.index, input.logStart ?? input.index)
        break
      case 'snapshot-report':
        if (this.#role instanceof Leader) this.#role.replicator.onSnapshotReport(input.to, input.status)
        break
      case 'connection-lost':
        this.#role.onConnection(input.member, 'lost')
        break
      case 'connection-refused':
        state.connectionRefused(input.member)
        break
      case 'connection-restored':
        state.connectionRestored(input.member)
        this.#role.onConnection(input.member, 'restored')
        break
      case 'attach':
        state.attachment = input.attachment
        break
      default:
        unreachable(input, 'raft input')
        break
    }
  }

  #onTick(): void {
    const { nowMs, timing, outbox } = this.#state
    const sinceTickMs = nowMs - this.#tickedMs
    this.#tickedMs = nowMs
    if (sinceTickMs > STALL_HEARTBEATS * timing.heartbeatMs) {
      const stalledMs = sinceTickMs - timing.heartbeatMs
      outbox.tell({ type: 'stall-detected', stalledMs })
      this.#role.onStall(stalledMs)
    }
    this.#role.onTick()
  }

  #onMessage(message: RaftMessage): void {
    const { self, outbox } = this.#state
    const flaw = findMessageFlaw(message, self)
    if (flaw !== undefined) {
      outbox.tell({ type: 'message-ignored', from: message.from, kind: message.type, reason: flaw })
      return
    }
    // A pre-vote request is a question about a term that nobody has entered yet: no rule on terms applies to it.
    if (message.type === 'pre-vote-request') {
      onPreVoteRequest(this.#state, this.#role, message)
      return
    }
    if (message.term > this.#state.term && !this.#enterTermOf(message)) return
    if (message.term < this.#state.term && !isValidInLaterTerm(message)) {
      this.#answerOldTerm(message)
      return
    }
    if (message.type === 'vote-request') {
      onVoteRequest(this.#state, this.#role, message)
      return
    }
    if (isFromLeader(message)) this.#hearLeader(message.from)
    this.#role.onMessage(message)
  }

  /** False if the message must not be heard at all. */
  #enterTermOf(message: RaftMessage): boolean {
    if (message.type === 'vote-request' && isDisturbance(this.#role, message)) {
      const reason = `${this.#role.leader} leads and is heard`
      this.#state.outbox.tell({ type: 'message-ignored', from: message.from, kind: message.type, reason })
      return false
    }
    this.#endRole(`term ${message.term} has begun`)
    this.#state.adoptTerm(message.term)
    const leader = isFromLeader(message) ? message.from : undefined
    this.#role = new Follower(this.#state, this.#transitions, leader)
    this.#tellRole(`${message.from} is in term ${message.term}`)
    return true
  }

  /**
   * Who lags behind in terms must learn of it. A leader that does would otherwise never: this node, having
   * moved on, does not follow it, and with pre-vote never raises its term by an election either.
   */
  #answerOldTerm(message: RaftMessage): void {
    const { self, term, outbox } = this.#state
    const envelope = { from: self, to: message.from, term }
    if (message.type === 'vote-request') outbox.send({ type: 'vote-answer', ...envelope, granted: false })
    if (isFromLeader(message)) outbox.send({ type: 'newer-term', ...envelope })
  }

  #hearLeader(leader: MemberId): void {
    assert(this.#role.name !== 'leader', `${leader} also leads in term ${this.#state.term}`)
    if (!(this.#role instanceof Follower)) {
      this.#becomeFollower(leader, `${leader} leads`)
      return
    }
    const isNew = this.#role.leader === undefined
    this.#role.hear(leader)
    if (isNew) this.#tellRole(`${leader} leads`)
  }

  #askLeader(request: (leader: LeaderRequests) => NaruError | undefined): void {
    const refusal = this.#role instanceof Leader ? request(this.#role) : this.#notLeaderError()
    if (refusal !== undefined) this.#state.outbox.refuse(refusal)
  }

  #notLeaderError(): NaruError {
    const { self } = this.#state
    const { leader } = this.#role
    const whoElse = leader === undefined ? 'none is known now: try again' : `${leader} does: send it there`
    const details = leader === undefined ? {} : { leader }
    return new NaruError('NOT_CONTROLLER', `${self} does not lead the metadata quorum, ${whoElse}`, {
      details,
    })
  }

  /** Within the term; the vote of the term stays as it is. */
  #becomeFollower(leader: MemberId | undefined, reason: string): void {
    this.#endRole(reason)
    this.#role = new Follower(this.#state, this.#transitions, leader)
    this.#tellRole(reason)
  }

  #becomeCandidate(phase: 'pre-candidate' | 'candidate', next: { transfer: boolean; reason: string }): void {
    assert(this.#role.name !== 'leader', 'a leader does not campaign')
    assert(this.#state.mayCampaign, 'campaign of a node that must not')
    this.#endRole(next.reason)
    if (phase === 'candidate') {
      this.#state.adoptTerm(this.#state.term + 1)
      this.#state.voteFor(this.#state.self)
    }
    const candidate = new Candidate(phase, this.#state, this.#transitions)
    this.#role = candidate
    this.#tellRole(next.reason)
    candidate.campaign(next.transfer)
  }

  #becomeLeader(): void {
    assert(this.#role.name === 'candidate', `a ${this.#role.name} becomes leader`)
    this.#endRole('elected')
    const leader = new Leader(this.#state, this.#transitions)
    this.#role = leader
    this.#tellRole('a majority voted')
    leader.start()
  }

  #endRole(reason: string): void {
    this.#role.onEnd(reason)
  }

  #tellRole(reason: string): void {
    const { name, leader } = this.#role
    this.#state.outbox.tell({ type: 'role-changed', role: name, term: this.#state.term, leader, reason })
  }
}

function isFromLeader(message: RaftMessage): boolean {
  return (
    message.type === 'append' ||
    message.type === 'heartbeat' ||
    message.type === 'snapshot' ||
    message.type === 'timeout-now'
  )
}

/** A grant of a pre-vote may come from a lower term; reads are settled by what happens after they were asked. */
function isValidInLaterTerm(message: RaftMessage): boolean {
  return (
    message.type === 'pre-vote-answer' ||
    message.type === 'read-index-request' ||
    message.type === 'read-index-answer'
  )
}
