/**
 * Every error that a user, an operator or a program can meet has a reason from this one table. The docs
 * (docs/errors.md) and the proto enum `naru.v1.ErrorReason` are checked against it. Reasons are never reused.
 *
 * - `status`: the canonical gRPC status it travels as.
 * - `retriable`: the same call may succeed later without anybody changing anything.
 * - `outcome`: what is known of the call's effect. `none`: it certainly did not happen. `unknown`: it may have.
 * - `action`: what the reader should do about it.
 */
export const ERROR_CODES = {
  INVALID_REQUEST: row('INVALID_ARGUMENT', false, 'none', 'Correct the field that the message names.'),
  INVALID_TOPIC_NAME: row('INVALID_ARGUMENT', false, 'none', 'Use 1-249 characters of a-z A-Z 0-9 . _ -'),
  INVALID_PARTITION_COUNT: row(
    'INVALID_ARGUMENT',
    false,
    'none',
    'Ask for a count within the limits that the message names.',
  ),
  INVALID_REPLICATION_FACTOR: row(
    'INVALID_ARGUMENT',
    false,
    'none',
    'Ask for no more replicas than there are nodes.',
  ),
  UNKNOWN_SETTING: row('INVALID_ARGUMENT', false, 'none', 'Use a setting listed in docs/settings.md.'),
  INVALID_SETTING: row(
    'INVALID_ARGUMENT',
    false,
    'none',
    'Give a value within the limits that the message names.',
  ),
  UNKNOWN_TOPIC: row('NOT_FOUND', false, 'none', 'Create the topic: naru topics create NAME'),
  UNKNOWN_PARTITION: row('NOT_FOUND', false, 'none', 'Use a partition below the count of the topic.'),
  TOPIC_ALREADY_EXISTS: row('ALREADY_EXISTS', false, 'none', 'Use the topic as it is, or another name.'),
  INVALID_BATCH: row(
    'INVALID_ARGUMENT',
    false,
    'none',
    'Send a well-formed v2 record batch; the message says what is wrong.',
  ),
  CORRUPT_BATCH: row(
    'INVALID_ARGUMENT',
    false,
    'none',
    'The batch changed on its way (CRC-32C): send it again.',
  ),
  UNSUPPORTED_COMPRESSION: row('INVALID_ARGUMENT', false, 'none', 'Use none, gzip, snappy, lz4 or zstd.'),
  INVALID_TIMESTAMP: row(
    'INVALID_ARGUMENT',
    false,
    'none',
    "Correct the producer's clock, or leave the timestamp out.",
  ),
  INVALID_RECORD: row(
    'INVALID_ARGUMENT',
    false,
    'none',
    'Give each record of a compacted topic a key (cleanup.policy).',
  ),
  RECORD_TOO_LARGE: row(
    'INVALID_ARGUMENT',
    false,
    'none',
    'Send smaller records, or raise max.message.bytes of the topic.',
  ),
  REQUEST_TOO_LARGE: row(
    'RESOURCE_EXHAUSTED',
    false,
    'none',
    'Split the request below the limit that the message names.',
  ),
  RECORD_TOO_LARGE_FOR_CLIENT: row(
    'FAILED_PRECONDITION',
    false,
    'none',
    "Raise the client's receive limit and ask with a higher max_frame_bytes.",
  ),
  OFFSET_OUT_OF_RANGE: row(
    'OUT_OF_RANGE',
    false,
    'none',
    'Start within the range that the message names, or at earliest or latest.',
  ),
  OUT_OF_ORDER_SEQUENCE: row(
    'FAILED_PRECONDITION',
    false,
    'none',
    'An earlier batch of this producer is missing: send from the sequence that the message names.',
  ),
  PRODUCER_FENCED: row(
    'FAILED_PRECONDITION',
    false,
    'none',
    'A newer producer took over this producer id: start a new producer.',
  ),
  UNKNOWN_PRODUCER_ID: row(
    'FAILED_PRECONDITION',
    false,
    'none',
    'The producer id has expired here: take a new one with InitProducer.',
  ),
  UNKNOWN_OUTCOME: row(
    'ABORTED',
    false,
    'unknown',
    'It may or may not have happened (records may be stored): check, or send again and accept duplicates.',
  ),
  NOT_LEADER: row(
    'FAILED_PRECONDITION',
    true,
    'none',
    'Send to the leader that the metadata of the error names.',
  ),
  FENCED_LEADER_EPOCH: row('FAILED_PRECONDITION', true, 'none', 'Refresh the metadata and ask again.'),
  LEADER_NOT_AVAILABLE: row(
    'UNAVAILABLE',
    true,
    'none',
    'The partition has no leader now: try again; the logs of the nodes say why.',
  ),
  NOT_ENOUGH_REPLICAS: row(
    'UNAVAILABLE',
    true,
    'none',
    'Fewer replicas are in sync than min.insync.replicas asks: try again when they are back.',
  ),
  NOT_CONTROLLER: row('UNAVAILABLE', true, 'none', 'The controller is moving: try again.'),
  CONTROLLER_NOT_AVAILABLE: row(
    'UNAVAILABLE',
    true,
    'none',
    'No controller is known now, so nothing can be changed: try again; naru cluster quorum shows which voters are missing.',
  ),
  QUORUM_CHANGE_REFUSED: row(
    'FAILED_PRECONDITION',
    true,
    'none',
    'The quorum cannot change safely now, for the reason in the message: try again later.',
  ),
  NODE_STARTING: row('UNAVAILABLE', true, 'none', 'The node is not ready yet: try again.'),
  NODE_DRAINING: row('UNAVAILABLE', true, 'none', 'The node is stopping: use another node, or try again.'),
  CONNECTION_FAILED: row('UNAVAILABLE', true, 'none', 'Check the address and that the node runs.'),
  DEADLINE_EXCEEDED: row(
    'DEADLINE_EXCEEDED',
    true,
    'unknown',
    'Try again, with a longer deadline if need be.',
  ),
  CANCELLED: row('CANCELLED', false, 'unknown', 'The caller ended the call.'),
  OVERLOADED: row(
    'RESOURCE_EXHAUSTED',
    true,
    'none',
    'The limit that the message names is reached: slow down and try again.',
  ),
  DISK_FULL: row(
    'RESOURCE_EXHAUSTED',
    true,
    'none',
    'Free disk space (delete topics or records, shorten retention) or add some; writes resume by themselves.',
  ),
  STORAGE_OFFLINE: row(
    'UNAVAILABLE',
    true,
    'none',
    'A write or sync of the data directory failed: check the disk, then restart the node.',
  ),
  CORRUPT_DATA: row(
    'DATA_LOSS',
    false,
    'none',
    'The stored bytes are damaged: see the message for file and offset, and docs/operating.md.',
  ),
  READER_TOO_SLOW: row(
    'RESOURCE_EXHAUSTED',
    true,
    'none',
    'The client did not take its records in time: reconnect and read faster, or give less credit.',
  ),
  NOT_IMPLEMENTED: row('UNIMPLEMENTED', false, 'none', 'This release lacks what the message names.'),
  DATA_DIRECTORY_IN_USE: row(
    'FAILED_PRECONDITION',
    false,
    'none',
    'Stop the other process, or use another data directory.',
  ),
  DATA_DIRECTORY_VERSION: row(
    'FAILED_PRECONDITION',
    false,
    'none',
    'Use the release of Naru that wrote this data directory, or a newer one.',
  ),
  DATA_DIRECTORY_DAMAGED: row(
    'DATA_LOSS',
    false,
    'none',
    'Restore the file that the message names; see docs/operating.md.',
  ),
  INVALID_CONFIG: row('INVALID_ARGUMENT', false, 'none', 'Correct the setting that the message names.'),
  CLOSED: row('CANCELLED', false, 'none', 'The object was closed: make a new one.'),
  UNAUTHENTICATED: row(
    'UNAUTHENTICATED',
    false,
    'none',
    'Give the credentials of a user that the cluster knows.',
  ),
  PERMISSION_DENIED: row(
    'PERMISSION_DENIED',
    false,
    'none',
    'Ask the operator for an access rule that allows what the message names.',
  ),
  NODE_ID_IN_USE: row(
    'FAILED_PRECONDITION',
    true,
    'none',
    'Another node with this id runs: stop it, or give this one another node.id.',
  ),
  UNKNOWN_SERVICE: row(
    'NOT_FOUND',
    false,
    'none',
    'Ask for the health of "" (the node) or of a service that it lists.',
  ),
  STALE_NODE_EPOCH: row(
    'FAILED_PRECONDITION',
    false,
    'none',
    'The node registered anew since: its older process must register again, or stop.',
  ),
  NODE_REMOVED: row(
    'FAILED_PRECONDITION',
    false,
    'none',
    'The node was taken out of the cluster: it may join anew with an empty data directory.',
  ),
  NODE_NOT_REMOVABLE: row(
    'FAILED_PRECONDITION',
    false,
    'none',
    'Stop the node, and move or delete the replicas that the message names.',
  ),
  UNKNOWN_NODE: row('NOT_FOUND', false, 'none', 'Use a node that naru cluster nodes lists.'),
  UNKNOWN_GROUP: row(
    'NOT_FOUND',
    false,
    'none',
    'Use a group that naru groups list shows; it begins with its first member or commit.',
  ),
  UNKNOWN_MEMBER: row(
    'FAILED_PRECONDITION',
    false,
    'none',
    'The member left or was expelled: join again, and go on from the last commit.',
  ),
  MEMBER_FENCED: row(
    'FAILED_PRECONDITION',
    false,
    'none',
    'Another stream joined under the same member name: give each process a name of its own, or none.',
  ),
  PARTITION_NOT_OWNED: row(
    'FAILED_PRECONDITION',
    false,
    'none',
    'The partition is not (or no longer) of this member: drop its records, another member reads them.',
  ),
  GROUP_NOT_EMPTY: row('FAILED_PRECONDITION', false, 'none', 'Stop the members of the group first.'),
  INTERNAL: row(
    'INTERNAL',
    false,
    'unknown',
    'This is a bug of Naru: please report it with the log of the node.',
  ),
} as const satisfies Record<string, ErrorCode>

export type GrpcStatusName =
  | 'CANCELLED'
  | 'UNKNOWN'
  | 'INVALID_ARGUMENT'
  | 'DEADLINE_EXCEEDED'
  | 'NOT_FOUND'
  | 'ALREADY_EXISTS'
  | 'PERMISSION_DENIED'
  | 'RESOURCE_EXHAUSTED'
  | 'FAILED_PRECONDITION'
  | 'ABORTED'
  | 'OUT_OF_RANGE'
  | 'UNIMPLEMENTED'
  | 'INTERNAL'
  | 'UNAVAILABLE'
  | 'DATA_LOSS'
  | 'UNAUTHENTICATED'

export interface ErrorCode {
  readonly status: GrpcStatusName
  readonly retriable: boolean
  readonly outcome: 'none' | 'unknown'
  readonly action: string
}

export type ErrorReason = keyof typeof ERROR_CODES

/** Facts of an error as strings (they travel as `ErrorInfo.metadata`): `{ topic: 'logs', partition: '3' }`. */
export type ErrorDetails = Readonly<Record<string, string>>

export interface NaruErrorOptions {
  readonly details?: ErrorDetails
  readonly cause?: unknown
  /** When to try again, where the sender knows better than the caller's own backoff. */
  readonly retryAfterMs?: number
  /** Overrides the outcome of the table, where this one case knows more (or less). */
  readonly outcome?: 'none' | 'unknown'
}

/**
 * The one error class of Naru, on nodes and in clients. The message names the thing, the cause and the way
 * out: `topic "logs" does not exist (create it: naru topics create logs)`.
 */
export class NaruError extends Error {
  override readonly name = 'NaruError'
  readonly reason: ErrorReason
  readonly retriable: boolean
  readonly outcome: 'none' | 'unknown'
  readonly details: ErrorDetails
  readonly retryAfterMs: number | undefined

  constructor(reason: ErrorReason, message: string, options: NaruErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    const code = ERROR_CODES[reason]
    this.reason = reason
    this.retriable = code.retriable
    this.outcome = options.outcome ?? code.outcome
    this.details = options.details ?? {}
    this.retryAfterMs = options.retryAfterMs
  }

  /** Any thrown value as a NaruError: itself, or INTERNAL with the value as its cause. */
  static from(thrown: unknown): NaruError {
    if (thrown instanceof NaruError) return thrown
    const message = thrown instanceof Error ? thrown.message : String(thrown)
    return new NaruError('INTERNAL', message, { cause: thrown })
  }
}

function row(
  status: GrpcStatusName,
  retriable: boolean,
  outcome: 'none' | 'unknown',
  action: string,
): ErrorCode {
  return { status, retriable, outcome, action }
}
