import type { Timer } from '../../src/ports/clock.ts'
import type { EventScheduler, ScheduleOptions } from './event-scheduler.ts'

/**
 * One life of a simulated process: everything that its ports bring back to it goes through here.
 * After `kill` nothing comes back any more: timers do not fire, promises of its ports never settle (F2).
 * While paused (SIGSTOP, a long collection) what is due waits, in the order it came, and arrives at `resume`.
 */
export class SimIncarnation {
  readonly name: string
  readonly #scheduler: EventScheduler
  readonly #onKill: (() => void)[] = []
  #isAlive = true
  #deferred: (() => void)[] | undefined

  constructor(scheduler: EventScheduler, name: string) {
    this.#scheduler = scheduler
    this.name = name
  }

  get isAlive(): boolean {
    return this.#isAlive
  }

  get isPaused(): boolean {
    return this.#deferred !== undefined
  }

  get nowMs(): number {
    return this.#scheduler.nowMs
  }

  schedule(delayMs: number, run: () => void, options: ScheduleOptions = {}): Timer {
    let isCancelled = false
    const arrive = () => {
      if (!this.#isAlive || isCancelled) return
      if (this.#deferred) this.#deferred.push(arrive)
      else run()
    }
    const label = `${this.name} ${options.label ?? ''}`
    const event = this.#scheduler.schedule(delayMs, arrive, { ...options, label })
    return {
      cancel() {
        isCancelled = true
        event.cancel()
      },
    }
  }

  /** Ports settle what they have under way in the kernel (a write may have happened or not). */
  onKill(callback: () => void): void {
    this.#onKill.push(callback)
  }

  kill(): void {
    if (!this.#isAlive) return
    this.#isAlive = false
    this.#deferred = undefined
    for (const callback of this.#onKill) callback()
  }

  pause(): void {
    this.#deferred ??= []
  }

  resume(): void {
    const waiting = this.#deferred ?? []
    this.#deferred = undefined
    // Each as an event of its own, as the poll phase hands them out one after the other, and in order.
    const next = (index: number) => {
      const arrive = waiting[index]
      if (!arrive) return
      this.#scheduler.schedule(
        0,
        () => {
          arrive()
          next(index + 1)
        },
        { label: `${this.name} resume` },
      )
    }
    next(0)
  }
}

/** What a dead process waits for. */
export function never<T>(): Promise<T> {
  return new Promise(() => {})
}
