/**
 * Time as a port: everything outside `src/ports`, `src/rpc`, `src/cli` and `src/server` learns of time and
 * waits for it only through this, so that the simulator can run whole nodes on its own time.
 */
export interface Clock {
  /** Milliseconds that never go back, with fractions; the zero is arbitrary. For durations and deadlines. */
  monotonicMs(): number
  /** Milliseconds since 1970 as an integer; may jump. For timestamps of records only. */
  wallMs(): number
  /** Calls back once, after `delayMs`. A real timer does not keep the process alive. */
  setTimer(delayMs: number, callback: () => void): Timer
  /**
   * Calls back once, at the next tick of that period, a quarter to one and a quarter of it from now; who asks again in the
   * callback gets every tick. For looks that come round: all ticks of a process come together, so one that is idle wakes
   * once for all of them, which costs more than the looks do.
   */
  setTick(periodMs: number, callback: () => void): Timer
  /**
   * Calls back once, after what this turn of the event loop has already read is handled (`setImmediate`):
   * to gather what one turn brings into one write, and to judge deadlines only after the sockets were read (A8).
   */
  afterTurn(callback: () => void): void
}

export interface Timer {
  cancel(): void
}

/** Resolves after `delayMs` of the clock. */
export function delay(clock: Clock, delayMs: number): Promise<void> {
  return new Promise(resolve => {
    clock.setTimer(delayMs, resolve)
  })
}

/** Resolves after this turn of the event loop: others get theirs in the middle of long work. */
export function turn(clock: Clock): Promise<void> {
  return new Promise(resolve => {
    clock.afterTurn(resolve)
  })
}
