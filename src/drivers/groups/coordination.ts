import type { Epoch, PartitionId } from '../../base/brands.ts'
import type { NaruError } from '../../base/errors.ts'
import type { GroupCoordinator } from '../../groups/group-coordinator.ts'
import type { GroupResult, MemberName, MemberStream } from '../../groups/group-result.ts'
import type { MembershipPartition } from '../../groups/member-control.ts'
import type { MembershipChanges } from '../../groups/membership-feed.ts'

/**
 * The coordinators of groups on this node, as services see them: one for each partition of `__groups` that it leads.
 * A group is coordinated by the leader of partition hash(group).
 */
export interface GroupCoordinators {
  /** undefined: `__groups` does not exist yet; whoever needs it makes it with CreateTopics, by its name alone. */
  partitionOf(group: string): PartitionId | undefined
  /**
   * The coordinator of the group, ready or getting ready. Throws NOT_LEADER, with `leader_id` and `leader_address` among
   * its details, where another node leads the partition, and LEADER_NOT_AVAILABLE where none does.
   */
  of(group: string): PartitionCoordinator
  /** All that are led here; the groups of the cluster are those of all nodes. */
  led(): Iterable<PartitionCoordinator>
}

/** The coordinator of the groups of one partition, in one leader epoch. */
export interface PartitionCoordinator {
  readonly partition: PartitionId
  readonly leaderEpoch: Epoch
  /**
   * Runs a handler, reads too; resolves when all that it saw and wrote is committed. Waits, for a while, until the
   * coordinator is ready. Rejects with the error of the handler, or with a retriable one of this partition, whose
   * outcome is `unknown` where records may have been written. What the handler throws is not retried here.
   */
  run<T>(handler: (groups: GroupCoordinator, nowMs: number) => GroupResult<T>): Promise<T>
  /**
   * The listener is told what changes for the member from the next turn on, first of all what it has: for a stream that `attend` has
   * just answered. The member's session is the caller's to keep (`heartbeat`, `disconnect`, `leave`).
   */
  watch(stream: MemberStream, listener: MemberListener): MemberWatch
  /** A stream of the member is watched here. */
  isWatched(member: MemberName): boolean
}

/** Called in the turn in which something is committed; must not throw. */
export interface MemberListener {
  /** Never empty; to be told in the order lost, assigned, revoking. `unresolved` and `toRelease` are dealt with already. */
  onChanges(changes: MembershipChanges): void
  /**
   * The group has no offset for these: where they start is found out as the member asked, then run as `commitStarts`, and
   * they come as assigned. Given once for each assignment: the listener tries again by itself while the stream lives.
   */
  resolveStarts(partitions: readonly MembershipPartition[]): void
  /**
   * Called once, last: the member is gone or another stream's (UNKNOWN_MEMBER, MEMBER_FENCED), or the coordinator is
   * elsewhere, or will be (NOT_LEADER, LEADER_NOT_AVAILABLE, NODE_DRAINING): attend there.
   */
  onEnd(error: NaruError): void
}

export interface MemberWatch {
  /** The member said so, and `release` took them: it is not told that they are lost. */
  released(partitions: readonly { readonly topicId: string; readonly partition: number }[]): void
  /** The stream is over: the listener hears nothing any more. */
  close(): void
}
