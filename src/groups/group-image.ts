import { unreachable } from '../base/assert.ts'
import type { PartitionId, Uuid } from '../base/brands.ts'
import type { SnapshotRegistry } from '../machine/snapshot-registry.ts'
import { TimelineMap } from '../machine/timeline-map.ts'
import { TimelineValue } from '../machine/timeline-value.ts'
import type {
  CommittedOffset,
  GroupHeader,
  GroupRecord,
  GroupTopic,
  MemberAssignment,
  MemberInfo,
  OffsetRecord,
  OwnedPartition,
  Subscription,
  TopicPartitions,
} from './group-record.ts'
import { moveInIndex, ownedKeys, type PartitionKey, targetKeys } from './partition-index.ts'
import { subscriptionKey } from './subscription.ts'

export type GroupState = 'empty' | 'reconciling' | 'stable'

/**
 * One group. Changed only by `GroupsImage.replay`, key by key; at the ends of batches these hold:
 * - no partition is owned by two members, and none is in two targets (so the indexes hold all of both);
 * - what a member owns without being its target is being revoked, and what is free and somebody's target is his
 *   (unless the target is stale).
 */
export class GroupImage {
  readonly name: string
  readonly members: TimelineMap<string, MemberInfo>
  readonly targets: TimelineMap<string, readonly TopicPartitions[]>
  readonly assignments: TimelineMap<string, MemberAssignment>
  readonly topics: TimelineMap<Uuid, GroupTopic>
  /** Which member has a partition, to be revoked or not. */
  readonly owners: TimelineMap<PartitionKey, string>
  /** Which member should have a partition. */
  readonly targetOwners: TimelineMap<PartitionKey, string>
  readonly #registry: SnapshotRegistry
  readonly #header: TimelineValue<GroupHeader | null>
  readonly #subscriptions: TimelineMap<string, SubscriptionUse>
  readonly #offsets: TimelineMap<Uuid, TimelineMap<PartitionId, CommittedOffset>>
  readonly #revokingCount: TimelineValue<number>

  constructor(registry: SnapshotRegistry, name: string) {
    this.#registry = registry
    this.name = name
    this.members = new TimelineMap(registry)
    this.targets = new TimelineMap(registry)
    this.assignments = new TimelineMap(registry)
    this.topics = new TimelineMap(registry)
    this.owners = new TimelineMap(registry)
    this.targetOwners = new TimelineMap(registry)
    this.#header = new TimelineValue<GroupHeader | null>(registry, null)
    this.#subscriptions = new TimelineMap(registry)
    this.#offsets = new TimelineMap(registry)
    this.#revokingCount = new TimelineValue(registry, 0)
  }

  /** null only while a batch, or a log, is being replayed. */
  get header(): GroupHeader | null {
    return this.#header.get()
  }

  get state(): GroupState {
    const { header } = this
    if (header === null || this.members.size === 0) return 'empty'
    const isSettled =
      header.targetEpoch >= header.subscriptionEpoch &&
      this.#revokingCount.get() === 0 &&
      this.owners.size === this.targetOwners.size
    return isSettled ? 'stable' : 'reconciling'
  }

  /** No record of the group is left. */
  get isVoid(): boolean {
    return (
      this.header === null &&
      this.members.size + this.targets.size + this.assignments.size === 0 &&
      this.topics.size + this.#offsets.size === 0
    )
  }

  /** The different ones of the members. */
  *subscriptions(): Iterable<Subscription> {
    for (const { subscription } of this.#subscriptions.values()) yield subscription
  }

  offset(topicId: Uuid, partition: PartitionId): CommittedOffset | undefined {
    return this.#offsets.get(topicId)?.get(partition)
  }

  /** By topic; what they are tells `offsetsOf`. */
  get offsetTopics(): Pick<TimelineMap<Uuid, unknown>, 'size' | 'has' | 'keys'> {
    return this.#offsets
  }

  /** In no particular order. */
  offsetsOf(topicId: Uuid): Iterable<[PartitionId, CommittedOffset]> {
    return this.#offsets.get(topicId)?.entries() ?? []
  }

  replay(record: GroupRecord): void {
    switch (record.type) {
      case 'group':
        this.#header.set(record.value)
        break
      case 'topic':
        put(this.topics, record.topicId, record.value)
        break
      case 'member':
        this.#replayMember(record.member, record.value)
        break
      case 'target':
        this.#replayTarget(record.member, record.value)
        break
      case 'assignment':
        this.#replayAssignment(record.member, record.value)
        break
      case 'offset':
        this.#replayOffset(record)
        break
      default:
        unreachable(record, 'group record')
    }
  }

  #replayMember(member: string, value: MemberInfo | null): void {
    const before = this.members.get(member)
    // First the new one: what both subscribe to stays the same object.
    const subscription = value === null ? undefined : this.#use(value.subscription, 1)
    if (before !== undefined) this.#use(before.subscription, -1)
    if (value === null || subscription === undefined) this.members.delete(member)
    else this.members.set(member, { ...value, subscription })
  }

  /** Members mostly subscribe to the same topics: the names are held once. */
  #use(subscription: Subscription, change: 1 | -1): Subscription {
    const key = subscriptionKey(subscription)
    const use = this.#subscriptions.get(key) ?? { subscription, memberCount: 0 }
    const memberCount = use.memberCount + change
    put(this.#subscriptions, key, memberCount === 0 ? null : { ...use, memberCount })
    return use.subscription
  }

  #replayTarget(member: string, value: readonly TopicPartitions[] | null): void {
    const before = targetKeys(this.targets.get(member) ?? [])
    moveInIndex(this.targetOwners, member, { before, after: targetKeys(value ?? []) })
    put(this.targets, member, value)
  }

  #replayAssignment(member: string, value: MemberAssignment | null): void {
    const before = this.assignments.get(member)?.partitions ?? []
    const after = value?.partitions ?? []
    moveInIndex(this.owners, member, { before: ownedKeys(before), after: ownedKeys(after) })
    this.#revokingCount.set(this.#revokingCount.get() + countRevoking(after) - countRevoking(before))
    put(this.assignments, member, value)
  }

  #replayOffset({ topicId, partition, value }: OffsetRecord): void {
    let offsets = this.#offsets.get(topicId)
    if (offsets === undefined) {
      if (value === null) return
      offsets = new TimelineMap(this.#registry)
      this.#offsets.set(topicId, offsets)
    }
    put(offsets, partition, value)
    if (offsets.size === 0) this.#offsets.delete(topicId)
  }
}

interface SubscriptionUse {
  readonly subscription: Subscription
  readonly memberCount: number
}

function put<K, V>(map: TimelineMap<K, V>, key: K, value: V | null): void {
  if (value === null) map.delete(key)
  else map.set(key, value)
}

function countRevoking(partitions: readonly OwnedPartition[]): number {
  let count = 0
  for (const { revokingEpoch } of partitions) if (revokingEpoch !== null) count++
  return count
}
