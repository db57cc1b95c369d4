import type { Epoch, Offset, PartitionId, Uuid } from '../base/brands.ts'

/**
 * What a partition of `__groups` holds: every change of a group is some of these, and replaying them
 * (`GroupsImage.replay`) is the only way in which a group changes. Encoded by `naru.internal.v1.GroupRecord`.
 *
 * The log is compacted, so each record is a key and the whole newest value of it; `value: null` is the tombstone.
 * Invariant: records of different keys can be replayed in any order that keeps the order within each key, older
 * values of a key may be missing, and so may tombstones with all that they follow: the image comes out the same.
 * One write of a handler is one batch: only at the ends of batches do the keys fit each other.
 *
 * `version` is the format of that type of record; a node that meets a higher one than it knows refuses to go on.
 */
export type GroupRecord =
  | GroupHeaderRecord
  | GroupTopicRecord
  | MemberRecord
  | TargetRecord
  | AssignmentRecord
  | OffsetRecord

export type GroupRecordType = GroupRecord['type']

interface Keyed<Type extends string, Value> {
  readonly type: Type
  readonly version: 0
  readonly group: string
  readonly value: Value | null
}

export type GroupHeaderRecord = Keyed<'group', GroupHeader>

export interface GroupHeader {
  /**
   * The group's clock: rises by 1 with every write that changes members, target or assignments, and dates what
   * it changes. So no epoch that a member was ever told is used again for something newer.
   */
  readonly groupEpoch: Epoch
  /** When what the target depends on last changed: members, subscriptions, topics. */
  readonly subscriptionEpoch: Epoch
  /** When the target was computed. Below `subscriptionEpoch`: it is to be computed anew. Never above `groupEpoch`. */
  readonly targetEpoch: Epoch
  /** Wall clock; targets of a group are computed at most every `assignmentIntervalMs`. */
  readonly targetAtMs: number
  readonly assignor: AssignorName
  /** Wall clock: since when there are no members, or the last change by hand after that. null: there are members. */
  readonly idleSinceMs: number | null
}

export type AssignorName = 'uniform' | 'range'

/** A topic that members of the group subscribe to, or did. */
export interface GroupTopicRecord extends Keyed<'topic', GroupTopic> {
  readonly topicId: Uuid
}

export interface GroupTopic {
  readonly name: string
  /** Partitions to be assigned; 0: no member subscribes to the topic now. */
  readonly partitionCount: number
  /**
   * Partitions below this one begin where the `start` of the member says. The others were added after the group
   * first saw the topic (all of them, if the topic was made after it was subscribed to): they begin at 0 (D5).
   */
  readonly firstPartitionCount: number
}

export interface MemberRecord extends Keyed<'member', MemberInfo> {
  readonly member: string
}

/** What a member said when it attended last. */
export interface MemberInfo {
  /** Epoch of that: names the one stream that may speak for the member; an older stream is fenced. */
  readonly attachEpoch: Epoch
  readonly subscription: Subscription
  readonly clientId: string
  /** Network address of the client. */
  readonly address: string
  readonly sessionTimeoutMs: number
  readonly brokenStreamTimeoutMs: number
  /** Its stream broke, as a coordinator saw, and it has not attended since. */
  readonly disconnected: boolean
  /** Who attended; null: by way of a release that did not say. */
  readonly instance: MemberInstance | null
  /** Ids of the instances before, the last one at the end; of very many, the last ones. */
  readonly replaced: readonly string[]
}

/** A process that speaks for a member, and by which of its joins. */
export interface MemberInstance {
  /** Drawn at random; never used by another process. */
  readonly id: string
  /** Higher with each join. */
  readonly attempt: number
  /** Higher each time the node that was called tries the same join again. */
  readonly round: number
}

export interface Subscription {
  /** Sorted, no name twice. */
  readonly topics: readonly string[]
  /** `*` stands for any run of characters, `?` for one; null: none. */
  readonly topicPattern: string | null
}

/** What a member should have. */
export interface TargetRecord extends Keyed<'target', readonly TopicPartitions[]> {
  readonly member: string
}

export interface TopicPartitions {
  readonly topicId: Uuid
  /** Rising. */
  readonly partitions: readonly PartitionId[]
}

/** What a member has. */
export interface AssignmentRecord extends Keyed<'assignment', MemberAssignment> {
  readonly member: string
}

export interface MemberAssignment {
  /** The group epoch at which this assignment, or the member's stream, last changed: what the member is told. */
  readonly memberEpoch: Epoch
  readonly partitions: readonly OwnedPartition[]
}

export interface OwnedPartition {
  readonly topicId: Uuid
  readonly partition: PartitionId
  /** Commits and releases that quote an older member epoch are of an earlier ownership, or an earlier stream (D3). */
  readonly assignedEpoch: Epoch
  /** Since when the member is asked to give it up; null: it is not. Never taken back: it ends with the ownership. */
  readonly revokingEpoch: Epoch | null
}

export interface OffsetRecord extends Keyed<'offset', CommittedOffset> {
  readonly topicId: Uuid
  readonly partition: PartitionId
}

export interface CommittedOffset {
  /** Where the group goes on: the offset after the last record that is done. */
  readonly nextOffset: Offset
  /** Of the leader from which that record came; null: not told. */
  readonly leaderEpoch: Epoch | null
  /** The client's free text. */
  readonly metadata: string
  /** Wall clock. */
  readonly committedAtMs: number
}

/** The newest format of each type of record that this release reads. */
export const GROUP_RECORD_VERSION_MAX: Readonly<Record<GroupRecordType, number>> = {
  group: 0,
  topic: 0,
  member: 0,
  target: 0,
  assignment: 0,
  offset: 0,
}
