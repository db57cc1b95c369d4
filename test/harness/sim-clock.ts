import type { Clock, Timer } from '../../src/ports/clock.ts'
import type { SimIncarnation } from './sim-incarnation.ts'

/** Wall time at which every run starts: 2023-11-14T22:13:20Z. */
export const SIM_WALL_START_MS = 1_700_000_000_000

/** Time always moves on before a timer fires (Node has 1 ms): rounding never makes a re-armed one spin. */
const TIMER_MS_MIN = 0.001

export interface ClockFaults {
  /** How far this machine's wall clock is off at the start. */
  readonly offsetMs?: number
  /** How much faster its oscillator runs: 100 = 100 µs per second. Moves monotonic time, timers and wall alike. */
  readonly driftPpm?: number
}

/** The oscillator and wall clock of one simulated machine; they go on while its process is down. */
export class SimMachineTime {
  readonly rate: number
  #offsetMs: number

  constructor(faults: ClockFaults = {}) {
    this.rate = 1 + (faults.driftPpm ?? 0) / 1e6
    this.#offsetMs = faults.offsetMs ?? 0
  }

  /** Sets the wall clock forward or back; monotonic time does not notice. */
  stepWall(byMs: number): void {
    this.#offsetMs += byMs
  }

  wallMs(trueMs: number): number {
    return Math.floor(SIM_WALL_START_MS + trueMs * this.rate + this.#offsetMs)
  }
}

/** The Clock port of one incarnation. */
export class SimClock implements Clock {
  readonly #incarnation: SimIncarnation
  readonly #time: SimMachineTime
  readonly #startMs: number

  constructor(incarnation: SimIncarnation, time: SimMachineTime = new SimMachineTime()) {
    this.#incarnation = incarnation
    this.#time = time
    this.#startMs = incarnation.nowMs
  }

  monotonicMs(): number {
    return (this.#incarnation.nowMs - this.#startMs) * this.#time.rate
  }

  wallMs(): number {
    return this.#time.wallMs(this.#incarnation.nowMs)
  }

  setTimer(delayMs: number, callback: () => void): Timer {
    const trueDelayMs = Math.max(TIMER_MS_MIN, delayMs / this.#time.rate)
    return this.#incarnation.schedule(trueDelayMs, callback, { label: 'timer' })
  }

  setTick(periodMs: number, callback: () => void): Timer {
    return this.setTimer(periodMs, callback)
  }

  afterTurn(callback: () => void): void {
    this.#incarnation.schedule(0, callback, { label: 'after turn', afterOthers: true })
  }
}
