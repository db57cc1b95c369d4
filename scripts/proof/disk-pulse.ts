import { type FileHandle, open } from 'node:fs/promises'
import { join } from 'node:path'
import { type ScratchDirectory, scratchDirectory } from '../scratch-directory.ts'

const PULSE_MS = 20
const PULSE_BYTES = 1_000

/**
 * A file that is appended to and synced all the time, on the disk that the nodes write to: how long the disk itself, and
 * nothing of ours, keeps an acknowledgement waiting.
 */
export class DiskPulse implements AsyncDisposable {
  readonly #syncs: { readonly endMs: number; readonly tookMs: number }[] = []
  readonly #directory: ScratchDirectory
  readonly #file: FileHandle
  readonly #end: Promise<void>
  #isOver = false

  private constructor(directory: ScratchDirectory, file: FileHandle) {
    this.#directory = directory
    this.#file = file
    this.#end = this.#beat()
  }

  static async start(): Promise<DiskPulse> {
    const directory = scratchDirectory('naru-proof-disk-')
    return new DiskPulse(directory, await open(join(directory.path, 'pulse'), 'a'))
  }

  /** Ms that a sync took at most that ended since then. */
  longestSince(sinceMs: number): number {
    const from = this.#syncs.findLastIndex(({ endMs }) => endMs < sinceMs) + 1
    return Math.max(0, ...this.#syncs.slice(from).map(({ tookMs }) => tookMs))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isOver = true
    await this.#end
    await this.#file.close()
    this.#directory.remove()
  }

  async #beat(): Promise<void> {
    const bytes = Buffer.alloc(PULSE_BYTES)
    while (!this.#isOver) {
      await this.#file.appendFile(bytes)
      const beganMs = performance.now()
      await this.#file.datasync()
      const endMs = performance.now()
      this.#syncs.push({ endMs, tookMs: endMs - beganMs })
      await new Promise(resolve => setTimeout(resolve, PULSE_MS))
    }
  }
}
