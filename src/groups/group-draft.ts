import type { Epoch, PartitionId, Uuid } from '../base/brands.ts'
import { SnapshotRegistry } from '../machine/snapshot-registry.ts'
import { GroupImage } from './group-image.ts'
import type {
  AssignorName,
  CommittedOffset,
  GroupHeader,
  GroupRecord,
  GroupTopic,
  MemberAssignment,
  MemberInfo,
  OwnedPartition,
  TopicPartitions,
} from './group-record.ts'
import { Overlay } from './overlay.ts'
import {
  keyOf,
  moveInIndex,
  ownedKeys,
  type PartitionKey,
  partitionKey,
  targetKeys,
} from './partition-index.ts'

/**
 * A group as it will be after the write that a handler plans: reads show the planned state, `records` are the
 * way there, one per changed key. The image itself is not touched. Used within one handler, then dropped.
 *
 * All that one draft changes of members, targets and assignments bears one new epoch (`epoch`).
 */
export class GroupDraft {
  readonly group: string
  /** Of what this draft changes. */
  readonly epoch: Epoch
  readonly nowMs: number
  readonly members: Overlay<string, MemberInfo>
  readonly topics: Overlay<Uuid, GroupTopic>
  readonly #base: GroupImage
  readonly #targets: Overlay<string, readonly TopicPartitions[]>
  readonly #assignments: Overlay<string, MemberAssignment>
  readonly #owners: Overlay<PartitionKey, string>
  readonly #targetOwners: Overlay<PartitionKey, string>
  readonly #offsets = new Map<PartitionKey, OffsetChange>()
  #header: GroupHeader
  #isHeaderChanged = false

  /** `base`: undefined for a group that does not exist yet. */
  constructor(group: string, { base, nowMs }: { base: GroupImage | undefined; nowMs: number }) {
    this.group = group
    this.nowMs = nowMs
    this.#base = base ?? new GroupImage(new SnapshotRegistry(), group)
    this.#header = this.#base.header ?? newHeader(nowMs)
    this.#isHeaderChanged = this.#base.header === null
    this.epoch = this.#header.groupEpoch + 1
    this.members = new Overlay(this.#base.members)
    this.topics = new Overlay(this.#base.topics)
    this.#targets = new Overlay(this.#base.targets)
    this.#assignments = new Overlay(this.#base.assignments)
    this.#owners = new Overlay(this.#base.owners)
    this.#targetOwners = new Overlay(this.#base.targetOwners)
  }

  get header(): GroupHeader {
    return this.#header
  }

  get isTargetStale(): boolean {
    return this.#header.targetEpoch < this.#header.subscriptionEpoch
  }

  /** The stored group: offsets are read there. */
  get base(): GroupImage {
    return this.#base
  }

  setHeader(change: Partial<GroupHeader>): void {
    this.#header = { ...this.#header, ...change }
    this.#isHeaderChanged = true
  }

  /** Who should have what depends on something that is new. */
  markTargetStale(): void {
    this.setHeader({ groupEpoch: this.epoch, subscriptionEpoch: this.epoch })
  }

  memberNames(): string[] {
    return [...this.members.keys()].sort()
  }

  target(member: string): readonly TopicPartitions[] {
    return this.#targets.get(member) ?? []
  }

  setTarget(member: string, target: readonly TopicPartitions[]): void {
    moveInIndex(this.#targetOwners, member, {
      before: targetKeys(this.target(member)),
      after: targetKeys(target),
    })
    this.#targets.set(member, target)
    this.setHeader({ groupEpoch: this.epoch })
  }

  membersWithNewTarget(): string[] {
    return [...this.#targets.changes()]
      .flatMap(([member, target]) => (target === null ? [] : [member]))
      .sort()
  }

  targetOwner(partition: { topicId: Uuid; partition: PartitionId }): string | undefined {
    return this.#targetOwners.get(keyOf(partition))
  }

  owner(topicId: Uuid, partition: PartitionId): string | undefined {
    return this.#owners.get(partitionKey(topicId, partition))
  }

  partitionsOf(member: string): readonly OwnedPartition[] {
    return this.#assignments.get(member)?.partitions ?? []
  }

  setPartitions(member: string, partitions: readonly OwnedPartition[]): void {
    moveInIndex(this.#owners, member, {
      before: ownedKeys(this.partitionsOf(member)),
      after: ownedKeys(partitions),
    })
    this.#assignments.set(member, { memberEpoch: this.epoch, partitions })
    this.setHeader({ groupEpoch: this.epoch })
  }

  /** Returns what the member had: nobody has it now. */
  removeMember(member: string): readonly OwnedPartition[] {
    const partitions = this.partitionsOf(member)
    moveInIndex(this.#owners, member, { before: ownedKeys(partitions), after: [] })
    moveInIndex(this.#targetOwners, member, { before: targetKeys(this.target(member)), after: [] })
    this.members.delete(member)
    this.#targets.delete(member)
    this.#assignments.delete(member)
    return partitions
  }

  hasOffset(topicId: Uuid, partition: PartitionId): boolean {
    const change = this.#offsets.get(partitionKey(topicId, partition))
    if (change !== undefined) return change.value !== null
    return this.#base.offset(topicId, partition) !== undefined
  }

  setOffset(topicId: Uuid, partition: PartitionId, value: CommittedOffset | null): void {
    this.#offsets.set(partitionKey(topicId, partition), { topicId, partition, value })
  }

  /** Members whose assignment is new or gone. */
  changedMembers(): string[] {
    return [...this.#assignments.changes()].map(([member]) => member)
  }

  records(): GroupRecord[] {
    const head = { version: 0, group: this.group } as const
    const records: GroupRecord[] = []
    if (this.#isHeaderChanged) records.push({ type: 'group', ...head, value: this.#header })
    for (const [topicId, value] of this.topics.changes())
      records.push({ type: 'topic', ...head, topicId, value })
    for (const [member, value] of this.members.changes())
      records.push({ type: 'member', ...head, member, value })
    for (const [member, value] of this.#targets.changes())
      records.push({ type: 'target', ...head, member, value })
    for (const [member, value] of this.#assignments.changes())
      records.push({ type: 'assignment', ...head, member, value })
    for (const change of this.#offsets.values()) records.push({ type: 'offset', ...head, ...change })
    return records
  }
}

interface OffsetChange {
  readonly topicId: Uuid
  readonly partition: PartitionId
  readonly value: CommittedOffset | null
}

export const ASSIGNOR_DEFAULT: AssignorName = 'uniform'

function newHeader(nowMs: number): GroupHeader {
  return {
    groupEpoch: 0,
    subscriptionEpoch: 0,
    targetEpoch: 0,
    targetAtMs: 0,
    assignor: ASSIGNOR_DEFAULT,
    idleSinceMs: nowMs,
  }
}
