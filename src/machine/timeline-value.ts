import type { SnapshotRegistry } from './snapshot-registry.ts'

/** One immutable value that goes back to an earlier one with its registry. */
export class TimelineValue<V> {
  readonly #registry: SnapshotRegistry
  #value: V

  constructor(registry: SnapshotRegistry, initial: V) {
    this.#registry = registry
    this.#value = initial
  }

  get(): V {
    return this.#value
  }

  set(value: V): void {
    const before = this.#value
    // Only the first note of a snapshot counts: it holds what was there when the snapshot was taken.
    this.#registry.undoOf(this, () => ({ revert: () => this.#restore(before) }))
    this.#value = value
  }

  #restore(value: V): void {
    this.#value = value
  }
}
