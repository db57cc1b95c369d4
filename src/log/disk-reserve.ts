import { NaruError } from '../base/errors.ts'
import type { Clock, Timer } from '../ports/clock.ts'
import type { Disk } from '../ports/disk.ts'

export interface DiskReserveOptions {
  readonly disk: Disk
  readonly clock: Clock
  readonly dataDirectory: string
  /** `disk.free.min`: what is kept for Raft, `__groups` and deletion, so that a full disk can be emptied (B6). */
  readonly freeBytesMin: number
  /** Free space at which produce is taken again; apart from the minimum, so that one deleted segment does not flap. */
  readonly resumeFreeBytes?: number
  readonly intervalMs?: number
  /** The state changed. */
  readonly onChange?: (isLow: boolean) => void
  /** The space cannot be told: the disk itself is in trouble. The last known state stays. */
  readonly onError?: (error: unknown) => void
}

const INTERVAL_MS = 1000
const RESUME_FACTOR = 1.1

/**
 * Watches the free space of a data directory. Below the reserve it says so, until enough is free again; nobody has to
 * do anything but free space. A full disk is not a failed one: reads, deletes, Raft and groups go on meanwhile.
 * Driven by its own timer, and by `noteFull` from whoever met ENOSPC between two looks.
 */
export class DiskReserve {
  readonly #options: DiskReserveOptions
  readonly #resumeFreeBytes: number
  #isLow = false
  #freeBytes = Number.POSITIVE_INFINITY
  #isRunning = false
  #isStopped = false
  #timer: Timer | undefined
  #looking: Promise<void> | undefined

  constructor(options: DiskReserveOptions) {
    this.#options = options
    this.#resumeFreeBytes = Math.max(
      options.freeBytesMin,
      options.resumeFreeBytes ?? options.freeBytesMin * RESUME_FACTOR,
    )
  }

  /** Whether only the reserve is left: leaders refuse produce, and a follower leaves the ISR, except of `__groups`. */
  get isLow(): boolean {
    return this.#isLow
  }

  /** As of the last look. */
  get freeBytes(): number {
    return this.#freeBytes
  }

  /** Looks once, then every `intervalMs`; the first look is done when it resolves. */
  async start(): Promise<void> {
    if (this.#isRunning || this.#isStopped) return
    this.#isRunning = true
    await this.look()
    this.#schedule()
  }

  /** For good: nobody is told of anything after this. */
  stop(): void {
    this.#isRunning = false
    this.#isStopped = true
    this.#timer?.cancel()
    this.#timer = undefined
  }

  /** Looks now; calls while one is under way share it. */
  look(): Promise<void> {
    this.#looking ??= this.#look().finally(() => {
      this.#looking = undefined
    })
    return this.#looking
  }

  /** A write met ENOSPC: low at once, until the next look finds room. */
  noteFull(): void {
    this.#freeBytes = 0
    this.#set(true)
  }

  /** For the answer to a produce while low. */
  error(): NaruError {
    const { dataDirectory, freeBytesMin } = this.#options
    return new NaruError(
      'DISK_FULL',
      `${mebibytes(this.#freeBytes)} MiB are free on the disk of ${dataDirectory}; below ${mebibytes(freeBytesMin)} MiB ` +
        '(disk.free.min) no records are taken: free space (delete topics or records, shorten retention) or add some; ' +
        `writes resume by themselves at ${mebibytes(this.#resumeFreeBytes)} MiB`,
      { details: { free_bytes: String(this.#freeBytes), disk_free_min: String(freeBytesMin) } },
    )
  }

  async #look(): Promise<void> {
    const { disk, dataDirectory, freeBytesMin, onError } = this.#options
    try {
      const { freeBytes } = await disk.space(dataDirectory)
      if (this.#isStopped) return
      this.#freeBytes = freeBytes
      this.#set(freeBytes < (this.#isLow ? this.#resumeFreeBytes : freeBytesMin))
    } catch (error) {
      if (!this.#isStopped) onError?.(error)
    }
  }

  #set(isLow: boolean): void {
    if (this.#isLow === isLow) return
    this.#isLow = isLow
    this.#options.onChange?.(isLow)
  }

  #schedule(): void {
    if (!this.#isRunning) return
    this.#timer?.cancel()
    this.#timer = this.#options.clock.setTick(this.#options.intervalMs ?? INTERVAL_MS, () => {
      void this.look().then(() => this.#schedule())
    })
  }
}

function mebibytes(bytes: number): string {
  return (bytes / 1024 / 1024).toFixed(0)
}
