import { assert } from '../base/assert.ts'
import type { Epoch, Offset } from '../base/brands.ts'
import { NaruError } from '../base/errors.ts'
import type { Clock } from '../ports/clock.ts'
import { type Disk, DiskError } from '../ports/disk.ts'
import type { CheckpointFile } from './checkpoint-file.ts'
import { CompactionState } from './compaction-state.ts'
import { LeaderEpochCache } from './leader-epoch-cache.ts'
import { type LeaderEpochEntry, leaderEpochCheckpoint } from './leader-epoch-checkpoint.ts'
import type { LogConfig } from './log-config.ts'
import { offlineLog } from './log-failures.ts'
import { LogTail, type TailBudget } from './log-tail.ts'
import { OffsetGaps } from './offset-gaps.ts'
import { ProducerTracker } from './producer-tracker.ts'
import { type QuarantineMark, writeQuarantine } from './quarantine-file.ts'
import { type NewestTimestamp, Segment, type SegmentContext, SegmentReplaced } from './segment.ts'
import { SegmentIndexes } from './segment-indexes.ts'
import { type Defect, type ScanOptions, type ScanResult, scanSegment } from './segment-scan.ts'
import { Segments } from './segments.ts'
import { SerialQueue } from './serial-queue.ts'

/** What a log tells its owner, besides progress. */
export type LogEvent =
  | { readonly kind: 'offline'; readonly log: string; readonly error: NaruError }
  | { readonly kind: 'quarantined'; readonly log: string; readonly error: NaruError; readonly defect: Defect }
  | { readonly kind: 'diskFull' | 'noDescriptors'; readonly log: string; readonly error: NaruError }
  | { readonly kind: 'diskFullOver' | 'noDescriptorsOver'; readonly log: string }
  | { readonly kind: 'rolled'; readonly log: string; readonly baseOffset: Offset }
  | {
      readonly kind: 'indexRebuilt'
      readonly log: string
      readonly file: string
      readonly scannedBytes: number
    }
  | {
      readonly kind: 'cleaned'
      readonly log: string
      readonly endOffset: Offset
      readonly bytesBefore: number
      readonly bytesAfter: number
    }
  | {
      readonly kind: 'segmentsRemoved'
      readonly log: string
      readonly count: number
      readonly bytes: number
      readonly logStartOffset: Offset
    }

/** Names a completion (rule B1): the owner ignores one whose generation is not the log's present one. */
export interface LogProgress {
  readonly generation: number
  /** The page cache has everything below. */
  readonly writtenEndOffset: Offset
  /** A power cut takes nothing below. */
  readonly syncedEndOffset: Offset
}

export interface LogCoreOptions {
  readonly name: string
  readonly disk: Disk
  readonly clock: Clock
  readonly context: SegmentContext
  readonly config: LogConfig
  readonly tailBudget: TailBudget
  /** Makes the directory, where there is none yet (`PartitionLogOptions.make`). */
  readonly make: (() => Promise<void>) | undefined
  readonly checkpoint: () => Promise<void>
  readonly onProgress: (progress: LogProgress) => void
  readonly onEvent: (event: LogEvent) => void
}

type ScanLimits = Partial<Pick<ScanOptions, 'offsetLimit' | 'agrees'>>

export interface ScanFromOptions extends ScanLimits, Pick<ScanOptions, 'onBatch'> {
  /** The caller holds the log's lock. */
  readonly isLocked: boolean
}

/**
 * What the parts of one log share: its offsets, its derived state, the lock of its files and its health.
 * Invariants: logStartOffset <= highWatermark <= logEndOffset; syncedEndOffset <= writtenEndOffset <= logEndOffset;
 * files change only under `lock`; once `failure` is set, nothing is served and nothing is written any more.
 * A log that never held anything has no files: it is made (`ensureMade`) by whoever writes the first of them.
 */
export class LogCore {
  readonly name: string
  readonly disk: Disk
  readonly clock: Clock
  readonly context: SegmentContext
  readonly lock = new SerialQueue()
  readonly gaps: OffsetGaps
  readonly compaction: CompactionState
  readonly checkpoint: () => Promise<void>
  config: LogConfig
  /** What the opening found; until then, and in a log that is in quarantine from its start, a segment of nothing. */
  segments: Segments
  epochs = new LeaderEpochCache()
  readonly epochFile: CheckpointFile<LeaderEpochEntry>
  readonly producers: ProducerTracker
  readonly tail: LogTail
  logStartOffset: Offset = 0
  logEndOffset: Offset = 0
  writtenEndOffset: Offset = 0
  syncedEndOffset: Offset = 0
  highWatermark: Offset = 0
  /** Begun anew by each truncation and leader epoch; completions of older ones are ignored. */
  generation = 0
  /** Truncations and resets that have not resolved: nothing is appended, and no sync completion counts. */
  cutting = 0
  /** Counted up by each truncation and reset: what was read of the segments before may be gone, or other records. */
  cuts = 0
  /** Counted up where the cleaner puts one segment in the place of others: positions mean nothing any more. */
  replacements = 0
  failure: NaruError | undefined
  closed = false
  /** Writes and syncs under way (with write caching one of each at a time), the oldest first. */
  readonly #underWay = new Set<{ readonly sinceMs: number }>()
  #marking: Promise<void> | undefined
  /** Undefined once the files are there. */
  #make: (() => Promise<void>) | undefined
  #making: Promise<void> | undefined
  readonly #onProgress: (progress: LogProgress) => void
  readonly #onEvent: (event: LogEvent) => void

  constructor(options: LogCoreOptions) {
    this.name = options.name
    this.disk = options.disk
    this.clock = options.clock
    this.context = options.context
    this.config = options.config
    this.checkpoint = options.checkpoint
    this.segments = new Segments([new Segment(options.context, 0, 0)])
    this.producers = new ProducerTracker({
      disk: options.disk,
      clock: options.clock,
      directory: options.context.directory,
    })
    this.epochFile = leaderEpochCheckpoint(options.disk, options.context.directory)
    this.tail = new LogTail({ budget: options.tailBudget, writtenEndOffset: 0 })
    this.gaps = new OffsetGaps({ disk: options.disk, directory: options.context.directory })
    this.compaction = new CompactionState({ disk: options.disk, directory: options.context.directory })
    this.#make = options.make
    this.#onProgress = options.onProgress
    this.#onEvent = options.onEvent
  }

  get directory(): string {
    return this.context.directory
  }

  /** The log has files; without, it holds nothing that a restart would have to find. */
  get isMade(): boolean {
    return this.#make === undefined
  }

  /** Before a file of the log is written: its directory is durably there and in use (rule B3). What fails can be repeated. */
  async ensureMade(): Promise<void> {
    const make = this.#make
    if (make === undefined) return
    this.#making ??= this.timed(make)
      .then(() => {
        this.#make = undefined
      })
      .finally(() => {
        this.#making = undefined
      })
    await this.#making
  }

  /** From now on, and in all later lives, its offsets may have gaps. */
  async allowGaps(): Promise<void> {
    await this.ensureMade()
    await this.gaps.allow()
  }

  ensureServing(): void {
    if (this.failure) throw this.failure
    if (this.closed) throw closedLog(this.name)
  }

  emit(event: LogEvent): void {
    this.#onEvent(event)
  }

  reportProgress(): void {
    const { generation, writtenEndOffset, syncedEndOffset } = this
    this.#onProgress({ generation, writtenEndOffset, syncedEndOffset })
  }

  /** Runs a write or sync of this log's files with its time kept. */
  async timed<Result>(operation: () => Promise<Result>): Promise<Result> {
    const started = { sinceMs: this.clock.monotonicMs() }
    this.#underWay.add(started)
    try {
      return await operation()
    } finally {
      this.#underWay.delete(started)
    }
  }

  /** Since when a write or sync has been under way (monotonic), for rule B6. */
  get outstandingSinceMs(): number | undefined {
    const [oldest] = this.#underWay
    return oldest?.sinceMs
  }

  /** After a failed write or sync nothing is known of the files: only a restart finds out (fsync is never retried). */
  takeOffline(cause: unknown): NaruError {
    if (this.failure?.reason === 'STORAGE_OFFLINE') return this.failure
    // Also of a log in quarantine: a reset is its way out, and there is none from a disk that fails.
    const error = offlineLog(this.name, cause)
    this.failure = error
    this.emit({ kind: 'offline', log: this.name, error })
    return error
  }

  /** Turns a disk error into an offline log; anything else is a mistake of the code and goes on up. */
  failedDisk(thrown: unknown): NaruError {
    if (!(thrown instanceof DiskError)) throw thrown
    // Its directory may be renamed by now, as that of a deleted topic: nothing failed.
    if (this.closed && thrown.code === 'ENOENT') return closedLog(this.name)
    return this.takeOffline(thrown)
  }

  /** Rule B4: stop serving at once, leave the bytes alone, remember it durably, tell the owner. */
  quarantine(defect: Defect): NaruError {
    const error = corruptData(this.name, defect)
    if (this.failure) return this.failure
    this.failure = error
    this.#marking = this.#markQuarantined(defect)
    this.emit({ kind: 'quarantined', log: this.name, error, defect })
    return error
  }

  /** Resolves when the mark of a quarantine, if there is one, is durable. */
  async marked(): Promise<void> {
    await this.#marking
  }

  epochAgrees(epoch: Epoch, from: Offset, to: Offset): boolean {
    return this.epochs.agrees(epoch, from, to)
  }

  /** First offset that no batch of the segment may reach. */
  offsetLimitOf(segment: Segment): Offset {
    return this.segments.limitOf(segment) ?? this.logEndOffset
  }

  scan(
    segment: Segment,
    options: Pick<ScanOptions, 'onBatch'> & Partial<Omit<ScanOptions, 'segment' | 'onBatch'>>,
  ): Promise<ScanResult> {
    const fromPosition = options.fromPosition ?? 0
    return scanSegment({
      segment,
      fromPosition,
      fromOffset: fromPosition === 0 ? segment.baseOffset : undefined,
      toPosition: segment.sizeBytes,
      gapsAllowed: this.gaps.allowed,
      offsetLimit: this.#scanLimitOf(segment),
      agrees: (epoch, from, to) => this.epochAgrees(epoch, from, to),
      ...options,
    })
  }

  /**
   * Scans from the batch that ends at `offset` or, with others in between, before it: the index knows where. One that
   * leads astray is made anew first, so `onBatch` sees nothing twice.
   */
  async scanFrom(segment: Segment, offset: Offset, options: ScanFromOptions): Promise<ScanResult> {
    const { isLocked, ...scanOptions } = options
    for (let isIndexTrusted = true; ; isIndexTrusted = false) {
      const { cuts } = this
      const isInside = offset > segment.baseOffset
      const fromPosition = isInside ? (await this.indexesOf(segment)).offsets.lookup(offset) : 0
      const lookedUp = fromPosition > 0 ? offset : undefined
      const result = await this.scan(segment, { ...scanOptions, fromPosition, lookedUp })
      const isLedAstray = result.defect && lookedUp !== undefined && result.endPosition === fromPosition
      if (!isLedAstray || !isIndexTrusted || cuts !== this.cuts) return result
      const replace = () => this.#replaceIndexes(segment, scanOptions)
      await (isLocked ? replace() : this.lock.run(replace))
    }
  }

  /**
   * Notes what stands from the last index entry on. Undefined where that entry is not of the batch that it leads to: the
   * indexes are wrong.
   */
  async noteRest(
    segment: Segment,
    indexes: SegmentIndexes,
    offsetLimit: Offset,
  ): Promise<ScanResult | undefined> {
    const fromPosition = indexes.offsets.lastPosition
    let isRight = fromPosition === 0
    const result = await this.scan(segment, {
      fromPosition,
      offsetLimit,
      onBatch: batch => {
        isRight ||= indexes.endAt(batch)
        if (isRight) indexes.note(batch)
        return isRight
      },
    })
    return isRight ? result : undefined
  }

  /** Names of the files in its directory now. */
  async fileNames(): Promise<ReadonlySet<string>> {
    const entries = await this.disk.list(this.directory)
    return new Set(entries.filter(entry => !entry.isDirectory).map(entry => entry.name))
  }

  /** The indexes of a segment: in memory, from their files, or from a scan. */
  indexesOf(segment: Segment): Promise<SegmentIndexes> {
    return segment.indexes(() => this.rebuildIndexes(segment))
  }

  newestTimestampOf(segment: Segment): Promise<NewestTimestamp> {
    return segment.newestTimestamp(() => this.rebuildIndexes(segment))
  }

  /** Indexes anew from the log itself, where the present ones may be wrong. Quarantines if the log is. */
  async replaceIndexes(segment: Segment): Promise<void> {
    await this.lock.run(() => this.#replaceIndexes(segment))
  }

  async rebuildIndexes(segment: Segment, limits: ScanLimits = {}): Promise<SegmentIndexes> {
    const scannedBytes = segment.sizeBytes
    const indexes = await this.scanIndexes(segment, limits)
    this.emit({ kind: 'indexRebuilt', log: this.name, file: segment.path, scannedBytes })
    return indexes
  }

  /** What the indexes must say, by the log itself. Quarantines if the log is damaged. */
  async scanIndexes(segment: Segment, limits: ScanLimits = {}): Promise<SegmentIndexes> {
    const indexes = SegmentIndexes.empty(segment.baseOffset, this.config.indexIntervalBytes)
    const { cuts } = this
    const result = await this.scan(segment, {
      ...limits,
      onBatch: batch => {
        indexes.note(batch)
        return true
      },
    })
    if (result.defect) {
      this.ensureServing()
      // Cut or removed meanwhile: what was read then proves nothing.
      if (cuts !== this.cuts || !this.segments.all.includes(segment)) throw new SegmentReplaced(segment.path)
      throw this.quarantine(result.defect)
    }
    indexes.finish()
    return indexes
  }

  /** What a cut has taken out of the log stands in the last file until its turn comes. */
  #scanLimitOf(segment: Segment): Offset {
    const isUncut = this.cutting > 0 && segment === this.segments.last
    return isUncut ? Number.POSITIVE_INFINITY : this.offsetLimitOf(segment)
  }

  async #replaceIndexes(segment: Segment, limits: ScanLimits = {}): Promise<void> {
    this.ensureServing()
    if (!this.segments.all.includes(segment)) return
    const indexes = await this.rebuildIndexes(segment, limits)
    await segment.replaceIndexes(indexes, { keep: segment === this.segments.last })
  }

  async #markQuarantined(defect: Defect): Promise<void> {
    try {
      await this.ensureMade()
      await writeQuarantine(this.disk, this.directory, {
        reason: defect.what,
        file: defect.file.slice(defect.file.lastIndexOf('/') + 1),
        position: defect.position,
        offset: defect.offset,
        wallMs: this.clock.wallMs(),
      })
    } catch (thrown) {
      if (!(thrown instanceof DiskError)) throw thrown
      // The partition is out of service all the same; without the mark a restart must not trust this directory.
      this.emit({ kind: 'offline', log: this.name, error: offlineMark(this.name, thrown) })
    }
  }
}

export function corruptData(name: string, defect: Defect): NaruError {
  return new NaruError(
    'CORRUPT_DATA',
    `the log ${name} is damaged: ${defect.file} at byte ${defect.position} (offset ${defect.offset}): ${defect.what}. ` +
      'Its bytes are left as they are and no longer served: docs/operating.md says how to put the file back, or to ' +
      'save what can be read',
    {
      details: {
        log: name,
        file: defect.file,
        position: String(defect.position),
        offset: String(defect.offset),
      },
    },
  )
}

/** What an earlier life of the node found. */
export function defectOfMark(directory: string, mark: QuarantineMark): Defect {
  const { file, position, offset, reason } = mark
  return {
    file: file ? `${directory}/${file}` : directory,
    position: position ?? 0,
    offset: offset ?? 0,
    what: reason,
  }
}

function closedLog(name: string): NaruError {
  return new NaruError('CLOSED', `the log ${name} is closed`)
}

function offlineMark(name: string, cause: DiskError): NaruError {
  return new NaruError(
    'STORAGE_OFFLINE',
    `the quarantine mark of the damaged log ${name} could not be written (${cause.message}): check the disk`,
    { details: { log: name }, cause },
  )
}

/** Asserts what must hold of the offsets at all times; called where they change. */
export function checkOffsets(core: LogCore): void {
  assert(core.logStartOffset <= core.logEndOffset, 'a log starts at or before its end')
  assert(core.writtenEndOffset <= core.logEndOffset, 'what is written was appended')
  assert(core.syncedEndOffset <= core.writtenEndOffset, 'what is synced was written')
}
