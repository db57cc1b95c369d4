import { assert } from '../base/assert.ts'
import type { Offset } from '../base/brands.ts'

/**
 * Sparse index of a segment: offset -> position of a batch in the `.log` file. Kafka's format: entries of 8 bytes,
 * big-endian, in rising order.
 *
 *   0  uint32  last offset of the batch, relative to the segment's base offset
 *   4  uint32  position of the batch's first byte
 *
 * Derived: deleting the file costs a scan of the segment, nothing else. An entry names the *last* offset of its batch
 * (as Kafka's does, and as its DumpLogSegments checks), so `lookup(x)` may land on the batch that ends at x or
 * before; the reader walks on from there.
 */
const OFFSET_INDEX_ENTRY_BYTES = 8
/** Kafka reads both fields as signed: neither a relative offset nor a position may be larger. */
export const RELATIVE_MAX = 0x7fff_ffff

export class OffsetIndex {
  readonly #baseOffset: Offset
  #bytes: Buffer
  #length: number

  constructor(baseOffset: Offset, bytes: Buffer = Buffer.alloc(0)) {
    this.#baseOffset = baseOffset
    this.#bytes = bytes
    this.#length = bytes.length
  }

  /** The index a file holds, or undefined where it cannot be one of a segment of `segmentBytes`. */
  static parse(bytes: Buffer, baseOffset: Offset, segmentBytes: number): OffsetIndex | undefined {
    if (bytes.length % OFFSET_INDEX_ENTRY_BYTES !== 0) return undefined
    let offsetBefore = -1
    let positionBefore = -1
    for (let at = 0; at < bytes.length; at += OFFSET_INDEX_ENTRY_BYTES) {
      const offset = bytes.readUInt32BE(at)
      const position = bytes.readUInt32BE(at + 4)
      if (offset <= offsetBefore || position <= positionBefore || position >= segmentBytes) return undefined
      offsetBefore = offset
      positionBefore = position
    }
    return new OffsetIndex(baseOffset, bytes)
  }

  get entryCount(): number {
    return this.#length / OFFSET_INDEX_ENTRY_BYTES
  }

  get sizeBytes(): number {
    return this.#length
  }

  /** The file's content; a view that the next `append` may change. */
  get bytes(): Buffer {
    return this.#bytes.subarray(0, this.#length)
  }

  /** Position of the last indexed batch, where a scan for the segment's end begins. */
  get lastPosition(): number {
    return this.#length === 0 ? 0 : this.#bytes.readUInt32BE(this.#length - 4)
  }

  /** Of that batch. */
  get lastOffset(): Offset | undefined {
    if (this.#length === 0) return undefined
    return this.#baseOffset + this.#bytes.readUInt32BE(this.#length - OFFSET_INDEX_ENTRY_BYTES)
  }

  append(entry: { lastOffset: Offset; position: number }): void {
    const relative = entry.lastOffset - this.#baseOffset
    assert(
      relative >= 0 && relative <= RELATIVE_MAX,
      'an index entry lies within 2^31 offsets of its segment',
    )
    assert(
      this.#length === 0 || this.#bytes.readUInt32BE(this.#length - OFFSET_INDEX_ENTRY_BYTES) < relative,
      'index entries rise',
    )
    this.#bytes = withRoom(this.#bytes, this.#length, OFFSET_INDEX_ENTRY_BYTES)
    this.#bytes.writeUInt32BE(relative, this.#length)
    this.#bytes.writeUInt32BE(entry.position, this.#length + 4)
    this.#length += OFFSET_INDEX_ENTRY_BYTES
  }

  /** Position of the last indexed batch whose last offset is <= `offset`; 0 where there is none. */
  lookup(offset: Offset): number {
    const relative = offset - this.#baseOffset
    let low = 0
    let high = this.entryCount
    while (low < high) {
      const middle = (low + high) >>> 1
      if (this.#bytes.readUInt32BE(middle * OFFSET_INDEX_ENTRY_BYTES) <= relative) low = middle + 1
      else high = middle
    }
    return low === 0 ? 0 : this.#bytes.readUInt32BE((low - 1) * OFFSET_INDEX_ENTRY_BYTES + 4)
  }

  /** Forgets the entries of batches at or above `position`. */
  truncateTo(position: number): void {
    while (this.#length > 0 && this.lastPosition >= position) this.#length -= OFFSET_INDEX_ENTRY_BYTES
  }
}

/** `bytes`, or a copy of twice the size where `more` bytes do not fit behind `length`. */
export function withRoom(bytes: Buffer, length: number, more: number): Buffer {
  if (length + more <= bytes.length) return bytes
  const grown = Buffer.alloc(Math.max(256, bytes.length * 2))
  bytes.copy(grown, 0, 0, length)
  return grown
}
