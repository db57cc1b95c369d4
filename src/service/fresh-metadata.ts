import { NaruError } from '../base/errors.ts'
import type { MetadataQuorum } from '../drivers/controller/metadata-quorum.ts'
import { type Clock, delay } from '../ports/clock.ts'
import { settledWithin } from './settled-within.ts'

/** Longer than an election after a killed leader, shorter than clients wait for a node that hangs. */
const CONFIRM_MS_MAX = 3_000
/** Between the starts of two read-indexes: a flood of unknown names costs the quorum so many, however many ask. */
const INTERVAL_MS = 20

/**
 * Makes sure that this node knows what there is before it says that something does not exist (rule A9): a node that
 * lags would else deny a topic whose creation was acknowledged elsewhere.
 *
 * One read-index serves all who asked before it began. Who asks while one is under way waits for the next, since that
 * one may have been confirmed before the question.
 */
export class FreshMetadata {
  readonly #quorum: MetadataQuorum
  readonly #clock: Clock
  #running: Promise<unknown> = Promise.resolve()
  #next: Promise<unknown> | undefined
  #startedMs = Number.NEGATIVE_INFINITY

  constructor(options: { quorum: MetadataQuorum; clock: Clock }) {
    this.#quorum = options.quorum
    this.#clock = options.clock
  }

  /**
   * Resolves once the image holds everything that was committed anywhere before the call. Throws
   * CONTROLLER_NOT_AVAILABLE (`question` cannot be answered) if the quorum does not confirm that in time.
   */
  async confirm(question: string, timeoutMs = CONFIRM_MS_MAX): Promise<void> {
    this.#next ??= this.#gather()
    const next = this.#next
    const limitMs = Math.min(timeoutMs, CONFIRM_MS_MAX)
    if (!(await settledWithin(this.#clock, next, limitMs)))
      throw unanswerable(question, `the metadata quorum did not confirm it within ${Math.round(limitMs)} ms`)
    try {
      await next
    } catch (thrown) {
      if (!(thrown instanceof NaruError)) throw thrown
      throw unanswerable(question, thrown.message, thrown)
    }
  }

  async #gather(): Promise<void> {
    await this.#running
    const pauseMs = this.#startedMs + INTERVAL_MS - this.#clock.monotonicMs()
    if (pauseMs > 0) await delay(this.#clock, pauseMs)
    // Who asks from here on comes after the read-index began.
    this.#next = undefined
    this.#startedMs = this.#clock.monotonicMs()
    const read = this.#quorum.readIndex(CONFIRM_MS_MAX)
    this.#running = read.catch(() => {})
    await read
  }
}

function unanswerable(question: string, because: string, cause?: NaruError): NaruError {
  return new NaruError(
    'CONTROLLER_NOT_AVAILABLE',
    `${question} cannot be told now: ${because} (try again; naru cluster quorum shows which voters are missing)`,
    cause && { cause },
  )
}
