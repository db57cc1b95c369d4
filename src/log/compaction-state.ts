import type { Offset } from '../base/brands.ts'
import { NaruError } from '../base/errors.ts'
import type { Disk } from '../ports/disk.ts'
import { CheckpointFile, type CheckpointFormat, wholeNumber } from './checkpoint-file.ts'
import { DamagedLog } from './damaged-log.ts'

const FILE_NAME = 'cleaner-checkpoint'

interface CompactionOffsets {
  readonly cleanedEndOffset: Offset
  readonly removedTombstonesEnd: Offset
}

const FORMAT: CheckpointFormat<CompactionOffsets> = {
  version: 1,
  encode: entry => `${entry.cleanedEndOffset} ${entry.removedTombstonesEnd}`,
  decode(line) {
    const [cleaned, removed, ...rest] = line.split(' ').map(wholeNumber)
    if (cleaned === undefined || removed === undefined || rest.length > 0) return undefined
    return { cleanedEndOffset: cleaned, removedTombstonesEnd: removed }
  },
}

/**
 * How far a log is cleaned, in the file `cleaner-checkpoint` of its directory: one line, `cleaned-end removed-end`. It is
 * not derived: what a removed tombstone deleted, nobody can tell any more from what is left (rule B8).
 * Invariants: the file says at least `removedTombstonesEnd` before a tombstone goes; it says at most `cleanedEndOffset`
 * before other records can come below that. So before records go only the second is lowered, and the first after it.
 */
export class CompactionState {
  readonly #disk: Disk
  readonly #directory: string
  readonly #file: CheckpointFile<CompactionOffsets>
  readonly #path: string
  /** How often tombstones were removed in this life of the log; counted at the moment in which readers miss them. */
  removals = 0
  #offsets: CompactionOffsets = { cleanedEndOffset: 0, removedTombstonesEnd: 0 }

  constructor(options: { disk: Disk; directory: string }) {
    this.#disk = options.disk
    this.#directory = options.directory
    this.#path = `${options.directory}/${FILE_NAME}`
    this.#file = new CheckpointFile(options.disk, this.#path, FORMAT)
  }

  /** Of every key, no record below has a newer one that is below, too. */
  get cleanedEndOffset(): Offset {
    return this.#offsets.cleanedEndOffset
  }

  /** Behind the last tombstone that was removed here (or there where this log was copied from); 0: none was. */
  get removedTombstonesEnd(): Offset {
    return this.#offsets.removedTombstonesEnd
  }

  /** By the names in the directory. */
  async load(names: ReadonlySet<string>): Promise<void> {
    if (!names.has(FILE_NAME)) return
    try {
      const [offsets] = (await this.#file.read()) ?? []
      if (offsets) this.#offsets = offsets
    } catch (thrown) {
      if (!(thrown instanceof NaruError)) throw thrown
      throw new DamagedLog({ file: this.#path, position: 0, offset: 0, what: thrown.message })
    }
  }

  async noteCleaned(endOffset: Offset): Promise<void> {
    await this.#write({ ...this.#offsets, cleanedEndOffset: endOffset })
  }

  async noteRemovedTombstones(endOffset: Offset): Promise<void> {
    if (endOffset <= this.removedTombstonesEnd) return
    await this.#write({ ...this.#offsets, removedTombstonesEnd: endOffset })
  }

  /** The log is about to be cut to end there: what comes above is other than what was cleaned. */
  async lowerCleaned(endOffset: Offset): Promise<void> {
    if (endOffset >= this.cleanedEndOffset) return
    await this.#write({ ...this.#offsets, cleanedEndOffset: endOffset })
  }

  /** It is cut: what lacked tombstones above is gone. */
  async lowerRemovedTombstones(endOffset: Offset): Promise<void> {
    if (endOffset >= this.removedTombstonesEnd) return
    await this.#write({ ...this.#offsets, removedTombstonesEnd: endOffset })
  }

  /** The log holds nothing any more. The file goes as it is: it may never have been read, or be the damage itself. */
  async clear(): Promise<void> {
    this.#offsets = { cleanedEndOffset: 0, removedTombstonesEnd: 0 }
    if (!(await this.#disk.stat(this.#path))) return
    await this.#disk.remove(this.#path)
    await this.#disk.syncDirectory(this.#directory)
  }

  async #write(offsets: CompactionOffsets): Promise<void> {
    await this.#file.write(() => [offsets])
    this.#offsets = offsets
  }
}
