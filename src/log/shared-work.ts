/**
 * Work that is as good for many callers as for one, such as the sync of a directory: one run at a time, and whoever comes
 * while one is under way shares the next.
 * Invariant: a call resolves by a run that began after it.
 */
export class SharedWork {
  readonly #work: () => Promise<void>
  #running: Promise<void> = Promise.resolve()
  #next: Promise<void> | undefined

  constructor(work: () => Promise<void>) {
    this.#work = work
  }

  run(): Promise<void> {
    if (this.#next) return this.#next
    const next = this.#running.then(() => {
      this.#next = undefined
      return this.#work()
    })
    this.#next = next
    this.#running = next.catch(() => {})
    return next
  }
}
