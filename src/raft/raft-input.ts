/** Everything that a raft node learns, it learns as one of these. */
import type { MemberId, MembershipChange } from './membership.ts'
import type { RaftMessage } from './messages.ts'
import type { PersistMark } from './raft-output.ts'

export type RaftInput =
  /**
   * Time has passed. The only input that judges deadlines, so it is given only after the sockets were read
   * (rule A8): at `RaftNode.nextTickMs`, and never more than a heartbeat apart.
   */
  | { readonly type: 'tick' }
  | { readonly type: 'message'; readonly message: RaftMessage }
  /** Entries for the log, side by side in it: all are accepted, or none. */
  | { readonly type: 'propose'; readonly commands: readonly Uint8Array[] }
  /** The write of the output that carried `mark`, and every one before it, is synced. */
  | { readonly type: 'persisted'; readonly mark: PersistMark }
  /** The state machine has applied what was committed up to here, inclusive. */
  | { readonly type: 'applied'; readonly index: number }
  /** Answered by a `ReadState` with this ticket, or by the event `reads-aborted`. */
  | { readonly type: 'read-index'; readonly ticket: number }
  | { readonly type: 'transfer'; readonly to: MemberId }
  | { readonly type: 'change-membership'; readonly change: MembershipChange }
  /**
   * A snapshot through `index` (with `RaftNode.snapshotMarkAt(index)` in it) is durable. Entries through
   * `logStart` are no longer needed; what lies between may stay for followers that are a little behind.
   */
  | { readonly type: 'compacted'; readonly index: number; readonly logStart?: number }
  /** The driver still sends the snapshot to `to`, or has given up. Its success shows in the member's answer. */
  | { readonly type: 'snapshot-report'; readonly to: MemberId; readonly status: 'progress' | 'failed' }
  /** This node's own connection to `member` closed and dialling it again failed (rule A7). */
  | { readonly type: 'connection-lost'; readonly member: MemberId }
  /** Dialling it was refused since: its process is gone. Told with each such dial, until one is up again. */
  | { readonly type: 'connection-refused'; readonly member: MemberId }
  | { readonly type: 'connection-restored'; readonly member: MemberId }
  /** What this node's append and heartbeat answers carry from now on; opaque to Raft. */
  | { readonly type: 'attach'; readonly attachment: Uint8Array | undefined }
