import { assert } from '../base/assert.ts'
import type { Offset } from '../base/brands.ts'
import { KEY_HASH_BYTES, keyHash } from '../records/key-hash.ts'

/**
 * The newest offset of each key of a stretch of a log, in an amount of memory that is fixed beforehand: 24 bytes for a
 * key, whatever its length, as Kafka's `SkimpyOffsetMap`. Open addressing over one array: 16 bytes of hash, and the
 * offset + 1 in two words (0: the slot is free).
 */
const WORDS = 6
const SLOT_BYTES = WORDS * 4
/** Beyond this share of slots in use a search gets long (Kafka's `log.cleaner.io.buffer.load.factor`). */
const LOAD_MAX = 0.9
const TWO_32 = 2 ** 32

export class KeyOffsetMap {
  readonly #slots: Uint32Array
  readonly #slotCount: number
  readonly #keysMax: number
  #size = 0

  /** For at most `keysMax` keys, and fewer where `bytesMax` has no room for them. */
  constructor(options: { bytesMax: number; keysMax: number }) {
    const slotsMax = Math.floor(options.bytesMax / SLOT_BYTES)
    this.#slotCount = Math.max(2, Math.min(slotsMax, Math.ceil(options.keysMax / LOAD_MAX) + 1))
    this.#keysMax = Math.max(1, Math.floor(this.#slotCount * LOAD_MAX))
    this.#slots = new Uint32Array(this.#slotCount * WORDS)
  }

  get size(): number {
    return this.#size
  }

  get sizeBytes(): number {
    return this.#slots.byteLength
  }

  /** False: it is another key, and there is no room for it. */
  put(key: Uint8Array, offset: Offset): boolean {
    const hash = keyHash(key)
    const at = this.#find(hash)
    const slots = this.#slots
    if (isFree(slots, at)) {
      if (this.#size >= this.#keysMax) return false
      for (let word = 0; word < KEY_HASH_BYTES / 4; word++) slots[at + word] = hash.readUInt32LE(word * 4)
      this.#size++
    }
    const stored = offset + 1
    slots[at + 4] = Math.floor(stored / TWO_32)
    slots[at + 5] = stored >>> 0
    return true
  }

  /** The last offset that was put for the key. */
  get(key: Uint8Array): Offset | undefined {
    const at = this.#find(keyHash(key))
    if (isFree(this.#slots, at)) return undefined
    return (this.#slots[at + 4] as number) * TWO_32 + (this.#slots[at + 5] as number) - 1
  }

  /** The slot of the hash, or the free one where it would come. */
  #find(hash: Buffer): number {
    const slots = this.#slots
    const first = hash.readUInt32LE(0)
    let slot = first % this.#slotCount
    for (let probes = 0; ; probes++) {
      assert(probes < this.#slotCount, 'there is always a free slot')
      const at = slot * WORDS
      const isFound =
        slots[at] === first &&
        slots[at + 1] === hash.readUInt32LE(4) &&
        slots[at + 2] === hash.readUInt32LE(8) &&
        slots[at + 3] === hash.readUInt32LE(12)
      if (isFound || isFree(slots, at)) return at
      slot = slot + 1 === this.#slotCount ? 0 : slot + 1
    }
  }
}

function isFree(slots: Uint32Array, at: number): boolean {
  return slots[at + 4] === 0 && slots[at + 5] === 0
}
