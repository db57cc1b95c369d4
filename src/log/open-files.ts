import type { Disk, DiskFile } from '../ports/disk.ts'

/**
 * Files of all logs of a data directory that are open now: opened on demand, shared by their users, the least
 * recently used idle one closed when `openFilesMax` is reached. So 10,000 partitions live within the process's
 * descriptors, and a file that is read again and again is opened once.
 * Invariants: one handle per path; a handle is closed only while nobody uses it; where all handles are in use,
 * further users wait.
 */
export class OpenFiles {
  readonly #disk: Disk
  readonly #openFilesMax: number
  /** In the order of last use: a Map remembers insertion, and each use inserts anew. */
  readonly #entries = new Map<string, Entry>()
  readonly #waiting: (() => void)[] = []

  constructor(options: { disk: Disk; openFilesMax: number }) {
    this.#disk = options.disk
    this.#openFilesMax = options.openFilesMax
  }

  get openCount(): number {
    return this.#entries.size
  }

  /** Lends the open file to `work`. Do not nest: a user that waits for a second file may starve all. */
  async use<Result>(path: string, work: (file: DiskFile) => Promise<Result>): Promise<Result> {
    const entry = await this.#acquire(path)
    try {
      return await work(await entry.file)
    } finally {
      this.#release(entry)
    }
  }

  /** Closes the file as soon as its present users are done; the next `use` opens the path anew. */
  forget(path: string): void {
    const entry = this.#entries.get(path)
    if (!entry) return
    this.#entries.delete(path)
    entry.forgotten = true
    if (entry.users === 0) closeQuietly(entry)
    this.#wakeOne()
  }

  /** Closes everything that is idle. */
  async close(): Promise<void> {
    const entries = [...this.#entries.values()]
    this.#entries.clear()
    for (const entry of entries) entry.forgotten = true
    await Promise.all(entries.filter(entry => entry.users === 0).map(closeQuietly))
  }

  async #acquire(path: string): Promise<Entry> {
    for (;;) {
      const found = this.#entries.get(path)
      if (found) {
        this.#entries.delete(path)
        this.#entries.set(path, found)
        found.users++
        return found
      }
      if (this.#entries.size < this.#openFilesMax || this.#evictOne()) return this.#open(path)
      await new Promise<void>(resolve => this.#waiting.push(resolve))
    }
  }

  #open(path: string): Entry {
    const entry: Entry = { path, users: 1, forgotten: false, file: this.#disk.open(path, 'write') }
    this.#entries.set(path, entry)
    // A file that could not be opened must not stay: the next user tries again.
    entry.file.catch(() => {
      if (this.#entries.get(path) === entry) this.#entries.delete(path)
      this.#wakeOne()
    })
    return entry
  }

  #release(entry: Entry): void {
    entry.users--
    if (entry.users > 0) return
    if (entry.forgotten) closeQuietly(entry)
    this.#wakeOne()
  }

  #evictOne(): boolean {
    for (const entry of this.#entries.values()) {
      if (entry.users > 0) continue
      this.#entries.delete(entry.path)
      closeQuietly(entry)
      return true
    }
    return false
  }

  #wakeOne(): void {
    this.#waiting.shift()?.()
  }
}

interface Entry {
  readonly path: string
  readonly file: Promise<DiskFile>
  users: number
  forgotten: boolean
}

/** A close tells nothing that a sync has not told before, and what was never synced was never acknowledged. */
async function closeQuietly(entry: Entry): Promise<void> {
  try {
    await (await entry.file).close()
  } catch {
    // See above: there is nobody whom this failure would concern.
  }
}
