import type { ConsumedRecord, RecordBatch, SkippedOffsets, StartPosition } from '../reader/types.ts'

export interface TopicPartition {
  readonly topic: string
  readonly partition: number
}

export interface ConsumerOptions {
  /** Members of one group share the partitions of their topics; each group gets everything. */
  readonly group: string
  /** Topics that do not exist yet are picked up when they are made. */
  readonly topics?: readonly string[]
  /** Also the topics whose whole name matches: `*` stands for any run of characters, `?` for one. */
  readonly topicPattern?: string
  /**
   * A name that survives reconnects and restarts (a pod's name): whoever comes back under it in time keeps its
   * partitions, and a second consumer of that name ends the first. Default: a random one.
   */
  readonly member?: string
  /**
   * Where a partition starts for which the group has committed nothing, and where it goes on if retention has passed the
   * position. Default earliest.
   */
  readonly start?: StartPosition
  /** `uniform` (default) or `range`. The member that joins an empty group decides. */
  readonly assignor?: 'uniform' | 'range'
  /** How long the member may not be heard before its partitions go to others, in ms. Default 10,000, and 3,000 once its connection broke. */
  readonly sessionTimeoutMs?: number
  /** A record is committed when the loop comes back for the next one. `false`: only `commit` does. Default true. */
  readonly autoCommit?: boolean
  /** At most this long after it came back, in ms. Default 1,000. */
  readonly commitIntervalMs?: number
  /** Bytes that may be on their way or wait here per node that is read from, as for a reader. Default 8 MiB. */
  readonly creditBytesMax?: number
  /** For `groups describe`. */
  readonly clientId?: string
  /** These are read as soon as it returns (or its promise resolves). It may seek or pause them. */
  readonly onAssigned?: (partitions: readonly AssignedPartition[]) => void | Promise<void>
  /**
   * These go to another member: no more records of them come. They are given back when this returns (or its promise
   * resolves), the record in hand has come back, and what is done is committed.
   */
  readonly onRevoked?: (partitions: readonly TopicPartition[]) => void | Promise<void>
  /** These were taken without asking (session expired, topic deleted): commits for them are refused. */
  readonly onLost?: (partitions: readonly TopicPartition[]) => void
  /** Told when retention or deletion was faster than the group, or the end of a log was given up: see `SkippedOffsets`. */
  readonly onSkipped?: (skipped: SkippedOffsets) => void
  /** Called with a sentence when the cluster warns of something, or when something is being waited out. */
  readonly onWarning?: (message: string) => void
}

export interface AssignedPartition extends TopicPartition {
  /** Where it starts: what the group has committed. */
  readonly nextOffset: number
}

export interface ConsumerPartition extends TopicPartition {
  /** Offset of the next record that is given out. */
  readonly nextOffset: number
  /** What the group has committed, as far as this member knows. */
  readonly committedOffset: number
  readonly highWatermark: number | undefined
  /** highWatermark - nextOffset. */
  readonly lag: number | undefined
  readonly isPaused: boolean
  /** It is asked back: no more records of it come. */
  readonly isRevoking: boolean
}

export interface OffsetToCommit extends TopicPartition {
  /** Where the group goes on: the offset after the last record that is done. */
  readonly nextOffset: number
  /** Free text, at most 4,096 bytes. */
  readonly metadata?: string
}

/**
 * A member of a group. Iterate it for single records, or `batches()` for bulk work: records in order per partition, at
 * least once. One loop at a time; it may take as long as it likes over a record, as long as the process is not blocked.
 */
export interface Consumer extends AsyncIterable<ConsumedRecord> {
  /** Its name in the group. */
  readonly member: string
  [Symbol.asyncIterator](): AsyncIterableIterator<ConsumedRecord>
  batches(): AsyncIterableIterator<RecordBatch>
  /** What it has now. */
  partitions(): ConsumerPartition[]
  /** Sum of the lags of its partitions; undefined until all are known. */
  lag(): number | undefined
  /**
   * Stores these offsets; without any, of everything that was given out, the record in hand included. Rejects with the
   * first that failed.
   */
  commit(offsets?: readonly OffsetToCommit[]): Promise<void>
  /** No records of these come until `resume`. They stay this member's. */
  pause(partitions: readonly TopicPartition[]): void
  resume(partitions: readonly TopicPartition[]): void
  /** The next record of the partition is the one at this offset. */
  seek(partition: TopicPartition, offset: number): void
  /** Ends the loop, commits what is done and leaves: others have the partitions at once. */
  close(options?: CloseOptions): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

export interface CloseOptions {
  /**
   * How long the record in hand may take to come back, in ms. What has not come back is not done, and goes to another
   * member. Default 0.
   */
  readonly waitMs?: number
}
