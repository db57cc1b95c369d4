/**
 * The log as this node knows it: everything after `base`, in memory, whether it is durable yet or not.
 *
 *     base      applied   delivered      persisted   handed   last
 *      |--- entries ------------------------------------------|
 *                      commit (anywhere between base and last)
 *
 * Invariants: base <= applied <= delivered <= min(commit, persisted); persisted <= handed <= last;
 * commit <= last and never falls; entries follow each other without a gap and their terms never fall;
 * nothing at or below commit is ever truncated (R9).
 */
import { assert } from '../base/assert.ts'
import type { LogEntry, LogPosition } from './messages.ts'

export class RaftLog {
  /** The position before the first entry that is kept. */
  #base: LogPosition
  /** `#entries[i]` has index `base.index + 1 + i`. */
  #entries: LogEntry[]
  #commitIndex: number
  /** Durable up to here, inclusive. */
  #persistedIndex: number
  /** Handed to the driver for persisting up to here, inclusive. */
  #handedIndex: number
  /** Handed to the state machine up to here, inclusive. */
  #deliveredIndex: number
  #appliedIndex: number
  /** Bytes of the entries in (applied, delivered]. */
  #applyBytes = 0
  readonly #applyBytesMax: number

  /** `snapshotIndex` is the state that the state machine starts from; all given entries are durable. */
  constructor(start: {
    base: LogPosition
    entries: readonly LogEntry[]
    snapshotIndex: number
    applyBytesMax: number
  }) {
    this.#base = start.base
    this.#entries = []
    this.#applyBytesMax = start.applyBytesMax
    this.append(start.entries)
    const { snapshotIndex } = start
    assert(start.base.index <= snapshotIndex, `log starts at ${start.base.index}, above its snapshot`)
    assert(snapshotIndex <= this.lastIndex, `log ends at ${this.lastIndex}, below its snapshot`)
    this.#commitIndex = snapshotIndex
    this.#deliveredIndex = snapshotIndex
    this.#appliedIndex = snapshotIndex
    this.#persistedIndex = this.lastIndex
    this.#handedIndex = this.lastIndex
  }

  get base(): LogPosition {
    return this.#base
  }

  get lastIndex(): number {
    return this.#base.index + this.#entries.length
  }

  get last(): LogPosition {
    const entry = this.#entries.at(-1)
    return entry === undefined ? this.#base : { index: entry.index, term: entry.term }
  }

  get commitIndex(): number {
    return this.#commitIndex
  }

  get persistedIndex(): number {
    return this.#persistedIndex
  }

  get appliedIndex(): number {
    return this.#appliedIndex
  }

  /** Undefined where this log cannot tell: below its base and above its end. */
  termAt(index: number): number | undefined {
    if (index === this.#base.index) return this.#base.term
    return this.#entries[index - this.#base.index - 1]?.term
  }

  holds(position: LogPosition): boolean {
    return this.termAt(position.index) === position.term
  }

  /** The voting rule of section 5.4.1: a later last term wins, then the longer log. */
  isUpToDate(candidateLast: LogPosition): boolean {
    const { index, term } = this.last
    return candidateLast.term > term || (candidateLast.term === term && candidateLast.index >= index)
  }

  append(entries: readonly LogEntry[]): void {
    let { index, term } = this.last
    for (const entry of entries) {
      assert(entry.index === index + 1, `entry ${entry.index} appended after ${index}`)
      assert(entry.term >= term, `entry ${entry.index} of term ${entry.term} after term ${term}`)
      this.#entries.push(entry)
      index = entry.index
      term = entry.term
    }
  }

  truncateFrom(index: number): void {
    assert(
      index > this.#commitIndex,
      `truncation from ${index} would undo what is committed to ${this.#commitIndex}`,
    )
    assert(index <= this.lastIndex, `truncation from ${index} above the end ${this.lastIndex}`)
    this.#entries.length = index - this.#base.index - 1
    this.#handedIndex = Math.min(this.#handedIndex, index - 1)
    this.#persistedIndex = Math.min(this.#persistedIndex, index - 1)
  }

  /** Entries from `from` on, at least one if there is one, else as many as fit the limits. */
  entriesFrom(from: number, limits: { bytesMax: number; countMax: number }): LogEntry[] {
    assert(from > this.#base.index, `entry ${from} is compacted`)
    const slice: LogEntry[] = []
    let bytes = 0
    for (
      let i = from - this.#base.index - 1;
      i < this.#entries.length && slice.length < limits.countMax;
      i++
    ) {
      const entry = this.#entries[i] as LogEntry
      bytes += entry.data.length
      if (slice.length > 0 && bytes > limits.bytesMax) break
      slice.push(entry)
    }
    return slice
  }

  /** The largest position at or below `at.index` whose term is at most `at.term`: logs of that term may agree there. */
  lastPositionOfTermAtMost(at: LogPosition): LogPosition {
    for (let index = Math.min(at.index, this.lastIndex); index > this.#base.index; index--) {
      const term = this.termAt(index) as number
      if (term <= at.term) return { index, term }
    }
    return this.#base
  }

  commitTo(index: number): void {
    if (index <= this.#commitIndex) return
    assert(index <= this.lastIndex, `commit of ${index} above the end ${this.lastIndex}`)
    this.#commitIndex = index
  }

  /** What is new since the last call and still to be made durable, in order. */
  takeUnpersisted(): LogEntry[] {
    const entries = this.#entries.slice(this.#handedIndex - this.#base.index)
    this.#handedIndex = this.lastIndex
    return entries
  }

  /** Ignores a position that was overwritten meanwhile; who asks has checked that the write is not of an older term. */
  persistedTo(position: LogPosition): void {
    if (position.index <= this.#persistedIndex || !this.holds(position)) return
    assert(position.index <= this.#handedIndex, `entry ${position.index} is durable but was never handed out`)
    this.#persistedIndex = position.index
  }

  /**
   * What may be applied and was not handed out yet, limited by the bytes that wait to be applied. Only what is
   * durable here: what this node applied it still knows after a crash.
   */
  takeCommitted(): LogEntry[] {
    const end = Math.min(this.#commitIndex, this.#persistedIndex)
    const entries: LogEntry[] = []
    while (this.#deliveredIndex < end) {
      const entry = this.#entries[this.#deliveredIndex - this.#base.index] as LogEntry
      const full = this.#applyBytes > 0 && this.#applyBytes + entry.data.length > this.#applyBytesMax
      if (full) break
      entries.push(entry)
      this.#applyBytes += entry.data.length
      this.#deliveredIndex = entry.index
    }
    return entries
  }

  appliedTo(index: number): void {
    assert(
      index <= this.#deliveredIndex,
      `applied ${index} of which only ${this.#deliveredIndex} was delivered`,
    )
    for (let i = Math.max(this.#appliedIndex, this.#base.index) + 1; i <= index; i++) {
      this.#applyBytes -= (this.#entries[i - this.#base.index - 1] as LogEntry).data.length
    }
    this.#appliedIndex = Math.max(this.#appliedIndex, index)
  }

  /** Forgets the entries up to `index`, inclusive: a snapshot stands for them. */
  compactTo(index: number): void {
    assert(index <= this.#appliedIndex, `compaction to ${index} above what is applied, ${this.#appliedIndex}`)
    if (index <= this.#base.index) return
    const term = this.termAt(index) as number
    this.#entries = this.#entries.slice(index - this.#base.index)
    this.#base = { index, term }
  }

  /** The whole log gives way to a snapshot of committed state that reaches beyond what is committed here. */
  restore(snapshot: LogPosition): void {
    assert(
      snapshot.index > this.#commitIndex,
      `snapshot ${snapshot.index} is below commit ${this.#commitIndex}`,
    )
    this.#base = { index: snapshot.index, term: snapshot.term }
    this.#entries = []
    this.#commitIndex = snapshot.index
    this.#persistedIndex = snapshot.index
    this.#handedIndex = snapshot.index
    this.#deliveredIndex = snapshot.index
    this.#appliedIndex = snapshot.index
    this.#applyBytes = 0
  }
}
