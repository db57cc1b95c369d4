import type { Epoch, Offset } from '../base/brands.ts'

/** Whole batches of a log, in order, without gaps between them (unless compaction made some). */
export interface LogSlice {
  /** Offset of the first batch; may lie below the offset asked for, which is inside that batch then. */
  readonly baseOffset: Offset
  /** Where the next read goes on. Equal to the offset asked for where nothing was there. */
  readonly nextOffset: Offset
  readonly sizeBytes: number
  /** The bytes, one buffer after the other; each holds whole batches. Shared: never write into them. */
  readonly buffers: readonly Buffer[]
}

export interface ReadRange {
  readonly from: Offset
  /** No batch that reaches this offset or beyond is read. */
  readonly upTo: Offset
  /** At least one batch comes even if it alone is larger. */
  readonly maxBytes: number
}

export function emptySlice(from: Offset): LogSlice {
  return { baseOffset: from, nextOffset: from, sizeBytes: 0, buffers: [] }
}

/** One appended batch in memory. */
export interface TailBatch {
  readonly buffer: Buffer
  readonly baseOffset: Offset
  readonly lastOffset: Offset
  readonly leaderEpoch: Epoch
  readonly maxTimestamp: number
  /** The batch is the first of a new segment. */
  readonly roll: SegmentRoll | undefined
}

export interface SegmentRoll {
  /** Producer state before the batch, as the new segment's snapshot file. */
  readonly snapshot: Buffer
}

/**
 * The last batches of a log in memory: all that is not written yet (their queue on the way to the disk), and behind
 * it what was appended last, so that followers and tailing readers cost neither a read call nor a copy.
 * Invariant: contiguous up to the log's end; what is not written is never dropped.
 */
export class LogTail {
  readonly #budget: TailBudget
  #batches: TailBatch[] = []
  /** Batches before this index are dropped; the array is cut now and then. */
  #head = 0
  #bytes = 0
  #writtenEndOffset: Offset

  constructor(options: { budget: TailBudget; writtenEndOffset: Offset }) {
    this.#budget = options.budget
    this.#writtenEndOffset = options.writtenEndOffset
  }

  get sizeBytes(): number {
    return this.#bytes
  }

  push(batch: TailBatch): void {
    this.#batches.push(batch)
    this.#bytes += batch.buffer.length
    this.#budget.added(this, batch.buffer.length)
  }

  /** What lies below may go when memory is short. */
  noteWritten(writtenEndOffset: Offset): void {
    this.#writtenEndOffset = writtenEndOffset
    this.#evict(this.#budget.keptBytes(this))
  }

  /** Drops all that is written; called by the budget for the log that appended least recently. */
  evictWritten(): void {
    this.#evict(0)
  }

  /** Forgets batches that end above `endOffset`. */
  truncateTo(endOffset: Offset): void {
    for (let last = this.#batches.at(-1); last && last.lastOffset >= endOffset; last = this.#batches.at(-1)) {
      if (this.#batches.length <= this.#head) break
      this.#batches.pop()
      this.#drop(last)
    }
    this.#writtenEndOffset = Math.min(this.#writtenEndOffset, endOffset)
  }

  clear(writtenEndOffset: Offset): void {
    this.truncateTo(0)
    this.#writtenEndOffset = writtenEndOffset
    this.#budget.removed(this)
  }

  /** Undefined where the batch that holds `from` is not in memory. */
  read(range: ReadRange): LogSlice | undefined {
    const first = this.#batches[this.#head]
    const last = this.#batches.at(-1)
    if (!first || !last || range.from > last.lastOffset) return undefined
    // The batch before may be in the files; what is not written is all here, behind a gap perhaps.
    if (range.from < first.baseOffset && range.from < this.#writtenEndOffset) return undefined
    const buffers: Buffer[] = []
    let sizeBytes = 0
    let nextOffset = range.from
    const start = this.#indexOf(range.from)
    for (let at = start; at < this.#batches.length; at++) {
      const batch = this.#batches[at] as TailBatch
      if (batch.lastOffset >= range.upTo) break
      if (at > start && sizeBytes + batch.buffer.length > range.maxBytes) break
      buffers.push(batch.buffer)
      sizeBytes += batch.buffer.length
      nextOffset = batch.lastOffset + 1
    }
    const baseOffset = buffers.length === 0 ? range.from : (this.#batches[start]?.baseOffset ?? range.from)
    return { baseOffset, nextOffset, sizeBytes, buffers }
  }

  /** Batches in memory from `from` on, in order. */
  *from(from: Offset): Generator<TailBatch, void, void> {
    for (let at = this.#indexOf(from); at < this.#batches.length; at++) yield this.#batches[at] as TailBatch
  }

  /** Index of the first batch whose last offset is >= `offset`. */
  #indexOf(offset: Offset): number {
    let low = this.#head
    let high = this.#batches.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((this.#batches[middle]?.lastOffset ?? 0) < offset) low = middle + 1
      else high = middle
    }
    return low
  }

  #evict(bytesMax: number): void {
    for (;;) {
      const first = this.#batches[this.#head]
      if (!first || this.#bytes <= bytesMax || first.lastOffset >= this.#writtenEndOffset) break
      this.#batches[this.#head++] = DROPPED
      this.#drop(first)
    }
    if (this.#head > 64 && this.#head * 2 > this.#batches.length) {
      this.#batches = this.#batches.slice(this.#head)
      this.#head = 0
    }
  }

  #drop(batch: TailBatch): void {
    this.#bytes -= batch.buffer.length
    this.#budget.added(this, -batch.buffer.length)
  }
}

/** Stands where a dropped batch was, so that its bytes are free before the array is cut. */
const DROPPED: TailBatch = {
  buffer: Buffer.alloc(0),
  baseOffset: -1,
  lastOffset: -1,
  leaderEpoch: -1,
  maxTimestamp: -1,
  roll: undefined,
}

/** Bounds the memory of all tails of a data directory: the logs that appended least recently give theirs first. */
export class TailBudget {
  readonly #logBytesMax: number
  readonly #totalBytesMax: number
  readonly #tails = new Set<LogTail>()
  #bytes = 0

  constructor(options: { tailBytesMax: number; tailsTotalBytesMax: number }) {
    this.#logBytesMax = options.tailBytesMax
    this.#totalBytesMax = options.tailsTotalBytesMax
  }

  get sizeBytes(): number {
    return this.#bytes
  }

  added(tail: LogTail, bytes: number): void {
    this.#bytes += bytes
    if (bytes < 0) return
    this.#tails.delete(tail)
    this.#tails.add(tail)
    for (const oldest of this.#tails) {
      if (this.#bytes <= this.#totalBytesMax) break
      oldest.evictWritten()
      if (oldest === tail) break
      this.#tails.delete(oldest)
    }
  }

  /** What a tail may keep of what was just written. It gives again, also if it had nothing to give when it was asked. */
  keptBytes(tail: LogTail): number {
    if (this.#bytes > this.#totalBytesMax) return 0
    this.#tails.add(tail)
    return this.#logBytesMax
  }

  removed(tail: LogTail): void {
    this.#tails.delete(tail)
  }
}
