import type { Clock, Timer } from '../ports/clock.ts'

/** Nodes send a heartbeat after each idle 500 ms: three missed in a row mean that nobody is there. */
const SILENCE_MS_MAX = 1_500

/**
 * Tells when a stream that carries heartbeats has been silent for too long. Judged only after a turn that has read
 * the sockets (rule A8): else a program that was busy or paused itself would leave a node that did speak.
 */
export class Watchdog {
  readonly #clock: Clock
  readonly #onSilent: () => void
  readonly #silenceMsMax: number
  #heardMs: number
  #timer: Timer | undefined
  #isStopped = false

  constructor(options: { clock: Clock; onSilent: () => void; silenceMsMax?: number }) {
    this.#clock = options.clock
    this.#onSilent = options.onSilent
    this.#heardMs = this.#clock.monotonicMs()
    this.#silenceMsMax = options.silenceMsMax ?? SILENCE_MS_MAX
    this.#arm(this.#silenceMsMax)
  }

  heard(): void {
    this.#heardMs = this.#clock.monotonicMs()
  }

  stop(): void {
    this.#isStopped = true
    this.#timer?.cancel()
  }

  #arm(delayMs: number): void {
    this.#timer = this.#clock.setTimer(delayMs, () => {
      const leftMs = this.#leftMs()
      if (leftMs > 0) this.#arm(leftMs)
      else this.#clock.afterTurn(() => this.#judge())
    })
  }

  #judge(): void {
    if (this.#isStopped) return
    const leftMs = this.#leftMs()
    if (leftMs > 0) this.#arm(leftMs)
    else {
      this.#isStopped = true
      this.#onSilent()
    }
  }

  #leftMs(): number {
    return this.#heardMs + this.#silenceMsMax - this.#clock.monotonicMs()
  }
}
