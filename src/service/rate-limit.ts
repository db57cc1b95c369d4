import type { Clock } from '../ports/clock.ts'

/** Lets something happen so often in a while, and not again before the while is over. */
export class RateLimit {
  readonly #clock: Clock
  readonly #max: number
  readonly #windowMs: number
  #sinceMs = Number.NEGATIVE_INFINITY
  #count = 0

  constructor(clock: Clock, limits: { max: number; windowMs: number }) {
    this.#clock = clock
    this.#max = limits.max
    this.#windowMs = limits.windowMs
  }

  tryTake(): boolean {
    const nowMs = this.#clock.monotonicMs()
    if (nowMs - this.#sinceMs >= this.#windowMs) {
      this.#sinceMs = nowMs
      this.#count = 0
    }
    return ++this.#count <= this.#max
  }
}
