import type { Timer } from '../../src/ports/clock.ts'
import type { Prng } from '../../src/ports/prng.ts'

export interface ScheduleOptions {
  /** Named in the digest and in failures. */
  readonly label?: string
  /** After all events of the same moment that are not `afterOthers` (see `Clock.afterTurn`). */
  readonly afterOthers?: boolean
}

export interface RunLimits {
  /** Reaching it is a failure: the thing that was waited for does not happen. */
  readonly stepsMax?: number
  /** Virtual time to give it, from now. */
  readonly timeMsMax?: number
}

/**
 * The one source of what happens next in a simulated cluster: a heap of events on virtual time.
 * `step` takes the earliest event, runs it, and waits until all promise reactions it caused have run; only
 * then is the next taken, so a run is a function of the seed alone. Events of one moment run in an order drawn
 * from the prng: code that relies on an order nobody promised fails for some seed.
 */
export class EventScheduler {
  readonly #prng: Prng
  readonly #heap: ScheduledEvent[] = []
  readonly #observers: (() => void)[] = []
  #nowMs = 0
  #sequence = 0
  #steps = 0
  #digest = 0x811c9dc5

  constructor(prng: Prng) {
    this.#prng = prng
  }

  /** Virtual milliseconds since the start of the run. */
  get nowMs(): number {
    return this.#nowMs
  }

  get steps(): number {
    return this.#steps
  }

  /** A rolling hash of (time, label) of all events so far: equal for two runs of a seed, or something leaks in. */
  get digest(): number {
    return this.#digest >>> 0
  }

  get isIdle(): boolean {
    return this.#heap.every(event => event.isCancelled)
  }

  schedule(delayMs: number, run: () => void, options: ScheduleOptions = {}): Timer {
    const event: ScheduledEvent = {
      atMs: this.#nowMs + Math.max(0, delayMs),
      phase: options.afterOthers ? 1 : 0,
      tie: this.#prng.uint32(),
      sequence: this.#sequence++,
      label: options.label ?? '',
      isCancelled: false,
      run,
    }
    push(this.#heap, event)
    return {
      cancel() {
        event.isCancelled = true
      },
    }
  }

  /** Called after each event has settled: the place for invariants. What it throws ends the run. */
  observe(observer: () => void): void {
    this.#observers.push(observer)
  }

  /** Runs the next event; false if there is none. */
  async step(): Promise<boolean> {
    for (;;) {
      const event = pop(this.#heap)
      if (!event) return false
      if (event.isCancelled) continue
      this.#nowMs = event.atMs
      this.#steps++
      this.#mix(event)
      event.run()
      await settle()
      for (const observer of this.#observers) observer()
      return true
    }
  }

  /** Runs until the condition holds; fails when it still does not at the limit or when nothing is left to do. */
  async runUntil(condition: () => boolean, limits: RunLimits = {}): Promise<void> {
    const stepsMax = limits.stepsMax ?? 1_000_000
    const endMs = this.#nowMs + (limits.timeMsMax ?? Number.POSITIVE_INFINITY)
    await settle()
    for (let steps = 0; !condition(); steps++) {
      if (steps >= stepsMax) throw new Error(`not reached within ${stepsMax} steps (${this.#where()})`)
      if (this.#nextMs() > endMs) throw new Error(`not reached in time (${this.#where()})`)
      if (!(await this.step()))
        throw new Error(`not reached, and nothing is left to happen (${this.#where()})`)
    }
  }

  /** Runs everything that is due within the given virtual time, then stands at its end. */
  async runFor(durationMs: number): Promise<void> {
    const endMs = this.#nowMs + durationMs
    await settle()
    while (this.#nextMs() <= endMs) await this.step()
    this.#nowMs = endMs
  }

  /** Runs until nothing is left, and gives the value of a promise that has settled by then. */
  async finish<T>(promise: Promise<T>, limits: RunLimits = {}): Promise<T> {
    let isSettled = false
    const settled = () => {
      isSettled = true
    }
    promise.then(settled, settled)
    await this.runUntil(() => isSettled, limits)
    return promise
  }

  #nextMs(): number {
    for (;;) {
      const first = this.#heap[0]
      if (!first) return Number.POSITIVE_INFINITY
      if (!first.isCancelled) return first.atMs
      pop(this.#heap)
    }
  }

  #where(): string {
    return `at ${this.#nowMs} ms, after ${this.#steps} events`
  }

  #mix(event: ScheduledEvent): void {
    const text = `${event.atMs} ${event.label}`
    for (let index = 0; index < text.length; index++)
      this.#digest = Math.imul(this.#digest ^ text.charCodeAt(index), 0x01000193)
  }
}

interface ScheduledEvent {
  readonly atMs: number
  readonly phase: number
  readonly tie: number
  readonly sequence: number
  readonly label: string
  isCancelled: boolean
  readonly run: () => void
}

/** `setImmediate` comes after all promise reactions and next-tick callbacks, however deep they chain. */
function settle(): Promise<void> {
  return new Promise(resolve => {
    setImmediate(resolve)
  })
}

function isBefore(a: ScheduledEvent, b: ScheduledEvent): boolean {
  if (a.atMs !== b.atMs) return a.atMs < b.atMs
  if (a.phase !== b.phase) return a.phase < b.phase
  if (a.tie !== b.tie) return a.tie < b.tie
  return a.sequence < b.sequence
}

function push(heap: ScheduledEvent[], event: ScheduledEvent): void {
  let index = heap.push(event) - 1
  while (index > 0) {
    const above = (index - 1) >> 1
    const parent = heap[above] as ScheduledEvent
    if (!isBefore(event, parent)) break
    heap[index] = parent
    index = above
  }
  heap[index] = event
}

function pop(heap: ScheduledEvent[]): ScheduledEvent | undefined {
  const first = heap[0]
  const last = heap.pop()
  if (!first || !last || heap.length === 0) return first
  let index = 0
  for (;;) {
    let below = index * 2 + 1
    if (below >= heap.length) break
    if (below + 1 < heap.length && isBefore(heap[below + 1] as ScheduledEvent, heap[below] as ScheduledEvent))
      below++
    const child = heap[below] as ScheduledEvent
    if (!isBefore(child, last)) break
    heap[index] = child
    index = below
  }
  heap[index] = last
  return first
}
