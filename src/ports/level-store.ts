import { Level } from 'level'
import { NaruError } from '../base/errors.ts'
import type { KeyValueChange, KeyValuePair, KeyValueStore } from './key-value-store.ts'

export interface LevelStoreOptions {
  /** Uncompressed blocks kept in memory. Beside it LevelDB holds at most two write buffers of 4 MiB. */
  readonly cacheBytes?: number
}

/**
 * KeyValueStore on LevelDB. LevelDB's own lock keeps a second process (and a second store of this one) out of
 * the directory. It may lose unsynced batches at a power cut, and (D2) damaged blocks in the middle of its own
 * log: what is kept in it must be rebuildable and carry its own checks.
 */
export class LevelStore implements KeyValueStore {
  readonly #level: Level<Uint8Array, Uint8Array>

  private constructor(level: Level<Uint8Array, Uint8Array>) {
    this.#level = level
  }

  static async open(directory: string, options: LevelStoreOptions = {}): Promise<LevelStore> {
    const level = new Level<Uint8Array, Uint8Array>(directory, {
      keyEncoding: 'buffer',
      valueEncoding: 'buffer',
      cacheSize: options.cacheBytes ?? 8 * 1024 * 1024,
    })
    try {
      await level.open()
    } catch (error) {
      throw openError(directory, error)
    }
    return new LevelStore(level)
  }

  /** Removes a store that is not open, damaged or not; the view in it is then rebuilt from its log. */
  static async destroy(directory: string): Promise<void> {
    try {
      await (Level as unknown as LevelStatics).destroy(directory)
    } catch (error) {
      throw openError(directory, error)
    }
  }

  async get(key: Uint8Array): Promise<Buffer | undefined> {
    return this.#call('read', async () => {
      const value = (await this.#level.get(key)) as Uint8Array | undefined
      return value === undefined ? undefined : asBuffer(value)
    })
  }

  async write(batch: readonly KeyValueChange[], options: { sync: boolean }): Promise<void> {
    // Chained: a list costs five times as much, for the options that each of its operations might have.
    await this.#call('write', async () => {
      const chained = this.#level.batch()
      for (const change of batch)
        if (change.kind === 'put') chained.put(change.key, change.value)
        else chained.del(change.key)
      await chained.write({ sync: options.sync })
    })
  }

  async *pages(range: { from?: Uint8Array; to?: Uint8Array }): AsyncIterable<readonly KeyValuePair[]> {
    // A LevelDB iterator reads a snapshot taken when it is made: one moment, as the port promises.
    const options = { ...bounds(range), highWaterMarkBytes: PAGE_BYTES }
    const iterator = await this.#call('read', async () => this.#level.iterator(options))
    try {
      for (;;) {
        const pairs = await this.#call('read', () => iterator.nextv(PAGE_PAIRS_MAX))
        if (pairs.length === 0) return
        yield pairs.map(([key, value]) => [asBuffer(key), asBuffer(value)] as const)
      }
    } finally {
      await iterator.close()
    }
  }

  async clear(range: { from?: Uint8Array; to?: Uint8Array }): Promise<void> {
    await this.#call('clear', () => this.#level.clear(bounds(range)))
  }

  async close(): Promise<void> {
    await this.#level.close()
  }

  async #call<T>(operation: string, run: () => Promise<T>): Promise<T> {
    const location = this.#level.location
    if (this.#level.status !== 'open')
      throw new NaruError('CLOSED', `the key-value store ${location} is closed`, { outcome: 'none' })
    try {
      return await run()
    } catch (error) {
      const [code, message] = describe(error)
      const text = `${operation} of the key-value store ${location} failed: ${message}`
      const details = { directory: location }
      if (code === 'LEVEL_CORRUPTION') throw new NaruError('CORRUPT_DATA', text, { cause: error, details })
      if (code === 'LEVEL_IO_ERROR')
        throw new NaruError('STORAGE_OFFLINE', text, { cause: error, details, outcome: 'unknown' })
      throw new NaruError('INTERNAL', text, { cause: error, details })
    }
  }
}

/** What is read into memory at once, and used in one turn of the event loop. */
const PAGE_BYTES = 64 * 1024
const PAGE_PAIRS_MAX = 1_000

/** What the library has on Node and its shared types (which cover browsers too) leave out. */
interface LevelStatics {
  destroy(location: string): Promise<void>
}

function openError(directory: string, error: unknown): NaruError {
  const [code, message] = describe(error)
  const options = { cause: error, details: { directory } }
  if (code === 'LEVEL_LOCKED')
    return new NaruError(
      'DATA_DIRECTORY_IN_USE',
      `the key-value store ${directory} is in use by another process (stop it, or use another data directory)`,
      options,
    )
  // Among "IO errors" LevelDB counts missing and unreadable files of its own: open again, or rebuild (D2).
  return new NaruError(
    'DATA_DIRECTORY_DAMAGED',
    `the key-value store ${directory} does not open: ${message}`,
    options,
  )
}

/** LevelDB's own code and words: the library wraps what happened at open in a general error. */
function describe(error: unknown): [string | undefined, string] {
  let inner = error
  while (inner instanceof Error && inner.cause instanceof Error) inner = inner.cause
  const code = inner instanceof Error && 'code' in inner ? String(inner.code) : undefined
  return [code, inner instanceof Error ? inner.message : String(inner)]
}

function bounds(range: { from?: Uint8Array; to?: Uint8Array }): { gte?: Uint8Array; lt?: Uint8Array } {
  return {
    ...(range.from === undefined ? {} : { gte: range.from }),
    ...(range.to === undefined ? {} : { lt: range.to }),
  }
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
