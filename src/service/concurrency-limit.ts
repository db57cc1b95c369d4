import { ByteBudget } from './byte-budget.ts'

/** Runs at most so many pieces of work at a time; the others wait in line, in order. */
export class ConcurrencyLimit {
  readonly #places: ByteBudget

  constructor(max: number) {
    this.#places = new ByteBudget(max)
  }

  async run<T>(work: () => Promise<T>): Promise<T> {
    await new Promise<void>(resolve => {
      this.#places.take(1, resolve)
    })
    try {
      return await work()
    } finally {
      this.#places.giveBack(1)
    }
  }
}
