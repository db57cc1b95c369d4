import type { NaruError } from '../../base/errors.ts'
import type { LogEntry, LogPosition } from '../../raft/messages.ts'
import type { RaftEvent } from '../../raft/raft-output.ts'

/**
 * The state machine on top of the log. Called synchronously, never while it calls the driver itself, except that
 * `append` may be called from within any of these.
 */
export interface RaftOwner {
  /** Committed, now and for ever, in order and without a gap; `noop` and `config` too, so that indexes are known. */
  onCommitted(entries: readonly LogEntry[]): void
  /** Replaces the whole state: committed through `through`, inclusive. Also at the start. Never on a leader. */
  onSnapshot(snapshot: { readonly records: readonly Buffer[]; readonly through: LogPosition }): void
  /** The state as records, as it is now. Each is copied or left alone by the owner until the call returns. */
  takeSnapshot(): Iterable<Uint8Array>
  /** This member leads and has applied everything up to an entry of its own term, the end of its log (rule A6). */
  onLeading(leadership: LogPosition): void
  /** Answers that wait may be committed or not. Only after `onLeading`. */
  onResigned(reason: string): void
  /** The storage failed: this member takes part no more. Nothing is called afterwards. */
  onFailed(error: NaruError): void
  /** For the log of the node. */
  onEvent(event: RaftEvent): void
}
