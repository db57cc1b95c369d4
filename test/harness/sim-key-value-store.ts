import { assert } from '../../src/base/assert.ts'
import { NaruError } from '../../src/base/errors.ts'
import type { KeyValueChange, KeyValuePair, KeyValueStore } from '../../src/ports/key-value-store.ts'
import type { EventScheduler } from './event-scheduler.ts'
import type { SeededPrng } from './seeded-prng.ts'
import { never, type SimIncarnation } from './sim-incarnation.ts'

export interface SimKeyValueOptions {
  readonly scheduler: EventScheduler
  readonly prng: SeededPrng
}

interface Batch {
  readonly changes: readonly KeyValueChange[]
}

/**
 * The key-value directory of one simulated machine, losing what LevelDB loses. LevelDB appends batches to one
 * log: a synced batch makes all before it durable; a power cut leaves any prefix of those after the last
 * synced one; and with `skipsDamagedBlocks` (rule D2) batches in the middle of that rest may be missing while
 * later ones are there. A killed process loses nothing that was answered.
 */
export class SimKeyValueImage {
  latencyMs = { min: 0.01, max: 0.1 }
  syncLatencyMs = { min: 0.2, max: 2 }
  skipsDamagedBlocks = false
  /** The next open, read or write fails as a damaged LevelDB does. */
  isDamaged = false
  readonly #scheduler: EventScheduler
  readonly #prng: SeededPrng
  /** Key (as latin1, which sorts as its bytes do) -> value; what a power cut cannot take. */
  #durable = new Map<string, Buffer>()
  #current = new Map<string, Buffer>()
  #unsynced: Batch[] = []
  readonly #inFlight = new Set<() => void>()
  #mounted: SimIncarnation | undefined

  constructor(options: SimKeyValueOptions) {
    this.#scheduler = options.scheduler
    this.#prng = options.prng
  }

  open(incarnation: SimIncarnation): SimKeyValueStore {
    if (this.#mounted?.isAlive)
      throw new NaruError('DATA_DIRECTORY_IN_USE', 'the key-value store is in use by another process')
    this.#checkHealth('DATA_DIRECTORY_DAMAGED')
    this.#mounted = incarnation
    incarnation.onKill(() => this.#settleInFlight())
    return new SimKeyValueStore(this, incarnation)
  }

  close(): void {
    this.#mounted = undefined
  }

  destroy(): void {
    assert(!this.#mounted?.isAlive, 'the key-value store is open')
    this.#durable.clear()
    this.#current.clear()
    this.#unsynced = []
    this.isDamaged = false
  }

  powerCut(): void {
    this.#mounted?.kill()
    const kept = Math.floor(this.#prng.fraction() * (this.#unsynced.length + 1))
    for (const batch of this.#unsynced.slice(0, kept)) {
      if (this.skipsDamagedBlocks && this.#prng.chance(0.3)) continue
      applyTo(this.#durable, batch)
    }
    this.#unsynced = []
    this.#current = new Map(this.#durable)
  }

  /** Pairs in key order as they are now. */
  pairs(range: { from?: Uint8Array; to?: Uint8Array }): (readonly [Buffer, Buffer])[] {
    const from = range.from && name(range.from)
    const to = range.to && name(range.to)
    return [...this.#current]
      .filter(([key]) => (from === undefined || key >= from) && (to === undefined || key < to))
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, value]) => [Buffer.from(key, 'latin1'), Buffer.from(value)] as const)
  }

  value(key: Uint8Array): Buffer | undefined {
    const value = this.#current.get(name(key))
    return value && Buffer.from(value)
  }

  write(batch: Batch, options: { sync: boolean }): void {
    this.#unsynced.push(batch)
    applyTo(this.#current, batch)
    if (!options.sync) return
    for (const earlier of this.#unsynced) applyTo(this.#durable, earlier)
    this.#unsynced = []
  }

  run<T>(incarnation: SimIncarnation, apply: () => T, options: { sync: boolean }): Promise<T> {
    if (!incarnation.isAlive) return never()
    const effect = () => void apply()
    this.#inFlight.add(effect)
    const { min, max } = options.sync ? this.syncLatencyMs : this.latencyMs
    return new Promise((resolve, reject) => {
      const complete = () => {
        if (!this.#inFlight.delete(effect)) return
        try {
          this.#checkHealth('CORRUPT_DATA')
          const value = apply()
          incarnation.schedule(0, () => resolve(value), { label: 'key-value store' })
        } catch (error) {
          incarnation.schedule(0, () => reject(error), { label: 'key-value store' })
        }
      }
      const delayMs = min + this.#prng.fraction() * (max - min)
      this.#scheduler.schedule(delayMs, complete, { label: `${incarnation.name} key-value store` })
    })
  }

  #checkHealth(reason: 'CORRUPT_DATA' | 'DATA_DIRECTORY_DAMAGED'): void {
    if (this.isDamaged) throw new NaruError(reason, 'the key-value store is damaged')
  }

  #settleInFlight(): void {
    for (const effect of this.#inFlight) if (this.#prng.chance(0.5)) effect()
    this.#inFlight.clear()
  }
}

export class SimKeyValueStore implements KeyValueStore {
  readonly #image: SimKeyValueImage
  readonly #incarnation: SimIncarnation
  #isClosed = false

  constructor(image: SimKeyValueImage, incarnation: SimIncarnation) {
    this.#image = image
    this.#incarnation = incarnation
  }

  async get(key: Uint8Array): Promise<Buffer | undefined> {
    return this.#run(() => this.#image.value(key))
  }

  async write(batch: readonly KeyValueChange[], options: { sync: boolean }): Promise<void> {
    // LevelDB copies the batch when it is handed over.
    const changes = batch.map(change => ({
      ...change,
      key: Buffer.from(change.key),
      ...(change.kind === 'put' ? { value: Buffer.from(change.value) } : {}),
    })) as KeyValueChange[]
    await this.#run(() => this.#image.write({ changes }, options), options)
  }

  async *pages(range: { from?: Uint8Array; to?: Uint8Array }): AsyncIterable<readonly KeyValuePair[]> {
    const pairs = await this.#run(() => this.#image.pairs(range))
    for (let at = 0; at < pairs.length; at += PAGE_PAIRS) {
      if (at > 0) await this.#run(() => undefined)
      yield pairs.slice(at, at + PAGE_PAIRS)
    }
  }

  async clear(range: { from?: Uint8Array; to?: Uint8Array }): Promise<void> {
    await this.#run(() => {
      const changes = this.#image.pairs(range).map(([key]) => ({ kind: 'delete' as const, key }))
      this.#image.write({ changes }, { sync: false })
    })
  }

  async close(): Promise<void> {
    if (this.#isClosed) return
    await this.#run(() => undefined)
    this.#isClosed = true
    this.#image.close()
  }

  #run<T>(apply: () => T, options = { sync: false }): Promise<T> {
    if (this.#isClosed) throw new NaruError('CLOSED', 'the key-value store is closed')
    return this.#image.run(this.#incarnation, apply, options)
  }
}

const PAGE_PAIRS = 256

function applyTo(map: Map<string, Buffer>, batch: Batch): void {
  for (const change of batch.changes) {
    if (change.kind === 'put') map.set(name(change.key), Buffer.from(change.value))
    else map.delete(name(change.key))
  }
}

function name(key: Uint8Array): string {
  return Buffer.from(key.buffer, key.byteOffset, key.byteLength).toString('latin1')
}
