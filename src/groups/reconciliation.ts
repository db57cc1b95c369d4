import type { Uuid } from '../base/brands.ts'
import type { GroupDraft } from './group-draft.ts'
import type { OwnedPartition } from './group-record.ts'

/**
 * Brings what members have towards what they should have, step by step: owned -> revoking -> free -> owned by
 * another. A partition is given only when nobody has it: its owner released it, was expelled, or let the release
 * timeout pass. As in KIP-848, but partition by partition: a member that still has to
 * release one partition gets the others that are free at once.
 *
 * Invariant: `revokingEpoch` is never taken back. A target that returns to the owner before the release gives the
 * partition anew after it, at a new epoch, because the owner may be about to release it already.
 */

/**
 * After a new target: asks for what others should have, and gives out all that is free. Who should have what it
 * should have before has nothing to give up, and lacks nothing that is free but what has just been `freed`.
 */
export function reconcile(draft: GroupDraft, freed: readonly OwnedPartition[]): void {
  const members = draft.membersWithNewTarget()
  for (const member of members) {
    const before = draft.partitionsOf(member)
    const isMisplaced = (owned: OwnedPartition) =>
      owned.revokingEpoch === null && draft.targetOwner(owned) !== member
    if (before.some(isMisplaced))
      draft.setPartitions(
        member,
        before.map(owned => (isMisplaced(owned) ? { ...owned, revokingEpoch: draft.epoch } : owned)),
      )
  }
  giveFreed(draft, freed)
  for (const member of members) {
    const free = draft
      .target(member)
      .flatMap(({ topicId, partitions }) =>
        partitions
          .filter(partition => draft.owner(topicId, partition) === undefined)
          .map(partition => ({ topicId, partition })),
      )
    give(draft, member, free)
  }
}

/** Gives partitions that have just become free to whose they should be. */
export function giveFreed(draft: GroupDraft, freed: readonly OwnedPartition[]): void {
  const byMember = new Map<string, OwnedPartition[]>()
  for (const partition of freed) {
    const member = draft.targetOwner(partition)
    if (member === undefined) continue
    const list = byMember.get(member)
    if (list === undefined) byMember.set(member, [partition])
    else list.push(partition)
  }
  for (const [member, partitions] of byMember) give(draft, member, partitions)
}

/** Takes from a member what it still has of these; returns that. */
export function takeFrom(
  draft: GroupDraft,
  member: string,
  isTaken: (partition: OwnedPartition) => boolean,
): readonly OwnedPartition[] {
  const before = draft.partitionsOf(member)
  const taken = before.filter(isTaken)
  if (taken.length > 0)
    draft.setPartitions(
      member,
      before.filter(owned => !isTaken(owned)),
    )
  return taken
}

function give(
  draft: GroupDraft,
  member: string,
  partitions: readonly { readonly topicId: Uuid; readonly partition: number }[],
): void {
  if (partitions.length === 0) return
  const given = partitions.map(({ topicId, partition }) => {
    startAtZero(draft, { topicId, partition })
    return { topicId, partition, assignedEpoch: draft.epoch, revokingEpoch: null }
  })
  draft.setPartitions(member, [...draft.partitionsOf(member), ...given])
}

/** D5: what was added after the group saw the topic is read from its beginning, wherever members like to start. */
function startAtZero(draft: GroupDraft, { topicId, partition }: { topicId: Uuid; partition: number }): void {
  const topic = draft.topics.get(topicId)
  if (topic === undefined || partition < topic.firstPartitionCount) return
  if (draft.hasOffset(topicId, partition)) return
  draft.setOffset(topicId, partition, {
    nextOffset: 0,
    leaderEpoch: null,
    metadata: '',
    committedAtMs: draft.nowMs,
  })
}
