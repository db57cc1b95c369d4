import type { Offset } from '../base/brands.ts'
import { leaderEpochAt } from '../records/batch-header.ts'
import { finishReplacing } from './cleaned-segment.ts'
import { DamagedLog } from './damaged-log.ts'
import { isShort } from './derived-files.ts'
import { FoundFiles } from './found-files.ts'
import { LeaderEpochCache } from './leader-epoch-cache.ts'
import type { LeaderEpochEntry } from './leader-epoch-checkpoint.ts'
import { SYNC_GROUP_BYTES_MAX } from './log-config.ts'
import type { LogCore } from './log-core.ts'
import { readEpochCheckpoint, writeEpochCheckpoint } from './log-epochs.ts'
import {
  LOG_SUFFIX,
  OFFSET_INDEX_SUFFIX,
  offsetFileName,
  parseOffsetFileName,
  TIME_INDEX_SUFFIX,
} from './log-file-names.ts'
import { replayProducers } from './log-producers.ts'
import { snapshotOffsets } from './producer-tracker.ts'
import { Segment } from './segment.ts'
import { SegmentIndexes } from './segment-indexes.ts'
import { createSegment } from './segment-roll.ts'
import type { Defect, ScannedBatch } from './segment-scan.ts'
import { Segments } from './segments.ts'

/** What an opening did, for the operator's log. */
export interface OpenReport {
  readonly segmentCount: number
  readonly sizeBytes: number
  /** Bytes of log read and checked; a few kilobytes after a clean stop. */
  scannedBytes: number
  /** Bytes of a torn tail that were cut: never acknowledged ones. */
  cutBytes: number
  readonly rebuilt: ('indexes' | 'epochs' | 'producers')[]
}

export interface RecoveryOptions {
  /** Everything below was synced once; undefined where nothing is known (a log never checkpointed). */
  readonly recoveryPoint: Offset | undefined
  readonly logStartOffset: Offset
  /** The last process closed this log in order (rule B7): nothing can be torn, nothing needs a scan. */
  readonly cleanStop: boolean
  /** Of the log's directory; none where there is none. */
  readonly files: FoundFiles
}

/** `names`: of the files that are there by now. */
type NamedOptions = RecoveryOptions & { readonly names: ReadonlySet<string> }

/**
 * Brings a log from its files into memory. After a clean stop it trusts them and reads only the last segment's end.
 * Else every batch from the recovery point on is checked (whole segments, as Kafka does), derived files of what was
 * scanned are made anew, and a torn tail is cut: the first bad batch, if it lies in the last sync group's worth of the
 * last segment and above the recovery point (rule B2; write caching lifts the first condition). Anything else that
 * is bad is corruption: nothing is changed, `DamagedLog` is thrown.
 */
export async function recoverLog(core: LogCore, given: RecoveryOptions): Promise<OpenReport> {
  const options = { ...given, names: await removeUnfinished(core, given.files.names) }
  core.gaps.load(options.names)
  if (core.config.compacted) await core.allowGaps()
  if (!core.isMade) {
    // Nothing is read, and nothing made, for a log that never held anything.
    const { last } = core.segments
    last.useIndexes(SegmentIndexes.empty(last.baseOffset, core.config.indexIntervalBytes))
    return { segmentCount: 0, sizeBytes: 0, scannedBytes: 0, cutBytes: 0, rebuilt: [] }
  }
  await core.compaction.load(options.names)
  const names = await finishReplacing(core, options.names)
  const files = names === options.names ? options.files : await FoundFiles.find(core.disk, core.directory)
  const list = await loadSegments(core, { ...options, files, names })
  core.segments = new Segments(list)
  const report: OpenReport = {
    segmentCount: list.length,
    sizeBytes: core.segments.sizeBytes,
    scannedBytes: 0,
    cutBytes: 0,
    rebuilt: [],
  }
  const recovery = new Recovery(core, { ...options, files, names }, report)
  try {
    await recovery.run()
  } finally {
    core.segments.last.forgetContent()
  }
  return report
}

class Recovery {
  readonly #core: LogCore
  readonly #options: NamedOptions
  readonly #report: OpenReport
  readonly #recoveryPoint: Offset
  /** Epochs as the checkpoint has them; right for everything below the recovery point. */
  #known: LeaderEpochCache | undefined

  constructor(core: LogCore, options: NamedOptions, report: OpenReport) {
    this.#core = core
    this.#options = options
    this.#report = report
    this.#recoveryPoint = options.recoveryPoint ?? 0
  }

  async run(): Promise<void> {
    const core = this.#core
    const { segments } = core
    const entries = await readEpochCheckpoint(core, this.#options.files)
    this.#known = entries && new LeaderEpochCache(entries)
    const lastIndexes = this.#options.cleanStop && entries ? await storedIndexes(core) : undefined
    core.epochs = new LeaderEpochCache(entries ?? [])
    const endOffset = (lastIndexes && (await this.#readEnd(lastIndexes))) ?? (await this.#scanUnknown())
    core.logEndOffset = core.writtenEndOffset = core.syncedEndOffset = endOffset
    if (endOffset < this.#recoveryPoint) {
      throw new DamagedLog({
        file: segments.last.path,
        position: segments.last.sizeBytes,
        offset: endOffset,
        what: `the log ends here, but offsets up to ${this.#recoveryPoint} (exclusive) were synced once`,
      })
    }
    await this.#settleStart()
    core.epochs.truncateFromEnd(core.logEndOffset)
    core.epochs.truncateFromStart(core.logStartOffset)
    if (entries && isSame(entries, core.epochs.entries)) core.epochs.dirty = false
    if (core.epochs.dirty || !entries) await writeEpochCheckpoint(core)
    if (!entries && core.logEndOffset > core.logStartOffset) this.#report.rebuilt.push('epochs')
    const snapshots = snapshotOffsets(this.#options.names)
    await core.producers.removeSnapshotsAbove(core.logEndOffset, snapshots)
    const replayedBytes = await replayProducers(core, core.logEndOffset, { snapshots })
    // What is short has no snapshot at its end: see `writeDerivedFiles`.
    if (replayedBytes > core.config.indexIntervalBytes) this.#report.rebuilt.push('producers')
  }

  /**
   * After a clean stop: from the last index entry (of a short segment: from its start) to the end of the file. Undefined
   * where the indexes are not what the stop left.
   */
  async #readEnd(indexes: SegmentIndexes): Promise<Offset | undefined> {
    const segment = this.#core.segments.last
    const fromPosition = indexes.offsets.lastPosition
    const result = await this.#core.noteRest(segment, indexes, Number.POSITIVE_INFINITY)
    if (!result) return undefined
    if (result.defect) throw new DamagedLog(result.defect)
    this.#report.scannedBytes += segment.sizeBytes - fromPosition
    return result.nextOffset ?? segment.baseOffset
  }

  /** Scans the last segment, and each before it that reaches above the recovery point or whose epochs are unknown. */
  async #scanUnknown(): Promise<Offset> {
    const core = this.#core
    const { all, last } = core.segments
    const first = this.#known
      ? all.find(segment => segment === last || (core.segments.limitOf(segment) ?? 0) > this.#recoveryPoint)
      : all[0]
    const from = all.indexOf(first ?? last)
    core.epochs.truncateFromEnd(all[from]?.baseOffset ?? 0)
    let endOffset = last.baseOffset
    for (const segment of all.slice(from)) endOffset = await this.#scanWhole(segment)
    return endOffset
  }

  async #scanWhole(segment: Segment): Promise<Offset> {
    const core = this.#core
    const isLast = segment === core.segments.last
    const indexes = SegmentIndexes.empty(segment.baseOffset, core.config.indexIntervalBytes)
    let endBefore = segment.baseOffset
    const result = await core.scan(segment, {
      offsetLimit: core.segments.limitOf(segment) ?? Number.POSITIVE_INFINITY,
      agrees: (epoch, from, to) => this.#epochFits(epoch, from, to),
      onBatch: batch => {
        if (isLast) this.#ensureEndKept(segment, batch, endBefore)
        endBefore = batch.lastOffset + 1
        core.epochs.assign(leaderEpochAt(batch.buffer, batch.at), batch.baseOffset)
        indexes.note(batch)
        return true
      },
    })
    this.#report.scannedBytes += segment.sizeBytes
    segment.useIndexes(indexes)
    if (result.defect) await this.#cutOrRefuse(segment, result.defect)
    const endOffset = result.nextOffset ?? segment.baseOffset
    const limit = core.segments.limitOf(segment)
    if (limit !== undefined && endOffset !== limit) {
      const what = `it ends at offset ${endOffset}, the next segment begins at ${limit}`
      throw new DamagedLog({ file: segment.path, position: segment.sizeBytes, offset: endOffset, what })
    }
    if (isLast) await this.#makeDurable(segment, { indexes, endOffset })
    else {
      await segment.closeForAppends()
      segment.lendIndexes()
    }
    if (!this.#report.rebuilt.includes('indexes')) this.#report.rebuilt.push('indexes')
    return endOffset
  }

  /**
   * No checksum covers a base offset. Where gaps are allowed one that rotted may lead beyond the recovery point, and all that
   * follows would pass for torn. But what nobody cleaned has a batch that ends just there.
   */
  #ensureEndKept(segment: Segment, batch: ScannedBatch, endBefore: Offset): void {
    const { gaps, compaction } = this.#core
    const point = this.#recoveryPoint
    if (!gaps.allowed || endBefore >= point || batch.lastOffset < point) return
    // Cleaned, and the last one since a truncation.
    if (point <= compaction.cleanedEndOffset) return
    throw new DamagedLog({
      file: segment.path,
      position: batch.position,
      offset: endBefore,
      what: `a batch here ends at offset ${batch.lastOffset}, but one that ended before ${point} was synced once`,
    })
  }

  /** Epochs never fall; below the recovery point they are what the checkpoint says. */
  #epochFits(epoch: number, from: Offset, to: Offset): boolean {
    if (to < this.#recoveryPoint && this.#known) return this.#known.agrees(epoch, from, to)
    return epoch >= 0 && epoch >= (this.#core.epochs.latestEpoch ?? 0)
  }

  async #cutOrRefuse(segment: Segment, defect: Defect): Promise<void> {
    const core = this.#core
    const cutBytes = segment.sizeBytes - defect.position
    const torn =
      !this.#options.cleanStop &&
      segment === core.segments.last &&
      defect.offset >= this.#recoveryPoint &&
      (cutBytes <= SYNC_GROUP_BYTES_MAX || core.config.writeCaching)
    if (!torn || (await this.#wasSynced(segment, defect.position))) throw new DamagedLog(defect)
    await segment.cutTo(defect.position)
    this.#report.cutBytes += cutBytes
  }

  /** A good batch of below the recovery point stands there: what is wrong is a base offset before it (`#ensureEndKept`). */
  async #wasSynced(segment: Segment, position: number): Promise<boolean> {
    let isBelow = false
    await this.#core.scan(segment, {
      fromPosition: position,
      offsetLimit: this.#recoveryPoint,
      agrees: () => true,
      onBatch: () => {
        isBelow = true
        return false
      },
    })
    return isBelow
  }

  /**
   * A killed process leaves bytes and names in the page cache that no sync has covered: they count from here on. Its
   * last sync may even have failed; then the cache has bytes that the disk lacks and calls them clean, so a sync alone
   * would do nothing for them. Those can only be of the last sync group, as what is torn.
   */
  async #makeDurable(segment: Segment, found: { indexes: SegmentIndexes; endOffset: Offset }): Promise<void> {
    if (segment.indexFileNames.some(name => this.#options.names.has(name))) await segment.removeIndexFiles()
    if (found.endOffset > this.#recoveryPoint) {
      const unknown =
        this.#recoveryPoint <= segment.baseOffset ? 0 : found.indexes.offsets.lookup(this.#recoveryPoint)
      const group = this.#core.config.writeCaching ? 0 : segment.sizeBytes - SYNC_GROUP_BYTES_MAX
      await segment.rewriteFrom(Math.max(unknown, group))
    }
    await this.#core.disk.syncWithName(this.#core.directory, segment.fileName)
  }

  /** The log start is what was checkpointed, within what there is. */
  async #settleStart(): Promise<void> {
    const core = this.#core
    const start = Math.max(this.#options.logStartOffset, core.segments.first.baseOffset)
    core.logStartOffset = start
    if (start <= core.logEndOffset) return
    if (!core.config.writeCaching) {
      throw new DamagedLog({
        file: core.segments.last.path,
        position: core.segments.last.sizeBytes,
        offset: core.logEndOffset,
        what: `the log ends here, but its start was moved to offset ${start} once`,
      })
    }
    // With write caching the records behind a durable log start may be lost. All that is left lies below it.
    for (const segment of [...core.segments.all].reverse()) {
      await segment.remove()
      await core.disk.syncDirectory(core.directory)
    }
    core.epochs.clear()
    core.segments.replaceAll(await createSegment(core, start))
    core.logEndOffset = core.writtenEndOffset = core.syncedEndOffset = start
  }
}

/** Those of the last segment, in use from now on; undefined where their files are missing or cannot be right. */
async function storedIndexes(core: LogCore): Promise<SegmentIndexes | undefined> {
  const { last } = core.segments
  if (!isShort(core, last)) return last.useIndexFiles()
  const indexes = SegmentIndexes.empty(last.baseOffset, core.config.indexIntervalBytes)
  last.useIndexes(indexes)
  return indexes
}

function isSame(a: readonly LeaderEpochEntry[], b: readonly LeaderEpochEntry[]): boolean {
  return (
    a.length === b.length &&
    a.every((entry, at) => entry.epoch === b[at]?.epoch && entry.startOffset === b[at]?.startOffset)
  )
}

/** Files that a crash kept from getting their name; before anything is written that would have the same. */
async function removeUnfinished(
  { disk, directory }: LogCore,
  names: ReadonlySet<string>,
): Promise<ReadonlySet<string>> {
  const isUnfinished = (name: string) => name.endsWith('.tmp')
  const unfinished = [...names].filter(isUnfinished)
  for (const name of unfinished) await disk.remove(`${directory}/${name}`)
  return unfinished.length === 0 ? names : new Set([...names].filter(name => !isUnfinished(name)))
}

/** The segments that the directory holds; indexes of others are removed. */
async function loadSegments(core: LogCore, options: NamedOptions): Promise<Segment[]> {
  const { disk, directory } = core
  const { names, files } = options
  const offsets = new Set<Offset>()
  for (const name of names) {
    const parsed = parseOffsetFileName(name)
    if (parsed?.suffix === LOG_SUFFIX) offsets.add(parsed.offset)
  }
  for (const name of names) {
    const parsed = parseOffsetFileName(name)
    const isIndex = parsed?.suffix === OFFSET_INDEX_SUFFIX || parsed?.suffix === TIME_INDEX_SUFFIX
    if (isIndex && !offsets.has(parsed.offset)) await disk.remove(`${directory}/${name}`)
  }
  const segments: Segment[] = []
  const baseOffsets = [...offsets].sort((a, b) => a - b)
  for (const baseOffset of baseOffsets) {
    const name = offsetFileName(baseOffset, LOG_SUFFIX)
    const sizeBytes = files.sizeOf(name) ?? (await disk.stat(`${directory}/${name}`))?.sizeBytes ?? 0
    segments.push(new Segment(core.context, baseOffset, sizeBytes, files.contentOf(name)))
  }
  if (segments.length > 0) return segments
  // Its own end check then says whether that is right: an empty log whose recovery point is higher has lost its files.
  return [await createSegment(core, options.logStartOffset)]
}
