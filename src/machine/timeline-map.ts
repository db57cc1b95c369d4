import type { SnapshotRegistry, Undo } from './snapshot-registry.ts'

/**
 * A map that goes back to an earlier state with its registry. Values must be immutable, or timeline structures
 * of the same registry. The order of iteration is not part of the state: it differs between nodes after one of
 * them has rolled back, so nothing that is replicated may depend on it.
 */
export class TimelineMap<K, V> {
  readonly #registry: SnapshotRegistry
  readonly #entries = new Map<K, V>()

  constructor(registry: SnapshotRegistry) {
    this.#registry = registry
  }

  get size(): number {
    return this.#entries.size
  }

  get(key: K): V | undefined {
    return this.#entries.get(key)
  }

  has(key: K): boolean {
    return this.#entries.has(key)
  }

  set(key: K, value: V): void {
    this.#note(key)
    this.#entries.set(key, value)
  }

  delete(key: K): boolean {
    if (!this.#entries.has(key)) return false
    this.#note(key)
    return this.#entries.delete(key)
  }

  clear(): void {
    for (const key of this.#entries.keys()) this.#note(key)
    this.#entries.clear()
  }

  keys(): IterableIterator<K> {
    return this.#entries.keys()
  }

  values(): IterableIterator<V> {
    return this.#entries.values()
  }

  entries(): IterableIterator<[K, V]> {
    return this.#entries.entries()
  }

  #note(key: K): void {
    this.#registry.undoOf(this, () => new MapUndo(this.#entries))?.note(key)
  }
}

class MapUndo<K, V> implements Undo {
  readonly #entries: Map<K, V>
  /** Entries as they were; `present: false` for keys that were not there. */
  readonly #before = new Map<K, { present: boolean; value: V | undefined }>()

  constructor(entries: Map<K, V>) {
    this.#entries = entries
  }

  note(key: K): void {
    if (this.#before.has(key)) return
    this.#before.set(key, { present: this.#entries.has(key), value: this.#entries.get(key) })
  }

  revert(): void {
    for (const [key, { present, value }] of this.#before) {
      if (present) this.#entries.set(key, value as V)
      else this.#entries.delete(key)
    }
  }
}
