import type { Uuid } from '../base/brands.ts'

/** Randomness as a port: seeded in the simulator, the system's own in a real node. */
export interface Prng {
  /** A whole number of 0 ... 2^32 - 1. */
  uint32(): number
  /** A number of [0, 1). */
  fraction(): number
  bytes(length: number): Uint8Array
}

/** A fresh 128-bit id in base64url (22 characters). Never starts with '-': it may stand as a file or flag value. */
export function randomUuid(prng: Prng): Uuid {
  for (;;) {
    const id = Buffer.from(prng.bytes(16)).toString('base64url')
    if (!id.startsWith('-')) return id
  }
}

/** A whole number of `min` ... `max`, both included. */
export function randomBetween(prng: Prng, range: { min: number; max: number }): number {
  return range.min + Math.floor(prng.fraction() * (range.max - range.min + 1))
}
