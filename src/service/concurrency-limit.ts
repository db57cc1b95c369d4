import { NaruError } from '../base/errors.ts'
import { ByteBudget } from './byte-budget.ts'

/**
 * Runs at most so many pieces of work at a time; the others wait in line, in order. The line is bounded, because
 * work waits on after the call that asked for it has timed out or gone away.
 */
export class ConcurrencyLimit {
  readonly #places: ByteBudget
  readonly #options: ConcurrencyLimitOptions
  #waitingCount = 0

  constructor(options: ConcurrencyLimitOptions) {
    this.#places = new ByteBudget(options.runningMax)
    this.#options = options
  }

  async run<T>(work: () => Promise<T>): Promise<T> {
    const { what, waitingMax } = this.#options
    if (this.#waitingCount >= waitingMax)
      throw new NaruError('OVERLOADED', `${waitingMax} ${what} wait already: slow down and try again`, {
        retryAfterMs: RETRY_AFTER_MS,
      })
    this.#waitingCount++
    await new Promise<void>(resolve => {
      this.#places.take(1, resolve)
    })
    this.#waitingCount--
    try {
      return await work()
    } finally {
      this.#places.giveBack(1)
    }
  }
}

export interface ConcurrencyLimitOptions {
  /** For the message, in the plural. */
  readonly what: string
  readonly runningMax: number
  readonly waitingMax: number
}

const RETRY_AFTER_MS = 1_000
