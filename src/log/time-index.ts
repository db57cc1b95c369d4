import { assert } from '../base/assert.ts'
import type { Offset } from '../base/brands.ts'
import { withRoom } from './offset-index.ts'

/**
 * Sparse index of a segment: timestamp -> offset. Kafka's format: entries of 12 bytes, big-endian.
 *
 *   0  int64   the largest timestamp of the segment up to here
 *   8  uint32  last offset of the batch that brought it, relative to the segment's base offset
 *
 * Invariant: timestamps and offsets rise strictly, so records with a timestamp above an entry's come after its offset.
 * The last entry of a closed segment is the segment's largest timestamp: retention by time reads no more to keep one.
 */
export const TIME_INDEX_ENTRY_BYTES = 12

export interface TimeIndexEntry {
  readonly timestamp: number
  readonly offset: Offset
}

export class TimeIndex {
  readonly #baseOffset: Offset
  #bytes: Buffer
  #length: number

  constructor(baseOffset: Offset, bytes: Buffer = Buffer.alloc(0)) {
    this.#baseOffset = baseOffset
    this.#bytes = bytes
    this.#length = bytes.length
  }

  /** The index a file holds, or undefined where its content cannot be one. */
  static parse(bytes: Buffer, baseOffset: Offset): TimeIndex | undefined {
    if (bytes.length % TIME_INDEX_ENTRY_BYTES !== 0) return undefined
    const index = new TimeIndex(baseOffset, bytes)
    for (let at = 0; at < index.entryCount; at++) {
      const entry = index.entry(at)
      const before = at === 0 ? undefined : index.entry(at - 1)
      if (!Number.isSafeInteger(entry.timestamp) || entry.timestamp < 0) return undefined
      if (before && (entry.timestamp <= before.timestamp || entry.offset <= before.offset)) return undefined
    }
    return index
  }

  get entryCount(): number {
    return this.#length / TIME_INDEX_ENTRY_BYTES
  }

  get sizeBytes(): number {
    return this.#length
  }

  /** The file's content; a view that the next `maybeAppend` may change. */
  get bytes(): Buffer {
    return this.#bytes.subarray(0, this.#length)
  }

  get last(): TimeIndexEntry | undefined {
    return this.#length === 0 ? undefined : this.entry(this.entryCount - 1)
  }

  entry(at: number): TimeIndexEntry {
    const start = at * TIME_INDEX_ENTRY_BYTES
    return {
      timestamp: this.#bytes.readInt32BE(start) * 2 ** 32 + this.#bytes.readUInt32BE(start + 4),
      offset: this.#baseOffset + this.#bytes.readUInt32BE(start + 8),
    }
  }

  /** Adds the entry unless the timestamp is not above the last one's. */
  maybeAppend(entry: TimeIndexEntry): void {
    const last = this.last
    if (entry.timestamp < 0 || (last && entry.timestamp <= last.timestamp)) return
    assert(!last || entry.offset > last.offset, 'time index offsets rise with their timestamps')
    this.#bytes = withRoom(this.#bytes, this.#length, TIME_INDEX_ENTRY_BYTES)
    this.#bytes.writeInt32BE(Math.floor(entry.timestamp / 2 ** 32), this.#length)
    this.#bytes.writeUInt32BE(entry.timestamp % 2 ** 32, this.#length + 4)
    this.#bytes.writeUInt32BE(entry.offset - this.#baseOffset, this.#length + 8)
    this.#length += TIME_INDEX_ENTRY_BYTES
  }

  /** The last entry with a timestamp <= `timestamp`. */
  lookup(timestamp: number): TimeIndexEntry | undefined {
    let low = 0
    let high = this.entryCount
    while (low < high) {
      const middle = (low + high) >>> 1
      if (this.entry(middle).timestamp <= timestamp) low = middle + 1
      else high = middle
    }
    return low === 0 ? undefined : this.entry(low - 1)
  }

  /** Forgets the entries at or above `offset`. */
  truncateTo(offset: Offset): void {
    for (let last = this.last; last && last.offset >= offset; last = this.last) {
      this.#length -= TIME_INDEX_ENTRY_BYTES
    }
  }
}
