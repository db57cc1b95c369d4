/**
 * Takes proposals, replicates them, decides what is committed, and proves its leadership to those who read.
 *
 * Invariants:
 *  - it never truncates or overwrites its own log (R3);
 *  - the commit index moves only to an entry of the own term that a majority of the voters of the latest
 *    membership has on its disks, this node counted like the others (R7, R8);
 *  - at most one membership entry is uncommitted, and none is made before an entry of the own term is
 *    committed (R12: the single-server change is unsafe without that).
 */
import { NaruError } from '../base/errors.ts'
import { type FreshnessProof, FreshnessProofs } from './freshness.ts'
import {
  changeMembership,
  encodeMembership,
  isVoter,
  type MemberId,
  type MembershipChange,
} from './membership.ts'
import type { AppendAnswer, EntryKind, LogEntry, RaftMessage } from './messages.ts'
import type { NodeState } from './node-state.ts'
import { quorumValue } from './quorum.ts'
import { type Reader, ReadIndex } from './read-index.ts'
import { Replicator } from './replicator.ts'
import type { LeaderRequests, Role, Transitions } from './role.ts'

const NO_DATA = new Uint8Array(0)
/**
 * A tick that comes before the next heartbeat is due sends it at once, unless one has just left: so after a round for
 * reads, which may come at any time, heartbeats are with the driver's regular ticks again, and need none of their own.
 */
const EARLY_PART = 0.75

export class Leader implements Role, LeaderRequests {
  readonly name = 'leader'
  readonly leader: MemberId
  /** Check-quorum ends a leadership that a majority no longer hears; until then it helps nobody to end it. */
  readonly hearsLeader = true
  readonly replicator: Replicator
  readonly #state: NodeState
  readonly #transitions: Transitions
  readonly #reads: ReadIndex
  readonly #proofs = new FreshnessProofs()
  #heartbeatDeadlineMs: number
  #uncommittedBytes = 0
  #transfer: { readonly to: MemberId; deadlineMs: number } | undefined

  constructor(state: NodeState, transitions: Transitions) {
    this.leader = state.self
    this.#state = state
    this.#transitions = transitions
    this.replicator = new Replicator(state)
    this.#reads = new ReadIndex(state.limits.readsMax)
    this.#heartbeatDeadlineMs = state.nowMs + state.timing.heartbeatMs
    const { log } = state
    if (log.commitIndex < log.lastIndex) {
      const tail = log.entriesFrom(log.commitIndex + 1, {
        bytesMax: Number.POSITIVE_INFINITY,
        countMax: log.lastIndex,
      })
      this.#uncommittedBytes = sizeOf(tail)
    }
  }

  /** Separate from the constructor: the node must be in this role when it appends. */
  start(): void {
    // Entries of earlier terms commit only below one of this term (section 5.4.2): make one at once.
    this.#append('noop', [NO_DATA])
  }

  get nextDeadlineMs(): number {
    return Math.min(this.#heartbeatDeadlineMs, this.#transfer?.deadlineMs ?? Number.POSITIVE_INFINITY)
  }

  get isReady(): boolean {
    return this.#state.log.termAt(this.#state.log.commitIndex) === this.#state.term
  }

  get transferTarget(): MemberId | undefined {
    return this.#transfer?.to
  }

  propose(commands: readonly Uint8Array[]): NaruError | undefined {
    if (this.#transfer !== undefined) return this.#movingError()
    const bytes = commands.reduce((sum, command) => sum + command.length, 0)
    const { uncommittedBytesMax } = this.#state.limits
    if (this.#uncommittedBytes > 0 && this.#uncommittedBytes + bytes > uncommittedBytesMax) {
      return new NaruError(
        'OVERLOADED',
        `the metadata log holds ${this.#uncommittedBytes} bytes that are not committed yet, ` +
          `uncommittedBytesMax is ${uncommittedBytesMax}: try again when they are`,
      )
    }
    this.#append('command', commands)
    return undefined
  }

  changeMembership(change: MembershipChange): NaruError | undefined {
    if (this.#transfer !== undefined) return this.#movingError()
    const { log, memberships, membership, outbox } = this.#state
    if (!this.isReady)
      return refusedChange(change, 'the new leader has not committed an entry of its own yet')
    if (memberships.latestIndex > log.commitIndex) return refusedChange(change, 'another change is under way')
    if (change.op === 'promote' && !this.#isCaughtUp(change.member)) {
      return refusedChange(change, 'it has not caught up with the log yet')
    }
    const result = changeMembership(membership, change)
    if ('refusal' in result) {
      return new NaruError('INVALID_REQUEST', `cannot ${change.op} ${change.member}: ${result.refusal}`)
    }
    const { voters } = result.after
    if (voters.length !== membership.voters.length && !this.#hearsMajorityOf(voters)) {
      return refusedChange(
        change,
        `no majority of what would be the voters (${voters.join(' ')}) is in contact`,
      )
    }
    this.#append('config', [encodeMembership(result.after)])
    outbox.accept(log.last)
    return undefined
  }

  transfer(to: MemberId): NaruError | undefined {
    const { self, membership, nowMs, timing } = this.#state
    if (to === self) return new NaruError('INVALID_REQUEST', `${to} is the leader already`)
    if (!isVoter(membership, to)) {
      return new NaruError('INVALID_REQUEST', `${to} is not a voter (voters: ${membership.voters.join(' ')})`)
    }
    if (this.#transfer !== undefined && this.#transfer.to !== to) return this.#movingError()
    this.#transfer ??= { to, deadlineMs: nowMs + timing.electionTimeoutMs.min }
    this.#handOverIfReady()
    return undefined
  }

  onMessage(message: RaftMessage): void {
    switch (message.type) {
      case 'append-answer':
        this.replicator.heard(message.from, message.attachment)
        this.#onAppendAnswer(message)
        break
      case 'heartbeat-answer':
        this.replicator.heard(message.from, message.attachment)
        this.replicator.onHeartbeatAnswer(message.from)
        this.#reads.answered(message.from, message.round)
        this.#confirmRounds()
        this.#ask(message.from, message, this.#reads.round + 1)
        break
      case 'read-index-request':
        this.#read({ member: message.from, id: message.id })
        break
    }
  }

  onReadIndex(ticket: number): void {
    this.#read({ ticket })
  }

  onPersisted(): void {
    if (this.#advanceCommit()) this.#leaveIfRemoved()
  }

  onTick(): void {
    const { nowMs, timing } = this.#state
    if (!this.#hearsMajorityOf(this.#state.membership.voters)) {
      this.#transitions.becomeFollower({
        leader: undefined,
        reason: 'a majority of the voters is silent',
      })
      return
    }
    if (this.#transfer !== undefined && nowMs >= this.#transfer.deadlineMs) {
      this.#endTransfer(`it did not take over in ${timing.electionTimeoutMs.min} ms`)
    }
    this.replicator.onTick()
    if (nowMs >= this.#heartbeatDeadlineMs - EARLY_PART * timing.heartbeatMs) this.#heartbeat()
  }

  onStall(stalledMs: number): void {
    this.replicator.stalled(stalledMs)
    if (this.#transfer !== undefined) this.#transfer.deadlineMs += stalledMs
  }

  onConnection(member: MemberId, connection: 'lost' | 'restored'): void {
    this.replicator.onConnection(member, connection)
  }

  onVoteGranted(): void {}

  onEnd(reason: string): void {
    this.#state.leaderHeardMs = this.#majorityHeardMs(this.#state.membership.voters)
    this.#abortReads(this.#reads.takeAll(), reason)
    if (this.#transfer !== undefined) this.#endTransfer(reason)
  }

  #onAppendAnswer(message: AppendAnswer): void {
    this.replicator.onAppendAnswer(message)
    // First the commit, so that what goes out to the member next carries it.
    if (!this.#advanceCommit()) return
    this.replicator.sendTo(message.from)
    this.#handOverIfReady()
  }

  #append(kind: EntryKind, datas: readonly Uint8Array[]): void {
    const { term, log } = this.#state
    const first = log.lastIndex + 1
    const entries = datas.map((data, i): LogEntry => ({ index: first + i, term, kind, data }))
    this.#uncommittedBytes += sizeOf(entries)
    this.#state.append(entries)
    if (kind === 'config') this.#onMembershipChanged()
    this.replicator.broadcastAppend()
  }

  #onMembershipChanged(): void {
    this.replicator.followMembership()
    if (this.#transfer !== undefined && !isVoter(this.#state.membership, this.#transfer.to)) {
      this.#endTransfer('it is no longer a voter')
    }
  }

  /** False if the leadership ended by it. */
  #advanceCommit(): boolean {
    const { log, membership, term } = this.#state
    const reached = quorumValue(membership.voters, voter => this.replicator.matchIndexOf(voter))
    if (reached <= log.commitIndex || log.termAt(reached) !== term) return true
    const before = log.commitIndex
    const wasReady = this.isReady
    const committed = log.entriesFrom(before + 1, {
      bytesMax: Number.POSITIVE_INFINITY,
      countMax: reached - before,
    })
    this.#uncommittedBytes -= sizeOf(committed)
    log.commitTo(reached)
    // At once, not with the next heartbeat: others answer their clients when they have applied it.
    this.replicator.broadcastAppend()
    if (!wasReady) this.#onReady()
    return !this.#leaveIfRemoved()
  }

  /**
   * Once its removal is committed, and on its own disk: only then does this node apply it, and answer who asked for that
   * and for what came before it.
   */
  #leaveIfRemoved(): boolean {
    const { self, membership, memberships, log } = this.#state
    const isCommitted = memberships.latestIndex <= Math.min(log.commitIndex, log.persistedIndex)
    if (isVoter(membership, self) || !isCommitted) return false
    this.#leave()
    return true
  }

  #onReady(): void {
    const { log, term, outbox } = this.#state
    outbox.tell({ type: 'leader-ready', term, index: log.commitIndex })
    for (const reader of this.#reads.takeEarly()) this.#reads.add(reader, log.commitIndex)
    this.#beginRoundForReads()
  }

  /** This leader is no voter any more, and that is committed: the best of those who are goes on without a wait. */
  #leave(): void {
    const { self, term, membership, outbox } = this.#state
    const [first, ...others] = membership.voters as [MemberId, ...MemberId[]]
    const matchOf = (voter: MemberId) => this.replicator.matchIndexOf(voter)
    const heir = others.reduce((best, voter) => (matchOf(voter) > matchOf(best) ? voter : best), first)
    outbox.send({ type: 'timeout-now', from: self, to: heir, term })
    this.#transitions.becomeFollower({ leader: undefined, reason: 'it is no longer a voter' })
  }

  #heartbeat(): void {
    this.#heartbeatDeadlineMs = this.#state.nowMs + this.#state.timing.heartbeatMs
    const round = this.#reads.beginRound()
    this.#ask(this.#state.self, this.#state, round)
    this.replicator.broadcastHeartbeat(round, this.#proofs)
    this.#confirmRounds()
  }

  #read(reader: Reader): void {
    if (this.#reads.isFull) {
      this.#abortReads([reader], 'too many reads wait on the leader')
      return
    }
    if (!this.isReady) {
      this.#reads.addEarly(reader)
      return
    }
    this.#reads.add(reader, this.#state.log.commitIndex)
    this.#beginRoundForReads()
  }

  #beginRoundForReads(): void {
    if (!this.#reads.wantsRound) return
    this.#heartbeat()
  }

  #ask(member: MemberId, asked: Omit<FreshnessProof, 'index'>, round: number): void {
    const { incarnation, askedMs } = asked
    this.#proofs.asked(member, { incarnation, askedMs, index: this.#state.log.lastIndex, round })
  }

  /** What a majority has answered proves that this node led: to who reads, and to who asks how fresh it is. */
  #confirmRounds(): void {
    const { self, term, membership, outbox, freshness, appliedIndex } = this.#state
    this.#proofs.confirmed(this.#reads.confirm(self, membership.voters))
    const own = this.#proofs.of(self)
    if (own) freshness.note(own, appliedIndex)
    const confirmed = this.#reads.takeConfirmed()
    for (const { reader, index } of confirmed) {
      if (reader.member === undefined) outbox.answerRead({ ticket: reader.ticket, index })
      else
        outbox.send({ type: 'read-index-answer', from: self, to: reader.member, term, id: reader.id, index })
    }
    if (confirmed.length > 0) this.#beginRoundForReads()
  }

  #abortReads(readers: readonly Reader[], reason: string): void {
    const { self, term, outbox } = this.#state
    const tickets: number[] = []
    for (const reader of readers) {
      if (reader.member === undefined) tickets.push(reader.ticket)
      else {
        const { member: to, id } = reader
        outbox.send({ type: 'read-index-answer', from: self, to, term, id, index: undefined })
      }
    }
    if (tickets.length > 0) outbox.tell({ type: 'reads-aborted', tickets, reason })
  }

  #handOverIfReady(): void {
    if (this.#transfer === undefined) return
    const { self, term, log, outbox } = this.#state
    const { to } = this.#transfer
    if (this.replicator.matchIndexOf(to) === log.lastIndex) {
      outbox.send({ type: 'timeout-now', from: self, to, term })
    }
  }

  #endTransfer(reason: string): void {
    if (this.#transfer === undefined) return
    this.#state.outbox.tell({ type: 'transfer-ended', to: this.#transfer.to, reason })
    this.#transfer = undefined
  }

  #isCaughtUp(member: MemberId): boolean {
    return this.replicator.matchIndexOf(member) >= this.#state.log.commitIndex
  }

  #hearsMajorityOf(voters: readonly MemberId[]): boolean {
    return this.#state.nowMs - this.#majorityHeardMs(voters) < this.#state.timing.electionTimeoutMs.min
  }

  #majorityHeardMs(voters: readonly MemberId[]): number {
    return quorumValue(voters, voter => this.replicator.heardMsOf(voter))
  }

  #movingError(): NaruError {
    const to = this.#transfer?.to ?? 'another node'
    return new NaruError('NOT_CONTROLLER', `the metadata leadership is moving to ${to}: try again`)
  }
}

function refusedChange({ op, member }: MembershipChange, reason: string): NaruError {
  return new NaruError('QUORUM_CHANGE_REFUSED', `cannot ${op} ${member} now: ${reason}`)
}

function sizeOf(entries: readonly LogEntry[]): number {
  return entries.reduce((sum, entry) => sum + entry.data.length, 0)
}
