import type { NodeId, Offset } from '../../base/brands.ts'
import { NaruError } from '../../base/errors.ts'
import type { LogSlice } from '../../log/log-tail.ts'
import type { PartitionLog } from '../../log/partition-log.ts'
import type { FollowNumber, FollowRefusal } from '../../replication/follow.ts'
import type { MessageInit } from '../../wire/codec.ts'
import type { PartitionData } from '../../wire/generated/replication.ts'
import type { MovePace } from './move-pace.ts'
import type { ReplicationLimits } from './replication-options.ts'

export interface PartitionSenderOptions {
  readonly number: FollowNumber
  readonly follower: NodeId
  readonly from: Offset
  readonly log: PartitionLog
  readonly isLive: boolean
  readonly limits: ReplicationLimits
  readonly pace: MovePace
  /** Bytes per second; undefined: this copying is not held back. */
  readonly throttle: () => number | undefined
  /** There is something to take now. */
  readonly onReady: (sender: PartitionSender) => void
  /** It cannot go on: the follower must follow anew. */
  readonly onBlocked: (sender: PartitionSender, reason: FollowRefusal) => void
}

/** One read of a throttled copy; one batch may be larger. */
const THROTTLED_BYTES_MIN = 16 * 1024

/**
 * What one follower still has to get of one partition, under one `Follow`: where it goes on, what is on its way. Data
 * come from the log's memory without a copy; on the catch-up lane also from its files, one read at a time.
 * Invariant: what was taken and is not acknowledged is at most a window (and one batch).
 */
export class PartitionSender {
  readonly number: FollowNumber
  readonly follower: NodeId
  readonly #options: PartitionSenderOptions
  readonly #log: PartitionLog
  #nextOffset: Offset
  #unacknowledged: { readonly endOffset: Offset; readonly sizeBytes: number }[] = []
  #unacknowledgedBytes = 0
  #sentHighWatermark: Offset = -1
  #sentLogStartOffset: Offset = -1
  #read: LogSlice | undefined
  #isReading = false
  #isOver = false
  /** As told to the follower; undefined: nothing told yet, or the log was never compacted. */
  #toldRemovals: number | undefined

  constructor(options: PartitionSenderOptions) {
    this.#options = options
    this.number = options.number
    this.follower = options.follower
    this.#log = options.log
    this.#nextOffset = options.from
  }

  get unacknowledgedBytes(): number {
    return this.#unacknowledgedBytes
  }

  /** More records are there than were taken, and the window has room for them. */
  get hasMore(): boolean {
    return !this.#isOver && !this.#isReading && this.#hasWindow && this.#nextOffset < this.#log.logEndOffset
  }

  /** Everything below is on its way to the follower. */
  get nextOffset(): Offset {
    return this.#nextOffset
  }

  get hasNewEnds(): boolean {
    const { highWatermark, logStartOffset } = this.#log
    return highWatermark !== this.#sentHighWatermark || logStartOffset !== this.#sentLogStartOffset
  }

  end(): void {
    this.#isOver = true
    this.#read = undefined
  }

  /** Returns the bytes that are on their way no more. */
  acknowledge(endOffset: Offset): number {
    let count = 0
    let bytes = 0
    for (const sent of this.#unacknowledged) {
      if (sent.endOffset > endOffset) break
      bytes += sent.sizeBytes
      count++
    }
    this.#unacknowledged.splice(0, count)
    this.#unacknowledgedBytes -= bytes
    return bytes
  }

  /** Records and ends for one frame; undefined where nothing is new. */
  take(): MessageInit<PartitionData> | undefined {
    if (this.#isOver || this.#log.failure) return undefined
    if (this.#hasMissedTombstones) {
      this.#block('AGAIN')
      return undefined
    }
    const slice = this.hasMore ? this.#next() : undefined
    if (this.#isOver) return undefined
    const batches = slice?.buffers ?? []
    if (batches.length === 0 && !this.hasNewEnds) return undefined
    const from = this.#nextOffset
    if (slice && batches.length > 0) {
      this.#nextOffset = slice.nextOffset
      this.#unacknowledged.push({ endOffset: slice.nextOffset, sizeBytes: slice.sizeBytes })
      this.#unacknowledgedBytes += slice.sizeBytes
    }
    const { highWatermark, logStartOffset } = this.#log
    this.#sentHighWatermark = highWatermark
    this.#sentLogStartOffset = logStartOffset
    const data = { number: this.number, from, batches, highWatermark, logStartOffset }
    return this.#toldRemovals === undefined ? { ...data, ...this.#compaction() } : data
  }

  /** What deleted records that the follower may have got was removed before it came to it. */
  get #hasMissedTombstones(): boolean {
    const told = this.#toldRemovals
    const { removals, removedTombstonesEnd } = this.#log
    return told !== undefined && told !== removals && this.#nextOffset < removedTombstonesEnd
  }

  #compaction(): Pick<MessageInit<PartitionData>, 'removals' | 'removedTombstonesEnd'> {
    const { gapsAllowed, removals, removedTombstonesEnd } = this.#log
    if (!gapsAllowed) return {}
    this.#toldRemovals = removals
    return { removals, removedTombstonesEnd }
  }

  get #hasWindow(): boolean {
    return this.#unacknowledgedBytes < this.#options.limits.partitionWindowBytesMax
  }

  /** About a second of what is held back, so that the follower gets something all the time. */
  get #frameBytesMax(): number {
    const { isLive, limits, throttle } = this.#options
    const rate = isLive ? undefined : throttle()
    if (rate === undefined) return limits.partitionFrameBytesMax
    return Math.min(limits.partitionFrameBytesMax, Math.max(rate, THROTTLED_BYTES_MIN))
  }

  #next(): LogSlice | undefined {
    const { isLive } = this.#options
    const from = this.#nextOffset
    if (from < this.#log.logStartOffset) {
      this.#block('AGAIN')
      return undefined
    }
    const range = { from, upTo: this.#log.logEndOffset, maxBytes: this.#frameBytesMax }
    const read = this.#read
    this.#read = undefined
    if (read) return read
    const slice = this.#log.readTail(range)
    // What memory has is for the other lane; what it does not have is for this one.
    if (slice === undefined ? isLive : !isLive) {
      this.#block('OTHER_LANE')
      return undefined
    }
    if (slice === undefined) void this.#readFiles(range)
    return slice
  }

  async #readFiles(range: { from: Offset; upTo: Offset; maxBytes: number }): Promise<void> {
    this.#isReading = true
    try {
      const slice = await this.#log.read(range)
      const { pace, throttle } = this.#options
      await pace.hold(slice.sizeBytes, () => (this.#isOver ? undefined : throttle()))
      if (!this.#isOver && slice.nextOffset > range.from) this.#read = slice
    } catch (thrown) {
      if (!(thrown instanceof NaruError)) throw thrown
      // A damaged log is ended as a whole; anything else is for another try.
      if (!this.#log.failure) this.#block('AGAIN')
    } finally {
      this.#isReading = false
    }
    if (!this.#isOver) this.#options.onReady(this)
  }

  #block(reason: FollowRefusal): void {
    if (this.#isOver) return
    this.#options.onBlocked(this, reason)
  }
}
