import type { Clock } from '../ports/clock.ts'
import type { Disk } from '../ports/disk.ts'
import { DELETED_SUFFIX } from './log-file-names.ts'

/**
 * Partition directories on their way out (rule A10): renamed first, so that they are never opened again, and removed
 * after a while, in which an operator can still take them back. The while is counted from this process's view:
 * a restart begins it anew, which only keeps them longer.
 */
export class DeletedPartitions {
  readonly #disk: Disk
  readonly #clock: Clock
  readonly #topicsDirectory: string
  readonly #keepMs: number
  /** All that are there. */
  readonly #sinceMs = new Map<string, number>()
  /** Of directories that are being renamed. */
  readonly #taken = new Set<string>()

  constructor(options: { disk: Disk; clock: Clock; topicsDirectory: string; keepMs: number }) {
    this.#disk = options.disk
    this.#clock = options.clock
    this.#topicsDirectory = options.topicsDirectory
    this.#keepMs = options.keepMs
  }

  /** Notes what an earlier process left. */
  noteFound(name: string): void {
    this.#sinceMs.set(name, this.#clock.monotonicMs())
  }

  /**
   * Durable when it resolves. The new name is short whatever the topic's is: file names end at 255 bytes. It may be wanted
   * for several directories at once: of those whose topic nobody knows.
   */
  async rename(directoryName: string, id: string): Promise<void> {
    let name = `${id}${DELETED_SUFFIX}`
    for (let again = 1; this.#sinceMs.has(name) || this.#taken.has(name); again++)
      name = `${id}.${again}${DELETED_SUFFIX}`
    this.#taken.add(name)
    try {
      await this.#disk.rename(this.#pathOf(directoryName), this.#pathOf(name))
      this.noteFound(name)
    } finally {
      this.#taken.delete(name)
    }
    await this.#disk.syncDirectory(this.#topicsDirectory)
  }

  /** Removes those kept long enough, or all where space is short. */
  async purge(options: { all: boolean }): Promise<void> {
    const nowMs = this.#clock.monotonicMs()
    for (const [name, sinceMs] of [...this.#sinceMs]) {
      if (!options.all && nowMs - sinceMs < this.#keepMs) continue
      await this.#disk.removeDirectory(this.#pathOf(name))
      this.#sinceMs.delete(name)
    }
  }

  #pathOf(name: string): string {
    return `${this.#topicsDirectory}/${name}`
  }
}
