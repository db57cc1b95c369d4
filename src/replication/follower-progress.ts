import type { Epoch, NodeId, Offset, Uuid } from '../base/brands.ts'
import type { FollowNumber } from './follow.ts'
import type { ReplicaIdentity } from './partition-metadata.ts'

/**
 * The connection over which a follower's process speaks, opened under this identity (C1). Made and kept by the driver,
 * one for all partitions; a process that connects again gets a new one.
 */
export interface FollowerSession extends ReplicaIdentity {
  /** When anything last came from it. One heartbeat vouches for all partitions that are followed over it. */
  readonly heardMs: number
}

/**
 * What the leader knows of one follower in its epoch. A new `Follow` erases it (C2), except for two things: since when
 * the follower has not caught up, and what its directory acknowledged (rule B2's mark), for as long as that is what it was
 * let into the ISR for: once it follows while it is not in it, it may have less.
 *
 *   silent -> following (an accepted Follow) -> silent (its session broke, or a Follow was not accepted)
 */
export class FollowerProgress {
  readonly nodeId: NodeId
  /** Of metadata since which it is surely this replica. By older ones it speaks, perhaps, for one that was removed meanwhile. */
  addedEpoch: Epoch
  /** The leader's log end was acknowledged as of then (C9). */
  caughtUpMs: number
  /** Since when its session is gone; undefined while it has one, and before it ever had one. */
  brokenMs: number | undefined
  /** A `Follow` of it was accepted in this epoch. */
  hasFollowed = false
  /** It has less than it acknowledged, until it follows as one that is not in the ISR. */
  isDamaged = false
  /** It takes nothing, until it follows again. */
  isFull = false
  #following: Following | undefined
  #last: { readonly nodeEpoch: Epoch; readonly number: FollowNumber } | undefined
  #mark: { readonly directoryId: Uuid; readonly endOffset: Offset } | undefined

  constructor(nodeId: NodeId, addedEpoch: Epoch, nowMs: number) {
    this.nodeId = nodeId
    this.addedEpoch = addedEpoch
    this.caughtUpMs = nowMs
  }

  /** Present while a `Follow` of it stands. */
  get session(): FollowerSession | undefined {
    return this.#following?.session
  }

  get nodeEpoch(): Epoch | undefined {
    return this.#following?.session.nodeEpoch
  }

  get number(): FollowNumber | undefined {
    return this.#following?.number
  }

  /** What is on the follower's disk, as acknowledged under the present `Follow`; undefined: nothing yet. */
  get acknowledged(): Offset | undefined {
    return this.#following?.acknowledged
  }

  /** The same under any `Follow` of this directory in this epoch, since the last one that came from outside the ISR. */
  markOf(directoryId: Uuid): Offset {
    return this.#mark?.directoryId === directoryId ? this.#mark.endOffset : 0
  }

  /** A new `Follow` has come, and what was known under the one before is forgotten. False: a later one came before. */
  renews({ nodeEpoch }: FollowerSession, number: FollowNumber): boolean {
    const last = this.#last
    if (last && (last.nodeEpoch > nodeEpoch || (last.nodeEpoch === nodeEpoch && last.number >= number)))
      return false
    this.#last = { nodeEpoch, number }
    this.forget()
    return true
  }

  follow(session: FollowerSession, number: FollowNumber): void {
    this.#following = { session, number, acknowledged: undefined }
    this.brokenMs = undefined
    this.hasFollowed = true
    this.isDamaged = false
    this.isFull = false
  }

  /** The follower must send a new `Follow`. */
  forget(): void {
    this.#following = undefined
  }

  onBroken(nowMs: number): void {
    this.#following = undefined
    this.brokenMs = nowMs
  }

  /** Acknowledgements of one `Follow` never go back. */
  acknowledge(endOffset: Offset): boolean {
    const following = this.#following
    if (!following || endOffset < (following.acknowledged ?? 0)) return false
    following.acknowledged = endOffset
    return true
  }

  mark(): void {
    const { session, acknowledged = 0 } = this.#following ?? {}
    if (!session || acknowledged <= this.markOf(session.directoryId)) return
    this.#mark = { directoryId: session.directoryId, endOffset: acknowledged }
  }

  clearMark(): void {
    this.#mark = undefined
  }
}

interface Following {
  readonly session: FollowerSession
  readonly number: FollowNumber
  acknowledged: Offset | undefined
}
