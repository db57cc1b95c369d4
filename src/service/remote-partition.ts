import type { Epoch, Offset, PartitionId } from '../base/brands.ts'
import type { NaruError } from '../base/errors.ts'
import type { LogSlice } from '../log/log-tail.ts'
import { baseOffsetAt, lastOffsetAt } from '../records/batch-header.ts'
import type { PartitionRecords, PartitionStatus } from '../wire/messages.ts'
import type { PartitionSource } from './partition-source.ts'

export interface RemotePartitionOptions {
  readonly topic: string
  readonly partition: PartitionId
  readonly status: PartitionStatus
  /** So many bytes are taken, or not wanted. */
  readonly onTaken: (bytes: number) => void
  /** Nothing of what was to come is wanted: go on at this offset. */
  readonly onSeek: (from: Offset) => void
  readonly onRelease: () => void
  /** Nothing comes before something that waits, of any partition, is taken. */
  readonly isStarved: () => boolean
}

/**
 * A partition that another node leads, as its stream tells: batches that came wait here, in order, until they are read.
 * The reader's position is the truth: where it is not what waits here, the stream is sent back (or on) to it.
 */
export class RemotePartition implements PartitionSource {
  readonly topic: string
  readonly partition: PartitionId
  readonly leaderEpoch: Epoch
  readonly #options: RemotePartitionOptions
  readonly #followers = new Set<() => void>()
  #highWatermark: Offset
  #logStartOffset: Offset
  #ended: NaruError | undefined
  /** Single batches. */
  #batches: Buffer[] = []
  #startOffset: Offset
  /** Behind the last that waits. */
  #endOffset: Offset

  constructor(options: RemotePartitionOptions) {
    const { status } = options
    this.#options = options
    this.topic = options.topic
    this.partition = options.partition
    this.leaderEpoch = status.leaderEpoch
    this.#highWatermark = status.highWatermark
    this.#logStartOffset = status.logStartOffset
    this.#startOffset = status.nextOffset
    this.#endOffset = status.nextOffset
  }

  get highWatermark(): Offset {
    return this.#highWatermark
  }

  get logStartOffset(): Offset {
    return this.#logStartOffset
  }

  get ended(): NaruError | undefined {
    return this.#ended
  }

  follow(callback: () => void): () => void {
    this.#followers.add(callback)
    return () => this.#followers.delete(callback)
  }

  /** Synchronous: what waits. */
  read({ from, maxBytes }: { from: Offset; maxBytes: number }): LogSlice {
    if (this.#ended !== undefined) throw this.#ended
    this.#dropBelow(from)
    if (from < this.#startOffset || from > this.#endOffset) this.#seek(from)
    let count = 0
    let sizeBytes = 0
    for (const batch of this.#batches) {
      if (count > 0 && sizeBytes + batch.length > maxBytes) break
      count++
      sizeBytes += batch.length
    }
    const buffers = this.#batches.splice(0, count)
    const rest = this.#batches[0]
    if (count > 0) this.#startOffset = rest === undefined ? this.#endOffset : baseOffsetAt(rest, 0)
    for (const { length } of buffers) this.#options.onTaken(length)
    return { baseOffset: from, nextOffset: count > 0 ? this.#startOffset : from, sizeBytes, buffers }
  }

  whenArrived(): Promise<void> {
    return new Promise(resolve => {
      const settle = () => {
        const isIdle = this.#endOffset >= this.#highWatermark || this.#ended !== undefined
        if (this.#batches.length === 0 && !isIdle && !this.#options.isStarved()) return
        stop()
        resolve()
      }
      const stop = this.follow(settle)
      settle()
    })
  }

  /** There may be something new to know. */
  wake(): void {
    for (const callback of [...this.#followers]) callback()
  }

  release(): void {
    this.#forget()
    this.#followers.clear()
    if (this.#ended === undefined) this.#options.onRelease()
  }

  /** What its stream brings, from here on. */
  onRecords(records: PartitionRecords): void {
    for (const batch of records.batches) this.#batches.push(batch)
    this.#endOffset = records.nextOffset
    this.onStatus(records)
  }

  onStatus(status: Pick<PartitionStatus, 'highWatermark' | 'logStartOffset'>): void {
    this.#highWatermark = Math.max(this.#highWatermark, status.highWatermark)
    this.#logStartOffset = Math.max(this.#logStartOffset, status.logStartOffset)
    this.wake()
  }

  onSkipped(to: Offset): void {
    if (this.#batches.length === 0) this.#startOffset = to
    this.#endOffset = to
    this.#logStartOffset = Math.max(this.#logStartOffset, to)
    this.wake()
  }

  end(error: NaruError): void {
    if (this.#ended !== undefined) return
    this.#ended = error
    this.#forget()
    this.wake()
  }

  #dropBelow(from: Offset): void {
    for (;;) {
      const first = this.#batches[0]
      if (first === undefined || lastOffsetAt(first, 0) >= from) return
      this.#batches.shift()
      this.#options.onTaken(first.length)
      const rest = this.#batches[0]
      this.#startOffset = rest === undefined ? this.#endOffset : baseOffsetAt(rest, 0)
    }
  }

  #seek(from: Offset): void {
    this.#forget()
    this.#startOffset = from
    this.#endOffset = from
    this.#options.onSeek(from)
  }

  #forget(): void {
    for (const { length } of this.#batches) this.#options.onTaken(length)
    this.#batches = []
  }
}
