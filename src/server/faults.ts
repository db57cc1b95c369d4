import type { NaruError } from '../base/errors.ts'
import type { Logger } from '../base/logger.ts'
import type { LogEvent } from '../log/log-core.ts'
import { reportLogEvent } from './log-events.ts'

/** What no node survives. The first failed write or sync anywhere is the end of this life (docs/operating.md). */
export class Faults {
  readonly #logger: Logger
  readonly #onFailed: (error: NaruError) => void
  #failure: NaruError | undefined

  constructor(options: { logger: Logger; onFailed: (error: NaruError) => void }) {
    this.#logger = options.logger
    this.#onFailed = options.onFailed
  }

  get failure(): NaruError | undefined {
    return this.#failure
  }

  onLogEvent(event: LogEvent): void {
    reportLogEvent(this.#logger, event)
    if (event.kind === 'offline') this.fail(event.error)
  }

  fail(error: NaruError): void {
    if (this.#failure !== undefined) return
    this.#failure = error
    this.#onFailed(error)
  }
}
