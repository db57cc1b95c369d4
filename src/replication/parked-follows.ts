import type { Epoch, NodeId } from '../base/brands.ts'
import type { Follow } from './follow.ts'
import type { FollowerSession } from './follower-progress.ts'

/** Until the metadata that the follower has already seen come here, too (C2). */
const PARKED_MAX_MS = 1_000

export interface ParkedFollow<Session> {
  readonly follow: Follow
  readonly session: Session
}

/**
 * `Follow`s of a leader epoch that this node does not know yet. One for each node: a later one takes its place.
 */
export class ParkedFollows<Session extends FollowerSession> {
  readonly #parked = new Map<NodeId, ParkedFollow<Session> & { readonly untilMs: number }>()

  get isEmpty(): boolean {
    return this.#parked.size === 0
  }

  park(parked: ParkedFollow<Session>, nowMs: number): void {
    this.#parked.set(parked.session.nodeId, { ...parked, untilMs: nowMs + PARKED_MAX_MS })
  }

  /** Those of `leaderEpoch` or older: they can be answered now. */
  due(leaderEpoch: Epoch): ParkedFollow<Session>[] {
    return this.#take(({ follow }) => follow.leaderEpoch <= leaderEpoch)
  }

  /** Those that waited long enough: NOT_LEADER. */
  expired(nowMs: number): ParkedFollow<Session>[] {
    return this.#take(({ untilMs }) => untilMs <= nowMs)
  }

  onSessionBroken(session: Session): void {
    if (this.#parked.get(session.nodeId)?.session === session) this.#parked.delete(session.nodeId)
  }

  #take(
    isTaken: (parked: ParkedFollow<Session> & { readonly untilMs: number }) => boolean,
  ): ParkedFollow<Session>[] {
    const taken = [...this.#parked.values()].filter(isTaken)
    for (const { session } of taken) this.#parked.delete(session.nodeId)
    return taken
  }
}
