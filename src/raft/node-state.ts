/**
 * What every role of one node shares: term and vote, the log with its memberships, the clock reading of the
 * current step, and the way out. Roles change it only through these methods, which hold its invariants:
 *
 *  - the term never falls, and the vote of a term, once given, never changes (R2), also on stepping down
 *    within the term;
 *  - the latest membership is that of the last `config` entry in the log, committed or not.
 */
import { assert } from '../base/assert.ts'
import { Freshness } from './freshness.ts'
import type { MemberId, Membership } from './membership.ts'
import { decodeMembership } from './membership.ts'
import { MembershipHistory } from './membership-history.ts'
import type { LogEntry, SnapshotMark } from './messages.ts'
import { Outbox } from './outbox.ts'
import { RaftLog } from './raft-log.ts'
import {
  checkTiming,
  DEFAULT_LIMITS,
  DEFAULT_TIMING,
  type HardState,
  type RaftLimits,
  type RaftOptions,
  type RaftTiming,
  type SavedRaft,
} from './raft-options.ts'
import type { PersistMark, PersistRequest } from './raft-output.ts'

/** How many waits in a row may be the short one: on a slow disk a vote can take longer than it. */
const LOST_LEADER_WAITS_MAX = 3

export interface LostLeader {
  readonly member: MemberId
  readonly lostMs: number
}

export class NodeState {
  readonly self: MemberId
  readonly incarnation: string
  readonly timing: RaftTiming
  readonly limits: RaftLimits
  readonly log: RaftLog
  readonly memberships: MembershipHistory
  readonly outbox = new Outbox()
  readonly freshness: Freshness
  readonly #random: () => number
  #term: number
  #votedFor: MemberId | undefined
  /** What the driver was last handed. */
  #handedHardState: HardState
  /** The highest term that is durable. */
  #persistedTerm: number
  #snapshot: SnapshotMark
  #snapshotToPersist: SnapshotMark | undefined
  /** A snapshot from the leader is being written; until its write is reported the state machine is the one before. */
  #installing: { readonly appliedIndex: number; readonly mark?: PersistMark } | undefined
  #nowMs: number
  #lostLeaderWaits = 0
  #readNumber = 0
  attachment: Uint8Array | undefined
  /** When a leader was last heard, or a majority by this node as the leader; undefined: never in this process. */
  leaderHeardMs: number | undefined
  /** Since then none of those who elected this node as the leader had heard another one; undefined: it never led. */
  electorsHeardMs: number | undefined
  #lostLeader: LostLeader | undefined
  readonly #refusedMs = new Map<MemberId, number>()

  constructor(options: RaftOptions, saved: SavedRaft, nowMs: number) {
    this.self = options.self
    this.incarnation = options.incarnation
    this.freshness = new Freshness(options)
    this.timing = { ...DEFAULT_TIMING, ...options.timing }
    checkTiming(this.timing)
    this.limits = { ...DEFAULT_LIMITS, ...options.limits }
    this.#random = options.random
    this.#term = saved.hardState.term
    this.#votedFor = saved.hardState.votedFor
    this.#handedHardState = saved.hardState
    this.#persistedTerm = saved.hardState.term
    this.#snapshot = saved.snapshot
    this.#nowMs = nowMs
    const { index, term, membership } = saved.snapshot
    this.log = new RaftLog({
      base: saved.base ?? { index, term },
      entries: saved.entries,
      snapshotIndex: index,
      applyBytesMax: this.limits.applyBytesMax,
    })
    assert(this.log.holds({ index, term }), `log disagrees with its snapshot at ${index}`)
    assert(
      this.log.last.term <= this.#term,
      `log of term ${this.log.last.term} with hard state of term ${this.#term}`,
    )
    this.memberships = new MembershipHistory({ index, membership })
    for (const entry of saved.entries) if (entry.index > index) this.#noteMembership(entry)
  }

  get term(): number {
    return this.#term
  }

  get votedFor(): MemberId | undefined {
    return this.#votedFor
  }

  get persistedTerm(): number {
    return this.#persistedTerm
  }

  get snapshot(): SnapshotMark {
    return this.#snapshot
  }

  /** Of the state machine. The log takes a snapshot for applied at once, though only its write installs it. */
  get appliedIndex(): number {
    return this.#installing?.appliedIndex ?? this.log.appliedIndex
  }

  get nowMs(): number {
    return this.#nowMs
  }

  /** In whole ms, rounded down: a question is never younger than it says. */
  get askedMs(): number {
    return Math.max(0, Math.floor(this.#nowMs))
  }

  set nowMs(nowMs: number) {
    assert(nowMs >= this.#nowMs, `time went back from ${this.#nowMs} to ${nowMs}`)
    this.#nowMs = nowMs
  }

  get membership(): Membership {
    return this.memberships.latest
  }

  /**
   * A member whose removal is not committed may still be needed: were the removed leader the only one that
   * holds the entry of its own removal, nobody else could win (thesis, section 4.2.2).
   */
  get mayCampaign(): boolean {
    return this.memberships.votesSince(this.log.commitIndex, this.self)
  }

  get isSoleVoter(): boolean {
    return this.membership.voters.length === 1 && this.membership.voters[0] === this.self
  }

  adoptTerm(term: number): void {
    assert(term > this.#term, `term ${term} after ${this.#term}`)
    this.#term = term
    this.#votedFor = undefined
  }

  voteFor(candidate: MemberId): void {
    assert(this.#votedFor === undefined || this.#votedFor === candidate, `second vote in term ${this.#term}`)
    this.#votedFor = candidate
  }

  append(entries: readonly LogEntry[]): void {
    this.log.append(entries)
    for (const entry of entries) {
      if (!this.#noteMembership(entry)) continue
      this.outbox.tell({ type: 'membership-changed', index: entry.index, membership: this.membership })
    }
  }

  truncateFrom(index: number): void {
    this.log.truncateFrom(index)
    this.outbox.tell({ type: 'truncated', from: index })
    if (!this.memberships.truncateFrom(index)) return
    const { latestIndex, latest } = this.memberships
    this.outbox.tell({ type: 'membership-changed', index: latestIndex, membership: latest })
  }

  restore(snapshot: SnapshotMark): void {
    this.#installing = { appliedIndex: this.appliedIndex }
    this.log.restore(snapshot)
    this.memberships.restore(snapshot)
    this.#snapshot = snapshot
    this.#snapshotToPersist = snapshot
    this.outbox.tell({ type: 'membership-changed', index: snapshot.index, membership: snapshot.membership })
  }

  snapshotMarkAt(index: number): SnapshotMark {
    const term = this.log.termAt(index)
    assert(term !== undefined, `no entry ${index} to make a snapshot at`)
    return { index, term, membership: this.memberships.at(index) }
  }

  /** An own snapshot may be finished after one from the leader, further ahead, has taken its place. */
  compact(index: number, logStart: number): void {
    if (index <= this.#snapshot.index) return
    assert(
      index <= this.log.appliedIndex,
      `snapshot ${index} above what is applied, ${this.log.appliedIndex}`,
    )
    assert(logStart <= index, `log would start at ${logStart}, above its snapshot ${index}`)
    this.#snapshot = this.snapshotMarkAt(index)
    this.memberships.compact(index)
    this.log.compactTo(logStart)
  }

  takePersist(): PersistRequest | undefined {
    const entries = this.log.takeUnpersisted()
    const { term, votedFor } = this.#handedHardState
    const hardStateChanged = term !== this.#term || votedFor !== this.#votedFor
    const snapshot = this.#snapshotToPersist
    if (entries.length === 0 && !hardStateChanged && snapshot === undefined) return undefined
    const hardState = hardStateChanged ? { term: this.#term, votedFor: this.#votedFor } : undefined
    if (hardState !== undefined) this.#handedHardState = hardState
    this.#snapshotToPersist = undefined
    const mark = { term: this.#term, last: this.log.last }
    if (snapshot && this.#installing) this.#installing = { ...this.#installing, mark }
    return { hardState, snapshot, entries, mark }
  }

  /**
   * A mark of an older term says nothing of the log: its position may have been overwritten and come back
   * since, with only the last of these writes still under way. The write of the newer term, which follows it,
   * vouches for the whole log.
   */
  persisted(mark: PersistMark): void {
    this.#persistedTerm = Math.max(this.#persistedTerm, mark.term)
    if (mark.term === this.#term) this.log.persistedTo(mark.last)
    if (mark !== this.#installing?.mark) return
    this.#installing = undefined
    this.freshness.applied(this.appliedIndex)
  }

  /** Never the same twice in this incarnation, whatever role or term asks. */
  nextReadNumber(): number {
    this.#readNumber++
    return this.#readNumber
  }

  /** The leader that was followed last, if its connection closed, could not be dialled again, and is not back. */
  get lostLeader(): LostLeader | undefined {
    return this.#lostLeader
  }

  leaderIsLost(member: MemberId): void {
    this.#lostLeaderWaits = LOST_LEADER_WAITS_MAX
    this.#lostLeader = { member, lostMs: this.#nowMs }
  }

  leaderIsHeard(): void {
    this.#lostLeaderWaits = 0
    this.#lostLeader = undefined
  }

  /** When a dial to the member was refused last; undefined: not since it was connected. */
  refusedMsOf(member: MemberId): number | undefined {
    return this.#refusedMs.get(member)
  }

  connectionRefused(member: MemberId): void {
    this.#refusedMs.set(member, this.#nowMs)
  }

  connectionRestored(member: MemberId): void {
    this.#refusedMs.delete(member)
    if (this.#lostLeader?.member === member) this.#lostLeader = undefined
  }

  /** For so long no leader was heard, in whole milliseconds; undefined: none was in this process. */
  get quietMs(): number | undefined {
    return this.leaderHeardMs === undefined ? undefined : Math.floor(this.#nowMs - this.leaderHeardMs)
  }

  /** When to campaign if nothing is heard until then. */
  drawElectionDeadline(): number {
    const isShort = this.#lostLeaderWaits > 0
    if (isShort) this.#lostLeaderWaits--
    const { min, max } = isShort ? this.timing.lostLeaderTimeoutMs : this.timing.electionTimeoutMs
    return this.#nowMs + min + this.#random() * (max - min)
  }

  #noteMembership(entry: LogEntry): boolean {
    if (entry.kind !== 'config') return false
    const membership = decodeMembership(entry.data)
    assert(membership !== undefined, `config entry ${entry.index} does not hold a membership`)
    this.memberships.append({ index: entry.index, membership })
    return true
  }
}
