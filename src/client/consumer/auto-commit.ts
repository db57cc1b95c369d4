import { NaruError } from '../../base/errors.ts'
import type { Clock, Timer } from '../../ports/clock.ts'
import type { CommitOutcome, OffsetOf } from './offset-commits.ts'
import type { OwnedPartition } from './owned-partition.ts'

export interface AutoCommitOptions {
  readonly clock: Clock
  readonly intervalMs: number
  /** What is done with and not committed, of all partitions. */
  readonly pending: () => readonly OffsetOf[]
  readonly commit: (offsets: readonly OffsetOf[]) => Promise<CommitOutcome[]>
  /** It is tried again. */
  readonly onTrouble: (error: NaruError) => void
}

/** Gathers what is done with for a while, then commits it; one commit at a time. */
export class AutoCommit {
  readonly #options: AutoCommitOptions
  #timer: Timer | undefined
  #isClosed = false

  constructor(options: AutoCommitOptions) {
    this.#options = options
  }

  /** Something more is done with. */
  due(): void {
    if (this.#timer !== undefined || this.#isClosed) return
    this.#timer = this.#options.clock.setTimer(this.#options.intervalMs, () => void this.#onTime())
  }

  /** Resolves when everything that is done with is committed; rejects with what may be tried again. */
  async flush(): Promise<void> {
    let failed = await this.#commit()
    // The end of a log was given up: what is done with ends there by now.
    if (failed?.reason === 'OFFSET_OUT_OF_RANGE') failed = await this.#commit()
    if (failed !== undefined) throw failed
  }

  async #commit(): Promise<CommitOutcome> {
    const offsets = this.#options.pending()
    if (offsets.length === 0) return undefined
    const outcomes = await this.#options.commit(offsets)
    return outcomes.find(error => error !== undefined && error.reason !== 'PARTITION_NOT_OWNED')
  }

  /**
   * The same for partitions that are given back. What fails is tried again until it is done, or the partitions are gone, or
   * this is closed.
   */
  async flushUntilDone(partitions: readonly OwnedPartition[], pauseMs: () => number): Promise<void> {
    for (;;) {
      try {
        await this.flush()
        return
      } catch (thrown) {
        if (this.#isClosed) return
        this.#options.onTrouble(NaruError.from(thrown))
      }
      if (partitions.every(({ isGone }) => isGone)) return
      await new Promise<void>(resolve => this.#options.clock.setTimer(pauseMs(), resolve))
    }
  }

  /** Nothing is committed by itself any more, nor tried again. */
  close(): void {
    this.#isClosed = true
    this.#timer?.cancel()
  }

  async #onTime(): Promise<void> {
    try {
      await this.flush()
    } catch (thrown) {
      if (this.#isClosed) return
      this.#options.onTrouble(NaruError.from(thrown))
    }
    this.#timer = undefined
    if (this.#options.pending().length > 0) this.due()
  }
}
