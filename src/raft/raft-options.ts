/** What a raft node is told at its start. */
import { assert } from '../base/assert.ts'
import type { Uuid } from '../base/brands.ts'
import type { MemberId } from './membership.ts'
import type { LogEntry, LogPosition, SnapshotMark } from './messages.ts'

export interface RaftTiming {
  readonly heartbeatMs: number
  /** Drawn anew for each wait; `min` is also how long a leader that was heard is believed to live. */
  readonly electionTimeoutMs: { readonly min: number; readonly max: number }
  /** The wait instead of that when the connection to the leader closed and could not be dialled again (rule A7). */
  readonly lostLeaderTimeoutMs: { readonly min: number; readonly max: number }
  /** A member in `snapshot` state of which nothing was reported for so long is probed anew. */
  readonly snapshotTimeoutMs: number
}

export interface RaftLimits {
  /** Of one append message; a single larger entry still travels. */
  readonly appendBytesMax: number
  readonly appendEntriesMax: number
  /** Per follower, sent and not answered. */
  readonly inflightMessagesMax: number
  readonly inflightBytesMax: number
  /** Proposed and not committed; above it proposals are refused. A single larger one is accepted when nothing waits. */
  readonly uncommittedBytesMax: number
  /** Handed out as committed and not applied. */
  readonly applyBytesMax: number
  /** Reads that wait for their index, each on its own node and on the leader. */
  readonly readsMax: number
}

export interface RaftOptions {
  readonly self: MemberId
  /** Drawn at each process start: makes read ids unique across restarts. */
  readonly incarnation: Uuid
  /** The author of a new cluster does not wait for a leader that cannot exist. A sole voter never does. */
  readonly campaignAtOnce?: boolean
  /** A number of [0, 1). */
  readonly random: () => number
  readonly timing?: Partial<RaftTiming>
  readonly limits?: Partial<RaftLimits>
}

/** What the driver read back from its disk, all of it durable. */
export interface SavedRaft {
  readonly hardState: HardState
  /** The latest snapshot; a new cluster starts from one at index 0 that holds only the membership. */
  readonly snapshot: SnapshotMark
  /** Everything after `base`. Entries below the snapshot may be kept for followers that are a little behind. */
  readonly entries: readonly LogEntry[]
  /** The position before the first entry; the snapshot's own if not given. */
  readonly base?: LogPosition
}

/** Written as one atomic record: a vote without its term, or the other way round, allows two votes in a term. */
export interface HardState {
  /** Never falls. */
  readonly term: number
  /** Once set, fixed for the term. */
  readonly votedFor: MemberId | undefined
}

export const DEFAULT_TIMING: RaftTiming = {
  heartbeatMs: 100,
  electionTimeoutMs: { min: 1000, max: 2000 },
  lostLeaderTimeoutMs: { min: 200, max: 400 },
  snapshotTimeoutMs: 30_000,
}

export const DEFAULT_LIMITS: RaftLimits = {
  appendBytesMax: 1024 * 1024,
  appendEntriesMax: 4096,
  inflightMessagesMax: 64,
  inflightBytesMax: 8 * 1024 * 1024,
  uncommittedBytesMax: 16 * 1024 * 1024,
  applyBytesMax: 16 * 1024 * 1024,
  readsMax: 10_000,
}

export function checkTiming(timing: RaftTiming): void {
  const { heartbeatMs, electionTimeoutMs, lostLeaderTimeoutMs } = timing
  assert(heartbeatMs > 0, 'heartbeatMs must be above 0')
  assert(electionTimeoutMs.min <= electionTimeoutMs.max, 'electionTimeoutMs: min is above max')
  assert(lostLeaderTimeoutMs.min <= lostLeaderTimeoutMs.max, 'lostLeaderTimeoutMs: min is above max')
  // One late or lost heartbeat must not start an election.
  assert(electionTimeoutMs.min >= 3 * heartbeatMs, 'electionTimeoutMs.min must be at least 3 heartbeats')
}
