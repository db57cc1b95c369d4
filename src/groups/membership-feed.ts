import type { Epoch } from '../base/brands.ts'
import type { Membership, MembershipPartition } from './member-control.ts'
import { keyOf, type PartitionKey } from './partition-index.ts'

/**
 * What one stream of a member was told of its partitions, and so what it is to be told next. Driven by the
 * driver with each committed `Membership`, the newest always; it does not matter how many were left out.
 * Invariant: a partition is told as assigned only with an offset to start from, and at most once per `assignedEpoch`. One that
 * is asked back is told as well, first as assigned: the member may be reading it since an earlier stream, and only it can
 * say that it has stopped.
 */
export class MembershipFeed {
  readonly #told = new Map<PartitionKey, Told>()

  update(membership: Membership): MembershipChanges {
    const lost: MembershipPartition[] = []
    const assigned: MembershipPartition[] = []
    const revoking: MembershipPartition[] = []
    const unresolved: MembershipPartition[] = []
    const toRelease: MembershipPartition[] = []
    const now = new Map(membership.partitions.map(partition => [keyOf(partition), partition]))
    for (const [key, told] of this.#told) {
      if (now.get(key)?.assignedEpoch === told.partition.assignedEpoch) continue
      // Released by the member itself, as a rule: then it knows, and `onReleased` has taken it out.
      lost.push(told.partition)
      this.#told.delete(key)
    }
    for (const [key, partition] of now) {
      const told = this.#told.get(key)
      const isRevoking = partition.revokingEpoch !== null
      if (told === undefined && partition.nextOffset === undefined) {
        if (isRevoking) toRelease.push(partition)
        else unresolved.push(partition)
        continue
      }
      if (told === undefined) assigned.push(partition)
      if (isRevoking && told?.isRevoking !== true) revoking.push(partition)
      this.#told.set(key, { partition, isRevoking })
    }
    return { memberEpoch: membership.memberEpoch, lost, assigned, revoking, unresolved, toRelease }
  }

  /** The member has released these: it needs not be told that they are gone. */
  onReleased(partitions: readonly { topicId: string; partition: number }[]): void {
    for (const partition of partitions) this.#told.delete(keyOf(partition))
  }
}

/** To be told in this order. */
export interface MembershipChanges {
  readonly memberEpoch: Epoch
  readonly lost: readonly MembershipPartition[]
  readonly assigned: readonly MembershipPartition[]
  readonly revoking: readonly MembershipPartition[]
  /** Not to be told yet: the group has no offset here. */
  readonly unresolved: readonly MembershipPartition[]
  /** Given and asked back before any stream of the member was told: the driver releases them in the member's place. */
  readonly toRelease: readonly MembershipPartition[]
}

interface Told {
  readonly partition: MembershipPartition
  readonly isRevoking: boolean
}
