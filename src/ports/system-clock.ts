import type { Clock, Timer } from './clock.ts'

/**
 * The machine's time. It belongs to one incarnation of a node: after `close` none of its callbacks runs, so a
 * stopped node (in a process that goes on, as in tests) does nothing more.
 */
export class SystemClock implements Clock {
  readonly #timers = new Set<SystemTimer>()
  /** By the time of the tick: what it calls. */
  readonly #ticks = new Map<number, Set<() => void>>()
  #closed = false

  monotonicMs(): number {
    return performance.now()
  }

  wallMs(): number {
    return Date.now()
  }

  setTimer(delayMs: number, callback: () => void): Timer {
    const timer = new SystemTimer(performance.now() + Math.max(0, delayMs), () => {
      this.#timers.delete(timer)
      callback()
    })
    if (this.#closed) return timer
    this.#timers.add(timer)
    timer.start(() => this.#timers.delete(timer))
    return timer
  }

  setTick(periodMs: number, callback: () => void): Timer {
    // The system's timers may come a little early: then this is the tick that was due.
    const atMs = (Math.floor(performance.now() / periodMs + 1 / 4) + 1) * periodMs
    const callbacks = this.#ticks.get(atMs) ?? this.#startTick(atMs)
    // A function of its own: the same one may be asked for twice.
    const call = () => callback()
    callbacks.add(call)
    return { cancel: () => callbacks.delete(call) }
  }

  #startTick(atMs: number): Set<() => void> {
    const callbacks = new Set<() => void>()
    this.#ticks.set(atMs, callbacks)
    this.setTimer(atMs - performance.now(), () => {
      this.#ticks.delete(atMs)
      for (const callback of callbacks) callback()
    })
    return callbacks
  }

  afterTurn(callback: () => void): void {
    if (this.#closed) return
    setImmediate(() => {
      if (!this.#closed) callback()
    })
  }

  close(): void {
    this.#closed = true
    for (const timer of this.#timers) timer.cancel()
    this.#timers.clear()
  }
}

/** Node's own timers fire at once when asked for more than 2^31 - 1 ms (24.8 days): longer waits go in steps. */
const STEP_MS_MAX = 2 ** 31 - 1

class SystemTimer implements Timer {
  readonly #deadlineMs: number
  readonly #callback: () => void
  #forget: () => void = () => {}
  #handle: NodeJS.Timeout | undefined

  constructor(deadlineMs: number, callback: () => void) {
    this.#deadlineMs = deadlineMs
    this.#callback = callback
  }

  start(forget: () => void): void {
    this.#forget = forget
    this.#step()
  }

  cancel(): void {
    clearTimeout(this.#handle)
    this.#forget()
  }

  #step(): void {
    const leftMs = this.#deadlineMs - performance.now()
    const isLast = leftMs <= STEP_MS_MAX
    this.#handle = setTimeout(isLast ? this.#callback : () => this.#step(), isLast ? leftMs : STEP_MS_MAX)
    this.#handle.unref()
  }
}
