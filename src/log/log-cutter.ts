import type { Offset } from '../base/brands.ts'
import { NaruError } from '../base/errors.ts'
import { DiskError } from '../ports/disk.ts'
import { DamagedLog } from './damaged-log.ts'
import type { LogAppender } from './log-appender.ts'
import { checkOffsets, type LogCore } from './log-core.ts'
import { shortage } from './log-failures.ts'
import type { LogReader } from './log-reader.ts'
import { rebuildProducers, removeSegmentsBelowStart, restartFiles, truncateFiles } from './log-truncation.ts'
import type { PendingWrites } from './pending-writes.ts'
import { removeQuarantine } from './quarantine-file.ts'
import { rollSegment } from './segment-roll.ts'

/**
 * Everything that makes a log shorter, in memory and in its files. The memory part happens at the call: from then on
 * nothing that goes is readable or counts as synced. The files follow under the lock, after a write or sync that is
 * under way; its completion belongs to an older generation and counts no more (rule B1).
 */
export class LogCutter {
  readonly #core: LogCore
  readonly #appender: LogAppender
  readonly #reader: LogReader
  readonly #pending: PendingWrites
  /** Whether the log start is durable as it is. */
  #isStartNoted = true

  constructor(options: { core: LogCore; appender: LogAppender; reader: LogReader; pending: PendingWrites }) {
    this.#core = options.core
    this.#appender = options.appender
    this.#reader = options.reader
    this.#pending = options.pending
  }

  /** A truncation or reset has not resolved yet: nothing may be appended. */
  get isCutting(): boolean {
    return this.#core.cutting > 0
  }

  async truncateTo(offset: Offset): Promise<Offset> {
    const core = this.#core
    if (offset < core.logStartOffset) {
      throw new NaruError(
        'OFFSET_OUT_OF_RANGE',
        `the log ${core.name} starts at ${core.logStartOffset} and cannot be truncated to ${offset}: reset it instead`,
      )
    }
    this.#appender.beginGeneration()
    if (offset >= core.logEndOffset) return core.logEndOffset
    return this.#cut(async () => {
      this.#dropFrom(offset)
      await core.lock.run(async () => {
        core.ensureServing()
        await orOffline(core, async () => {
          await core.ensureMade()
          await this.#cutFiles(core.logEndOffset)
          await rebuildProducers(core)
        })
        this.#pending.restart(core)
      })
      core.reportProgress()
      return core.logEndOffset
    })
  }

  async resetTo(offset: Offset): Promise<void> {
    const core = this.#core
    this.#ensureResettable()
    // As long as the mark of a quarantine is there, nobody takes what is left for a log: it can be begun anew.
    const changing = core.failure ? orLater : orOffline
    await this.#cut(async () => {
      core.generation++
      core.tail.clear(core.logStartOffset)
      await core.lock.run(async () => {
        this.#ensureResettable()
        // What the checkpoint claims must be true at each moment of the removal.
        core.logEndOffset = core.writtenEndOffset = core.syncedEndOffset = core.logStartOffset
        core.highWatermark = core.logStartOffset
        await changing(core, async () => {
          await core.ensureMade()
          await restartFiles(core, offset)
        })
        core.logStartOffset = core.logEndOffset = core.writtenEndOffset = core.syncedEndOffset = offset
        core.highWatermark = offset
        core.tail.clear(offset)
        this.#reader.forgetCursors()
        this.#pending.restart(core)
        await changing(core, async () => {
          await core.checkpoint()
          // Nobody counts on this replica any more. Gone later it could come back with a power cut of all, and the replica,
          // in sync by then, would be taken for damaged.
          await core.marked()
          await removeQuarantine(core.disk, core.directory)
        })
        // Not so of one that went offline meanwhile.
        if (core.failure?.reason === 'CORRUPT_DATA') core.failure = undefined
      })
      core.reportProgress()
    })
  }

  /** The log starts at `offset`, durably, and segments wholly below it are gone. */
  async moveStart(offset: Offset): Promise<void> {
    const core = this.#core
    await core.lock.run(async () => {
      core.ensureServing()
      // A cut may have come first, or has begun: nothing at or above the high watermark of now is gone by this.
      const start = Math.min(offset, core.highWatermark)
      if (start <= core.logStartOffset && this.#isStartNoted) return
      core.logStartOffset = Math.max(start, core.logStartOffset)
      checkOffsets(core)
      this.#reader.forgetCursors()
      this.#isStartNoted = false
      await orLater(core, async () => {
        await core.ensureMade()
        const noted = await ifRoom(core.checkpoint)
        await removeSegmentsBelowStart(core)
        // On a full disk the removal is what makes room, and whole segments need no note of the start.
        if (!noted) await core.checkpoint()
        this.#isStartNoted = true
      })
    })
  }

  /**
   * A new segment although nothing is appended, so that retention can remove the last one. False: not now, or not any more
   * once it is this one's turn (`isWanted`).
   */
  async rollIdle(isWanted: () => boolean): Promise<boolean> {
    const core = this.#core
    return core.lock.run(async () => {
      if (core.failure || core.closed || this.isCutting || this.#pending.sizeBytes > 0) return false
      if (core.segments.last.sizeBytes === 0 || core.logEndOffset > core.highWatermark) return false
      if (!isWanted()) return false
      const snapshot = core.producers.encodeSnapshot()
      await orLater(core, () => rollSegment(core, { snapshot }, core.logEndOffset))
      this.#pending.restart(core)
      return true
    })
  }

  /** Damage is what a reset is for; files of a log that is closed may be another's by now. */
  #ensureResettable(): void {
    const core = this.#core
    if (core.closed || core.failure?.reason === 'STORAGE_OFFLINE') core.ensureServing()
  }

  /** Out of memory and out of the log's ends, at once. The batch that holds `offset` goes as a whole. */
  #dropFrom(offset: Offset): void {
    const core = this.#core
    const [straddling] = core.tail.from(offset)
    core.logEndOffset = Math.min(offset, straddling?.baseOffset ?? offset)
    core.tail.truncateTo(core.logEndOffset)
    core.writtenEndOffset = Math.min(core.writtenEndOffset, core.logEndOffset)
    core.syncedEndOffset = Math.min(core.syncedEndOffset, core.logEndOffset)
    core.highWatermark = Math.min(core.highWatermark, core.logEndOffset)
    this.#reader.forgetCursors()
  }

  async #cutFiles(endOffset: Offset): Promise<void> {
    const core = this.#core
    const filesEnd = await truncateFiles(core, endOffset)
    if (filesEnd !== core.writtenEndOffset) {
      // A batch in the files straddles the end and went: what is left ends with the files.
      core.tail.truncateTo(filesEnd)
      core.logEndOffset = filesEnd
      core.highWatermark = Math.min(core.highWatermark, filesEnd)
    }
    core.writtenEndOffset = core.syncedEndOffset = filesEnd
    checkOffsets(core)
  }

  async #cut<Result>(work: () => Promise<Result>): Promise<Result> {
    this.#core.cutting++
    this.#core.cuts++
    try {
      return await work()
    } finally {
      this.#core.cutting--
    }
  }
}

async function ifRoom(work: () => Promise<void>): Promise<boolean> {
  try {
    await work()
    return true
  } catch (thrown) {
    if (thrown instanceof DiskError && thrown.code === 'ENOSPC') return false
    throw thrown
  }
}

/** Runs what changes files: a disk error takes the log offline, damage puts it in quarantine. */
async function orOffline<Result>(core: LogCore, work: () => Promise<Result>): Promise<Result> {
  try {
    return await core.timed(work)
  } catch (thrown) {
    if (thrown instanceof NaruError) throw thrown
    throw thrown instanceof DamagedLog ? core.quarantine(thrown.defect) : core.failedDisk(thrown)
  }
}

/**
 * The same for what may as well be done later: a full disk (or a process out of descriptors) has not changed anything
 * that is stored, so the log goes on, and who asked is told to try again.
 */
export function orLater<Result>(core: LogCore, work: () => Promise<Result>): Promise<Result> {
  return orOffline(core, async () => {
    try {
      return await work()
    } catch (thrown) {
      throw shortage(core.name, thrown) ?? thrown
    }
  })
}
