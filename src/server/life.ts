import type { NaruError } from '../base/errors.ts'

/**
 * A start of several steps that a stop can end at any moment, and what must be closed in the end: the last opened
 * first. A step that is under way when the stop comes is waited for, if it is short, or left, if it waits for others.
 */
export class Life {
  readonly #closers: (() => Promise<void> | void)[] = []
  readonly #onEnd = new Set<(because: NaruError) => void>()
  #ended: NaruError | undefined

  /** Why no further step is made. */
  get ended(): NaruError | undefined {
    return this.#ended
  }

  /** A step that ends by itself. What it opened is closed by `close`, also where the stop came first. */
  async open<T>(work: Promise<T>, close?: (opened: T) => Promise<void> | void): Promise<T> {
    const opened = await work
    if (close) this.onClose(() => close(opened))
    if (this.#ended) throw this.#ended
    return opened
  }

  /** A step that may wait for others, perhaps for ever: the stop does not wait for it. */
  awaitOthers<T>(work: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      if (this.#ended) reject(this.#ended)
      this.#onEnd.add(reject)
      work.then(resolve, reject).finally(() => this.#onEnd.delete(reject))
    })
  }

  onClose(close: () => Promise<void> | void): void {
    this.#closers.push(close)
  }

  end(because: NaruError): void {
    if (this.#ended) return
    this.#ended = because
    for (const reject of this.#onEnd) reject(because)
  }

  /** Closes what was opened. All of it, also if some of it fails; the first failure is thrown then. */
  async close(): Promise<void> {
    const failures: unknown[] = []
    for (let close = this.#closers.pop(); close; close = this.#closers.pop()) {
      try {
        await close()
      } catch (thrown) {
        failures.push(thrown)
      }
    }
    if (failures.length > 0) throw failures[0]
  }
}
