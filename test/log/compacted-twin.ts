import type { PartitionLog } from '../../src/log/partition-log.ts'
import type { SeededPrng } from '../harness/seeded-prng.ts'
import { appendKeyed, brief, type FoundRecord, KEYED_TIME_MS, type Keyed } from './compacted-log.ts'

interface TwinRecord extends FoundRecord {
  /** First offset of its batch. */
  readonly batch: number
}

/**
 * A compacted log without cleverness: every record that was ever appended, and per batch when its tombstones may go. What
 * a cleaning leaves is worked out from the whole list each time.
 */
export class CompactedTwin {
  readonly #deleteRetentionMs: number
  readonly #horizons = new Map<number, number>()
  readonly #all: TwinRecord[] = []
  #records: TwinRecord[] = []
  #epoch = 1
  readonly #sequences = new Map<number, number>()

  constructor(options: { deleteRetentionMs: number }) {
    this.#deleteRetentionMs = options.deleteRetentionMs
  }

  get endOffset(): number {
    return this.#all.length
  }

  get lines(): string[] {
    return brief(this.#records)
  }

  /** Of each key the newest record below `end`, whether compaction has left it or not. */
  newestBelow(end: number): Map<string, FoundRecord> {
    return new Map(this.#all.slice(0, end).map(record => [record.key, record]))
  }

  lineAt(offset: number): string | undefined {
    return brief(this.#all.slice(offset, offset + 1))[0]
  }

  append(log: PartitionLog, prng: SeededPrng): void {
    if (prng.chance(0.1)) this.#epoch++
    const count = 1 + (prng.uint32() % 4)
    const base = this.#all.length
    const records = Array.from({ length: count }, (_, at): Keyed => {
      const value = prng.chance(0.25) ? null : `v${base + at}${'.'.repeat(prng.uint32() % 60)}`
      return [`k${prng.uint32() % 12}`, value]
    })
    const producerId = prng.chance(0.7) ? 100 + (prng.uint32() % 3) : undefined
    const baseSequence = this.#sequences.get(producerId ?? -1) ?? 0
    if (producerId !== undefined) this.#sequences.set(producerId, baseSequence + count)
    const timestamp = KEYED_TIME_MS + base
    appendKeyed(log, records, {
      leaderEpoch: this.#epoch,
      timestamp,
      baseSequence,
      compression: prng.pick(['none', 'none', 'gzip', 'snappy', 'lz4', 'zstd'] as const),
      ...(producerId === undefined ? {} : { producerId }),
    })
    for (const [at, [key, value]] of records.entries()) {
      const record = { offset: base + at, key, value, timestamp: timestamp + at, batch: base }
      this.#all.push(record)
      this.#records.push(record)
    }
  }

  /** What a cleaning up to `end` at that time leaves. */
  clean(end: number, wallMs: number): void {
    const newest = this.newestBelow(end)
    const isNewest = (record: TwinRecord) => newest.get(record.key)?.offset === record.offset
    this.#records = this.#records.filter(record => {
      if (record.offset >= end) return true
      if (!isNewest(record)) return false
      return record.value !== null || wallMs < (this.#horizons.get(record.batch) ?? Number.POSITIVE_INFINITY)
    })
    for (const { offset, value, batch } of this.#records) {
      if (offset < end && value === null && !this.#horizons.has(batch))
        this.#horizons.set(batch, wallMs + this.#deleteRetentionMs)
    }
  }
}
