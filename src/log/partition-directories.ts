import type { PartitionId, Uuid } from '../base/brands.ts'
import { type Disk, DiskError } from '../ports/disk.ts'
import type { DeletedPartitions } from './deleted-partitions.ts'
import { FoundFiles } from './found-files.ts'
import { lostPartition, namelessPartition } from './log-failures.ts'
import { LOG_SUFFIX, offsetFileName, parseOffsetFileName } from './log-file-names.ts'
import type { PartitionCheckpoints } from './partition-checkpoints.ts'
import { readPartitionMetadata, topicIdAmong, writePartitionMetadata } from './partition-metadata-file.ts'
import { SharedWork } from './shared-work.ts'

/** Whose a directory is to be. */
export interface PartitionPlace {
  readonly topic: string
  readonly topicId: Uuid
  readonly partition: PartitionId
}

/**
 * The directories of partitions under `topics/`: which are there, whose they are, and how they come and go.
 * A partition has none before it stores something: thousands that were never written to cost no file and no sync, and are
 * made empty again by a start that finds neither directory nor checkpoint (rule A1).
 * Invariant: nobody else makes or removes directories there while this process lives.
 */
export class PartitionDirectories {
  readonly #disk: Disk
  readonly #topicsDirectory: string
  readonly #checkpoints: PartitionCheckpoints
  readonly #deleted: DeletedPartitions
  readonly #names: Set<string>
  /** Of the names in the parent; one for all directories that are made at a time. */
  readonly #parentSync: SharedWork

  constructor(options: {
    disk: Disk
    topicsDirectory: string
    checkpoints: PartitionCheckpoints
    deleted: DeletedPartitions
    /** What was found at the start. */
    names: Iterable<string>
  }) {
    const { disk, topicsDirectory } = options
    this.#disk = disk
    this.#topicsDirectory = topicsDirectory
    this.#checkpoints = options.checkpoints
    this.#deleted = options.deleted
    this.#names = new Set(options.names)
    this.#parentSync = new SharedWork(() => disk.syncDirectory(topicsDirectory))
  }

  pathOf(name: string): string {
    return `${this.#topicsDirectory}/${name}`
  }

  /** Undefined where there is no directory, or nothing says whose it is. */
  async topicIdOf(name: string): Promise<Uuid | undefined> {
    return this.#names.has(name) ? readPartitionMetadata(this.#disk, this.pathOf(name)) : undefined
  }

  async isThere(name: string): Promise<boolean> {
    return this.#names.has(name) && (await this.#disk.stat(this.pathOf(name))) !== undefined
  }

  /**
   * Sees to it that no other topic's directory has the name, and reads this topic's. Undefined: there is none, and
   * nothing is lost by that; with `afterLoss`, because the loss is known.
   */
  async claim(
    name: string,
    { topicId, partition }: PartitionPlace,
    afterLoss: boolean,
  ): Promise<FoundFiles | undefined> {
    const files = await this.#find(name)
    const found = files && (await topicIdAmong(files, this.pathOf(name)))
    if (found === topicId) return files
    if (await this.isThere(name)) {
      // The file comes before the checkpoints name the partition: there are records beside it that are somebody's.
      if (found === undefined && this.#checkpoints.get(name)) throw namelessPartition(name, this.pathOf(name))
      // The name belongs to another topic now. Without the file: a crash came before anything was stored.
      await this.discard(name, `${found ?? 'unfinished'}-${partition}`)
    } else if (this.#checkpoints.get(name)) {
      if (!afterLoss) throw lostPartition(name, this.pathOf(name))
      // Durably: the next start must not take this for a loss once more.
      this.#checkpoints.delete(name)
      await this.#checkpoints.writeAll()
    }
    return undefined
  }

  async #find(name: string): Promise<FoundFiles | undefined> {
    if (!this.#names.has(name)) return undefined
    try {
      return await FoundFiles.find(this.#disk, this.pathOf(name))
    } catch (thrown) {
      if (thrown instanceof DiskError && (thrown.code === 'ENOENT' || thrown.code === 'ENOTDIR'))
        return undefined
      throw thrown
    }
  }

  /**
   * Makes the directory, with an empty first segment, and names the partition in the checkpoints, all of it durable: before
   * anything in it can be acknowledged (rule B3). What the segment holds is synced with its first records. Can be repeated.
   */
  async make(name: string, { topic, topicId, partition }: PartitionPlace): Promise<void> {
    const directory = this.pathOf(name)
    this.#names.add(name)
    await this.#disk.makeDirectory(directory)
    const segment = await this.#disk.open(`${directory}/${offsetFileName(0, LOG_SUFFIX)}`, 'create')
    await segment.close()
    // The first syncs the directory, and with it the name of the segment.
    await Promise.all([writePartitionMetadata(this.#disk, directory, topicId), this.#parentSync.run()])
    try {
      const offsets = { topic, partition, recoveryPoint: 0, highWatermark: 0, logStartOffset: 0 }
      await this.#checkpoints.add(name, offsets)
    } catch (thrown) {
      this.#checkpoints.delete(name)
      throw thrown
    }
  }

  /** First the checkpoints forget it, then the name goes: the other order would look like a loss after a crash. */
  async discard(name: string, id: string): Promise<void> {
    const isNamed = this.#checkpoints.get(name) !== undefined
    const isThere = await this.isThere(name)
    if (!isNamed && !isThere) return
    this.#checkpoints.delete(name)
    try {
      // Also where it is forgotten already: an earlier write may have failed.
      await this.#checkpoints.writeAll()
    } catch (thrown) {
      if (!(thrown instanceof DiskError && thrown.code === 'ENOSPC')) throw thrown
      // A deleted topic is what makes room on a full disk: its records go at once, and that they went is no loss.
      await this.#removeSegmentFiles(name)
      await this.#checkpoints.writeAll()
    }
    if (await this.isThere(name)) await this.#deleted.rename(name, id)
    this.#names.delete(name)
  }

  async #removeSegmentFiles(name: string): Promise<void> {
    if (!(await this.isThere(name))) return
    const directory = this.pathOf(name)
    for (const { name: fileName } of await this.#disk.list(directory))
      if (parseOffsetFileName(fileName)) await this.#disk.remove(`${directory}/${fileName}`)
  }
}
