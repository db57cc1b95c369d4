import type { Prng } from '../../src/ports/prng.ts'

/**
 * sfc32 (Chris Doty-Humphrey's Small Fast Counting generator, PractRand): 128 bits of state, no weak seeds.
 * `fork` gives each concern (network, disk, workload ...) its own sequence, so that one more draw in one of
 * them does not shift the others and a failing seed stays comparable.
 */
export class SeededPrng implements Prng {
  readonly seed: string
  #a: number
  #b: number
  #c: number
  #counter = 1

  constructor(seed: number | string) {
    this.seed = String(seed)
    this.#a = hash(this.seed, 0x9e3779b9)
    this.#b = hash(this.seed, 0x243f6a88)
    this.#c = hash(this.seed, 0xb7e15162)
    for (let round = 0; round < 15; round++) this.uint32()
  }

  fork(name: string): SeededPrng {
    return new SeededPrng(`${this.seed}/${name}`)
  }

  uint32(): number {
    const sum = (((this.#a + this.#b) | 0) + this.#counter) | 0
    this.#counter = (this.#counter + 1) | 0
    this.#a = this.#b ^ (this.#b >>> 9)
    this.#b = (this.#c + (this.#c << 3)) | 0
    this.#c = (this.#c << 21) | (this.#c >>> 11)
    this.#c = (this.#c + sum) | 0
    return sum >>> 0
  }

  fraction(): number {
    return ((this.uint32() >>> 5) * 2 ** 26 + (this.uint32() >>> 6)) / 2 ** 53
  }

  bytes(length: number): Uint8Array {
    const bytes = new Uint8Array(length)
    for (let index = 0; index < length; index++) bytes[index] = this.uint32() >>> 24
    return bytes
  }

  chance(probability: number): boolean {
    return this.fraction() < probability
  }

  /** One of the values, each as likely as the next. */
  pick<T>(values: readonly T[]): T {
    return values[Math.floor(this.fraction() * values.length)] as T
  }
}

/** FNV-1a with murmur3's finalizer. */
function hash(text: string, basis: number): number {
  let value = basis ^ 0x811c9dc5
  for (let index = 0; index < text.length; index++)
    value = Math.imul(value ^ text.charCodeAt(index), 0x01000193)
  value = Math.imul(value ^ (value >>> 16), 0x85ebca6b)
  value = Math.imul(value ^ (value >>> 13), 0xc2b2ae35)
  return value ^ (value >>> 16)
}
