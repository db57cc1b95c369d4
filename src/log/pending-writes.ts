import type { Offset } from '../base/brands.ts'
import { NaruError } from '../base/errors.ts'
import type { LogConfig } from './log-config.ts'
import type { LogCore } from './log-core.ts'
import type { SegmentRoll, TailBatch } from './log-tail.ts'
import { RELATIVE_MAX } from './offset-index.ts'

/** Batches for one gathered write: all of one segment. */
export interface WriteGroup {
  readonly baseOffset: Offset
  readonly batches: readonly TailBatch[]
  /** Adjacent pieces of one receive buffer are one piece here. */
  readonly buffers: readonly Buffer[]
  readonly sizeBytes: number
  readonly roll: SegmentRoll | undefined
}

/**
 * What is appended but not written: counts it against its limit, cuts it into groups, and decides at append where the
 * next segment begins. (Deciding then, not at the write, lets the producer snapshot of that very offset be taken.)
 */
export class PendingWrites {
  readonly #bytesMax: number
  #bytes = 0
  #segmentBytes: number
  #segmentBaseOffset: Offset
  #segmentSinceWallMs: number | undefined
  #waiting: (() => void)[] = []

  constructor(options: {
    appendPendingBytesMax: number
    segmentBytes: number
    segmentBaseOffset: Offset
    segmentSinceWallMs: number | undefined
  }) {
    this.#bytesMax = options.appendPendingBytesMax
    this.#segmentBytes = options.segmentBytes
    this.#segmentBaseOffset = options.segmentBaseOffset
    this.#segmentSinceWallMs = options.segmentSinceWallMs
  }

  get sizeBytes(): number {
    return this.#bytes
  }

  get hasRoom(): boolean {
    return this.#bytes < this.#bytesMax
  }

  /** Resolves at the next change of what is pending. */
  changed(): Promise<void> {
    return new Promise(resolve => this.#waiting.push(resolve))
  }

  wake(): void {
    for (const resolve of this.#waiting.splice(0)) resolve()
  }

  overloaded(log: string): NaruError {
    return new NaruError(
      'OVERLOADED',
      `${this.#bytes} bytes of the log ${log} wait to be written, appendPendingBytesMax is ${this.#bytesMax}: ` +
        'its disk is slower than its producers; slow down and try again',
      { details: { log }, retryAfterMs: 100 },
    )
  }

  /** Whether this batch must be the first of a new segment: by size, by age, or by the range of index entries. */
  startsSegment(
    batch: { sizeBytes: number; lastOffset: Offset; wallMs: number },
    config: LogConfig,
  ): boolean {
    if (this.#segmentBytes === 0) return false
    const since = this.#segmentSinceWallMs ?? batch.wallMs
    return (
      this.#segmentBytes + batch.sizeBytes > Math.min(config.segmentBytes, RELATIVE_MAX) ||
      batch.wallMs - since >= config.segmentMs ||
      batch.lastOffset - this.#segmentBaseOffset > RELATIVE_MAX
    )
  }

  noteTaken(batch: { sizeBytes: number; baseOffset: Offset; wallMs: number; roll: boolean }): void {
    this.#bytes += batch.sizeBytes
    if (batch.roll) {
      this.#segmentBytes = 0
      this.#segmentBaseOffset = batch.baseOffset
    }
    if (this.#segmentBytes === 0) this.#segmentSinceWallMs = batch.wallMs
    this.#segmentBytes += batch.sizeBytes
  }

  noteWritten(group: WriteGroup): void {
    this.#bytes -= group.sizeBytes
    this.wake()
  }

  /** After a truncation or roll: the segment appended to next, and what of the tail is still pending. */
  restart(core: LogCore): void {
    const segment = core.segments.last
    this.#bytes = 0
    this.#segmentBytes = segment.sizeBytes
    this.#segmentBaseOffset = segment.baseOffset
    this.#segmentSinceWallMs = undefined
    for (const batch of core.tail.from(core.writtenEndOffset)) {
      const { baseOffset, roll } = batch
      const wallMs = core.clock.wallMs()
      this.noteTaken({ sizeBytes: batch.buffer.length, baseOffset, wallMs, roll: roll !== undefined })
    }
    this.wake()
  }

  /** Up to `bytesMax` of what is pending, at least one batch, ending where a new segment begins. */
  nextGroup(core: LogCore, bytesMax: number): WriteGroup {
    const batches: TailBatch[] = []
    const buffers: Buffer[] = []
    let sizeBytes = 0
    for (const batch of core.tail.from(core.writtenEndOffset)) {
      if (batches.length > 0 && (batch.roll || sizeBytes + batch.buffer.length > bytesMax)) break
      batches.push(batch)
      sizeBytes += batch.buffer.length
      pushAdjacent(buffers, batch.buffer)
    }
    return {
      baseOffset: batches[0]?.baseOffset ?? core.writtenEndOffset,
      batches,
      buffers,
      sizeBytes,
      roll: batches[0]?.roll,
    }
  }
}

function pushAdjacent(buffers: Buffer[], buffer: Buffer): void {
  const last = buffers.at(-1)
  if (last && last.buffer === buffer.buffer && last.byteOffset + last.length === buffer.byteOffset) {
    buffers[buffers.length - 1] = Buffer.from(last.buffer, last.byteOffset, last.length + buffer.length)
  } else buffers.push(buffer)
}
