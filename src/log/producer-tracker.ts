import type { Offset } from '../base/brands.ts'
import { NaruError } from '../base/errors.ts'
import type { Clock } from '../ports/clock.ts'
import { type Disk, writeFileAtomically } from '../ports/disk.ts'
import {
  baseOffsetAt,
  baseSequenceAt,
  isControlAt,
  lastOffsetDeltaAt,
  maxTimestampAt,
  producerEpochAt,
  producerIdAt,
} from '../records/batch-header.ts'
import { offsetFileName, PRODUCER_SNAPSHOT_SUFFIX, parseOffsetFileName } from './log-file-names.ts'
import { encodeProducerSnapshot, readProducerSnapshot } from './producer-snapshot-file.ts'
import { type ProducerBatch, ProducerStateTable } from './producer-state.ts'

/**
 * A log's producer state with its snapshot files: one at the base of each segment, taken when the batch that begins it
 * is appended, and one at the end when the log is closed. Derived: without them the log is replayed.
 */
export class ProducerTracker {
  readonly #disk: Disk
  readonly #clock: Clock
  readonly #directory: string
  readonly #table = new ProducerStateTable()
  /** The snapshot of this offset was taken over, and nothing has come to it or gone since. */
  #loadedOffset: Offset | undefined

  constructor(options: { disk: Disk; clock: Clock; directory: string }) {
    this.#disk = options.disk
    this.#clock = options.clock
    this.#directory = options.directory
  }

  get table(): ProducerStateTable {
    return this.#table
  }

  /** Where the batch is stored already, or undefined if it is to be appended. Throws for one that must not be. */
  check(buffer: Buffer, at: number): StoredPlace | undefined {
    if (producerIdAt(buffer, at) < 0) return undefined
    const verdict = this.#table.check(producerBatchAt(buffer, at))
    if (verdict.kind === 'append') return undefined
    const { baseOffset, lastOffset, timestamp } = verdict.stored
    return { baseOffset, lastOffset, maxTimestamp: timestamp }
  }

  /** The batch is in the log, with its offset in it. */
  note(buffer: Buffer, at: number): void {
    if (producerIdAt(buffer, at) < 0) return
    this.#loadedOffset = undefined
    this.#table.update(producerBatchAt(buffer, at), this.#clock.monotonicMs())
  }

  /** The file of that offset holds what is here. */
  isStoredAt(offset: Offset): boolean {
    return this.#loadedOffset === offset
  }

  reset(): void {
    this.#loadedOffset = undefined
    this.#table.clear()
  }

  dropBelow(logStartOffset: Offset): void {
    if (this.#table.removeBelow(logStartOffset)) this.#loadedOffset = undefined
  }

  expire(options: { expirationMs: number }): void {
    const hasGone = this.#table.expire({ ...options, nowMs: this.#clock.monotonicMs() })
    if (hasGone) this.#loadedOffset = undefined
  }

  encodeSnapshot(): Buffer {
    return encodeProducerSnapshot(this.#table.entries)
  }

  async writeSnapshot(offset: Offset, content: Buffer): Promise<void> {
    await writeFileAtomically(this.#disk, this.#pathOf(offset), content)
  }

  /** Takes over the newest readable snapshot at or below `endOffset`; returns its offset, 0 for none. */
  async loadNewestSnapshot(endOffset: Offset, known?: readonly Offset[]): Promise<Offset> {
    this.reset()
    for (const offset of [...(known ?? (await this.#snapshotOffsets()))].reverse()) {
      if (offset > endOffset) continue
      try {
        const entries = await readProducerSnapshot(this.#disk, this.#pathOf(offset))
        if (!entries) continue
        this.#table.load(entries, this.#clock.monotonicMs())
        this.#loadedOffset = offset
        return offset
      } catch (thrown) {
        if (!(thrown instanceof NaruError)) throw thrown
        // Damaged, and derived: an older one and more of the log give the same state.
        await this.#disk.remove(this.#pathOf(offset))
      }
    }
    return 0
  }

  async removeSnapshot(offset: Offset): Promise<void> {
    await this.#disk.remove(this.#pathOf(offset))
  }

  /** Snapshots of what was cut off must not come back with other batches. */
  async removeSnapshotsAbove(endOffset: Offset, known?: readonly Offset[]): Promise<void> {
    let removed = 0
    for (const offset of known ?? (await this.#snapshotOffsets())) {
      if (offset <= endOffset) continue
      await this.#disk.remove(this.#pathOf(offset))
      removed++
    }
    if (removed > 0) await this.#disk.syncDirectory(this.#directory)
  }

  async #snapshotOffsets(): Promise<Offset[]> {
    return snapshotOffsets((await this.#disk.list(this.#directory)).map(entry => entry.name))
  }

  #pathOf(offset: Offset): string {
    return `${this.#directory}/${offsetFileName(offset, PRODUCER_SNAPSHOT_SUFFIX)}`
  }
}

/** Of those among the names, rising as the names do. */
export function snapshotOffsets(names: Iterable<string>): Offset[] {
  const offsets: Offset[] = []
  for (const name of names) {
    const parsed = parseOffsetFileName(name)
    if (parsed?.suffix === PRODUCER_SNAPSHOT_SUFFIX) offsets.push(parsed.offset)
  }
  return offsets
}

interface StoredPlace {
  readonly baseOffset: Offset
  readonly lastOffset: Offset
  readonly maxTimestamp: number
}

function producerBatchAt(buffer: Buffer, at: number): ProducerBatch {
  return {
    producerId: producerIdAt(buffer, at),
    producerEpoch: producerEpochAt(buffer, at),
    baseSequence: baseSequenceAt(buffer, at),
    baseOffset: baseOffsetAt(buffer, at),
    lastOffsetDelta: lastOffsetDeltaAt(buffer, at),
    maxTimestamp: maxTimestampAt(buffer, at),
    isControl: isControlAt(buffer, at),
  }
}
