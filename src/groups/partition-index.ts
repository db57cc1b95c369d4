import type { PartitionId, Uuid } from '../base/brands.ts'
import type { OwnedPartition, TopicPartitions } from './group-record.ts'

/** One partition as the key of a map. */
export type PartitionKey = string

export function partitionKey(topicId: Uuid, partition: PartitionId): PartitionKey {
  return `${topicId}/${partition}`
}

export function keyOf({ topicId, partition }: { topicId: Uuid; partition: PartitionId }): PartitionKey {
  return `${topicId}/${partition}`
}

export function ownedKeys(partitions: readonly OwnedPartition[]): PartitionKey[] {
  return partitions.map(keyOf)
}

export function targetKeys(target: readonly TopicPartitions[]): PartitionKey[] {
  return target.flatMap(({ topicId, partitions }) =>
    partitions.map(partition => partitionKey(topicId, partition)),
  )
}

/**
 * Brings an index (partition -> member) up to a member's new partitions. A member takes out only what the index
 * says is its own: within a batch, and in a compacted log, the new owner's record may come before the old one's.
 */
export function moveInIndex(
  index: { get(key: PartitionKey): string | undefined; set(key: PartitionKey, member: string): void } & {
    delete(key: PartitionKey): unknown
  },
  member: string,
  keys: { readonly before: readonly PartitionKey[]; readonly after: readonly PartitionKey[] },
): void {
  const after = new Set(keys.after)
  for (const key of keys.before) if (!after.has(key) && index.get(key) === member) index.delete(key)
  for (const key of keys.after) if (index.get(key) !== member) index.set(key, member)
}
