/** A map with changes that are not made yet: a handler plans on it, replay makes them. */
export class Overlay<K, V> {
  readonly #base: OverlayBase<K, V>
  readonly #changes = new Map<K, V | null>()
  #size: number

  constructor(base: OverlayBase<K, V>) {
    this.#base = base
    this.#size = base.size
  }

  get size(): number {
    return this.#size
  }

  get(key: K): V | undefined {
    const changed = this.#changes.get(key)
    if (changed !== undefined) return changed ?? undefined
    return this.#base.get(key)
  }

  has(key: K): boolean {
    return this.get(key) !== undefined
  }

  set(key: K, value: V): void {
    if (!this.has(key)) this.#size++
    this.#changes.set(key, value)
  }

  delete(key: K): void {
    if (!this.has(key)) return
    this.#size--
    this.#changes.set(key, null)
  }

  *keys(): Iterable<K> {
    for (const key of this.#base.keys()) if (this.#changes.get(key) !== null) yield key
    for (const [key, value] of this.#changes) if (value !== null && !this.#base.has(key)) yield key
  }

  /** null: to be deleted. What was set and deleted again, or the other way round, may appear without need. */
  changes(): Iterable<[K, V | null]> {
    return this.#changes.entries()
  }
}

export interface OverlayBase<K, V> {
  readonly size: number
  get(key: K): V | undefined
  has(key: K): boolean
  keys(): Iterable<K>
}
