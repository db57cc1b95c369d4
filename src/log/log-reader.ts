import type { Offset } from '../base/brands.ts'
import { NaruError } from '../base/errors.ts'
import { DiskError } from '../ports/disk.ts'
import { baseOffsetAt, LOG_OVERHEAD, lastOffsetAt } from '../records/batch-header.ts'
import { batchDefectAt, batchSizeAt } from './batch-check.ts'
import type { LogCore } from './log-core.ts'
import { emptySlice, type LogSlice, type ReadRange } from './log-tail.ts'
import { type Segment, unlessReplaced } from './segment.ts'
import { type Defect, ledAstray } from './segment-scan.ts'

/** Readers whose place is remembered; beyond that the index is asked, which costs a few microseconds. */
const CURSORS_MAX = 64

/**
 * Reads whole, checked batches from the files. Consecutive reads go on at the byte where the last one ended, without
 * asking an index. Reads run beside writes: after each await the log may be truncated, rolled or shorter at its start,
 * so a read that finds something odd first looks whether that is why.
 */
export class LogReader {
  readonly #core: LogCore
  /** Offset to read next -> where it lies. In the order of last use. */
  readonly #cursors = new Map<Offset, Cursor>()

  constructor(core: LogCore) {
    this.#core = core
  }

  /** From memory, at once; undefined where it is not there. Throws as `read` does. */
  readTail(range: ReadRange): LogSlice | undefined {
    this.#checkRange(range.from)
    if (range.from >= Math.min(range.upTo, this.#core.logEndOffset)) return emptySlice(range.from)
    return this.#core.tail.read(range)
  }

  async read(range: ReadRange): Promise<LogSlice> {
    const core = this.#core
    for (let indexTrusted = true; ; ) {
      const inMemory = this.readTail(range)
      if (inMemory) return inMemory
      const { generation, logStartOffset, replacements } = core
      const outcome = await unlessReplaced(() => this.#readFile(range))
      core.ensureServing()
      // Also what looks right may have been read at a place that is another one's now.
      if (outcome === undefined || replacements !== core.replacements) {
        this.#cursors.clear()
        continue
      }
      if ('buffers' in outcome) return outcome
      // What looked damaged may have been read while the log was cut: look again.
      if (generation !== core.generation || logStartOffset !== core.logStartOffset) continue
      const segment = core.segments.containing(range.from)
      if (!indexTrusted || !segment) throw core.quarantine(outcome)
      // An index may have led astray, and an index is only derived. This scan finds damage of the log itself.
      this.#cursors.clear()
      const isReplaced = await unlessReplaced(() => core.replaceIndexes(segment).then(() => true))
      indexTrusted = isReplaced === undefined
    }
  }

  /** Positions are no longer what they were. */
  forgetCursors(): void {
    this.#cursors.clear()
  }

  #checkRange(from: Offset): void {
    const core = this.#core
    core.ensureServing()
    if (from >= core.logStartOffset && from <= core.logEndOffset) return
    throw new NaruError(
      'OFFSET_OUT_OF_RANGE',
      `offset ${from} is outside of the log ${core.name}, which holds ${core.logStartOffset} ... ${core.logEndOffset}` +
        ' (end exclusive): start within it, or at earliest or latest',
      {
        details: {
          log: core.name,
          offset: String(from),
          logStartOffset: String(core.logStartOffset),
          logEndOffset: String(core.logEndOffset),
        },
      },
    )
  }

  async #readFile(range: ReadRange): Promise<LogSlice | Defect> {
    const core = this.#core
    const { generation } = core
    const cursor = await this.#locate(range.from)
    if (!cursor) return this.#missing(range.from)
    if (generation !== core.generation) return this.#missing(range.from)
    const { segment, position } = cursor
    // A few more bytes than asked: the scan from the index entry to the batch, and mostly the next header.
    const slackBytes = cursor.nextOffset === undefined ? core.config.indexIntervalBytes * 2 : 0
    const length = Math.min(range.maxBytes + slackBytes, segment.sizeBytes - position)
    if (length <= 0) return this.#defect(segment, position, range.from, 'the file ends before it')
    try {
      let buffer = await segment.read(position, length)
      let slice = this.#cut(buffer, cursor, range)
      for (; 'needBytes' in slice; slice = this.#cut(buffer, cursor, range)) {
        if (position + slice.needBytes > segment.sizeBytes) {
          return this.#defect(segment, position, range.from, 'the file ends within a batch')
        }
        buffer = await segment.read(position, slice.needBytes)
        if (buffer.length < slice.needBytes)
          return this.#defect(segment, position, range.from, 'the file ends early')
      }
      // After a truncation positions mean nothing any more.
      if (generation !== core.generation) this.#cursors.clear()
      return slice
    } catch (thrown) {
      if (!(thrown instanceof DiskError)) throw thrown
      return this.#onDiskError(thrown, segment, position, range.from)
    }
  }

  /** The batches of `buffer` that answer the range, or how many bytes are needed to have the first of them. */
  #cut(buffer: Buffer, cursor: Cursor, range: ReadRange): LogSlice | Defect | { needBytes: number } {
    const core = this.#core
    const { segment } = cursor
    const expected = {
      nextOffset: 0,
      gapsAllowed: core.gaps.allowed,
      offsetLimit: core.offsetLimitOf(segment),
      agrees: core.epochAgrees.bind(core),
    }
    let due = cursor.nextOffset
    let at = 0
    let start = -1
    let baseOffset = range.from
    let nextOffset = range.from
    for (;;) {
      const sizeBytes = batchSizeAt(buffer, at)
      if (typeof sizeBytes === 'string')
        return this.#defect(segment, cursor.position + at, due ?? range.from, sizeBytes)
      const end = at + (sizeBytes ?? 0)
      if (sizeBytes === undefined || end > buffer.length) {
        if (start < 0 && cursor.position + at < segment.sizeBytes)
          return { needBytes: at + (sizeBytes ?? LOG_OVERHEAD) }
        break
      }
      if (start >= 0 && end - start > range.maxBytes) break
      expected.nextOffset = due ?? baseOffsetAt(buffer, at)
      const defect = batchDefectAt(buffer, at, sizeBytes, expected)
      if (defect) return this.#defect(segment, cursor.position + at, expected.nextOffset, defect)
      const lastOffset = lastOffsetAt(buffer, at)
      if (at === 0 && cursor.nextOffset === undefined && lastOffset > range.from)
        return this.#defect(segment, cursor.position, range.from, ledAstray(lastOffset))
      due = lastOffset + 1
      if (lastOffset >= range.upTo) break
      if (lastOffset >= range.from) {
        if (start < 0) {
          start = at
          baseOffset = baseOffsetAt(buffer, at)
        }
        nextOffset = due
      }
      at = end
    }
    this.#remember(cursor, { nextOffset: due, position: cursor.position + at })
    if (start < 0) return this.#nothingFound(cursor, range, at)
    const bytes = buffer.subarray(start, at)
    return { baseOffset, nextOffset, sizeBytes: bytes.length, buffers: [bytes] }
  }

  /** No batch of this segment answers: `upTo` is reached, or (in a compacted log) the segment has none left. */
  #nothingFound(cursor: Cursor, range: ReadRange, at: number): LogSlice | Defect {
    const { segment } = cursor
    const next = this.#core.segments.after(segment)
    if (cursor.position + at >= segment.sizeBytes && next) {
      return this.#defect(
        segment,
        segment.sizeBytes,
        range.from,
        `the file ends before offset ${next.baseOffset - 1}`,
      )
    }
    return emptySlice(range.from)
  }

  async #locate(from: Offset): Promise<Cursor | undefined> {
    const known = this.#cursors.get(from)
    if (known) {
      this.#cursors.delete(from)
      return known
    }
    const segment = this.#core.segments.containing(from)
    if (!segment) return undefined
    const indexes = await this.#core.indexesOf(segment)
    const position = indexes.offsets.lookup(from)
    return { segment, position, nextOffset: position === 0 ? segment.baseOffset : undefined }
  }

  #remember(cursor: Cursor, next: { nextOffset: Offset | undefined; position: number }): void {
    if (next.nextOffset === undefined || next.position >= cursor.segment.sizeBytes) return
    this.#cursors.set(next.nextOffset, { segment: cursor.segment, ...next })
    if (this.#cursors.size <= CURSORS_MAX) return
    for (const oldest of this.#cursors.keys()) {
      this.#cursors.delete(oldest)
      break
    }
  }

  #defect(segment: Segment, position: number, offset: Offset, what: string): Defect {
    return { file: segment.path, position, offset, what }
  }

  #missing(offset: Offset): Defect {
    return this.#defect(this.#core.segments.first, 0, offset, 'no segment holds this offset')
  }

  #onDiskError(error: DiskError, segment: Segment, position: number, offset: Offset): Defect {
    if (error.code === 'ENOENT') return this.#defect(segment, position, offset, 'the file is gone')
    if (error.code === 'EIO')
      return this.#defect(segment, position, offset, `it cannot be read (${error.message})`)
    throw new NaruError(
      'OVERLOADED',
      `${segment.path} cannot be read now (${error.message}): the process is short of descriptors or rights`,
      { cause: error },
    )
  }
}

interface Cursor {
  readonly segment: Segment
  readonly position: number
  /** Offset due at the position; undefined where an index led there. */
  readonly nextOffset: Offset | undefined
}
