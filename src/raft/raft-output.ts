/**
 * What a step asks of the driver. Obeying is all the driver does:
 *
 *  - `sendNow` leaves at once.
 *  - `persist` is written after all earlier ones, in order, then synced; then the node is told by `persisted`.
 *  - `sendAfterPersist` leaves when `persist` of this output *and of all earlier ones* is synced: without an
 *    own `persist` too, since it may lean on an earlier one that is still under way.
 *  - `committed` is applied in order, then reported by `applied`. A `persist.snapshot` replaces the state
 *    machine before any later `committed` is applied.
 */
import type { NaruError } from '../base/errors.ts'
import type { MemberId, Membership } from './membership.ts'
import type { LogEntry, LogPosition, RaftMessage, SnapshotMark } from './messages.ts'
import type { HardState } from './raft-options.ts'

export interface RaftOutput {
  readonly sendNow: readonly RaftMessage[]
  readonly persist: PersistRequest | undefined
  readonly sendAfterPersist: readonly RaftMessage[]
  readonly committed: readonly LogEntry[]
  readonly readStates: readonly ReadState[]
  /**
   * Where `propose` or `change-membership` put its last entry. It is committed when an entry of this very index
   * and term is; once another term is committed at the index, or the leadership ended, it may never be.
   */
  readonly accepted: LogPosition | undefined
  /** Why the input was refused; nothing changed then. */
  readonly refusal: NaruError | undefined
  readonly events: readonly RaftEvent[]
}

export interface PersistRequest {
  /** In one atomic record. Absent: as it was. */
  readonly hardState: HardState | undefined
  /** The log gives way to this snapshot; must be atomic with emptying the log. Comes before `entries`. */
  readonly snapshot: SnapshotMark | undefined
  /** The log is cut before the first of these, if it reaches that far, and they follow. */
  readonly entries: readonly LogEntry[]
  readonly mark: PersistMark
}

/**
 * Names a write by what the node knew when it asked for it: its own term, and the end of its log. The term of
 * the node tells a write of (index, term) from a later one of the very same position that has a truncation
 * between them: within a term of the node a position that was overwritten never comes back.
 */
export interface PersistMark {
  readonly term: number
  readonly last: LogPosition
}

export interface ReadState {
  readonly ticket: number
  /** A state machine that has applied this answers the read without missing anything committed before it. */
  readonly index: number
}

export type RoleName = 'follower' | 'pre-candidate' | 'candidate' | 'leader'

export type RaftEvent =
  | {
      readonly type: 'role-changed'
      readonly role: RoleName
      readonly term: number
      readonly leader: MemberId | undefined
      readonly reason: string
    }
  /** An entry of the leader's own term is committed: reads and membership changes work from here on. */
  | { readonly type: 'leader-ready'; readonly term: number; readonly index: number }
  /** In force now, and not committed yet, unless it came with a snapshot. Also when truncation brings an old one back. */
  | { readonly type: 'membership-changed'; readonly index: number; readonly membership: Membership }
  | { readonly type: 'truncated'; readonly from: number }
  /** No answer will come: ask again. */
  | { readonly type: 'reads-aborted'; readonly tickets: readonly number[]; readonly reason: string }
  | { readonly type: 'transfer-ended'; readonly to: MemberId; readonly reason: string }
  | { readonly type: 'stall-detected'; readonly stalledMs: number }
  /** The leader has this member's acknowledgement of what its log does not hold: it must not go on as it is (rule A4). */
  | {
      readonly type: 'log-lost'
      readonly from: MemberId
      readonly acknowledged: number
      readonly lastIndex: number
    }
  | {
      readonly type: 'message-ignored'
      readonly from: MemberId
      readonly kind: string
      readonly reason: string
    }
