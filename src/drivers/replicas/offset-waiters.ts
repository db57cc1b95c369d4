import { assert } from '../../base/assert.ts'
import type { Offset } from '../../base/brands.ts'

/**
 * Callbacks that wait for an offset of one partition (its high watermark, say) to pass their end. Nearly always
 * they come in the order of their ends, as appends do; a repeated batch may wait for an earlier one.
 * Invariant: ends do not fall from front to back; every end is above the offset last passed.
 */
export class OffsetWaiters<T> {
  #waiting: Waiting<T>[] = []
  #head = 0

  get size(): number {
    return this.#waiting.length - this.#head
  }

  add(endOffset: Offset, waiter: T): void {
    const { length } = this.#waiting
    let at = length
    while (at > this.#head && (this.#waiting[at - 1] as Waiting<T>).endOffset > endOffset) at--
    if (at === length) this.#waiting.push({ endOffset, waiter })
    else this.#waiting.splice(at, 0, { endOffset, waiter })
  }

  /** Hands out all that wait for an end at or below `offset`, in order. */
  passed(offset: Offset, release: (waiter: T) => void): void {
    for (;;) {
      const first = this.#waiting[this.#head]
      if (first === undefined || first.endOffset > offset) break
      this.#head++
      release(first.waiter)
    }
    if (this.#head > 256 && this.#head * 2 > this.#waiting.length) this.#compact()
    if (this.#head === this.#waiting.length) this.#clear()
  }

  /** Hands out all that wait, whatever for. */
  drain(release: (waiter: T) => void): void {
    const all = this.#waiting.slice(this.#head)
    this.#clear()
    for (const { waiter } of all) release(waiter)
    assert(this.#head <= this.#waiting.length, 'the head of the waiters is within them')
  }

  #compact(): void {
    this.#waiting = this.#waiting.slice(this.#head)
    this.#head = 0
  }

  #clear(): void {
    this.#waiting = []
    this.#head = 0
  }
}

interface Waiting<T> {
  readonly endOffset: Offset
  readonly waiter: T
}
