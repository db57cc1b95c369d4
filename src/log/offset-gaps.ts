import { type Disk, writeFileAtomically } from '../ports/disk.ts'

const FILE_NAME = 'offset-gaps'

/**
 * Whether offsets of a log may have gaps: once it was compacted, for ever. The mark is a file, written before the
 * first gap can come, so a log that was never compacted keeps the stricter check that finds damaged base offsets.
 * The file's content is one line, `1`, its format version.
 */
export class OffsetGaps {
  readonly #disk: Disk
  readonly #path: string
  #allowed = false

  constructor(options: { disk: Disk; directory: string }) {
    this.#disk = options.disk
    this.#path = `${options.directory}/${FILE_NAME}`
  }

  get allowed(): boolean {
    return this.#allowed
  }

  /** By the names in the directory. */
  load(names: ReadonlySet<string>): void {
    this.#allowed = names.has(FILE_NAME)
  }

  async allow(): Promise<void> {
    if (this.#allowed) return
    await writeFileAtomically(this.#disk, this.#path, Buffer.from('1\n'))
    this.#allowed = true
  }
}
