import { assert } from '../../src/base/assert.ts'
import { DiskError, type DiskErrorCode } from '../../src/ports/disk.ts'
import type { EventScheduler } from './event-scheduler.ts'
import type { SeededPrng } from './seeded-prng.ts'
import { SIM_WALL_START_MS } from './sim-clock.ts'
import { SimDisk } from './sim-disk.ts'
import { type SimFileNode, SimNames } from './sim-disk-names.ts'
import { never, type SimIncarnation } from './sim-incarnation.ts'

export type DiskOperationKind =
  | 'open'
  | 'append'
  | 'rewrite'
  | 'read'
  | 'sync'
  | 'truncate'
  | 'close'
  | 'list'
  | 'stat'
  | 'makeDirectory'
  | 'rename'
  | 'remove'
  | 'removeDirectory'
  | 'syncDirectory'
  | 'space'

export interface DiskOperation {
  readonly kind: DiskOperationKind
  readonly path: string
}

/** What an operation does to the image. */
export interface DiskEffect<T> {
  readonly apply: () => T
  /** What is left of it when its process is killed midway. None: it happens wholly or not at all. */
  readonly applyPart?: (prng: SeededPrng) => void
  /** What it has done when it ends with an error. None: the same as `applyPart`. */
  readonly applyFailed?: (prng: SeededPrng) => void
}

export interface SimDiskOptions {
  readonly scheduler: EventScheduler
  readonly prng: SeededPrng
  readonly capacityBytes?: number
}

interface Range {
  readonly min: number
  readonly max: number
}

/**
 * The disk of one simulated machine. It outlives processes: `mount` gives the Disk port to one incarnation at
 * a time. Three ways to hurt it:
 * - killing the incarnation: what it had asked for and not yet got may happen wholly, partly or not at all;
 *   everything else stays, synced or not (the page cache outlives a process);
 * - `powerCut`: kills, and of what was not synced any part may be missing, sector by sector, name by name;
 * - faults: errors by hook or by probability, ENOSPC by capacity, `stall`, latency, flipped bits, cut files.
 */
export class SimDiskImage {
  readonly names = new SimNames()
  capacityBytes: number
  /** Virtual time an operation takes, drawn evenly; may be changed at any time. */
  latencyMs: Range = { min: 0.01, max: 0.2 }
  syncLatencyMs: Range = { min: 0.2, max: 2 }
  /** Chances of EIO. */
  writeErrorProbability = 0
  syncErrorProbability = 0
  readErrorProbability = 0
  /** Asked before each operation; an answer makes it fail with that code. */
  onOperation: ((operation: DiskOperation) => DiskErrorCode | undefined) | undefined
  readonly #scheduler: EventScheduler
  readonly #prng: SeededPrng
  readonly #inFlight = new Set<DiskEffect<unknown>>()
  #mounted: SimIncarnation | undefined
  #changes = 0
  #crashAt: { change: number; onCrash: () => void } | undefined
  #stalled: (() => void)[] | undefined

  constructor(options: SimDiskOptions) {
    this.#scheduler = options.scheduler
    this.#prng = options.prng
    this.capacityBytes = options.capacityBytes ?? Number.POSITIVE_INFINITY
  }

  /** Operations so far that could change the disk: the points at which a crash can leave different states. */
  get changes(): number {
    return this.#changes
  }

  get usedBytes(): number {
    let sum = 0
    for (const file of this.names.files()) sum += file.content.sizeBytes
    return sum
  }

  get wallMs(): number {
    return Math.floor(SIM_WALL_START_MS + this.#scheduler.nowMs)
  }

  mount(incarnation: SimIncarnation): SimDisk {
    assert(!this.#mounted?.isAlive, `the disk of ${incarnation.name} is still mounted by a living process`)
    this.#mounted = incarnation
    incarnation.onKill(() => this.#settleInFlight())
    return new SimDisk(this, incarnation)
  }

  /** Cuts the power in the middle of the change with this number (counted by `changes`, from 1). */
  crashAtChange(change: number, onCrash: () => void = () => {}): void {
    this.#crashAt = { change, onCrash }
  }

  powerCut(): void {
    this.#mounted?.kill()
    this.#settleInFlight()
    this.#stalled = undefined
    this.#crashAt = undefined
    this.names.crash(this.#prng)
  }

  /** Another, empty disk in its place; the process must be gone. */
  wipe(): void {
    assert(!this.#mounted?.isAlive, 'a disk is taken out of a machine that is off')
    this.names.wipe()
  }

  /** A directory is gone with all that is in it, durably and behind everybody's back. */
  loseDirectory(path: string): void {
    const { directory, name } = this.names.parent(path, 'lose')
    this.names.remove(directory, name)
    this.names.sync(directory)
  }

  /** Nothing completes until `unstall`: a disk that hangs. */
  stall(): void {
    this.#stalled ??= []
  }

  unstall(): void {
    const waiting = this.#stalled ?? []
    this.#stalled = undefined
    for (const complete of waiting) complete()
  }

  flipBit(path: string, position: number, bit = 0): void {
    this.#file(path).content.flipBit(position, bit)
  }

  /** Cuts a file short behind everybody's back, durably. */
  cutFile(path: string, sizeBytes: number): void {
    const { content } = this.#file(path)
    content.truncate(sizeBytes)
    content.sync()
  }

  /** What a lookup sees now. */
  readFile(path: string): Buffer {
    const { content } = this.#file(path)
    return content.read(0, content.sizeBytes)
  }

  /** Runs one operation for an incarnation; the promise settles through it, or never if it is dead by then. */
  run<T>(incarnation: SimIncarnation, operation: DiskOperation, effect: DiskEffect<T>): Promise<T> {
    if (!incarnation.isAlive) return never()
    const error = this.#fault(operation)
    const outcome: DiskEffect<T> = error
      ? {
          apply: () => {
            const applyFailed = effect.applyFailed ?? effect.applyPart
            applyFailed?.(this.#prng)
            throw new DiskError(error, operation.path, operation.kind)
          },
        }
      : effect
    this.#inFlight.add(outcome)
    if (this.#isCrashPoint(operation)) return never()
    return new Promise((resolve, reject) => {
      const complete = () => {
        if (this.#stalled) this.#stalled.push(complete)
        else if (this.#inFlight.delete(outcome)) this.#finish(incarnation, outcome, resolve, reject)
      }
      this.#scheduler.schedule(this.#latency(operation), complete, {
        label: `${incarnation.name} ${operation.kind} ${operation.path}`,
      })
    })
  }

  #finish<T>(
    incarnation: SimIncarnation,
    effect: DiskEffect<T>,
    resolve: (value: T) => void,
    reject: (error: unknown) => void,
  ): void {
    const answer = (settle: () => void) => incarnation.schedule(0, settle, { label: 'disk' })
    try {
      const value = effect.apply()
      answer(() => resolve(value))
    } catch (error) {
      answer(() => reject(error))
    }
  }

  #isCrashPoint(operation: DiskOperation): boolean {
    if (!CHANGING.has(operation.kind)) return false
    this.#changes++
    if (this.#crashAt?.change !== this.#changes) return false
    const { onCrash } = this.#crashAt
    this.#crashAt = undefined
    this.powerCut()
    onCrash()
    return true
  }

  #settleInFlight(): void {
    for (const effect of this.#inFlight) {
      const outcome = this.#prng.pick(['none', 'part', 'all'] as const)
      try {
        if (outcome === 'all') effect.apply()
        else if (outcome === 'part') effect.applyPart?.(this.#prng)
      } catch (error) {
        // The process that would have been told is gone.
        if (!(error instanceof DiskError)) throw error
      }
    }
    this.#inFlight.clear()
  }

  #fault(operation: DiskOperation): DiskErrorCode | undefined {
    const asked = this.onOperation?.(operation)
    if (asked) return asked
    const probability =
      operation.kind === 'append' || operation.kind === 'rewrite' || operation.kind === 'truncate'
        ? this.writeErrorProbability
        : operation.kind === 'sync' || operation.kind === 'syncDirectory'
          ? this.syncErrorProbability
          : operation.kind === 'read'
            ? this.readErrorProbability
            : 0
    return probability > 0 && this.#prng.chance(probability) ? 'EIO' : undefined
  }

  #latency(operation: DiskOperation): number {
    const isSync = operation.kind === 'sync' || operation.kind === 'syncDirectory'
    const { min, max } = isSync ? this.syncLatencyMs : this.latencyMs
    return min + this.#prng.fraction() * (max - min)
  }

  #file(path: string): SimFileNode {
    const node = this.names.find(path)
    if (node?.kind !== 'file') throw new DiskError('ENOENT', path, 'find')
    return node
  }
}

const CHANGING: ReadonlySet<DiskOperationKind> = new Set([
  'open',
  'append',
  'rewrite',
  'sync',
  'truncate',
  'makeDirectory',
  'rename',
  'remove',
  'removeDirectory',
  'syncDirectory',
])
