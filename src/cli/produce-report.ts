import type { ProducerOptions } from '../client/index.ts'
import { type CliContext, say } from './context.ts'
import { formatCount, plural, rateText } from './output.ts'

/**
 * What became of the records that a command gave to a producer: only what the cluster acknowledged counts as
 * produced. Warnings are said as they come, each once.
 */
export class ProduceReport {
  stored = 0
  failed = 0
  readonly #context: CliContext
  readonly #onFatal: (() => void) | undefined
  readonly #warned = new Set<string>()

  /** `onFatal` is called for a failure that the records to come would share. */
  constructor(context: CliContext, onFatal?: () => void) {
    this.#context = context
    this.#onFatal = onFatal
  }

  readonly callbacks = {
    onDelivered: ({ recordCount }) => {
      this.stored += recordCount
    },
    onError: ({ recordCount, error }) => {
      this.failed += recordCount
      if (error.reason !== 'RECORD_TOO_LARGE') this.#onFatal?.()
    },
    onWarning: warning => {
      if (this.#warned.has(warning)) return
      this.#warned.add(warning)
      say(this.#context.stderr, `naru: warning: ${warning}`)
    },
  } satisfies ProducerOptions

  saySum(done: { bytes: number; elapsedMs: number }): void {
    const { stored, failed } = this
    if (failed > 0) this.sayFailed()
    else
      say(
        this.#context.stderr,
        `produced ${rateText({ records: stored, bytes: done.bytes }, done.elapsedMs)}`,
      )
  }

  /** How many; why is told by the error that `flush` throws. */
  sayFailed(): void {
    const { stored, failed } = this
    say(this.#context.stderr, `produced ${plural(stored, 'record')}, ${formatCount(failed)} failed`)
  }
}
