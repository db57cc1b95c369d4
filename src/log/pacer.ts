import { type Clock, delay } from '../ports/clock.ts'

/** Holds work in the background to a rate: each piece makes the next one wait for its share of the second. */
export class Pacer {
  readonly #clock: Clock
  readonly #bytesPerSecond: number
  #dueMs = 0

  constructor(options: { clock: Clock; bytesPerSecond: number }) {
    this.#clock = options.clock
    this.#bytesPerSecond = options.bytesPerSecond
  }

  async pace(sizeBytes: number): Promise<void> {
    const nowMs = this.#clock.monotonicMs()
    const waitMs = Math.max(0, this.#dueMs - nowMs)
    this.#dueMs = nowMs + waitMs + (sizeBytes * 1000) / this.#bytesPerSecond
    if (waitMs > 0) await delay(this.#clock, waitMs)
  }
}
