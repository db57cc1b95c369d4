import type { Clock } from '../../ports/clock.ts'

/**
 * Time in which this process attended to its sockets. A pause (SIGSTOP, a long collection) does not count: nobody may be
 * judged by what could not be read meanwhile (rule A8). Driven by a timer that ticks every `tickMs`.
 */
export class AttendedTime {
  readonly #clock: Clock
  readonly #gapMsMax: number
  #lastMs: number
  #attendedMs = 0

  constructor(clock: Clock, tickMs: number) {
    this.#clock = clock
    this.#gapMsMax = 2 * tickMs
    this.#lastMs = clock.monotonicMs()
  }

  get nowMs(): number {
    return this.#attendedMs + Math.min(this.#clock.monotonicMs() - this.#lastMs, this.#gapMsMax)
  }

  tick(): void {
    this.#attendedMs = this.nowMs
    this.#lastMs = this.#clock.monotonicMs()
  }
}
