/** Key, value and header values are views: whoever keeps one keeps all bytes of its batch. */
export interface ConsumedRecord {
  readonly topic: string
  readonly partition: number
  readonly offset: number
  /** Milliseconds since 1970. */
  readonly timestampMs: number
  readonly key: Buffer | null
  /** Null: a tombstone. */
  readonly value: Buffer | null
  readonly headers: readonly RecordHeader[]
}

export interface RecordHeader {
  readonly key: string
  /** Null is not the same as empty. */
  readonly value: Buffer | null
}

/** Records of one partition, in order. */
export interface RecordBatch {
  readonly topic: string
  readonly partition: number
  readonly records: readonly ConsumedRecord[]
  /** Where reading would go on after these. */
  readonly nextOffset: number
  /** End of what was readable when they came. */
  readonly highWatermark: number
  /**
   * The stored batch (Kafka's format v2) they come from, its CRC checked. It may hold records before the start and
   * behind the stop; a large one is given out in several parts, each with all its bytes.
   */
  readonly bytes: Buffer
}

/** Where to start: each partition at its own place, or all by one rule. */
export type StartPosition =
  /** The oldest record. */
  | 'earliest'
  /** Only what is written from now on. */
  | 'latest'
  | { readonly earliest: true }
  | { readonly latest: true }
  | { readonly offset: number }
  /** The first record of this time or later (ms since 1970). `timestamp` is the same. */
  | { readonly timestampMs: number }
  | { readonly timestamp: number }
  /** This many offsets before the end. */
  | { readonly lastN: number }

/** Where to stop. */
export type StopPosition =
  /** The end as it is when the reader starts. */
  | 'currentEnd'
  | { readonly currentEnd: true }
  /** Before this offset. */
  | { readonly offset: number }
  /** Before the first record of this time or later, or at the end as it is when the reader starts. */
  | { readonly timestampMs: number }
  | { readonly timestamp: number }

export type PerPartition<Position> = { readonly partitions: Readonly<Record<number, Position>> }

/**
 * Offsets [from, to) that retention or DeleteRecords removed before they were read. `to` below `from`: [to, from) were
 * read, and given up when an operator recovered the partition (or by `write.caching`); what comes at them is new.
 */
export interface SkippedOffsets {
  readonly topic: string
  readonly partition: number
  readonly from: number
  readonly to: number
}

export interface ReaderOptions {
  readonly topic: string
  /** Default: all, and those that are added while reading (if there is no stop). */
  readonly partitions?: readonly number[]
  /** One place for all, or `{ partitions: { 0: ..., 1: ... } }` for exactly these. Default earliest. */
  readonly start?: StartPosition | PerPartition<StartPosition> | undefined
  /** One place for all, or `{ partitions: { 0: ... } }`; those not named there go on for ever. Default: never. */
  readonly stop?: StopPosition | PerPartition<StopPosition> | undefined
  /**
   * Bytes that may be on their way or wait here per node that is read from: the memory a reader takes is this, one
   * batch more (at most 8 MiB), and the records of the batch in hand (at most 64 MiB if it is compressed). Default 8 MiB.
   */
  readonly creditBytesMax?: number
  /** How long errors that may pass are waited out without any progress, in ms. Default 120,000. */
  readonly retryTimeoutMs?: number
  /**
   * Told when offsets were gone before they were read; reading goes on at the oldest record there is (at the end with start
   * `latest`). Told as well when the log ends before what was read, as its end was given up; reading goes on at its end.
   */
  readonly onSkipped?: (skipped: SkippedOffsets) => void
}

export interface ReaderPartition {
  readonly partition: number
  /** Offset of the next record that is given out; undefined until the start is known. */
  readonly nextOffset: number | undefined
  readonly highWatermark: number | undefined
  readonly logStartOffset: number | undefined
  /** Records between the two: highWatermark - nextOffset. */
  readonly lag: number | undefined
  /** It has reached its stop. */
  readonly ended: boolean
}

/**
 * Records of a topic, in order per partition, each once. Iterate it for single records, or `batches()` for bulk
 * work: several times faster. Both draw from the same place; leaving the loop does not close the reader.
 */
export interface Reader extends AsyncIterable<ConsumedRecord> {
  [Symbol.asyncIterator](): AsyncIterableIterator<ConsumedRecord>
  batches(): AsyncIterableIterator<RecordBatch>
  /** What is known of each partition. */
  partitions(): ReaderPartition[]
  /** Sum of the lags of all partitions; undefined until all are known. */
  lag(): number | undefined
  /** Ends reading; loops over it end. */
  close(): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}
