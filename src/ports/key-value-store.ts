/**
 * A sorted map of bytes that survives restarts (LevelDB in a real node). A batch is applied whole or not at
 * all. With `sync` it survives a power cut once resolved; without, it survives a killed process only.
 */
export interface KeyValueStore {
  get(key: Uint8Array): Promise<Buffer | undefined>
  write(batch: readonly KeyValueChange[], options: { sync: boolean }): Promise<void>
  /**
   * Pairs with `from <= key < to` in key order; a view of one moment. They come as many at once, in bounded pages that
   * are never empty, with turns of the event loop between them: a promise for each pair would cost more than it.
   */
  pages(range: { from?: Uint8Array; to?: Uint8Array }): AsyncIterable<readonly KeyValuePair[]>
  /** Removes all pairs with `from <= key < to`. */
  clear(range: { from?: Uint8Array; to?: Uint8Array }): Promise<void>
  close(): Promise<void>
}

export type KeyValuePair = readonly [key: Buffer, value: Buffer]

export type KeyValueChange =
  | { readonly kind: 'put'; readonly key: Uint8Array; readonly value: Uint8Array }
  | { readonly kind: 'delete'; readonly key: Uint8Array }
