import type { SeededPrng } from './seeded-prng.ts'

/** The unit a disk writes at once; also the unit in which unsynced bytes survive a power cut or not. */
export const SECTOR_BYTES = 512

/**
 * The bytes of one simulated file: what the page cache has, and what the platter would have after a power cut.
 * Stored as the current content plus, for each sector written since the last sync, what it held then.
 *
 * Invariants: every byte at or beyond `sizeBytes` of the content is 0; a sector is in `#unsynced` or in
 * `#lost`, never in both.
 */
export class SimFileContent {
  #bytes = Buffer.alloc(0)
  #sizeBytes = 0
  #syncedSizeBytes = 0
  /** Sizes the file had since the last sync: metadata of any of these moments may be what a power cut leaves. */
  #unsyncedSizes: number[] = []
  readonly #unsynced = new Map<number, Buffer>()
  #truncations = 0
  /**
   * Sectors whose sync failed: the kernel calls them clean (reads see them, the next sync "succeeds"), but the
   * platter has the old bytes (the fsync surprise of PostgreSQL, 2018). Writing them again heals them.
   */
  readonly #lost = new Map<number, Buffer>()

  get sizeBytes(): number {
    return this.#sizeBytes
  }

  /** Cuts so far: what was scanned of the bytes before one may be gone after it. */
  get truncations(): number {
    return this.#truncations
  }

  /** How many bytes from the start any power cut from now on would leave as they are. */
  get durableSizeBytes(): number {
    let end = Math.min(this.#sizeBytes, this.#syncedSizeBytes, ...this.#unsyncedSizes)
    for (const [sector, old] of [...this.#unsynced, ...this.#lost]) {
      const start = sector * SECTOR_BYTES
      for (let at = start; at < Math.min(end, start + SECTOR_BYTES); at++)
        if ((old[at - start] ?? 0) !== this.#bytes[at]) end = at
    }
    return end
  }

  get hasUnsynced(): boolean {
    return this.#unsynced.size > 0 || this.#unsyncedSizes.length > 0
  }

  read(position: number, length: number): Buffer {
    const end = Math.min(this.#sizeBytes, position + length)
    return position >= end ? Buffer.alloc(0) : Buffer.from(this.#bytes.subarray(position, end))
  }

  write(position: number, data: Uint8Array): void {
    if (data.length === 0) return
    const end = position + data.length
    this.#reserve(end)
    this.#touch(Math.min(position, this.#sizeBytes), end)
    this.#bytes.set(data, position)
    if (end > this.#sizeBytes) this.#setSize(end)
  }

  truncate(sizeBytes: number): void {
    if (sizeBytes === this.#sizeBytes) return
    this.#truncations++
    this.#reserve(sizeBytes)
    this.#touch(Math.min(sizeBytes, this.#sizeBytes), Math.max(sizeBytes, this.#sizeBytes))
    if (sizeBytes < this.#sizeBytes) this.#bytes.fill(0, sizeBytes, this.#sizeBytes)
    this.#setSize(sizeBytes)
  }

  sync(): void {
    this.#unsynced.clear()
    this.#unsyncedSizes = []
    this.#syncedSizeBytes = this.#sizeBytes
  }

  /** A sync that returned an error: each unsynced sector reached the platter, or is lost for good. */
  failSync(prng: SeededPrng): void {
    for (const [sector, old] of this.#unsynced) if (prng.chance(0.5)) this.#lost.set(sector, old)
    this.sync()
  }

  /** Power is cut: what is on the platter becomes the content. */
  crash(prng: SeededPrng): void {
    this.#truncations++
    const sizes = [this.#syncedSizeBytes, ...this.#unsyncedSizes]
    const index = Math.floor(prng.fraction() * sizes.length)
    const chosen = sizes[index] as number
    const previous = sizes[Math.max(0, index - 1)] as number
    // An append reaches the platter piece by piece; a cut is one step.
    const sizeBytes =
      chosen > previous && prng.chance(0.5)
        ? previous + Math.floor(prng.fraction() * (chosen - previous))
        : chosen
    for (const [sector, old] of this.#unsynced) this.#settle(sector, old, prng)
    for (const [sector, old] of this.#lost) old.copy(this.#bytes, sector * SECTOR_BYTES)
    this.#lost.clear()
    this.#reserve(sizeBytes)
    this.#bytes.fill(0, sizeBytes)
    this.#sizeBytes = sizeBytes
    this.sync()
  }

  /** Rot: one bit of the platter (and the page cache) turns over. */
  flipBit(position: number, bit = 0): void {
    if (position >= this.#sizeBytes) throw new RangeError(`no byte ${position} in ${this.#sizeBytes}`)
    this.#bytes[position] = (this.#bytes[position] as number) ^ (1 << bit)
  }

  #settle(sector: number, old: Buffer, prng: SeededPrng): void {
    const outcome = prng.pick(['old', 'new', 'torn'] as const)
    if (outcome === 'new') return
    const from = outcome === 'old' ? 0 : Math.floor(prng.fraction() * SECTOR_BYTES)
    old.copy(this.#bytes, sector * SECTOR_BYTES + from, from)
  }

  #setSize(sizeBytes: number): void {
    this.#sizeBytes = sizeBytes
    this.#unsyncedSizes.push(sizeBytes)
  }

  #touch(start: number, end: number): void {
    const last = Math.ceil(end / SECTOR_BYTES)
    for (let sector = Math.floor(start / SECTOR_BYTES); sector < last; sector++) {
      if (this.#unsynced.has(sector)) continue
      const at = sector * SECTOR_BYTES
      this.#unsynced.set(
        sector,
        this.#lost.get(sector) ?? Buffer.from(this.#bytes.subarray(at, at + SECTOR_BYTES)),
      )
      this.#lost.delete(sector)
    }
  }

  /** Room for whole sectors up to `end`, zeroed. */
  #reserve(end: number): void {
    const needed = Math.ceil(end / SECTOR_BYTES) * SECTOR_BYTES
    if (needed <= this.#bytes.length) return
    const grown = Buffer.alloc(Math.max(needed, this.#bytes.length * 2))
    this.#bytes.copy(grown)
    this.#bytes = grown
  }
}
