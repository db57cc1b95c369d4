import type { Epoch, Offset } from '../base/brands.ts'
import { NaruError } from '../base/errors.ts'
import type { Clock } from '../ports/clock.ts'
import { DiskError } from '../ports/disk.ts'
import { baseOffsetAt, isControlAt, lastOffsetAt, leaderEpochAt } from '../records/batch-header.ts'
import { BatchFilter, deleteHorizonAt } from '../records/filter-batch.ts'
import { RecordCursor } from '../records/record-cursor.ts'
import { CleanedSegmentWriter } from './cleaned-segment.ts'
import { type CleaningLimits, type CleaningPlan, groupSegments } from './cleaning-plan.ts'
import { DamagedLog } from './damaged-log.ts'
import { KeyOffsetMap } from './key-offset-map.ts'
import type { LogCore } from './log-core.ts'
import { shortage } from './log-failures.ts'
import { replayProducers } from './log-producers.ts'
import { ProducerTracker } from './producer-tracker.ts'
import { type Segment, SegmentReplaced } from './segment.ts'
import type { ScannedBatch, ScanResult } from './segment-scan.ts'

export interface CleaningOptions {
  /** Memory for the newest offset of each key; a log with more keys is cleaned in several passes. */
  readonly keyMapBytesMax: number
  /** Called before each piece that is read or written; it waits as long as the cleaner is to be slowed. */
  pace(sizeBytes: number): Promise<void>
  /** The cleaner is to give up at its next step. */
  isStopped(): boolean
}

/** Batches that are looked at in one piece, and records between two turns of the event loop. */
const PIECE_BYTES = 1024 * 1024
const RECORDS_PER_TURN = 2_000

/**
 * Cleans a log: of each key, the records that a newer one below `plan.endOffset` makes obsolete go (the algorithm of
 * Kafka's LogCleaner). A pass reads what is new from where the last one ended and notes the newest offset of each key; then
 * all segments from the log's start on are written anew, without what the notes make obsolete. Where the memory for the
 * notes ends, the pass ends, and the next one goes on there.
 *
 * Stay as they are: the offset of every record; what is not below the high watermark; control batches; batches whose
 * records cannot be decoded. Stay, emptied if need be (rule B8): the first batch of each leader epoch, the batches that are
 * remembered of a producer, the last batch of each segment: so epochs, producers and offsets can still be made anew from
 * the `.log` files alone. A record without a key goes, as in Kafka.
 *
 * A tombstone goes once `delete.retention.ms` have passed since the first cleaning of this log that left it as the newest of
 * its key, which notes that in its batch. The same cleaning has removed the records that it deletes, since segments are
 * replaced from the oldest on: so who reads on from one of them within that time meets the tombstone. What the log that
 * this one was copied from has noted says nothing of here.
 *
 * Reads and appends go on meanwhile; a truncation or retention that changes what was read makes the cleaning give up.
 */
export async function cleanLog(
  core: LogCore,
  plan: CleaningPlan,
  options: CleaningOptions & { limits: CleaningLimits; wallMs: number },
): Promise<void> {
  const cleaning = new Cleaning(core, plan, options)
  try {
    await cleaning.run()
  } catch (thrown) {
    // Given up, closed, or in the way of a truncation: what was met then says nothing of the log.
    if (cleaning.isOver || thrown instanceof SegmentReplaced) return
    if (thrown instanceof DamagedLog) throw core.quarantine(thrown.defect)
    if (!(thrown instanceof DiskError)) throw thrown
    throw shortage(core.name, thrown, 'none') ?? core.failedDisk(thrown)
  }
}

class Cleaning {
  readonly #core: LogCore
  readonly #plan: CleaningPlan
  readonly #options: CleaningOptions & { limits: CleaningLimits; wallMs: number }
  readonly #cuts: number
  #isGivenUp = false
  /** Of the batch before, in this pass from the log's first on. */
  #epoch: Epoch | undefined
  #records = 0

  constructor(
    core: LogCore,
    plan: CleaningPlan,
    options: CleaningOptions & { limits: CleaningLimits; wallMs: number },
  ) {
    this.#core = core
    this.#plan = plan
    this.#options = options
    this.#cuts = core.cuts
  }

  get isOver(): boolean {
    const { failure, closed, cuts, config } = this.#core
    const isUnneeded = failure !== undefined || closed || !config.compacted || this.#options.isStopped()
    return this.#isGivenUp || isUnneeded || cuts !== this.#cuts
  }

  async run(): Promise<void> {
    const core = this.#core
    const { endOffset } = this.#plan
    const bytesBefore = core.segments.sizeBytes
    for (let from = this.#plan.from; from < endOffset && !this.isOver; ) {
      const newest = await this.#mapKeys(from)
      if (newest.endOffset <= from) return
      const kept = await this.#batchesToKeep()
      this.#epoch = undefined
      for (const group of groupSegments(core, newest.endOffset)) {
        if (!this.isOver) await this.#cleanGroup(group, newest, kept)
      }
      await core.lock.run(async () => {
        if (!this.isOver) await core.compaction.noteCleaned(newest.endOffset)
      })
      from = newest.endOffset
    }
    if (this.isOver) return
    const bytesAfter = core.segments.sizeBytes
    core.emit({ kind: 'cleaned', log: core.name, endOffset, bytesBefore, bytesAfter })
  }

  /** The newest offset of each key from `from` on, as far as the memory reaches. */
  async #mapKeys(from: Offset): Promise<NewestOffsets> {
    const core = this.#core
    const { endOffset } = this.#plan
    const keys = new KeyOffsetMap({
      bytesMax: this.#options.keyMapBytesMax,
      keysMax: endOffset - from,
    })
    for (const segment of [...core.segments.all]) {
      const limit = core.segments.limitOf(segment)
      if (limit === undefined || segment.baseOffset >= endOffset) break
      if (limit <= from) continue
      for await (const batch of this.#batchesOf(segment, from)) {
        const fullAt = await this.#mapBatch(batch, from, keys)
        if (fullAt !== undefined) return { keys, from, endOffset: fullAt }
        if (this.isOver) return { keys, from, endOffset: from }
      }
    }
    return { keys, from, endOffset }
  }

  /** The offset of the first record for which there is no room; undefined: all are noted. */
  async #mapBatch(batch: Buffer, from: Offset, keys: KeyOffsetMap): Promise<Offset | undefined> {
    if (isControlAt(batch, 0)) return undefined
    const cursor = decodable(() => new RecordCursor(batch))
    while (cursor && decodable(() => cursor.next())) {
      const key = cursor.key()
      if (key && cursor.offset >= from && !keys.put(key, cursor.offset)) return cursor.offset
      if (this.#countRecord()) await turnOf(this.#core.clock)
    }
    return undefined
  }

  async #cleanGroup(group: readonly Segment[], newest: NewestOffsets, kept: ReadonlySet<Offset>) {
    const core = this.#core
    const [first, last] = [group[0], group.at(-1)]
    const endOffset = last && core.segments.limitOf(last)
    if (!first || endOffset === undefined) return
    const writer = await CleanedSegmentWriter.create(core, { baseOffset: first.baseOffset, endOffset })
    let isFinished = false
    try {
      const { isChanged, removedTombstonesEnd } = await this.#write(writer, group, {
        newest,
        kept,
        endOffset,
      })
      if (this.isOver || (!isChanged && group.length === 1)) return
      await writer.finish()
      await core.lock.run(async () => {
        // Retention may have come first; and the last segment is not the cleaner's.
        this.#isGivenUp ||= !core.segments.areAdjacent(group) || group.includes(core.segments.last)
        if (this.isOver) return
        await core.compaction.noteRemovedTombstones(removedTombstonesEnd)
        isFinished = true
        await core.timed(() => writer.replace(group, { hasRemovedTombstones: removedTombstonesEnd > 0 }))
      })
    } finally {
      if (!isFinished) await writer.discard()
    }
  }

  async #write(
    writer: CleanedSegmentWriter,
    group: readonly Segment[],
    target: { newest: NewestOffsets; kept: ReadonlySet<Offset>; endOffset: Offset },
  ): Promise<{ isChanged: boolean; removedTombstonesEnd: Offset }> {
    const outcome = { isChanged: false, removedTombstonesEnd: 0 }
    const { kept, endOffset } = target
    for (const segment of group) {
      for await (const batch of this.#batchesOf(segment, segment.baseOffset)) {
        const epoch = leaderEpochAt(batch, 0)
        // By the batches: where the log start lies in an epoch, its entry does not say where it began.
        const isFirst = epoch !== this.#epoch
        this.#epoch = epoch
        const isLast = lastOffsetAt(batch, 0) + 1 === endOffset
        const keepEmpty = isFirst || isLast || kept.has(baseOffsetAt(batch, 0))
        const left = await this.#filter(batch, { newest: target.newest, keepEmpty, outcome })
        if (this.isOver) return outcome
        outcome.isChanged ||= left !== batch
        if (!left) continue
        await this.#options.pace(left.length)
        await writer.append([left])
      }
    }
    return outcome
  }

  async #filter(
    batch: Buffer,
    how: { newest: NewestOffsets; keepEmpty: boolean; outcome: { removedTombstonesEnd: Offset } },
  ): Promise<Buffer | undefined> {
    if (isControlAt(batch, 0)) return batch
    const { wallMs, limits } = this.#options
    const horizonMs = deleteHorizonAt(batch, 0)
    const isNew = lastOffsetAt(batch, 0) >= how.newest.from
    const isTombstoneOver = horizonMs !== undefined && horizonMs <= wallMs && !isNew
    const tombstonesKeptFrom = limits.tombstonesKeptFrom?.() ?? Number.POSITIVE_INFINITY
    const filter = decodable(() => new BatchFilter(batch))
    if (!filter) return batch
    const { record } = filter
    for (;;) {
      const more = decodable(() => filter.next())
      if (more === undefined) return batch
      if (!more) break
      if (this.#countRecord()) await turnOf(this.#core.clock)
      const { offset } = record
      const key = record.key()
      if (offset >= how.newest.endOffset) filter.keep()
      else if (key && offset >= (how.newest.keys.get(key) ?? 0)) {
        if (record.hasValue || !isTombstoneOver || offset >= tombstonesKeptFrom) filter.keep()
        else how.outcome.removedTombstonesEnd = offset + 1
      }
    }
    // What is new here may have a horizon of the log that it was copied from, where the records went that it deletes. From
    // this one they go only now. What is not mapped yet has them still.
    const isMapped = lastOffsetAt(batch, 0) < how.newest.endOffset
    const deleteMs = wallMs + this.#core.config.deleteRetentionMs
    const horizon = isMapped ? { deleteMs, isRenewed: isNew } : undefined
    return filter.finish({ horizon, keepEmpty: how.keepEmpty })
  }

  /** First offsets of batches without which producers could not be made anew from the log. */
  async #batchesToKeep(): Promise<ReadonlySet<Offset>> {
    const core = this.#core
    const kept = new Set<Offset>()
    const { disk, clock, directory } = core
    const producers = new ProducerTracker({ disk, clock, directory })
    await replayProducers(core, this.#plan.endOffset, { producers })
    const live = new Set([...core.producers.table.entries].map(([producerId]) => producerId))
    for (const [producerId, { batches }] of producers.table.entries) {
      if (live.has(producerId)) for (const batch of batches) kept.add(batch.baseOffset)
    }
    return kept
  }

  /** The batches of a segment from `from` or a little before on, each in a buffer of its own bytes. */
  async *#batchesOf(segment: Segment, from: Offset): AsyncGenerator<Buffer, void, undefined> {
    const core = this.#core
    let reached: ScanResult | undefined
    for (let position = 0; position < segment.sizeBytes; position = reached.endPosition) {
      const batches: Buffer[] = []
      let sizeBytes = 0
      const onBatch = ({ buffer, at, sizeBytes: batchBytes }: ScannedBatch) => {
        batches.push(Buffer.from(buffer.subarray(at, at + batchBytes)))
        sizeBytes += batchBytes
        return sizeBytes < PIECE_BYTES
      }
      await this.#options.pace(Math.min(PIECE_BYTES, segment.sizeBytes - position))
      reached = reached
        ? await core.scan(segment, { fromPosition: position, fromOffset: reached.nextOffset, onBatch })
        : await core.scanFrom(segment, from, { isLocked: false, onBatch })
      if (this.isOver) return
      if (reached.defect) throw new DamagedLog(reached.defect)
      yield* batches
    }
  }

  /** True now and then: a batch may hold many small records, and others want their turn of the event loop. */
  #countRecord(): boolean {
    return ++this.#records % RECORDS_PER_TURN === 0
  }
}

interface NewestOffsets {
  readonly keys: KeyOffsetMap
  /** Inclusive; what lies before was cleaned earlier. */
  readonly from: Offset
  /** Exclusive; of what lies behind nothing is known. */
  readonly endOffset: Offset
}

function turnOf(clock: Clock): Promise<void> {
  return new Promise(resolve => clock.afterTurn(resolve))
}

/** Undefined where a client has packed what nobody can unpack: what it holds is not known, so it stays. */
function decodable<Result>(work: () => Result): Result | undefined {
  try {
    return work()
  } catch (thrown) {
    if (!(thrown instanceof NaruError) || thrown.reason === 'INTERNAL') throw thrown
    return undefined
  }
}
