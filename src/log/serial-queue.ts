/**
 * Runs asynchronous work strictly one after the other: what changes the files of one log must not overlap.
 * A failed piece of work rejects for its caller and does not stop the next.
 */
export class SerialQueue {
  #last: Promise<unknown> = Promise.resolve()

  run<Result>(work: () => Promise<Result>): Promise<Result> {
    const result = this.#last.then(work)
    this.#last = result.catch(() => undefined)
    return result
  }
}

/** One queue per name, there only while it has work: names come and go. */
export class SerialQueues {
  readonly #queues = new Map<string, { readonly queue: SerialQueue; waiting: number }>()

  /** Names with work under way. */
  get size(): number {
    return this.#queues.size
  }

  async run<Result>(name: string, work: () => Promise<Result>): Promise<Result> {
    const entry = this.#queues.get(name) ?? { queue: new SerialQueue(), waiting: 0 }
    this.#queues.set(name, entry)
    entry.waiting++
    try {
      return await entry.queue.run(work)
    } finally {
      if (--entry.waiting === 0) this.#queues.delete(name)
    }
  }

  /** Resolves when all that was asked for by now is over. */
  async idle(): Promise<void> {
    await Promise.all([...this.#queues.values()].map(({ queue }) => queue.run(async () => {})))
  }
}
