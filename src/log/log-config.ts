/** What a topic's settings mean to one partition log; Kafka's names stand beside each. */
export interface LogConfig {
  /** A segment is closed before a batch would make it larger (`segment.bytes`). */
  readonly segmentBytes: number
  /** A segment is closed when its first batch is older than this (`segment.ms`). */
  readonly segmentMs: number
  /** Segments whose newest record is older are removed; undefined keeps them (`retention.ms`, -1). */
  readonly retentionMs: number | undefined
  /** Oldest segments are removed while the log stays at least this large without them (`retention.bytes`, -1). */
  readonly retentionBytes: number | undefined
  /** Bytes of log between two entries of the indexes (`index.interval.bytes`). */
  readonly indexIntervalBytes: number
  /** Acknowledge on the page cache; syncs follow in the background (`write.caching`). */
  readonly writeCaching: boolean
  /**
   * `cleanup.policy` has `compact`: offsets may have gaps from now on. The log remembers it in a file, so gaps stay
   * legal after the policy changes, while in a log that was never compacted a gap is corruption.
   */
  readonly compacted: boolean
  /** How long a tombstone stays, from the first cleaning that finds it the newest of its key (`delete.retention.ms`). */
  readonly deleteRetentionMs: number
  /** Share of the bytes that may be cleaned which must be new before a cleaning begins (`min.cleanable.dirty.ratio`). */
  readonly minCleanableDirtyRatio: number
  /** A segment whose newest record is younger is not cleaned (`min.compaction.lag.ms`). */
  readonly minCompactionLagMs: number
}

export const DEFAULT_LOG_CONFIG: LogConfig = {
  segmentBytes: 256 * 1024 * 1024,
  segmentMs: 7 * 24 * 3600 * 1000,
  retentionMs: 7 * 24 * 3600 * 1000,
  retentionBytes: undefined,
  indexIntervalBytes: 4096,
  writeCaching: false,
  compacted: false,
  deleteRetentionMs: 24 * 3600 * 1000,
  minCleanableDirtyRatio: 0.5,
  minCompactionLagMs: 0,
}

/**
 * A sync group, and so a batch, is at most this large. Where syncs gate writes, only this much at the end of a file can
 * be torn by a crash (rule B2): a bad batch before it is corruption.
 */
export const SYNC_GROUP_BYTES_MAX = 8 * 1024 * 1024

/** Unwritten bytes of one log; an append above it is refused, so a stalled disk cannot fill the memory. */
export const APPEND_PENDING_BYTES_MAX = 32 * 1024 * 1024
