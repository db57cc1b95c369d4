import type { Offset } from '../base/brands.ts'
import { NaruError } from '../base/errors.ts'
import type { Clock, Timer } from '../ports/clock.ts'
import { DiskError } from '../ports/disk.ts'
import { Pacer } from './pacer.ts'

/** What the scrubber needs of a log. */
export interface Scrubbed {
  readonly name: string
  /** There is one to scrub at or above `from`. */
  hasClosedSegment(from: Offset): boolean
  scrubSegment(
    from: Offset,
    beforeChunk: (sizeBytes: number) => Promise<void>,
  ): Promise<{ nextFrom: Offset } | undefined>
}

/** Behind the last log of an earlier life that was opened, so that a start is over; short beside any pass. */
const FIRST_PASS_DELAY_MS = 1000

export interface LogScrubberOptions {
  readonly clock: Clock
  /** The logs there are now; asked again before each segment. */
  readonly logs: () => Iterable<Scrubbed>
  /** Read rate, so that scrubbing stays in the background of serving. */
  readonly bytesPerSecond: number
  /** Rest between the end of a pass over everything and the next. */
  readonly restMs: number
  /** A log could not be scrubbed this time; the others are, and it is in the next pass. */
  readonly onError: (error: NaruError | DiskError) => void
}

/**
 * Reads every closed segment of a data directory again and again, slowly, and checks each batch: bits that rotted in
 * data that nobody reads are found while the other replicas still have it (rule B4).
 * The order is by log name, then offset, and the place is kept as such: logs and segments may come and go meanwhile.
 */
export class LogScrubber {
  readonly #options: LogScrubberOptions
  readonly #pacer: Pacer
  #place: { name: string; from: Offset } = { name: '', from: 0 }
  /** Of the next pass; undefined while one is under way. */
  #timer: Timer | undefined
  #isAwaited = false
  #stopped = false
  #passing: Promise<void> | undefined

  constructor(options: LogScrubberOptions) {
    this.#options = options
    this.#pacer = new Pacer(options)
  }

  start(): void {
    this.#passAfter(FIRST_PASS_DELAY_MS)
  }

  /** A log of an earlier life was opened: damage may have come while no process was there to look. */
  onFound(): void {
    if (this.#timer === undefined) this.#isAwaited = true
    else if (!this.#stopped) this.#passAfter(FIRST_PASS_DELAY_MS)
  }

  stop(): void {
    this.#stopped = true
    this.#timer?.cancel()
  }

  /** From the place reached to the end of the last log; calls while a pass is under way share it. */
  pass(): Promise<void> {
    this.#passing ??= this.#pass().finally(() => {
      this.#passing = undefined
    })
    return this.#passing
  }

  async #pass(): Promise<void> {
    for (let log = this.#next(); log && !this.#stopped; log = this.#next()) {
      const step = await this.#step(log)
      // The zero byte sorts before every other name that continues this one.
      this.#place = step ? { name: log.name, from: step.nextFrom } : { name: `${log.name}\0`, from: 0 }
    }
    if (!this.#stopped) this.#place = { name: '', from: 0 }
  }

  async #step(log: Scrubbed): Promise<{ nextFrom: Offset } | undefined> {
    try {
      return await log.scrubSegment(this.#fromIn(log), sizeBytes => this.#pacer.pace(sizeBytes))
    } catch (thrown) {
      if (!(thrown instanceof NaruError || thrown instanceof DiskError)) throw thrown
      this.#options.onError(thrown)
      return undefined
    }
  }

  #passAfter(delayMs: number): void {
    this.#timer?.cancel()
    this.#isAwaited = false
    this.#timer = this.#options.clock.setTimer(delayMs, () => {
      this.#timer = undefined
      void this.pass().then(() => {
        if (!this.#stopped) this.#passAfter(this.#isAwaited ? FIRST_PASS_DELAY_MS : this.#options.restMs)
      })
    })
  }

  /** Of those that have something to scrub: most of thousands have not, and are passed over in one look. */
  #next(): Scrubbed | undefined {
    let next: Scrubbed | undefined
    for (const log of this.#options.logs()) {
      const isDue = log.name >= this.#place.name && log.hasClosedSegment(this.#fromIn(log))
      if (isDue && (!next || log.name < next.name)) next = log
    }
    return next
  }

  /** The log that the place is in may be gone: the one behind it is read from its start. */
  #fromIn(log: Scrubbed): Offset {
    return log.name === this.#place.name ? this.#place.from : 0
  }
}
