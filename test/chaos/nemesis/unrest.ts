import type { HistoryRecorder } from '../workload/history-recorder.ts'

/**
 * The times of which the history says that leaders may have changed: from the first fault of a period until all is in sync
 * again, for only then has each node heard who leads, and each leader what is committed.
 */
export class Unrest {
  readonly #history: HistoryRecorder
  #end: (() => void) | undefined

  constructor(history: HistoryRecorder) {
    this.#history = history
  }

  begin(): void {
    if (this.#end !== undefined) return
    const end = this.#history.begin({ op: 'unrest', process: 'nemesis', partition: '' })
    this.#end = () => end({ type: 'ok' })
  }

  end(): void {
    this.#end?.()
    this.#end = undefined
  }
}
