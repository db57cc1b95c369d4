import { randomFillSync } from 'node:crypto'
import type { Prng } from './prng.ts'

/** One call into the system per this many bytes: ids and jitter are drawn often and in small pieces. */
const POOL_BYTES = 4096

/** The system's cryptographic randomness. Bytes are used once and never handed out again. */
export class SystemPrng implements Prng {
  readonly #pool = Buffer.allocUnsafeSlow(POOL_BYTES)
  #used = POOL_BYTES

  uint32(): number {
    return this.#pool.readUInt32LE(this.#take(4))
  }

  fraction(): number {
    // 53 random bits: every double of [0, 1) on the grid of 2^-53 is equally likely.
    return ((this.uint32() >>> 5) * 2 ** 26 + (this.uint32() >>> 6)) / 2 ** 53
  }

  bytes(length: number): Uint8Array {
    if (length > POOL_BYTES) return randomFillSync(new Uint8Array(length))
    const start = this.#take(length)
    return new Uint8Array(this.#pool.subarray(start, start + length))
  }

  #take(length: number): number {
    if (this.#used + length > POOL_BYTES) {
      randomFillSync(this.#pool)
      this.#used = 0
    }
    const start = this.#used
    this.#used += length
    return start
  }
}
