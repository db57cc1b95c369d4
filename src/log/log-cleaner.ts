import { NaruError } from '../base/errors.ts'
import type { Clock } from '../ports/clock.ts'
import { DiskError } from '../ports/disk.ts'
import type { CleaningPlan } from './cleaning-plan.ts'
import type { LogConfig } from './log-config.ts'
import { Pacer } from './pacer.ts'
import type { PartitionLog } from './partition-log.ts'

export interface LogCleanerOptions {
  readonly clock: Clock
  /** The logs there are now; asked again at each pass. */
  readonly logs: () => Iterable<Cleanable>
  /** Memory for the keys of the log that is being cleaned. */
  readonly keyMapBytesMax: number
  /** Bytes read and written, so that cleaning stays in the background of serving. */
  readonly bytesPerSecond: number
  /** A log could not be cleaned this time; the others are, and it is in the next pass. */
  readonly onError: (error: NaruError | DiskError) => void
}

/** What the cleaner needs of a log. */
export type Cleanable = Pick<PartitionLog, 'name' | 'planCleaning' | 'clean'> & {
  readonly config: Pick<LogConfig, 'compacted' | 'minCleanableDirtyRatio'>
}

/**
 * Cleans the compacted logs of a data directory, one after the other, the one with the largest share of new bytes first
 * (as Kafka's `LogCleanerManager`): so one set of buffers, and one pace, is enough for all of them.
 */
export class LogCleaner {
  readonly #options: LogCleanerOptions
  readonly #pacer: Pacer
  #isStopped = false
  #passing: Promise<void> | undefined

  constructor(options: LogCleanerOptions) {
    this.#options = options
    this.#pacer = new Pacer(options)
  }

  /** What is under way ends at its next step; resolves when it has. */
  async stop(): Promise<void> {
    this.#isStopped = true
    await this.#passing
  }

  /** Cleans each log that is dirty enough now, once; calls while a pass is under way share it. */
  pass(): Promise<void> {
    this.#passing ??= this.#pass().finally(() => {
      this.#passing = undefined
    })
    return this.#passing
  }

  async #pass(): Promise<void> {
    const found: { log: Cleanable; plan: CleaningPlan }[] = []
    for (const log of [...this.#options.logs()]) {
      if (this.#isStopped) return
      if (!log.config.compacted) continue
      await this.#alone(async () => {
        const plan = await log.planCleaning(this.#wallMs)
        if (plan && plan.dirtyRatio >= log.config.minCleanableDirtyRatio) found.push({ log, plan })
      })
    }
    found.sort((a, b) => b.plan.dirtyRatio - a.plan.dirtyRatio)
    for (const { log } of found) {
      if (this.#isStopped) return
      await this.#alone(() => this.#clean(log))
    }
  }

  async #clean(log: Cleanable): Promise<void> {
    // The others before it may have taken long.
    const plan = await log.planCleaning(this.#wallMs)
    if (!plan) return
    await log.clean(plan, {
      wallMs: this.#wallMs,
      keyMapBytesMax: this.#options.keyMapBytesMax,
      pace: sizeBytes => this.#pacer.pace(sizeBytes),
      isStopped: () => this.#isStopped,
    })
  }

  /** Damage and failed disks are told by the log's own events, and end its part. */
  async #alone(work: () => Promise<void>): Promise<void> {
    try {
      await work()
    } catch (thrown) {
      if (!(thrown instanceof NaruError || thrown instanceof DiskError)) throw thrown
      if (!(thrown instanceof NaruError && thrown.reason === 'CLOSED')) this.#options.onError(thrown)
    }
  }

  get #wallMs(): number {
    return this.#options.clock.wallMs()
  }
}
