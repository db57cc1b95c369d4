import type { Offset } from '../base/brands.ts'
import { OffsetIndex } from './offset-index.ts'
import { TimeIndex, type TimeIndexEntry } from './time-index.ts'

/** Where a batch lies in its segment, as the indexes need it. */
export interface IndexedBatch {
  readonly position: number
  readonly sizeBytes: number
  readonly lastOffset: Offset
  /** -1 where the batch has none. */
  readonly maxTimestamp: number
}

/**
 * Both indexes of one segment, fed with its batches in order. The rule when to add an entry is Kafka's
 * (LogSegment.append), so that its tools find what they expect.
 */
export class SegmentIndexes {
  readonly offsets: OffsetIndex
  readonly times: TimeIndex
  /** They, or what they began with, were read from files, which have no checksum: what they say is a hint. */
  readonly isRead: boolean
  readonly #indexIntervalBytes: number
  #bytesSinceEntry = 0
  /** The largest timestamp up to here and the last offset of the batch that brought it. */
  #newest: TimeIndexEntry | undefined

  constructor(options: {
    offsets: OffsetIndex
    times: TimeIndex
    isRead: boolean
    indexIntervalBytes: number
  }) {
    this.offsets = options.offsets
    this.times = options.times
    this.isRead = options.isRead
    this.#indexIntervalBytes = options.indexIntervalBytes
    this.#newest = options.times.last
  }

  static empty(baseOffset: Offset, indexIntervalBytes: number): SegmentIndexes {
    return new SegmentIndexes({
      offsets: new OffsetIndex(baseOffset),
      times: new TimeIndex(baseOffset),
      isRead: false,
      indexIntervalBytes,
    })
  }

  /** Undefined where no batch has a timestamp. */
  get newest(): TimeIndexEntry | undefined {
    return this.#newest
  }

  get sizeBytes(): number {
    return this.offsets.sizeBytes + this.times.sizeBytes
  }

  note(batch: IndexedBatch): void {
    if (batch.maxTimestamp > (this.#newest?.timestamp ?? -1)) {
      this.#newest = { timestamp: batch.maxTimestamp, offset: batch.lastOffset }
    }
    if (this.#bytesSinceEntry > this.#indexIntervalBytes) {
      this.offsets.append({ lastOffset: batch.lastOffset, position: batch.position })
      if (this.#newest) this.times.maybeAppend(this.#newest)
      this.#bytesSinceEntry = 0
    }
    this.#bytesSinceEntry += batch.sizeBytes
  }

  /**
   * Forgets the batches at or above `position`. The caller then notes again what stands from `offsets.lastPosition` on:
   * that restores the exact state, since each index entry was made together with its time entry.
   */
  truncateTo(position: number): void {
    this.offsets.truncateTo(position)
    // One behind the last of the offsets is of a segment that was complete, and is no more.
    this.times.truncateTo((this.offsets.lastOffset ?? -1) + 1)
    this.#newest = this.times.last
    this.#bytesSinceEntry = 0
  }

  /** Whether the last entries can be of this batch, to which the last one of the offsets leads. */
  endAt(batch: IndexedBatch): boolean {
    if (this.offsets.lastOffset !== batch.lastOffset) return false
    const { last } = this.times
    if (!last) return batch.maxTimestamp < 0
    return last.offset <= batch.lastOffset && last.timestamp >= batch.maxTimestamp
  }

  /** The segment is complete: its largest timestamp becomes the last entry. */
  finish(): void {
    if (this.#newest) this.times.maybeAppend(this.#newest)
  }
}
