import { assert } from '../base/assert.ts'
import type { Offset } from '../base/brands.ts'
import { DiskError, type DiskFile } from '../ports/disk.ts'
import { lastOffsetAt, newestTimestampAt } from '../records/batch-header.ts'
import { SYNC_GROUP_BYTES_MAX } from './log-config.ts'
import type { LogCore } from './log-core.ts'
import {
  CLEANED_SUFFIX,
  cleanedFileName,
  LOG_SUFFIX,
  type OffsetRange,
  offsetFileName,
  parseCleanedFileName,
  parseOffsetFileName,
  SWAP_SUFFIX,
} from './log-file-names.ts'
import { Segment } from './segment.ts'
import { SegmentIndexes } from './segment-indexes.ts'

/**
 * One segment that takes the place of several. The order is Kafka's (`LocalLog.replaceSegments`), so that a crash at any
 * point leaves the old segments or the new one:
 *
 *   write <base>-<end>.cleaned, sync it       a crash: removed by the next start
 *   rename it to <base>-<end>.swap            from here on it is the truth; a crash: the next start goes on from here
 *   remove the old segments but the first, and the indexes of that
 *   rename it to <base>.log                   over the first of the old ones
 *
 * Each line is durable before the next. The name says the whole range, so that a start need not read the file.
 */
export class CleanedSegmentWriter {
  readonly #core: LogCore
  readonly #range: OffsetRange
  readonly #indexes: SegmentIndexes
  readonly #file: DiskFile
  #sizeBytes = 0
  #syncedBytes = 0
  #isOpen = true
  #endOffset: Offset

  private constructor(core: LogCore, range: OffsetRange, file: DiskFile) {
    this.#core = core
    this.#range = range
    this.#indexes = SegmentIndexes.empty(range.baseOffset, core.config.indexIntervalBytes)
    this.#file = file
    this.#endOffset = range.baseOffset
  }

  static async create(core: LogCore, range: OffsetRange): Promise<CleanedSegmentWriter> {
    const file = await core.disk.open(pathOf(core, range, CLEANED_SUFFIX), 'create')
    try {
      // Of a round that was given up.
      await file.truncate(0)
    } catch (thrown) {
      await file.close()
      throw thrown
    }
    return new CleanedSegmentWriter(core, range, file)
  }

  get sizeBytes(): number {
    return this.#sizeBytes
  }

  async append(batches: readonly Buffer[]): Promise<void> {
    if (batches.length === 0) return
    await this.#file.append(batches)
    for (const batch of batches) {
      const lastOffset = lastOffsetAt(batch, 0)
      const sizeBytes = batch.length
      const maxTimestamp = newestTimestampAt(batch, 0)
      this.#indexes.note({ position: this.#sizeBytes, sizeBytes, lastOffset, maxTimestamp })
      this.#sizeBytes += sizeBytes
      this.#endOffset = lastOffset + 1
    }
    // In pieces: one sync of a whole segment would hold up those of the appends.
    if (this.#sizeBytes - this.#syncedBytes >= SYNC_GROUP_BYTES_MAX) await this.#sync()
  }

  /** What is written is on the disk. */
  async finish(): Promise<void> {
    assert(this.#endOffset === this.#range.endOffset, 'a cleaned segment ends where the old ones did')
    this.#indexes.finish()
    await this.#sync()
    await this.#close()
  }

  /** The round is given up. */
  async discard(): Promise<void> {
    await this.#close()
    await this.#core.disk.remove(pathOf(this.#core, this.#range, CLEANED_SUFFIX))
  }

  /** After `finish`, under the log's lock: readers find the new segment, or wait for it. */
  async replace(old: readonly Segment[], { hasRemovedTombstones }: Removal): Promise<void> {
    const core = this.#core
    const { disk, directory } = core
    const swapPath = pathOf(core, this.#range, SWAP_SUFFIX)
    await disk.rename(pathOf(core, this.#range, CLEANED_SUFFIX), swapPath)
    try {
      await disk.syncDirectory(directory)
      await this.#takePlace(old, { swapPath, hasRemovedTombstones })
    } catch (thrown) {
      // Between two truths: only a start can go on from here.
      throw thrown instanceof DiskError ? core.failedDisk(thrown) : thrown
    }
  }

  async #takePlace(
    old: readonly Segment[],
    { swapPath, hasRemovedTombstones }: Removal & { swapPath: string },
  ): Promise<void> {
    const core = this.#core
    const segment = new Segment(core.context, this.#range.baseOffset, this.#sizeBytes)
    segment.useIndexes(this.#indexes)
    let settle = (): void => {}
    segment.settleWith(
      new Promise<void>(resolve => {
        settle = resolve
      }),
    )
    core.segments.replace(old, segment)
    core.replacements++
    if (hasRemovedTombstones) core.compaction.removals++
    try {
      for (const one of old) await one.retire()
      for (const one of old.slice(1)) await one.remove()
      await giveName(core, this.#range, swapPath)
      await segment.writeIndexFiles()
      core.context.indexCache.add(segment)
    } finally {
      settle()
    }
  }

  async #close(): Promise<void> {
    if (this.#isOpen) await this.#file.close()
    this.#isOpen = false
  }

  async #sync(): Promise<void> {
    await this.#file.sync()
    this.#syncedBytes = this.#sizeBytes
  }
}

interface Removal {
  readonly hasRemovedTombstones: boolean
}

/** A start goes on where the last process was interrupted. Returns the names in the directory as they are then. */
export async function finishReplacing(
  core: LogCore,
  names: ReadonlySet<string>,
): Promise<ReadonlySet<string>> {
  const { disk, directory } = core
  const unfinished = [...names].filter(parseCleanedFileName)
  if (unfinished.length === 0) return names
  for (const name of unfinished) {
    const range = parseCleanedFileName(name)
    if (!range) continue
    if (!range.isWhole) {
      await disk.remove(`${directory}/${name}`)
      continue
    }
    // The name may not be durable yet, and what follows removes all that it stands for.
    await disk.syncDirectory(directory)
    for (const other of names) {
      const parsed = parseOffsetFileName(other)
      if (!parsed || parsed.offset <= range.baseOffset || parsed.offset >= range.endOffset) continue
      await disk.remove(`${directory}/${other}`)
    }
    await giveName(core, range, `${directory}/${name}`)
  }
  return core.fileNames()
}

/** What a cleaner left behind in a log that starts over: it must not come back with the next start. */
export async function removeCleanedFiles(core: LogCore): Promise<void> {
  const { disk, directory } = core
  const names = [...(await core.fileNames())].filter(parseCleanedFileName)
  for (const name of names) await disk.remove(`${directory}/${name}`)
  if (names.length > 0) await disk.syncDirectory(directory)
}

/** The other segments of the range are removed: durably, before the new one takes the name of the first. */
async function giveName(core: LogCore, range: OffsetRange, swapPath: string): Promise<void> {
  const { disk, directory } = core
  const segment = new Segment(core.context, range.baseOffset, 0)
  await segment.removeIndexFiles()
  await disk.syncDirectory(directory)
  await disk.rename(swapPath, `${directory}/${offsetFileName(range.baseOffset, LOG_SUFFIX)}`)
  core.context.files.forget(segment.path)
  await disk.syncDirectory(directory)
}

function pathOf(
  core: LogCore,
  range: OffsetRange,
  suffix: typeof CLEANED_SUFFIX | typeof SWAP_SUFFIX,
): string {
  return `${core.directory}/${cleanedFileName(range, suffix)}`
}
