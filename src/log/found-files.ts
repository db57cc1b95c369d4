import type { DirectoryFile, Disk } from '../ports/disk.ts'
import { LEADER_EPOCH_CHECKPOINT } from './leader-epoch-checkpoint.ts'
import { LOG_SUFFIX } from './log-file-names.ts'
import { PARTITION_METADATA } from './partition-metadata-file.ts'

/** What is larger is read by itself. By default a short last segment (`isShort`) is not. */
const CONTENT_BYTES_MAX = 4096

/**
 * The files of a partition's directory as its opening finds them: with thousands of partitions, what a start costs is
 * calls of the disk, so one call brings all that most openings ask for.
 * Invariant: it is asked only for what the opening has not changed, and for nothing after it.
 */
export class FoundFiles {
  readonly names: ReadonlySet<string>
  readonly #disk: Disk
  readonly #directory: string | undefined
  readonly #files: ReadonlyMap<string, DirectoryFile>

  private constructor(disk: Disk, directory: string | undefined, files: readonly DirectoryFile[]) {
    this.#disk = disk
    this.#directory = directory
    this.#files = new Map(files.map(file => [file.name, file]))
    this.names = new Set(this.#files.keys())
  }

  /** Rejects with ENOENT where there is no such directory. None: the log has not got one. */
  static async find(disk: Disk, directory: string | undefined): Promise<FoundFiles> {
    if (directory === undefined) return new FoundFiles(disk, directory, [])
    const files = await disk.readDirectory(directory, { choose, contentBytesMax: CONTENT_BYTES_MAX })
    return new FoundFiles(disk, directory, files)
  }

  /** Undefined: not known. */
  sizeOf(name: string): number | undefined {
    return this.#files.get(name)?.sizeBytes
  }

  /** Undefined: not at hand. */
  contentOf(name: string): Buffer | undefined {
    return this.#files.get(name)?.content
  }

  /** The whole file, undefined where there is none. One that could not be read is tried by itself, which tells why. */
  async read(name: string): Promise<Buffer | undefined> {
    const file = this.#files.get(name)
    return file && (file.content ?? this.#disk.readFile(`${this.#directory}/${name}`))
  }
}

/** What each opening asks for; of the segments, of which there may be many, the last. */
function choose(names: readonly string[]): string[] {
  const last = names.findLast(name => name.endsWith(LOG_SUFFIX))
  return [PARTITION_METADATA, LEADER_EPOCH_CHECKPOINT, ...(last === undefined ? [] : [last])]
}
