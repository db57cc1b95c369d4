import { assert } from '../base/assert.ts'
import type { Epoch, Offset, ProducerId } from '../base/brands.ts'
import { NaruError } from '../base/errors.ts'
import type { Clock } from '../ports/clock.ts'
import type { Disk } from '../ports/disk.ts'
import { type CleaningLimits, type CleaningPlan, planCleaning } from './cleaning-plan.ts'
import { DamagedLog } from './damaged-log.ts'
import { writeDerivedFiles } from './derived-files.ts'
import { FoundFiles } from './found-files.ts'
import type { IndexCache } from './index-cache.ts'
import type { LeaderEpochEntry } from './leader-epoch-checkpoint.ts'
import { type AppendResult, LogAppender } from './log-appender.ts'
import { type CleaningOptions, cleanLog } from './log-cleaning.ts'
import { APPEND_PENDING_BYTES_MAX, type LogConfig } from './log-config.ts'
import { corruptData, defectOfMark, LogCore, type LogEvent, type LogProgress } from './log-core.ts'
import { LogCutter, orLater } from './log-cutter.ts'
import { writeEpochCheckpoint } from './log-epochs.ts'
import { readable } from './log-failures.ts'
import { LogReader } from './log-reader.ts'
import { type OpenReport, recoverLog } from './log-recovery.ts'
import { startAfterRetention } from './log-retention.ts'
import type { LogSlice, ReadRange, TailBudget } from './log-tail.ts'
import type { OpenFiles } from './open-files.ts'
import { PendingWrites } from './pending-writes.ts'
import type { ProducerState } from './producer-state.ts'
import { QUARANTINE_FILE, readQuarantine } from './quarantine-file.ts'
import { unlessReplaced } from './segment.ts'
import { scrubSegment } from './segment-scrub.ts'
import type { SyncScheduler } from './sync-scheduler.ts'
import { searchTimestamp, type TimestampedOffset } from './timestamp-search.ts'

/** What all logs of one data directory share. */
export interface LogResources {
  readonly disk: Disk
  readonly clock: Clock
  readonly scheduler: SyncScheduler
  readonly files: OpenFiles
  readonly indexCache: IndexCache
  readonly tailBudget: TailBudget
}

export interface PartitionLogOptions {
  readonly resources: LogResources
  /** Exists, and its segments are in it; else there is `make`. */
  readonly directory: string
  /** What is in it, for who knows. */
  readonly found?: FoundFiles | undefined
  /** For messages: `orders-3`. */
  readonly name: string
  readonly config: LogConfig
  /** Metadata and group logs: their syncs go first. */
  readonly urgent?: boolean
  readonly recoveryPoint?: Offset
  readonly highWatermark?: Offset
  readonly logStartOffset?: Offset
  readonly cleanStop: boolean
  readonly appendPendingBytesMax?: number
  /**
   * The partition was never used and has no directory: makes it, with an empty segment from offset 0 on, and names the
   * partition in the checkpoints, all of it durable (rule B3). Called before the first byte of this log goes to the disk,
   * and again after it failed. Until then the log costs nothing there.
   */
  readonly make?: (() => Promise<void>) | undefined
  /** Makes durable: the recovery point is at most, the log start at least, what it is now. Awaited before bytes go. */
  readonly checkpoint: () => Promise<void>
  readonly onProgress: (progress: LogProgress) => void
  readonly onEvent: (event: LogEvent) => void
}

/**
 * One partition's log: the face that replication, readers and the data directory see. Appends are synchronous and
 * move the end at once; `onProgress` tells when the page cache and the disk have them.
 *
 *   logStartOffset <= highWatermark <= logEndOffset,   syncedEndOffset <= writtenEndOffset <= logEndOffset
 *
 * A log is serving, offline (a write failed: STORAGE_OFFLINE) or in quarantine (damaged: CORRUPT_DATA); `failure` says
 * which, and every call but `resetTo` and `close` then throws it. Who appends, truncates or resets is one owner, which
 * never starts one of these before the other has resolved; reads may run at any time.
 */
export class PartitionLog {
  readonly name: string
  readonly directory: string
  readonly #core: LogCore
  readonly #appender: LogAppender
  readonly #reader: LogReader
  readonly #pending: PendingWrites
  readonly #cutter: LogCutter
  #report: OpenReport
  #closedClean = false
  #newestConfig: LogConfig | undefined
  #cleaningLimits: CleaningLimits = {}

  private constructor(core: LogCore, options: PartitionLogOptions, report: OpenReport, sinceWallMs?: number) {
    this.#core = core
    this.name = core.name
    this.directory = core.directory
    this.#report = report
    this.#pending = new PendingWrites({
      appendPendingBytesMax: options.appendPendingBytesMax ?? APPEND_PENDING_BYTES_MAX,
      segmentBytes: core.segments.last.sizeBytes,
      segmentBaseOffset: core.segments.last.baseOffset,
      segmentSinceWallMs: sinceWallMs,
    })
    const { scheduler } = options.resources
    this.#appender = new LogAppender({
      core,
      scheduler,
      urgent: options.urgent ?? false,
      pending: this.#pending,
    })
    this.#reader = new LogReader(core)
    this.#cutter = new LogCutter({
      core,
      appender: this.#appender,
      reader: this.#reader,
      pending: this.#pending,
    })
  }

  /** Opens or makes the log. A damaged one opens too, in quarantine: `failure` is set and it serves nothing. */
  static async open(options: PartitionLogOptions): Promise<PartitionLog> {
    const { resources, directory, name, config } = options
    const { disk, clock, files, indexCache } = resources
    const { indexIntervalBytes } = config
    const context = { disk, files, indexCache, directory, indexIntervalBytes, closed: false }
    const { checkpoint, onProgress, onEvent } = options
    const core = new LogCore({
      name,
      disk,
      clock,
      context,
      config,
      tailBudget: resources.tailBudget,
      make: options.make,
      checkpoint,
      onProgress,
      onEvent,
    })
    let report: OpenReport = { segmentCount: 0, sizeBytes: 0, scannedBytes: 0, cutBytes: 0, rebuilt: [] }
    const found = options.found ?? (await FoundFiles.find(disk, core.isMade ? directory : undefined))
    const mark = found.names.has(QUARANTINE_FILE) ? await readQuarantine(disk, directory) : undefined
    if (mark) core.failure = corruptData(name, defectOfMark(directory, mark))
    else {
      try {
        report = await recoverLog(core, {
          recoveryPoint: options.recoveryPoint,
          logStartOffset: options.logStartOffset ?? 0,
          cleanStop: options.cleanStop,
          files: found,
        })
      } catch (thrown) {
        if (thrown instanceof DamagedLog) core.quarantine(thrown.defect)
        // Damage met while an index was rebuilt has put the log in quarantine already.
        else if (thrown !== core.failure) throw thrown
        await core.marked()
      }
    }
    if (!core.failure) {
      core.highWatermark = Math.min(
        Math.max(options.highWatermark ?? 0, core.logStartOffset),
        core.logEndOffset,
      )
      core.tail.clear(core.writtenEndOffset)
    }
    return new PartitionLog(core, options, report, clock.wallMs())
  }

  /** First offset that can be read; inclusive. Moves up by retention and `deleteRecordsBefore`. */
  get logStartOffset(): Offset {
    return this.#core.logStartOffset
  }

  /** Offset of the next record; exclusive end, moves with each append, before anything is written. */
  get logEndOffset(): Offset {
    return this.#core.logEndOffset
  }

  get writtenEndOffset(): Offset {
    return this.#core.writtenEndOffset
  }

  /** What a power cut cannot take; counts only completions of the present generation (rule B1). */
  get syncedEndOffset(): Offset {
    return this.#core.syncedEndOffset
  }

  /** Everything below is durable; what the recovery-point checkpoint may claim. */
  get recoveryPoint(): Offset {
    return this.#core.syncedEndOffset
  }

  /** Kept here, moved by the owner, who knows the in-sync replicas. */
  get highWatermark(): Offset {
    return this.#core.highWatermark
  }

  set highWatermark(offset: Offset) {
    assert(offset >= this.#core.logStartOffset && offset <= this.#core.logEndOffset, 'HW lies within the log')
    this.#core.highWatermark = offset
  }

  get generation(): number {
    return this.#core.generation
  }

  get failure(): NaruError | undefined {
    return this.#core.failure
  }

  get openReport(): OpenReport {
    return this.#report
  }

  get config(): LogConfig {
    return this.#core.config
  }

  get sizeBytes(): number {
    return this.#core.segments.sizeBytes
  }

  get segmentBaseOffsets(): Offset[] {
    return this.#core.segments.all.map(segment => segment.baseOffset)
  }

  get latestEpoch(): Epoch | undefined {
    return this.#core.epochs.latestEpoch
  }

  /** Which epoch began where; derived state, as are the producers. */
  get epochEntries(): readonly LeaderEpochEntry[] {
    return this.#core.epochs.entries
  }

  get producerEntries(): Iterable<readonly [ProducerId, ProducerState]> {
    return this.#core.producers.table.entries
  }

  /** Since when one write or sync has been under way, monotonic; for rule B6. */
  get outstandingSinceMs(): number | undefined {
    return this.#core.outstandingSinceMs
  }

  get pendingBytes(): number {
    return this.#appender.pendingBytes
  }

  /** Whether an append would be taken now. */
  get hasRoom(): boolean {
    return this.#appender.hasRoom
  }

  /** Resolves when an append has a chance again (or the log failed, which the append then tells). */
  room(): Promise<void> {
    return this.#appender.room()
  }

  /**
   * Appends one batch that the caller validated (`validateClientBatch`). Takes over the buffer: offset and epoch are
   * written into it, and it is handed on to readers. Throws before anything changed.
   */
  appendAsLeader(batch: Buffer, options: { leaderEpoch: Epoch; wallMs: number }): AppendResult {
    this.#ensureUnchanging()
    return this.#appender.appendAsLeader(batch, options)
  }

  /**
   * Appends batches as another leader, that of `leaderEpoch`, sent them; checks all of them first (rule B5). Takes over
   * the buffers.
   */
  appendAsFollower(buffers: readonly Buffer[], options: { leaderEpoch: Epoch; wallMs: number }): void {
    this.#ensureUnchanging()
    this.#appender.appendAsFollower(buffers, options)
  }

  /** A leader epoch begins: earlier completions count no more, and a sync of its own is queued (rule B1). */
  beginGeneration(): number {
    this.#core.ensureServing()
    return this.#appender.beginGeneration()
  }

  /** From memory or not at all, at once: `read` is the one that goes to the files. */
  readTail(range: ReadRange): LogSlice | undefined {
    return this.#reader.readTail(range)
  }

  async read(range: ReadRange): Promise<LogSlice> {
    return readable(this.name, () => this.#reader.read(range))
  }

  async offsetForTimestamp(
    timestamp: number,
    upTo: Offset = this.logEndOffset,
  ): Promise<TimestampedOffset | undefined> {
    return readable(this.name, () => searchTimestamp(this.#core, { timestamp, upTo }))
  }

  /** The largest epoch <= `epoch` here and where it ends; undefined where all epochs here are later. */
  endOffsetForEpoch(epoch: Epoch): { epoch: Epoch; endOffset: Offset } | undefined {
    this.#core.ensureServing()
    return this.#core.epochs.endOffsetFor(epoch, this.#core.logEndOffset)
  }

  epochAt(offset: Offset): Epoch | undefined {
    return this.#core.epochs.epochAt(offset)
  }

  /**
   * Cuts the log to end at `offset`, or lower where a batch straddles it; resolves with the end once the cut is
   * durable (rule B3). From the call on nothing at or above `offset` is readable or reported as synced.
   */
  async truncateTo(offset: Offset): Promise<Offset> {
    this.#ensureUnchanging()
    return this.#cutter.truncateTo(offset)
  }

  /** Empties the log and starts it at `offset`, durably; also the way out of a quarantine, whose mark goes (rule B4). */
  async resetTo(offset: Offset): Promise<void> {
    return this.#cutter.resetTo(offset)
  }

  /** The owner found that what is here is not what it should be: the log serves nothing from here on (rule B4). */
  quarantine(found: { offset: Offset; what: string }): void {
    this.#core.quarantine({ file: this.directory, position: 0, ...found })
    this.#pending.wake()
  }

  /** Records below `offset` (at most HW) are gone for readers at once and durably; whole segments go from the disk. */
  async deleteRecordsBefore(offset: Offset): Promise<Offset> {
    const core = this.#core
    core.ensureServing()
    if (offset > core.highWatermark) {
      throw new NaruError(
        'OFFSET_OUT_OF_RANGE',
        `records of ${core.name} can be deleted up to its high watermark ${core.highWatermark}, not ${offset}`,
      )
    }
    await this.#cutter.moveStart(offset)
    return core.logStartOffset
  }

  /** Applies `retention.ms` and `retention.bytes`; only what lies wholly below HW goes. Returns segments removed. */
  async applyRetention(wallMs: number): Promise<number> {
    const core = this.#core
    if (core.failure || core.closed) return 0
    const before = core.segments.all.length
    const start = await startAfterRetention(core, wallMs, isAsJudged => this.#cutter.rollIdle(isAsJudged))
    if (start > core.logStartOffset) await this.#cutter.moveStart(start)
    return Math.max(0, before - core.segments.all.length)
  }

  /** For the owner: what must stay, beside what is not committed. Each limit holds until it is given anew. */
  limitCleaning(limits: CleaningLimits): void {
    this.#cleaningLimits = { ...this.#cleaningLimits, ...limits }
  }

  /** Offsets may be missing between batches: the log was compacted once, or is a copy of one that was. */
  get gapsAllowed(): boolean {
    return this.#core.gaps.allowed
  }

  /** Behind the last tombstone that was removed; what is copied from here does not tell what that one deleted. */
  get removedTombstonesEnd(): Offset {
    return this.#core.compaction.removedTombstonesEnd
  }

  get removals(): number {
    return this.#core.compaction.removals
  }

  /** What comes next is copied from a compacted log, and lacks tombstones below `removedTombstonesEnd`. */
  async noteCompacted(source: { removedTombstonesEnd: Offset }): Promise<void> {
    const core = this.#core
    await core.lock.run(async () => {
      core.ensureServing()
      await orLater(core, async () => {
        await core.allowGaps()
        await core.compaction.noteRemovedTombstones(source.removedTombstonesEnd)
      })
    })
  }

  /** What compaction could work on now; undefined where nothing is new, or the topic is not compacted. */
  async planCleaning(wallMs: number): Promise<CleaningPlan | undefined> {
    const core = this.#core
    if (core.failure || core.closed || !core.config.compacted) return undefined
    const plan = () => planCleaning(core, this.#cleaningLimits, wallMs)
    return readable(this.name, () => unlessReplaced(plan))
  }

  /** Removes what newer records of the same key made obsolete (`cleanup.policy=compact`). One at a time for a log. */
  async clean(plan: CleaningPlan, options: CleaningOptions & { wallMs: number }): Promise<void> {
    await cleanLog(this.#core, plan, { ...options, limits: this.#cleaningLimits })
  }

  /** The scrubber has something to do at or above `from`. */
  hasClosedSegment(from: Offset): boolean {
    const { failure, closed, segments } = this.#core
    const newest = segments.all.at(-2)
    return !failure && !closed && newest !== undefined && newest.baseOffset >= from
  }

  /**
   * Checks every batch of the first closed segment at or above `from`: a step of the scrubber, which waits in
   * `beforeChunk`. Undefined where there is none. Damage puts the log in quarantine.
   */
  async scrubSegment(
    from: Offset,
    beforeChunk: (sizeBytes: number) => Promise<void>,
  ): Promise<{ nextFrom: Offset } | undefined> {
    if (this.#core.failure || this.#core.closed) return undefined
    return scrubSegment(this.#core, from, beforeChunk)
  }

  /** Forgets producers not heard of for `producer.id.expiration.ms`. */
  expireProducers(options: { expirationMs: number }): void {
    if (!this.#core.failure) this.#core.producers.expire(options)
  }

  /** The newest one counts, also where an older call ends later. Rejects where there is no room for its mark. */
  async updateConfig(config: LogConfig): Promise<void> {
    const core = this.#core
    this.#newestConfig = config
    // The mark comes first: no gap may be on the disk without it.
    if (config.compacted && !core.gaps.allowed) {
      await core.lock.run(async () => {
        if (!core.failure && !core.closed) await orLater(core, () => core.allowGaps())
      })
    }
    if (this.#newestConfig !== config || core.closed) return
    const cachingBefore = core.config.writeCaching
    core.config = config
    core.context.indexIntervalBytes = config.indexIntervalBytes
    if (core.failure || cachingBefore === config.writeCaching) return
    // What is queued waits for the way of before; what was written and not synced, for a sync that counts.
    if (cachingBefore) this.beginGeneration()
    else this.#appender.request()
  }

  takeOffline(cause: unknown): void {
    this.#core.takeOffline(cause)
    this.#pending.wake()
  }

  /** Writes the epoch checkpoint if it is behind; before the recovery point that relies on it is checkpointed. */
  async writeEpochs(): Promise<void> {
    const core = this.#core
    await core.lock.run(async () => {
      if (!core.failure && !core.closed && core.isMade && core.epochs.dirty)
        await orLater(core, () => writeEpochCheckpoint(core))
    })
  }

  /**
   * Writes and syncs what is pending and the derived files, so that the next open scans nothing. Idempotent. False:
   * that did not succeed, and the next open must not count as one after a clean stop.
   */
  async close(): Promise<boolean> {
    const core = this.#core
    if (core.closed) return this.#closedClean
    let isWhole = true
    await core.lock.run(async () => {
      if (!core.failure) {
        await this.#appender.drain()
        isWhole = await this.#writeDerived()
      }
      core.closed = core.context.closed = true
    })
    await core.marked()
    core.tail.clear(core.writtenEndOffset)
    this.#pending.wake()
    for (const segment of core.segments.all) {
      core.context.files.forget(segment.path)
      core.context.indexCache.forget(segment)
    }
    // A log in quarantine was left alone, and its mark says more than a missing clean stop would.
    this.#closedClean = core.failure?.reason !== 'STORAGE_OFFLINE' && isWhole
    return this.#closedClean
  }

  /** The derived files for an open without a scan. False: there was no room for them, or for batches before them. */
  async #writeDerived(): Promise<boolean> {
    const core = this.#core
    // A snapshot is of what is stored: what still waits for room is in the producer state, and not in the log.
    if (core.failure || this.#pending.sizeBytes > 0) return false
    if (!core.isMade) return true
    try {
      await orLater(core, () => writeDerivedFiles(core))
      return true
    } catch (thrown) {
      if (!(thrown instanceof NaruError)) throw thrown
      return false
    }
  }

  #ensureUnchanging(): void {
    this.#core.ensureServing()
    assert(!this.#cutter.isCutting, 'the owner waits for a truncation before it appends or truncates again')
  }
}
