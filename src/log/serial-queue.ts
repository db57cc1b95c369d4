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
