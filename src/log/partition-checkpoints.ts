import type { Offset, PartitionId } from '../base/brands.ts'
import type { Disk } from '../ports/disk.ts'
import type { CheckpointFile } from './checkpoint-file.ts'
import { type OffsetEntry, offsetCheckpoint } from './offset-checkpoint.ts'

export interface PartitionOffsets {
  readonly topic: string
  readonly partition: PartitionId
  recoveryPoint: Offset
  highWatermark: Offset
  logStartOffset: Offset
}

/**
 * The offsets that a data directory remembers of its partitions, in its three checkpoint files. A partition named
 * here was in use: if its directory is gone, records are lost (rule A1).
 * Each write is durable before it resolves; writes that wait share the newest content.
 */
export class PartitionCheckpoints {
  readonly #entries = new Map<string, PartitionOffsets>()
  /** Being added: not to be named by the recovery points yet. */
  readonly #unnamed = new Set<string>()
  /** No partitions (any more), but perhaps in the files with offsets still. */
  readonly #stale = new Set<string>()
  readonly #recoveryPoint: CheckpointFile<OffsetEntry>
  readonly #highWatermark: CheckpointFile<OffsetEntry>
  readonly #logStartOffset: CheckpointFile<OffsetEntry>

  constructor(options: { disk: Disk; dataDirectory: string }) {
    const { disk, dataDirectory } = options
    this.#recoveryPoint = offsetCheckpoint(disk, dataDirectory, 'recovery-point')
    this.#highWatermark = offsetCheckpoint(disk, dataDirectory, 'high-watermark')
    this.#logStartOffset = offsetCheckpoint(disk, dataDirectory, 'log-start-offset')
  }

  /** A damaged file is an error: an empty list would be taken for the truth. */
  async load(nameOf: (entry: OffsetEntry) => string): Promise<void> {
    for (const entry of (await this.#recoveryPoint.read()) ?? []) {
      const { topic, partition, offset } = entry
      this.#entries.set(nameOf(entry), {
        topic,
        partition,
        recoveryPoint: offset,
        highWatermark: 0,
        logStartOffset: 0,
      })
    }
    // A crash may have come between the writes of the three: what the first does not name was never in use.
    for (const entry of (await this.#highWatermark.read()) ?? []) {
      const known = this.#entries.get(nameOf(entry))
      if (known) known.highWatermark = entry.offset
      else this.#stale.add(nameOf(entry))
    }
    for (const entry of (await this.#logStartOffset.read()) ?? []) {
      const known = this.#entries.get(nameOf(entry))
      if (known) known.logStartOffset = entry.offset
      else this.#stale.add(nameOf(entry))
    }
  }

  get(name: string): PartitionOffsets | undefined {
    return this.#entries.get(name)
  }

  /**
   * A partition is in use from now on, durably. The recovery points, which say so, come last: the other two files may
   * still hold offsets of an earlier topic under this name, which must not come to count with it. Where they do not, and
   * there is nothing for them to say (what they do not name is 0), they can wait.
   */
  async add(name: string, offsets: PartitionOffsets): Promise<void> {
    this.#entries.set(name, offsets)
    if (this.#stale.has(name) || offsets.logStartOffset > 0 || offsets.highWatermark > 0) {
      this.#unnamed.add(name)
      await Promise.all([this.#writeLogStarts(), this.#writeHighWatermarks()])
      this.#unnamed.delete(name)
    }
    await this.#writeRecoveryPoints()
  }

  /** Before bytes of a log go: the files claim at most what stays. */
  async lower(
    name: string,
    log: Pick<PartitionOffsets, 'recoveryPoint' | 'highWatermark' | 'logStartOffset'>,
  ): Promise<void> {
    const known = this.#entries.get(name)
    if (!known) return
    const { recoveryPoint, highWatermark, logStartOffset } = log
    const pointFalls = recoveryPoint < known.recoveryPoint
    const highWatermarkFalls = highWatermark < known.highWatermark
    known.recoveryPoint = Math.min(known.recoveryPoint, recoveryPoint)
    known.highWatermark = Math.min(known.highWatermark, highWatermark)
    known.logStartOffset = logStartOffset
    if (pointFalls) await this.#writeRecoveryPoints()
    // After an unclean election others come there, and are not committed because what was there before was.
    if (highWatermarkFalls) await this.#writeHighWatermarks()
    // Also if it is known already: an earlier write of it may have failed.
    await this.#writeLogStarts()
  }

  delete(name: string): void {
    this.#entries.delete(name)
    this.#unnamed.delete(name)
    this.#stale.add(name)
  }

  async writeAll(): Promise<void> {
    const stale = [...this.#stale]
    await this.#writeRecoveryPoints()
    await this.#writeLogStarts()
    await this.#writeHighWatermarks()
    for (const name of stale) this.#stale.delete(name)
  }

  #writeRecoveryPoints(): Promise<void> {
    return this.#recoveryPoint.write(() =>
      this.#list(
        entry => entry.recoveryPoint,
        name => !this.#unnamed.has(name),
      ),
    )
  }

  #writeLogStarts(): Promise<void> {
    return this.#logStartOffset.write(() => this.#list(entry => entry.logStartOffset))
  }

  #writeHighWatermarks(): Promise<void> {
    return this.#highWatermark.write(() => this.#list(entry => entry.highWatermark))
  }

  #list(offsetOf: (entry: PartitionOffsets) => Offset, isListed: (name: string) => boolean = () => true) {
    const list: OffsetEntry[] = []
    for (const [name, entry] of this.#entries) {
      const { topic, partition } = entry
      if (isListed(name)) list.push({ topic, partition, offset: offsetOf(entry) })
    }
    return list
  }
}
