import { assert } from '../base/assert.ts'
import type { Clock } from '../ports/clock.ts'

/** Something with bytes to write and sync; `flush` handles one group and says whether more is waiting. */
export interface Flushable {
  flush(): Promise<boolean>
}

/**
 * Decides which logs of a data directory write and sync now. Dirty logs queue; at most `syncsInFlightMax` run, fewer
 * than libuv has threads, so reads and the event loop are never starved by syncs. While one is in flight, appends
 * to the same log gather: its next group covers them all. Metadata and group logs have a lane of their own, so
 * their syncs never queue behind partitions' (rule B6).
 * Invariant: one log is at most once in its queue and never flushed twice at a time.
 */
export class SyncScheduler {
  readonly #clock: Clock
  readonly #normal: Lane
  readonly #urgent: Lane
  #dispatching = false
  #onIdle: (() => void)[] = []

  constructor(options: { clock: Clock; syncsInFlightMax?: number; urgentSyncsInFlightMax?: number }) {
    this.#clock = options.clock
    this.#normal = {
      inFlightMax: options.syncsInFlightMax ?? 8,
      inFlight: 0,
      queue: new Set(),
      running: new Set(),
    }
    this.#urgent = {
      inFlightMax: options.urgentSyncsInFlightMax ?? 4,
      inFlight: 0,
      queue: new Set(),
      running: new Set(),
    }
  }

  get queuedCount(): number {
    return this.#normal.queue.size + this.#urgent.queue.size
  }

  /** Flushes `log` soon: after this turn of the event loop has gathered what it brings. */
  request(log: Flushable, options: { urgent: boolean }): void {
    const lane = options.urgent ? this.#urgent : this.#normal
    lane.queue.add(log)
    if (this.#dispatching) return
    this.#dispatching = true
    this.#clock.afterTurn(() => {
      this.#dispatching = false
      this.#dispatch(this.#urgent)
      this.#dispatch(this.#normal)
    })
  }

  /** Resolves when nothing is queued or running. */
  async idle(): Promise<void> {
    while (this.queuedCount + this.#normal.inFlight + this.#urgent.inFlight > 0) {
      await new Promise<void>(resolve => this.#onIdle.push(resolve))
    }
  }

  #dispatch(lane: Lane): void {
    for (const log of lane.queue) {
      if (lane.inFlight >= lane.inFlightMax) break
      // A log that is being flushed stays queued until it is done.
      if (lane.running.has(log)) continue
      lane.queue.delete(log)
      void this.#run(lane, log)
    }
  }

  async #run(lane: Lane, log: Flushable): Promise<void> {
    lane.inFlight++
    lane.running.add(log)
    const more = await log.flush()
    lane.inFlight--
    assert(lane.running.delete(log), 'a flushed log was running')
    // At the end of the queue: a busy log takes turns with the others.
    if (more) lane.queue.add(log)
    this.#dispatch(lane)
    if (this.queuedCount + this.#normal.inFlight + this.#urgent.inFlight === 0) {
      for (const resolve of this.#onIdle.splice(0)) resolve()
    }
  }
}

interface Lane {
  readonly inFlightMax: number
  inFlight: number
  readonly queue: Set<Flushable>
  readonly running: Set<Flushable>
}
