import type { Prng } from '../ports/prng.ts'

export interface BackoffOptions {
  readonly prng: Prng
  readonly firstMs: number
  readonly maxMs: number
}

/** Pauses between attempts: doubling, and jittered by half so that clients that failed together part again. */
export class Backoff {
  readonly #options: BackoffOptions
  #failures = 0

  constructor(options: BackoffOptions) {
    this.#options = options
  }

  /** The pause after one more failure. */
  nextMs(): number {
    const { prng, firstMs, maxMs } = this.#options
    const fullMs = Math.min(maxMs, firstMs * 2 ** this.#failures)
    // Beyond this, doubling no longer changes anything.
    if (fullMs < maxMs) this.#failures++
    return fullMs * (0.5 + prng.fraction() / 2)
  }

  reset(): void {
    this.#failures = 0
  }
}
