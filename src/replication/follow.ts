import type { Epoch, Offset } from '../base/brands.ts'
import type { EpochEnd } from './log-view.ts'

/**
 * Drawn by the follower's process for each `Follow`, over all its partitions and leaders, rising, never reused (C1):
 * the handle by which all later frames name topic, partition and epoch.
 */
export type FollowNumber = number

/** "Send me what comes after this." Acknowledges nothing (C2). */
export interface Follow {
  readonly number: FollowNumber
  /** In which the follower believes that the other leads. */
  readonly leaderEpoch: Epoch
  /** Of the newest metadata that the follower's replica knows: one that was removed and added again since is another one. */
  readonly partitionEpoch: Epoch
  /** The follower's log end. */
  readonly fetchOffset: Offset
  /** Epoch of the follower's last record; undefined: it never had one. */
  readonly lastFetchedEpoch: Epoch | undefined
  /** Its log is in quarantine: it holds nothing that counts, and asks to be reset. */
  readonly isDamaged: boolean
  /** Its disk is below `disk.free.min` (B6): it takes nothing now, and says so, in order to be waited for no longer. */
  readonly isFull: boolean
  /**
   * How often this leader, in this epoch, had removed tombstones when the follower began to copy; undefined: not told.
   * While that is the number, a follower has missed none, however far it has come.
   */
  readonly removals?: number | undefined
}

export type FollowAnswer =
  /** The follower's log is a prefix of the leader's: data and progress follow under this number. */
  { readonly kind: 'accepted' } | Diverged | Refused

/** The logs part: the leader's largest epoch <= the follower's last one, and where it ends (KIP-101, KIP-279). */
export interface Diverged extends EpochEnd {
  readonly kind: 'diverged'
  /** Where a follower begins that has nothing in common with the leader. */
  readonly logStartOffset: Offset
}

export interface Refused {
  readonly kind: 'refused'
  readonly reason: FollowRefusal
  /** The leader's log start; where a RESET begins. */
  readonly logStartOffset: Offset
}

/**
 * - FENCED: the follower's leader epoch is over; it waits for its metadata.
 * - NOT_LEADER: nobody leads here (yet) in that epoch; also for partitions that are not known here.
 * - NOT_REPLICA: the metadata do not name the follower, or have added it later than those that it knows.
 * - RESET: what the follower needs next is gone: it empties its log and begins at the leader's log start (B8).
 * - DAMAGED: the follower is, or may be any moment, in ISR or ELR, and has less than it acknowledged: its disk lost records
 *   (B2), or it says so. It keeps what it has until the metadata have taken it out (B4).
 * - FULL: the follower takes nothing now, as it says; it leaves the ISR.
 * - AGAIN: nothing is wrong; the leader needs a new `Follow`.
 * - OTHER_LANE: the same, on the other one of the two lanes.
 */
export type FollowRefusal =
  | 'FENCED'
  | 'NOT_LEADER'
  | 'NOT_REPLICA'
  | 'RESET'
  | 'DAMAGED'
  | 'FULL'
  | 'AGAIN'
  | 'OTHER_LANE'
