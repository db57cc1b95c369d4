import { assert } from '../base/assert.ts'
import type { Offset } from '../base/brands.ts'
import { NaruError } from '../base/errors.ts'
import type { Disk } from '../ports/disk.ts'
import { writeFilesAtomically } from '../ports/disk.ts'
import type { IndexCache } from './index-cache.ts'
import {
  LOG_SUFFIX,
  OFFSET_INDEX_SUFFIX,
  offsetFileName,
  PRODUCER_SNAPSHOT_SUFFIX,
  TIME_INDEX_SUFFIX,
} from './log-file-names.ts'
import { OffsetIndex } from './offset-index.ts'
import type { OpenFiles } from './open-files.ts'
import { type IndexedBatch, SegmentIndexes } from './segment-indexes.ts'
import { TIME_INDEX_ENTRY_BYTES, TimeIndex } from './time-index.ts'

const REWRITE_BYTES = 1024 * 1024

/**
 * The cleaner has put another segment in this one's place while it was read, or a cut or the removal has changed it: look
 * again which one holds the offset.
 */
export class SegmentReplaced extends Error {
  override readonly name = 'SegmentReplaced'
}

/** Undefined: what was read is not the log's any more. */
export async function unlessReplaced<Result>(read: () => Promise<Result>): Promise<Result | undefined> {
  try {
    return await read()
  } catch (thrown) {
    if (thrown instanceof SegmentReplaced) return undefined
    throw thrown
  }
}

export interface NewestTimestamp {
  /** -1: no batch has one. */
  readonly timestamp: number
  /** By the batches, in this life; else by index files, which nobody has checked. */
  readonly isProven: boolean
}

/** What all segments of a log share. */
export interface SegmentContext {
  readonly disk: Disk
  readonly files: OpenFiles
  readonly indexCache: IndexCache
  readonly directory: string
  indexIntervalBytes: number
  /** The directory may be renamed or gone, and its paths may be another topic's: nothing is opened any more. */
  closed: boolean
}

/**
 * One `.log` file with its two indexes. Only the last segment of a log is written; the indexes of the others are in
 * memory only while somebody reads there (`IndexCache`), and are rebuilt from the `.log` where their files are missing
 * or cannot be right.
 * Invariants: `sizeBytes` counts whole batches that the page cache has; the index files are synced before the next
 * segment is made, so after a crash only the last segment's can be wrong.
 */
export class Segment {
  readonly baseOffset: Offset
  readonly #context: SegmentContext
  #sizeBytes: number
  /** Of a short one, while its log is opened: so most need not be opened for that. */
  #content: Buffer | undefined
  #indexes: SegmentIndexes | undefined
  #loading: Promise<SegmentIndexes> | undefined
  #newest: NewestTimestamp | undefined
  /** The index files are as the last start found them, and right. */
  #isIndexStored = false
  #isReplaced = false
  /** The file comes to its name: nothing is read before that. */
  #settling: Promise<void> | undefined

  constructor(context: SegmentContext, baseOffset: Offset, sizeBytes: number, content?: Buffer) {
    this.#context = context
    this.baseOffset = baseOffset
    this.#sizeBytes = sizeBytes
    this.#content = content
  }

  /** From now on the file is read. */
  forgetContent(): void {
    this.#content = undefined
  }

  get sizeBytes(): number {
    return this.#sizeBytes
  }

  get path(): string {
    return this.#pathOf(LOG_SUFFIX)
  }

  get fileName(): string {
    return offsetFileName(this.baseOffset, LOG_SUFFIX)
  }

  /** The indexes where they are in memory: always for the last segment of a log. */
  get loadedIndexes(): SegmentIndexes | undefined {
    return this.#indexes
  }

  /** Gives the segment indexes made by a scan, or empty ones; they stay until `dropIndexes`. */
  useIndexes(indexes: SegmentIndexes): void {
    this.#isIndexStored = false
    this.#indexes = indexes
    this.#newest = undefined
  }

  dropIndexes(): void {
    if (this.#indexes && !this.#newest?.isProven) this.#newest = newestOf(this.#indexes)
    this.#indexes = undefined
  }

  /** Indexes from their files, or by `rebuild`, which scans; then kept while the cache has room. */
  async indexes(rebuild: () => Promise<SegmentIndexes>): Promise<SegmentIndexes> {
    if (this.#indexes) {
      this.#context.indexCache.touch(this)
      return this.#indexes
    }
    this.#loading ??= this.#load(rebuild).finally(() => {
      this.#loading = undefined
    })
    return this.#loading
  }

  /** The index files proved wrong: others, from a scan, take their place. */
  async replaceIndexes(indexes: SegmentIndexes, options: { keep: boolean }): Promise<void> {
    this.useIndexes(indexes)
    await this.writeIndexFiles()
    if (!options.keep) this.#context.indexCache.add(this)
  }

  get indexFileNames(): string[] {
    return [
      offsetFileName(this.baseOffset, OFFSET_INDEX_SUFFIX),
      offsetFileName(this.baseOffset, TIME_INDEX_SUFFIX),
    ]
  }

  /** The index files tell of all that the segment holds. */
  get isIndexStored(): boolean {
    return this.#isIndexStored
  }

  /** Takes over what the index files hold, of which the last process said that they are right. */
  async useIndexFiles(): Promise<SegmentIndexes | undefined> {
    const indexes = await this.readIndexFiles()
    if (indexes) this.useIndexes(indexes)
    this.#isIndexStored = indexes !== undefined
    return indexes
  }

  /** What the index files hold, or undefined where they are missing or cannot be right. */
  async readIndexFiles(): Promise<SegmentIndexes | undefined> {
    const offsetBytes = await this.#context.disk.readFile(this.#pathOf(OFFSET_INDEX_SUFFIX))
    const timeBytes = await this.#context.disk.readFile(this.#pathOf(TIME_INDEX_SUFFIX))
    const offsets = offsetBytes && OffsetIndex.parse(offsetBytes, this.baseOffset, this.#sizeBytes)
    const times = timeBytes && TimeIndex.parse(timeBytes, this.baseOffset)
    if (!offsets || !times) return undefined
    const { indexIntervalBytes } = this.#context
    return new SegmentIndexes({ offsets, times, isRead: true, indexIntervalBytes })
  }

  /** Files appear whole and synced, or not at all. */
  async writeIndexFiles(): Promise<void> {
    const indexes = this.#indexes
    assert(indexes, 'only loaded indexes are written')
    const { disk, directory } = this.#context
    await writeFilesAtomically(disk, directory, [
      {
        name: offsetFileName(this.baseOffset, OFFSET_INDEX_SUFFIX),
        content: Buffer.from(indexes.offsets.bytes),
      },
      { name: offsetFileName(this.baseOffset, TIME_INDEX_SUFFIX), content: Buffer.from(indexes.times.bytes) },
    ])
  }

  async removeIndexFiles(): Promise<void> {
    const { disk } = this.#context
    for (const suffix of [OFFSET_INDEX_SUFFIX, TIME_INDEX_SUFFIX] as const) {
      if (await disk.stat(this.#pathOf(suffix))) await disk.remove(this.#pathOf(suffix))
    }
  }

  /** Largest timestamp; of a closed segment by its time index file's last entry alone. */
  async newestTimestamp(rebuild: () => Promise<SegmentIndexes>): Promise<NewestTimestamp> {
    if (this.#indexes) return newestOf(this.#indexes)
    if (this.#newest) return this.#newest
    const path = this.#pathOf(TIME_INDEX_SUFFIX)
    const sizeBytes = (await this.#context.disk.stat(path))?.sizeBytes ?? 0
    if (sizeBytes < TIME_INDEX_ENTRY_BYTES || sizeBytes % TIME_INDEX_ENTRY_BYTES !== 0) {
      this.#newest = newestOf(await this.indexes(rebuild))
      return this.#newest
    }
    const file = await this.#context.disk.open(path, 'read')
    try {
      const bytes = await file.read(sizeBytes - TIME_INDEX_ENTRY_BYTES, TIME_INDEX_ENTRY_BYTES)
      const timestamp = TimeIndex.parse(bytes, this.baseOffset)?.last?.timestamp ?? -1
      this.#newest = { timestamp, isProven: false }
      return this.#newest
    } finally {
      await file.close()
    }
  }

  async read(position: number, length: number): Promise<Buffer> {
    if (this.#content) return this.#content.subarray(position, position + length)
    await this.#settling
    if (this.#context.closed) throw new NaruError('CLOSED', `the log of ${this.path} is closed`)
    const { files } = this.#context
    try {
      const bytes = await files.use(this.path, file => file.read(position, length))
      if (!this.#isReplaced) return bytes
    } catch (thrown) {
      if (!this.#isReplaced) throw thrown
    }
    // What was read, or not found, under this name may be the other's.
    throw new SegmentReplaced(this.path)
  }

  /** Another segment takes this one's place: reads end with `SegmentReplaced`, and no index file is written any more. */
  async retire(): Promise<void> {
    this.#isReplaced = true
    this.#context.indexCache.forget(this)
    await this.#loading?.catch(() => {})
  }

  /** Reads wait until `settled`, as the file has not got its name yet. */
  settleWith(settled: Promise<void>): void {
    this.#settling = settled.then(() => {
      this.#settling = undefined
    })
  }

  /** The page cache has these batches now, one after the other from `sizeBytes` on. */
  noteAppended(batch: IndexedBatch): void {
    assert(this.#indexes, 'the last segment of a log keeps its indexes in memory')
    assert(batch.position === this.#sizeBytes, 'batches follow each other without a gap')
    this.#isIndexStored = false
    this.#indexes.note(batch)
    this.#sizeBytes += batch.sizeBytes
  }

  /** Nothing more is to be appended: the indexes are finished and on disk. Safe to repeat. */
  async closeForAppends(): Promise<void> {
    assert(this.#indexes, 'the last segment of a log keeps its indexes in memory')
    this.#indexes.finish()
    await this.writeIndexFiles()
  }

  /** Another segment is the last one now: the indexes stay in memory only while they are used. */
  lendIndexes(): void {
    this.#context.indexCache.add(this)
  }

  /** The segment becomes the last one again: its indexes stay in memory, and no file claims to know them. */
  async reopenForAppends(indexes: SegmentIndexes): Promise<void> {
    this.#context.indexCache.forget(this)
    this.useIndexes(indexes)
    await this.removeIndexFiles()
  }

  /** Lets the next sync carry the bytes from `position` on, whatever came of earlier ones (`DiskFile.rewrite`). */
  async rewriteFrom(position: number): Promise<void> {
    await this.#context.files.use(this.path, async file => {
      for (let at = position; at < this.#sizeBytes; at += REWRITE_BYTES)
        await file.rewrite(at, await file.read(at, Math.min(REWRITE_BYTES, this.#sizeBytes - at)))
    })
  }

  /** Cuts the file and makes the cut durable; the caller has the indexes in memory and repairs them. */
  async cutTo(sizeBytes: number): Promise<void> {
    this.forgetContent()
    await this.#context.files.use(this.path, async file => {
      if (file.sizeBytes !== sizeBytes) await file.truncate(sizeBytes)
      await file.sync()
    })
    this.#isIndexStored = false
    this.#sizeBytes = sizeBytes
    this.#newest = undefined
  }

  /** Removes the files; readers that have the `.log` open finish on it. The `.log` goes last: without it the rest is rubbish. */
  async remove(): Promise<void> {
    await this.removeIndexFiles()
    const { disk } = this.#context
    const snapshot = this.#pathOf(PRODUCER_SNAPSHOT_SUFFIX)
    if (await disk.stat(snapshot)) await disk.remove(snapshot)
    await disk.remove(this.path)
    // Afterwards: a reader in between would keep the file open, and its space taken.
    this.#context.files.forget(this.path)
    this.#context.indexCache.forget(this)
  }

  async #load(rebuild: () => Promise<SegmentIndexes>): Promise<SegmentIndexes> {
    const found = await this.readIndexFiles()
    const indexes = found ?? (await rebuild())
    if (this.#isReplaced) throw new SegmentReplaced(this.path)
    // While this waited, the segment may have got indexes that its owner knows better.
    if (this.#indexes) return this.#indexes
    this.#indexes = indexes
    if (!found && !this.#context.closed) await this.writeIndexFiles()
    this.#context.indexCache.add(this)
    return indexes
  }

  #pathOf(suffix: Parameters<typeof offsetFileName>[1]): string {
    return `${this.#context.directory}/${offsetFileName(this.baseOffset, suffix)}`
  }
}

function newestOf(indexes: SegmentIndexes): NewestTimestamp {
  return { timestamp: indexes.newest?.timestamp ?? -1, isProven: !indexes.isRead }
}
