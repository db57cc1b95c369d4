import { assert } from '../base/assert.ts'
import type { Epoch, Offset } from '../base/brands.ts'
import type { LeaderEpochEntry } from './leader-epoch-checkpoint.ts'

/**
 * Which leader epoch wrote which offsets: entries (epoch, offset of its first record), both rising strictly. Derived
 * from the batches; kept in `leader-epoch-checkpoint` so that a start need not scan them.
 * Driven by the log: `assign` with each appended batch, the truncations with the log's own.
 * The questions are those of KIP-101 and KIP-279: where a follower's epoch ends here, and which epoch an offset has.
 */
export class LeaderEpochCache {
  #entries: LeaderEpochEntry[]
  /** Whether the entries differ from those last written to the checkpoint. */
  dirty = false

  constructor(entries: readonly LeaderEpochEntry[] = []) {
    for (const [at, entry] of entries.entries()) {
      const before = entries[at - 1]
      assert(
        !before || (before.epoch < entry.epoch && before.startOffset < entry.startOffset),
        'epoch entries rise',
      )
    }
    this.#entries = [...entries]
  }

  get entries(): readonly LeaderEpochEntry[] {
    return this.#entries
  }

  get latestEpoch(): Epoch | undefined {
    return this.#entries.at(-1)?.epoch
  }

  /** A batch of `epoch` begins at `startOffset`; epochs never fall. */
  assign(epoch: Epoch, startOffset: Offset): void {
    const latest = this.#entries.at(-1)
    if (latest?.epoch === epoch) return
    assert(!latest || (latest.epoch < epoch && latest.startOffset <= startOffset), 'leader epochs never fall')
    // An epoch of which deletions left no record.
    if (latest?.startOffset === startOffset) this.#entries.pop()
    this.#entries.push({ epoch, startOffset })
    this.dirty = true
  }

  /** Epoch of the record at `offset`; undefined below the first entry. */
  epochAt(offset: Offset): Epoch | undefined {
    return this.#entries[this.#indexAt(offset)]?.epoch
  }

  /** Whether all of [from, to] is of `epoch`. What lies below the first entry is not known and not judged. */
  agrees(epoch: Epoch, from: Offset, to: Offset): boolean {
    const at = this.#indexAt(to)
    const entry = this.#entries[at]
    if (!entry) return true
    return entry.epoch === epoch && (entry.startOffset <= from || at === 0)
  }

  /**
   * The largest epoch <= `epoch` and where it ends (start of the next one, or `logEndOffset`). Undefined where all
   * epochs here are later.
   */
  endOffsetFor(epoch: Epoch, logEndOffset: Offset): { epoch: Epoch; endOffset: Offset } | undefined {
    let at = this.#entries.length - 1
    while (at >= 0 && (this.#entries[at]?.epoch ?? 0) > epoch) at--
    const entry = this.#entries[at]
    if (!entry) return undefined
    return { epoch: entry.epoch, endOffset: this.#entries[at + 1]?.startOffset ?? logEndOffset }
  }

  /** Removes what begins at or above `endOffset`, the log's new end. */
  truncateFromEnd(endOffset: Offset): void {
    while ((this.#entries.at(-1)?.startOffset ?? -1) >= endOffset) {
      this.#entries.pop()
      this.dirty = true
    }
  }

  /** Removes what ends at or below `logStartOffset`; the first epoch left begins there at the earliest. */
  truncateFromStart(logStartOffset: Offset): void {
    const at = this.#indexAt(logStartOffset)
    const entry = this.#entries[at]
    if (!entry || (at === 0 && entry.startOffset === logStartOffset)) return
    this.#entries.splice(0, at + 1, { epoch: entry.epoch, startOffset: logStartOffset })
    this.dirty = true
  }

  clear(): void {
    this.dirty ||= this.#entries.length > 0
    this.#entries = []
  }

  /** Index of the last entry that begins at or below `offset`, or -1. */
  #indexAt(offset: Offset): number {
    let low = 0
    let high = this.#entries.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((this.#entries[middle]?.startOffset ?? 0) <= offset) low = middle + 1
      else high = middle
    }
    return low - 1
  }
}
