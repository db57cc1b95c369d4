/** Something whose indexes are in memory and can be loaded again. */
export interface IndexHolder {
  readonly loadedIndexes: { readonly sizeBytes: number } | undefined
  dropIndexes(): void
}

/**
 * Bounds the memory for indexes of closed segments, over all logs of a data directory: the least recently used go
 * first. Segments that are being written are never added, so theirs stay.
 */
export class IndexCache {
  readonly #indexBytesMax: number
  readonly #holders = new Map<IndexHolder, number>()
  #bytes = 0

  constructor(options: { indexBytesMax: number }) {
    this.#indexBytesMax = options.indexBytesMax
  }

  get sizeBytes(): number {
    return this.#bytes
  }

  /** Used again; nothing happens to what was never added. */
  touch(holder: IndexHolder): void {
    if (this.#holders.has(holder)) this.add(holder)
  }

  add(holder: IndexHolder): void {
    this.forget(holder)
    const sizeBytes = holder.loadedIndexes?.sizeBytes ?? 0
    this.#holders.set(holder, sizeBytes)
    this.#bytes += sizeBytes
    for (const oldest of this.#holders.keys()) {
      if (this.#bytes <= this.#indexBytesMax || oldest === holder) break
      this.forget(oldest)
      oldest.dropIndexes()
    }
  }

  forget(holder: IndexHolder): void {
    this.#bytes -= this.#holders.get(holder) ?? 0
    this.#holders.delete(holder)
  }
}
