import { assert } from '../base/assert.ts'
import type { Epoch, Offset } from '../base/brands.ts'
import { NaruError } from '../base/errors.ts'
import type { Timer } from '../ports/clock.ts'
import { DiskError } from '../ports/disk.ts'
import {
  baseOffsetAt,
  lastOffsetAt,
  leaderEpochAt,
  maxTimestampAt,
  newestTimestampAt,
} from '../records/batch-header.ts'
import { stampBatch } from '../records/stamp-batch.ts'
import { batchDefectAt, batchSizeAt } from './batch-check.ts'
import { SYNC_GROUP_BYTES_MAX } from './log-config.ts'
import { checkOffsets, type LogCore } from './log-core.ts'
import { shortage } from './log-failures.ts'
import type { PendingWrites, WriteGroup } from './pending-writes.ts'
import { rollSegment } from './segment-roll.ts'
import type { Flushable, SyncScheduler } from './sync-scheduler.ts'

/** After a full disk, or without a free descriptor: how long until the same write is tried again. */
const SHORTAGE_RETRY_MS = 1000
/** With write caching: how long written bytes gather before a sync in the background. */
const BACKGROUND_SYNC_MS = 200

export interface AppendResult {
  /** A duplicate was stored before, at these offsets; nothing was appended. */
  readonly kind: 'appended' | 'duplicate'
  readonly baseOffset: Offset
  readonly lastOffset: Offset
  /** Largest timestamp of the batch as it is stored. */
  readonly maxTimestamp: number
}

/**
 * The way of a batch into the log. Synchronous part: check, stamp, queue in memory; the log's end moves at once.
 * Then, driven by the sync scheduler, one gathered write and one sync per group; the next group is written only
 * after that sync returned (rule B2), so at most one group at the end of a file can be torn.
 * With write caching groups are written at the end of the turn, and synced in the background.
 */
export class LogAppender implements Flushable {
  readonly #core: LogCore
  readonly #scheduler: SyncScheduler
  readonly #urgent: boolean
  readonly #pending: PendingWrites
  #syncForced = false
  #writeScheduled = false
  #syncTimer: Timer | undefined
  /** Why writes wait: the disk is full, or no descriptor is free. */
  #shortage: NaruError | undefined

  constructor(options: { core: LogCore; scheduler: SyncScheduler; urgent: boolean; pending: PendingWrites }) {
    this.#core = options.core
    this.#scheduler = options.scheduler
    this.#urgent = options.urgent
    this.#pending = options.pending
  }

  get pendingBytes(): number {
    return this.#pending.sizeBytes
  }

  get hasRoom(): boolean {
    return this.#shortage === undefined && this.#pending.hasRoom
  }

  /** Resolves when an append has a chance again; at once if it has one now, or if the log failed. */
  async room(): Promise<void> {
    while (!this.hasRoom && !this.#core.failure && !this.#core.closed) await this.#pending.changed()
  }

  appendAsLeader(batch: Buffer, options: { leaderEpoch: Epoch; wallMs: number }): AppendResult {
    const core = this.#core
    this.#ensureRoom()
    const latest = core.epochs.latestEpoch
    if (latest !== undefined && options.leaderEpoch < latest) {
      throw new NaruError(
        'FENCED_LEADER_EPOCH',
        `the log ${core.name} already has batches of leader epoch ${latest}, ${options.leaderEpoch} is older`,
      )
    }
    const earlier = core.producers.check(batch, 0)
    if (earlier) return { kind: 'duplicate', ...earlier }
    stampBatch(batch, 0, { baseOffset: core.logEndOffset, leaderEpoch: options.leaderEpoch })
    const lastOffset = this.#take(batch, options.wallMs)
    this.request()
    return {
      kind: 'appended',
      baseOffset: lastOffset - (lastOffsetAt(batch, 0) - baseOffsetAt(batch, 0)),
      lastOffset,
      maxTimestamp: maxTimestampAt(batch, 0),
    }
  }

  /**
   * All or nothing: every batch is checked before the first is taken (rule B5). Buffers hold whole batches. The epoch of a
   * batch lies outside its CRC: one above the leader's is damage, and would refuse every batch after it.
   */
  appendAsFollower(buffers: readonly Buffer[], options: { leaderEpoch: Epoch; wallMs: number }): void {
    this.#ensureRoom()
    const batches = this.#checked(buffers, options.leaderEpoch)
    for (const batch of batches) this.#take(batch, options.wallMs)
    if (batches.length > 0) this.request()
  }

  /** A generation begins: what is on its way counts no more, a sync of its own does (rule B1). */
  beginGeneration(): number {
    this.#core.generation++
    this.#syncForced = true
    this.request()
    return this.#core.generation
  }

  /** Makes the flushing of what is pending (or of a forced sync) happen soon. */
  request(): void {
    if (this.#core.failure) return
    if (this.#core.config.writeCaching) this.#scheduleWrite()
    if (!this.#core.config.writeCaching || this.#syncForced)
      this.#scheduler.request(this, { urgent: this.#urgent })
  }

  /** Writes and syncs one group; called by the scheduler. True: more is waiting. */
  async flush(): Promise<boolean> {
    if (this.#core.config.writeCaching) {
      await this.#syncInBackground()
      return false
    }
    return this.#core.lock.run(() => this.#guarded(() => this.#flushGroup()))
  }

  /** Writes and syncs all that is pending; for the close, and under the lock. */
  async drain(): Promise<void> {
    while (!this.#core.failure && !this.#shortage) {
      const more = await this.#guarded(() => this.#flushGroup())
      if (!more) return
    }
  }

  #ensureRoom(): void {
    this.#core.ensureServing()
    if (this.#shortage) throw this.#shortage
    if (!this.#pending.hasRoom) throw this.#pending.overloaded(this.#core.name)
  }

  #checked(buffers: readonly Buffer[], epochMax: Epoch): Buffer[] {
    const core = this.#core
    const batches: Buffer[] = []
    let nextOffset = core.logEndOffset
    let epochMin = core.epochs.latestEpoch ?? 0
    for (const buffer of buffers) {
      for (let at = 0; at < buffer.length; ) {
        const sizeBytes = batchSizeAt(buffer, at)
        const cut =
          sizeBytes === undefined || (typeof sizeBytes === 'number' && at + sizeBytes > buffer.length)
        const defect =
          typeof sizeBytes === 'number' && !cut
            ? batchDefectAt(buffer, at, sizeBytes, {
                nextOffset,
                gapsAllowed: core.gaps.allowed,
                offsetLimit: Number.POSITIVE_INFINITY,
                agrees: epoch => epoch >= epochMin && epoch <= epochMax,
              })
            : typeof sizeBytes === 'string'
              ? sizeBytes
              : 'it is cut off'
        if (defect !== undefined || typeof sizeBytes !== 'number') {
          throw new NaruError(
            'CORRUPT_BATCH',
            `a batch received for the log ${core.name} at offset ${nextOffset} is bad: ${defect}`,
            { details: { log: core.name, offset: String(nextOffset) } },
          )
        }
        batches.push(buffer.subarray(at, at + sizeBytes))
        nextOffset = lastOffsetAt(buffer, at) + 1
        epochMin = leaderEpochAt(buffer, at)
        at += sizeBytes
      }
    }
    return batches
  }

  /** The batch is checked and carries its offset and epoch: from here on it is part of the log. */
  #take(batch: Buffer, wallMs: number): Offset {
    const core = this.#core
    const baseOffset = baseOffsetAt(batch, 0)
    const lastOffset = lastOffsetAt(batch, 0)
    const leaderEpoch = leaderEpochAt(batch, 0)
    const roll = this.#pending.startsSegment({ sizeBytes: batch.length, lastOffset, wallMs }, core.config)
      ? { snapshot: core.producers.encodeSnapshot() }
      : undefined
    this.#pending.noteTaken({ sizeBytes: batch.length, baseOffset, wallMs, roll: roll !== undefined })
    core.epochs.assign(leaderEpoch, baseOffset)
    core.producers.note(batch, 0)
    core.logEndOffset = lastOffset + 1
    const maxTimestamp = newestTimestampAt(batch, 0)
    core.tail.push({ buffer: batch, baseOffset, lastOffset, leaderEpoch, maxTimestamp, roll })
    return lastOffset
  }

  #scheduleWrite(): void {
    if (this.#writeScheduled) return
    this.#writeScheduled = true
    this.#core.clock.afterTurn(() => {
      this.#writeScheduled = false
      void this.#core.lock.run(() => this.#guarded(() => this.#writeGroups()))
    })
  }

  /** With write caching: everything pending, group by group. */
  async #writeGroups(): Promise<boolean> {
    for (let group = this.#nextGroup(); group.batches.length > 0; group = this.#nextGroup()) {
      await this.#write(group)
    }
    if (this.#core.syncedEndOffset < this.#core.writtenEndOffset) this.#syncLater(BACKGROUND_SYNC_MS)
    return false
  }

  #syncLater(delayMs: number): void {
    this.#syncTimer ??= this.#core.clock.setTimer(delayMs, () => {
      this.#syncTimer = undefined
      if (!this.#core.failure && !this.#core.closed) this.#scheduler.request(this, { urgent: this.#urgent })
    })
  }

  async #flushGroup(): Promise<boolean> {
    const core = this.#core
    const generation = core.generation
    const forced = this.#syncForced
    this.#syncForced = false
    const group = this.#nextGroup()
    try {
      if (group.batches.length > 0) await this.#write(group)
      if (forced || core.syncedEndOffset < core.writtenEndOffset) {
        // What has no file has nothing to sync. Nor has what a sync that counted has covered, with nothing written since:
        // a generation's own sync is for bytes whose completions count no more (rule B1), and there are none.
        if (core.isMade && core.syncedEndOffset < core.writtenEndOffset)
          await core.timed(() => core.context.files.use(core.segments.last.path, file => file.sync()))
        this.#synced(generation, core.writtenEndOffset)
      }
    } catch (thrown) {
      this.#syncForced ||= forced
      throw thrown
    }
    return this.#pending.sizeBytes > 0
  }

  #nextGroup(): WriteGroup {
    return this.#pending.nextGroup(this.#core, SYNC_GROUP_BYTES_MAX)
  }

  async #write(group: WriteGroup): Promise<void> {
    const core = this.#core
    const { roll } = group
    const { generation } = core
    await core.ensureMade()
    // Retention may have made the very segment that this batch was to begin.
    if (roll && core.segments.last.baseOffset < group.baseOffset)
      await core.timed(() => rollSegment(core, roll, group.baseOffset))
    const segment = core.segments.last
    await core.timed(() =>
      core.context.files.use(segment.path, async file => {
        assert(file.sizeBytes === segment.sizeBytes, 'the file ends where the log thinks it does')
        try {
          await file.append(group.buffers)
        } catch (error) {
          // A full disk is not a failed write: back to the last whole group, and later once more.
          if (error instanceof DiskError && error.code === 'ENOSPC') await file.truncate(segment.sizeBytes)
          throw error
        }
      }),
    )
    for (const batch of group.batches) {
      const { lastOffset, maxTimestamp } = batch
      segment.noteAppended({
        position: segment.sizeBytes,
        sizeBytes: batch.buffer.length,
        lastOffset,
        maxTimestamp,
      })
    }
    this.#pending.noteWritten(group)
    const endOffset = (group.batches.at(-1)?.lastOffset ?? -1) + 1
    // A truncation that began meanwhile waits for the lock and will cut these bytes again.
    core.writtenEndOffset =
      generation === core.generation ? endOffset : Math.min(endOffset, core.logEndOffset)
    core.tail.noteWritten(core.writtenEndOffset)
    checkOffsets(core)
    if (generation === core.generation) core.reportProgress()
  }

  #synced(generation: number, endOffset: Offset): void {
    const core = this.#core
    // A completion of an older generation says nothing: its own sync is queued (rule B1). Nor does one beside a cut,
    // which may yet go below where it was asked to; it ends with a sync and a report of its own.
    if (generation !== core.generation || core.cutting > 0) return
    core.syncedEndOffset = Math.max(core.syncedEndOffset, endOffset)
    checkOffsets(core)
    core.reportProgress()
  }

  /** Through handles of its own, since writes to the log go on meanwhile. */
  async #syncInBackground(): Promise<void> {
    const core = this.#core
    if (core.failure || core.closed) return
    const generation = core.generation
    const endOffset = core.writtenEndOffset
    const forced = this.#syncForced
    this.#syncForced = false
    try {
      if (core.isMade) await this.#syncFile(core.segments.last.path)
      this.#synced(generation, endOffset)
    } catch (thrown) {
      // Gone with a truncation that began meanwhile: nothing failed.
      const gone = thrown instanceof DiskError && thrown.code === 'ENOENT' && generation !== core.generation
      if (gone || core.closed) return
      if (!shortage(core.name, thrown)) core.failedDisk(thrown)
      else {
        this.#syncForced ||= forced
        this.#syncLater(SHORTAGE_RETRY_MS)
      }
    }
  }

  async #syncFile(path: string): Promise<void> {
    const file = await this.#core.disk.open(path, 'write')
    try {
      await this.#core.timed(() => file.sync())
    } finally {
      await file.close()
    }
  }

  async #guarded(work: () => Promise<boolean>): Promise<boolean> {
    // Asked for before the close, and run after it: the files may have another name by now, or be another topic's.
    if (this.#core.failure || this.#core.closed) return false
    try {
      const more = await work()
      this.#noteShortage(undefined)
      return more
    } catch (thrown) {
      const short = shortage(this.#core.name, thrown, 'none')
      if (short) this.#noteShortage(short)
      else this.#core.failedDisk(thrown)
      return false
    } finally {
      this.#pending.wake()
    }
  }

  /** Nothing pending is acknowledged, nothing is lost: the same group is written again when that can succeed. */
  #noteShortage(short: NaruError | undefined): void {
    const core = this.#core
    if (short) {
      core.clock.setTimer(SHORTAGE_RETRY_MS, () => {
        if (!core.closed) this.request()
      })
    }
    const before = this.#shortage
    this.#shortage = short
    if (before?.reason === short?.reason) return
    if (before)
      core.emit({
        kind: before.reason === 'DISK_FULL' ? 'diskFullOver' : 'noDescriptorsOver',
        log: core.name,
      })
    if (short)
      core.emit({
        kind: short.reason === 'DISK_FULL' ? 'diskFull' : 'noDescriptors',
        log: core.name,
        error: short,
      })
  }
}
