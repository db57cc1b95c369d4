import { assert } from '../base/assert.ts'

/**
 * Bytes that many calls together may hold at once: requests under way, read buffers. A taker either gives up
 * (`tryTake`) or waits in line (`take`); whoever waits is served in order, so that a large one is not starved.
 * A taker of more than all there is gets it when nobody else has anything.
 */
export class ByteBudget {
  readonly bytesMax: number
  #taken = 0
  readonly #line = new Set<Waiting>()
  #isServing = false

  constructor(bytesMax: number) {
    this.bytesMax = bytesMax
  }

  get takenBytes(): number {
    return this.#taken
  }

  tryTake(bytes: number): boolean {
    if (this.#line.size > 0 || !this.#fits(bytes)) return false
    this.#taken += bytes
    return true
  }

  /** Calls `granted` once the bytes are taken, perhaps at once. Returns how to leave the line before that. */
  take(bytes: number, granted: () => void): () => void {
    if (this.tryTake(bytes)) {
      granted()
      return () => {}
    }
    const waiting = { bytes, granted }
    this.#line.add(waiting)
    return () => {
      // Those behind it may fit.
      if (this.#line.delete(waiting)) this.giveBack(0)
    }
  }

  /** For what turned out larger than what was taken for it: it is there already. */
  takeAnyway(bytes: number): void {
    this.#taken += bytes
  }

  giveBack(bytes: number): void {
    this.#taken -= bytes
    assert(this.#taken >= 0, 'more bytes were given back than taken')
    // Whoever is granted may give back at once: that is for the loop under way, or a long line would end the stack.
    if (this.#isServing) return
    this.#isServing = true
    try {
      this.#serve()
    } finally {
      this.#isServing = false
    }
  }

  #serve(): void {
    for (const first of this.#line) {
      if (!this.#fits(first.bytes)) break
      this.#line.delete(first)
      this.#taken += first.bytes
      first.granted()
    }
  }

  #fits(bytes: number): boolean {
    return this.#taken === 0 || this.#taken + bytes <= this.bytesMax
  }
}

interface Waiting {
  readonly bytes: number
  readonly granted: () => void
}
