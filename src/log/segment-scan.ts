import type { Offset } from '../base/brands.ts'
import { DiskError } from '../ports/disk.ts'
import { baseOffsetAt, lastOffsetAt, newestTimestampAt } from '../records/batch-header.ts'
import { type BatchExpectation, batchDefectAt, batchSizeAt } from './batch-check.ts'
import type { Segment } from './segment.ts'
import type { IndexedBatch } from './segment-indexes.ts'

/**
 * Walks the batches of a segment in order and checks each: the one loop behind recovery, index rebuilding, scrubbing
 * and the search for a timestamp. Reads large chunks, so the event loop is held for a fraction of a millisecond a time.
 */
const CHUNK_BYTES = 1024 * 1024

export interface ScanOptions extends Omit<BatchExpectation, 'nextOffset'> {
  readonly segment: Segment
  readonly fromPosition: number
  readonly toPosition: number
  /** Offset due at `fromPosition`; undefined where it is taken from the batch there (an index led to it). */
  readonly fromOffset: Offset | undefined
  /** The offset that an index was asked for, which then led to `fromPosition`: the first batch ends there or before. */
  readonly lookedUp?: Offset | undefined
  /** Called for each good batch; `false` ends the scan behind it. */
  onBatch(batch: ScannedBatch): boolean | undefined
  /** Called before each chunk is read; a scrubber waits here. */
  beforeChunk?(sizeBytes: number): Promise<void>
}

export interface ScannedBatch extends IndexedBatch {
  readonly baseOffset: Offset
  /** The bytes of the batch are `sizeBytes` from `at` in here; valid during the call only. */
  readonly buffer: Buffer
  readonly at: number
}

export interface ScanResult {
  /** Behind the last good batch. */
  readonly endPosition: number
  /** undefined where not a single batch was seen and none was due. */
  readonly nextOffset: Offset | undefined
  readonly defect: Defect | undefined
}

/** What is wrong, and where: `offset` is the one that was due there, as far as known. */
export interface Defect {
  readonly file: string
  readonly position: number
  readonly offset: Offset
  readonly what: string
}

export async function scanSegment(options: ScanOptions): Promise<ScanResult> {
  const { segment, toPosition } = options
  let position = options.fromPosition
  let nextOffset = options.fromOffset
  let chunkBytes = CHUNK_BYTES
  const defectAt = (what: string): ScanResult => ({
    endPosition: position,
    nextOffset,
    defect: { file: segment.path, position, offset: nextOffset ?? segment.baseOffset, what },
  })
  while (position < toPosition) {
    const length = Math.min(chunkBytes, toPosition - position)
    await options.beforeChunk?.(length)
    const buffer = await readable(segment, position, length)
    if (typeof buffer === 'string') return defectAt(buffer)
    // A batch may be larger than a chunk: only what the segment ends in the middle of is cut off.
    const isAtEnd = position + buffer.length >= toPosition || buffer.length < length
    let at = 0
    for (;;) {
      const sizeBytes = batchSizeAt(buffer, at)
      if (typeof sizeBytes === 'string') return defectAt(sizeBytes)
      if (sizeBytes === undefined || at + sizeBytes > buffer.length) {
        chunkBytes = Math.max(CHUNK_BYTES, sizeBytes ?? 0)
        break
      }
      const baseOffset = baseOffsetAt(buffer, at)
      const expected = expectation(options, nextOffset ?? baseOffset)
      const defect = batchDefectAt(buffer, at, sizeBytes, expected)
      if (defect) return defectAt(defect)
      const lastOffset = lastOffsetAt(buffer, at)
      if (position === options.fromPosition && lastOffset > (options.lookedUp ?? lastOffset))
        return defectAt(ledAstray(lastOffset))
      const maxTimestamp = newestTimestampAt(buffer, at)
      const more = options.onBatch({ buffer, at, position, sizeBytes, baseOffset, lastOffset, maxTimestamp })
      position += sizeBytes
      nextOffset = lastOffset + 1
      at += sizeBytes
      if (more === false) return { endPosition: position, nextOffset, defect: undefined }
    }
    if (at === 0 && isAtEnd) return defectAt(`the file ends ${buffer.length} bytes into a batch`)
  }
  return { endPosition: position, nextOffset, defect: undefined }
}

/** Gaps or not: a lookup promises a batch that ends at the offset or before (`OffsetIndex.lookup`). */
export function ledAstray(lastOffset: Offset): string {
  return `the index leads beyond it, to a batch that ends at offset ${lastOffset}`
}

/** A bad sector is damage like any other; all other errors are not the segment's. */
async function readable(segment: Segment, position: number, length: number): Promise<Buffer | string> {
  try {
    return await segment.read(position, length)
  } catch (thrown) {
    if (thrown instanceof DiskError && thrown.code === 'EIO') return `it cannot be read (${thrown.message})`
    throw thrown
  }
}

function expectation(options: ScanOptions, nextOffset: Offset): BatchExpectation {
  return {
    nextOffset,
    gapsAllowed: options.gapsAllowed,
    offsetLimit: options.offsetLimit,
    agrees: (epoch, from, to) => options.agrees(epoch, from, to),
  }
}
