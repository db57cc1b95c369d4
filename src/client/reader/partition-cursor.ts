import type { Epoch, NodeId, Offset, PartitionId } from '../../base/brands.ts'
import type { ReaderPartition } from './types.ts'

/**
 * Where a reader is in one partition. Two positions: `fetchOffset` is behind the last record received (a broken
 * stream resumes there: no gap, no repeat), `nextOffset` behind the last one given out. Neither goes back.
 */
export class PartitionCursor {
  readonly topic: string
  readonly topicId: string
  readonly partition: PartitionId
  /** As last known. */
  leaderId: NodeId | undefined
  /** Undefined until the start is found. */
  fetchOffset: Offset | undefined
  /** Exclusive; undefined: never stops. */
  stopOffset: Offset | undefined
  /** Start and stop are offsets. */
  isResolved = false
  highWatermark: Offset | undefined
  logStartOffset: Offset | undefined
  leaderEpoch: Epoch | undefined
  /** Nothing more will be received. */
  isDone = false
  /** Since when only errors have come, by the monotonic clock. */
  failingSinceMs: number | undefined
  #nextOffset: Offset | undefined

  constructor(of: { topic: string; topicId: string; partition: PartitionId }) {
    this.topic = of.topic
    this.topicId = of.topicId
    this.partition = of.partition
  }

  get nextOffset(): Offset | undefined {
    return this.#nextOffset ?? this.fetchOffset
  }

  /** Its stop lies before what comes next. */
  get reachedStop(): boolean {
    return (
      this.stopOffset !== undefined && this.fetchOffset !== undefined && this.fetchOffset >= this.stopOffset
    )
  }

  resolve(of: { start: Offset; stop: Offset | undefined }): void {
    this.fetchOffset = of.start
    this.#nextOffset ??= of.start
    this.stopOffset = of.stop
    this.isResolved = true
    if (this.reachedStop) this.isDone = true
  }

  /** The stream tells something of the partition: it is well. */
  onProgress(of: { highWatermark: Offset; logStartOffset: Offset; leaderEpoch: Epoch }): void {
    this.failingSinceMs = undefined
    this.highWatermark = of.highWatermark
    this.logStartOffset = of.logStartOffset
    this.leaderEpoch = of.leaderEpoch
  }

  received(nextOffset: Offset): void {
    if (this.fetchOffset === undefined || nextOffset > this.fetchOffset) this.fetchOffset = nextOffset
  }

  gaveOut(nextOffset: Offset): void {
    if (this.#nextOffset === undefined || nextOffset > this.#nextOffset) this.#nextOffset = nextOffset
  }

  describe(): ReaderPartition {
    const { partition, nextOffset, highWatermark, logStartOffset } = this
    const lag =
      nextOffset === undefined || highWatermark === undefined
        ? undefined
        : Math.max(0, highWatermark - nextOffset)
    const ended = this.isDone && nextOffset === this.fetchOffset
    return { partition, nextOffset, highWatermark, logStartOffset, lag, ended }
  }
}
