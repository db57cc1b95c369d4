/**
 * Takes the log from the leader, once it knows who that is, and campaigns when it has not heard it in time.
 * Learners are followers too: they just never campaign.
 *
 * Invariant: within a term a follower follows one leader at most.
 */
import { assert } from '../base/assert.ts'
import { ForwardedReads } from './forwarded-reads.ts'
import type { MemberId } from './membership.ts'
import type { Append, Heartbeat, LogEntry, RaftMessage, SnapshotMessage } from './messages.ts'
import type { NodeState } from './node-state.ts'
import type { Role, Transitions } from './role.ts'

export class Follower implements Role {
  readonly name = 'follower'
  readonly #state: NodeState
  readonly #transitions: Transitions
  readonly #reads: ForwardedReads
  #leader: MemberId | undefined
  #leaderHeardMs: number
  /** The own connection to the leader closed and was not restored; until it is heard again (rule A7). */
  #leaderIsLost = false
  #deadlineMs: number

  constructor(state: NodeState, transitions: Transitions, leader: MemberId | undefined) {
    this.#state = state
    this.#transitions = transitions
    this.#reads = new ForwardedReads(state)
    this.#leader = leader
    this.#leaderHeardMs = state.nowMs
    if (leader !== undefined) {
      state.leaderHeardMs = state.nowMs
      state.leaderIsHeard()
    }
    // A sole voter waits for nobody.
    const isAlone = leader === undefined && state.isSoleVoter
    this.#deadlineMs = isAlone ? state.nowMs : state.drawElectionDeadline()
  }

  get leader(): MemberId | undefined {
    return this.#leader
  }

  get hearsLeader(): boolean {
    if (this.#leader === undefined || this.#leaderIsLost) return false
    return this.#state.nowMs - this.#leaderHeardMs < this.#state.timing.electionTimeoutMs.min
  }

  get nextDeadlineMs(): number {
    return this.#state.mayCampaign ? this.#deadlineMs : Number.POSITIVE_INFINITY
  }

  campaignAtOnce(): void {
    this.#deadlineMs = this.#state.nowMs
  }

  /** A message that only the leader of this term sends came from `leader`. */
  hear(leader: MemberId): void {
    assert(
      this.#leader === undefined || this.#leader === leader,
      `two leaders: ${this.#leader} and ${leader}`,
    )
    this.#leader = leader
    this.#leaderIsLost = false
    this.#leaderHeardMs = this.#state.nowMs
    this.#state.leaderHeardMs = this.#state.nowMs
    this.#state.leaderIsHeard()
    this.#deadlineMs = this.#state.drawElectionDeadline()
  }

  onMessage(message: RaftMessage): void {
    switch (message.type) {
      case 'append':
        this.#onAppend(message)
        break
      case 'heartbeat':
        this.#onHeartbeat(message)
        break
      case 'snapshot':
        this.#onSnapshot(message)
        break
      case 'timeout-now':
        if (this.#state.mayCampaign) {
          this.#transitions.becomeCandidate({ transfer: true, reason: `${message.from} hands over` })
        }
        break
      case 'read-index-answer':
        this.#reads.onAnswer(message)
        break
    }
  }

  onTick(): void {
    this.#reads.onTick()
    if (this.#state.nowMs >= this.nextDeadlineMs) {
      this.#transitions.becomePreCandidate(
        this.#leader === undefined ? 'no leader' : `${this.#leader} is silent`,
      )
    }
  }

  onStall(stalledMs: number): void {
    this.#deadlineMs += stalledMs
    this.#leaderHeardMs += stalledMs
    this.#reads.onStall(stalledMs)
  }

  onPersisted(): void {}

  onVoteGranted(): void {
    this.#deadlineMs = this.#state.drawElectionDeadline()
  }

  onReadIndex(ticket: number): void {
    this.#reads.ask(ticket, this.#leader)
  }

  onConnection(member: MemberId, connection: 'lost' | 'restored'): void {
    if (member !== this.#leader) return
    if (connection === 'lost') {
      this.#leaderIsLost = true
      this.#state.leaderIsLost(member)
      this.#deadlineMs = Math.min(this.#deadlineMs, this.#state.drawElectionDeadline())
      this.#reads.abort('the connection to the leader closed')
    } else if (this.#leaderIsLost) {
      // It may be back and lead on: it gets the usual time to be heard, and stays a suspect until then.
      this.#state.leaderIsHeard()
      this.#deadlineMs = Math.max(this.#deadlineMs, this.#state.drawElectionDeadline())
    }
  }

  onEnd(reason: string): void {
    this.#reads.abort(reason)
  }

  #onAppend(message: Append): void {
    const { log } = this.#state
    const { previousIndex, entries } = skipCommitted(message, log.commitIndex)
    if (previousIndex === message.previous.index && !log.holds(message.previous)) {
      assert(previousIndex > log.commitIndex, `${message.from} lacks the committed entry ${previousIndex}`)
      this.#refuse(message)
      return
    }
    const lastNew = previousIndex + entries.length
    const conflict = entries.findIndex(entry => !log.holds(entry))
    // Entries that are held already stay: a shorter, delayed append must not undo a later one.
    if (conflict !== -1) {
      const first = entries[conflict] as LogEntry
      if (first.index <= log.lastIndex) this.#state.truncateFrom(first.index)
      this.#state.append(entries.slice(conflict))
    }
    log.commitTo(Math.min(message.commitIndex, lastNew))
    this.#accept(message.from, lastNew)
  }

  #onSnapshot(message: SnapshotMessage): void {
    const { log } = this.#state
    const { snapshot } = message
    if (snapshot.index > log.commitIndex) {
      if (log.holds(snapshot)) log.commitTo(snapshot.index)
      else this.#state.restore(snapshot)
    }
    this.#accept(message.from, Math.max(log.commitIndex, snapshot.index))
  }

  #accept(leader: MemberId, matchIndex: number): void {
    const { self, term, attachment } = this.#state
    const result = { accepted: true, matchIndex } as const
    this.#state.outbox.send({ type: 'append-answer', from: self, to: leader, term, result, attachment })
  }

  /**
   * The hint skips what cannot agree: the leader's log up to the refused place has terms of at most
   * `previous.term`, so none of the higher ones here is in it. One probe per term instead of one per entry.
   */
  #refuse({ from, previous }: Append): void {
    const { self, term, log, attachment } = this.#state
    const hint = log.lastPositionOfTermAtMost(previous)
    const result = { accepted: false, previousIndex: previous.index, hint } as const
    this.#state.outbox.send({ type: 'append-answer', from: self, to: from, term, result, attachment })
  }

  /**
   * The leader tells no more than what this member acknowledged: not to have that means to have lost it, votes too. It
   * says nothing any more, not even that it lives.
   */
  #onHeartbeat({ from, commitIndex, round, proof }: Heartbeat): void {
    const { self, term, attachment, log, appliedIndex, outbox, freshness, askedMs, incarnation } = this.#state
    if (commitIndex > log.lastIndex) {
      outbox.tell({ type: 'log-lost', from, acknowledged: commitIndex, lastIndex: log.lastIndex })
      return
    }
    log.commitTo(commitIndex)
    if (proof) freshness.note(proof, appliedIndex)
    const asked = { askedMs, incarnation }
    outbox.send({ type: 'heartbeat-answer', from: self, to: from, term, round, ...asked, attachment })
  }
}

/**
 * What is committed here is in the leader's log for certain (leader completeness), so an append that starts
 * below it is taken from there on, even where this log no longer goes back to its start.
 */
function skipCommitted(
  message: Append,
  commitIndex: number,
): { previousIndex: number; entries: readonly LogEntry[] } {
  const { previous, entries } = message
  if (previous.index >= commitIndex) return { previousIndex: previous.index, entries }
  return { previousIndex: commitIndex, entries: entries.slice(commitIndex - previous.index) }
}
