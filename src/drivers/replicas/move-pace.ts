import { type Clock, delay } from '../../ports/clock.ts'

/** Between two looks at whether a move is still held back, and how much. */
const LOOK_MS = 100

/**
 * Holds back what this node copies for moves of partitions that name a throttle, all of them together. What was sent is a
 * debt that is paid off at the rate of the move that asks, so a higher one counts at once. Live traffic never waits here.
 */
export class MovePace {
  readonly #clock: Clock
  #debtBytes = 0
  #paidMs = 0

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /**
   * Resolves when so many bytes may be sent. `bytesPerSecond` is asked again and again; undefined: the move is over, or is
   * held back no more.
   */
  async hold(bytes: number, bytesPerSecond: () => number | undefined): Promise<void> {
    for (;;) {
      const rate = bytesPerSecond()
      if (rate === undefined) return
      this.#pay(rate)
      if (this.#debtBytes === 0) break
      await delay(this.#clock, Math.min(LOOK_MS, (this.#debtBytes / rate) * 1000))
    }
    this.#debtBytes = bytes
  }

  #pay(rate: number): void {
    const nowMs = this.#clock.monotonicMs()
    // A millisecond of rounding must not keep who waits waiting.
    const paidBytes = ((nowMs - this.#paidMs + 1) / 1000) * rate
    this.#debtBytes = Math.max(0, this.#debtBytes - paidBytes)
    this.#paidMs = nowMs
  }
}
