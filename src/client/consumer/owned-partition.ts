import type { Epoch, Offset, PartitionId } from '../../base/brands.ts'
import type { AssignedPartition } from '../../wire/messages.ts'
import type { PartitionCursor } from '../reader/partition-cursor.ts'
import type { OffsetOf } from './offset-commits.ts'
import type { ConsumerPartition } from './types.ts'

/** How far somebody has got: an offset, and the epoch of the leader that the record before it came from. */
export interface Place {
  readonly nextOffset: Offset
  readonly leaderEpoch: Epoch | undefined
}

/**
 * A partition while it is this member's. What was received before `generation` rose must not be given out any more.
 * Invariant: done <= given <= position, unless a seek or a commit by hand says otherwise.
 */
export class OwnedPartition {
  readonly topic: string
  readonly topicId: string
  readonly partition: PartitionId
  /** Undefined: it is not read now. */
  cursor: PartitionCursor | undefined
  generation = 0
  /** Rises with each seek, and each cut: what was given out before does not count as progress any more, or not whole. */
  seekCount = 0
  /** Where reading goes on. */
  position: Offset
  /** Behind what was given out. */
  given: Place
  /** Behind what may be committed. */
  done: Place
  committed: Offset
  isPaused = false
  isRevoking = false
  /** It may be read: whoever had to be told of it was. */
  isBegun = false
  /** It is another member's, or may be. */
  isGone = false
  /** Where the log ended when its end was given up last, and the seek count of what was given out before. */
  #cutOff: { readonly place: Place; readonly seekCount: number } | undefined

  constructor({ topic, topicId, partition, nextOffset }: AssignedPartition) {
    this.topic = topic
    this.topicId = topicId
    this.partition = partition
    this.position = nextOffset
    this.committed = nextOffset
    this.given = this.done = { nextOffset, leaderEpoch: undefined }
  }

  get key(): string {
    return ownedKey(this)
  }

  get mayBeRead(): boolean {
    return this.isBegun && !this.isPaused && !this.isRevoking && !this.isGone
  }

  /** Where the group may go on by now, if that is not committed. `hasRest`: more is about to be given out. */
  pending(hasRest: boolean): (OffsetOf & Place) | undefined {
    if (this.done === this.given && !hasRest && !this.isRevoking) this.#passOver()
    return this.done.nextOffset === this.committed ? undefined : this.at(this.done)
  }

  at(place: Place): OffsetOf & Place {
    const { topic, topicId, partition } = this
    return { topic, topicId, partition, ...place }
  }

  /** The records up to `end` are done, given out when the seek count was that. */
  finish(end: Place, seekCount: number): void {
    if (seekCount === this.seekCount) this.done = end
    else if (seekCount === this.#cutOff?.seekCount) this.done = earlier(end, this.#cutOff.place)
  }

  seek(offset: Offset): void {
    this.seekCount++
    this.#cutOff = undefined
    this.position = offset
    this.given = this.done = { nextOffset: offset, leaderEpoch: undefined }
  }

  /** Its log ends at `endOffset` now: what was given out behind that is there no more, and counts up to there. */
  cutOff(endOffset: Offset): void {
    const place = { nextOffset: endOffset, leaderEpoch: undefined }
    if (this.given.nextOffset > endOffset) {
      this.#cutOff = { place, seekCount: this.seekCount }
      this.seekCount++
    }
    this.given = earlier(this.given, place)
    this.done = earlier(this.done, place)
    // What was received and not given out is read again.
    this.position = this.given.nextOffset
  }

  /**
   * Where nothing is in hand, nor about to be, what was passed over is done as well: a cleaner leaves gaps, retention removes
   * what was never read.
   */
  #passOver(): void {
    const passed = this.cursor?.nextOffset ?? 0
    if (passed <= this.done.nextOffset) return
    this.given = this.done = { ...this.done, nextOffset: passed }
    this.position = Math.max(this.position, passed)
  }

  describe(): ConsumerPartition {
    const { topic, partition, isPaused, isRevoking, cursor } = this
    const { nextOffset } = this.given
    const highWatermark = cursor?.highWatermark
    return {
      topic,
      partition,
      nextOffset,
      committedOffset: this.committed,
      highWatermark,
      lag: highWatermark === undefined ? undefined : Math.max(0, highWatermark - nextOffset),
      isPaused,
      isRevoking,
    }
  }
}

function earlier(one: Place, other: Place): Place {
  return one.nextOffset <= other.nextOffset ? one : other
}

/** Names of topics have no slash. */
export function ownedKey({ topic, partition }: { topic: string; partition: PartitionId }): string {
  return `${topic}/${partition}`
}
