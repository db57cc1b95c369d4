/**
 * What members say to each other. `term` is always the current term of the sender.
 *
 * Indexes are Raft's own: the first entry has index 1, and index 0 with term 0 is the place before it. Entry
 * `i` is the record at offset `i - 1` of the metadata log, so an index read as an end is an exclusive offset:
 * `commitIndex` is the high watermark and `lastIndex` the log end offset.
 */
import type { FreshnessProof } from './freshness.ts'
import type { MemberId, Membership } from './membership.ts'

export type EntryKind = 'noop' | 'command' | 'config'

/** `data` is empty for a `noop`, opaque for a `command`, and an encoded `Membership` for a `config`. */
export interface LogEntry {
  readonly index: number
  readonly term: number
  readonly kind: EntryKind
  readonly data: Uint8Array
}

/** Names an entry for ever: two logs that hold the same index and term agree on everything up to it. */
export interface LogPosition {
  readonly index: number
  readonly term: number
}

/** A snapshot of the state after entry `index`, inclusive. Its content is the driver's business. */
export interface SnapshotMark extends LogPosition {
  /** In force at `index`. */
  readonly membership: Membership
}

interface Envelope {
  readonly from: MemberId
  readonly to: MemberId
  readonly term: number
}

/** Asks for a promise to vote in `term + 1`. Changes nobody's term or vote (thesis, section 9.6). */
export interface PreVoteRequest extends Envelope {
  readonly type: 'pre-vote-request'
  readonly last: LogPosition
}

export interface PreVoteAnswer extends Envelope {
  readonly type: 'pre-vote-answer'
  /** The term of the request, which may be above the term of the one who answers. */
  readonly requestTerm: number
  readonly granted: boolean
}

export interface VoteRequest extends Envelope {
  readonly type: 'vote-request'
  readonly last: LogPosition
  /** The leader itself asked for this election: voters that still hear it vote all the same. */
  readonly transfer: boolean
}

export interface VoteAnswer extends Envelope {
  readonly type: 'vote-answer'
  readonly granted: boolean
  /**
   * For so long the voter had heard no leader. Absent: it does not know, because its process was started since, or is of an
   * earlier release.
   */
  readonly quietMs?: number
}

/** Invariant: entries follow `previous` without a gap, their terms never fall and are at most `term`. */
export interface Append extends Envelope {
  readonly type: 'append'
  readonly previous: LogPosition
  readonly entries: readonly LogEntry[]
  readonly commitIndex: number
}

export interface AppendAnswer extends Envelope {
  readonly type: 'append-answer'
  readonly result:
    | {
        readonly accepted: true /** Equal to the leader's log up to here, and durable. */
        readonly matchIndex: number
      }
    | {
        readonly accepted: false
        /** `previous.index` of the refused append. */
        readonly previousIndex: number
        /** Where the logs may still be equal: no index between this and `previousIndex` can be. */
        readonly hint: LogPosition
      }
  readonly attachment: Uint8Array | undefined
}

/** Keeps the followers following, and proves the leadership to reads that wait for `round` (`read-index.ts`). */
export interface Heartbeat extends Envelope {
  readonly type: 'heartbeat'
  /** Never above what the receiver has acknowledged. */
  readonly commitIndex: number
  readonly round: number
  /** The latest that the receiver can be given (`freshness.ts`). */
  readonly proof: FreshnessProof | undefined
}

export interface HeartbeatAnswer extends Envelope {
  readonly type: 'heartbeat-answer'
  readonly round: number
  /** When it was sent, by the sender's clock, in whole ms: what the leader's proof of freshness will quote. */
  readonly askedMs: number
  /** Of the sender's process: the clock of the next one begins anew. */
  readonly incarnation: string
  readonly attachment: Uint8Array | undefined
}

/** Reaches the core of the receiver only once its driver holds the whole content of the snapshot. */
export interface SnapshotMessage extends Envelope {
  readonly type: 'snapshot'
  readonly snapshot: SnapshotMark
}

/** The leader hands over: campaign now, without asking first. */
export interface TimeoutNow extends Envelope {
  readonly type: 'timeout-now'
}

export interface ReadIndexRequest extends Envelope {
  readonly type: 'read-index-request'
  /** Never used twice, not even across restarts: a late answer must not fit a later request. */
  readonly id: string
}

export interface ReadIndexAnswer extends Envelope {
  readonly type: 'read-index-answer'
  readonly id: string
  /** Absent: the leader cannot answer (too many reads wait there). */
  readonly index: number | undefined
}

/** Tells a leader of an older term, which would not listen to anything else, that its time has passed. */
export interface NewerTerm extends Envelope {
  readonly type: 'newer-term'
}

export type RaftMessage =
  | PreVoteRequest
  | PreVoteAnswer
  | VoteRequest
  | VoteAnswer
  | Append
  | AppendAnswer
  | Heartbeat
  | HeartbeatAnswer
  | SnapshotMessage
  | TimeoutNow
  | ReadIndexRequest
  | ReadIndexAnswer
  | NewerTerm

/**
 * When a message may leave. `after-persist`: it promises, or leans on, state that a crash must not undo, so
 * everything handed out for persisting up to and with the same output is durable first (rule A6).
 *
 * The others promise nothing: an append only offers entries, the leader counts itself when they are durable;
 * a heartbeat answer says that the sender is in this term now, which no crash makes untrue afterwards.
 */
export const DEPARTURE = {
  'pre-vote-request': 'now',
  'pre-vote-answer': 'after-persist',
  'vote-request': 'after-persist',
  'vote-answer': 'after-persist',
  append: 'now',
  'append-answer': 'after-persist',
  heartbeat: 'now',
  'heartbeat-answer': 'now',
  snapshot: 'now',
  'timeout-now': 'now',
  'read-index-request': 'now',
  'read-index-answer': 'now',
  'newer-term': 'after-persist',
} as const satisfies Record<RaftMessage['type'], 'now' | 'after-persist'>
