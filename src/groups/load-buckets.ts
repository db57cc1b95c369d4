import { assert } from '../base/assert.ts'

export interface Loaded {
  load: number
}

/**
 * Things by load, the least loaded at hand. Loads change by 1, so the least level is never far from where it was;
 * among equals, who has been there longest.
 */
export class LoadBuckets<T extends Loaded> {
  readonly #buckets = new Map<number, Set<T>>()
  #least = Number.POSITIVE_INFINITY

  add(one: T): void {
    this.#bucket(one.load).add(one)
    this.#least = Math.min(this.#least, one.load)
  }

  /** Sets the load, up or down by 1. */
  move(one: T, load: number): void {
    assert(Math.abs(load - one.load) === 1, `load ${one.load} becomes ${load}`)
    const before = this.#bucket(one.load)
    before.delete(one)
    // Going up it leaves at least itself one level higher.
    if (before.size === 0 && this.#least === one.load) this.#least = one.load + 1
    one.load = load
    this.add(one)
  }

  least(): T {
    const [first] = this.#bucket(this.#least)
    assert(first !== undefined, 'no least loaded')
    return first
  }

  #bucket(load: number): Set<T> {
    let bucket = this.#buckets.get(load)
    if (bucket === undefined) {
      bucket = new Set()
      this.#buckets.set(load, bucket)
    }
    return bucket
  }
}
