import type { PartitionId, Uuid } from '../base/brands.ts'
import type { AssignorInput } from './assignor.ts'
import type { TopicPartitions } from './group-record.ts'

/**
 * Each topic's partitions in runs, to its subscribers in the order of their names; the first ones get one more where
 * it does not divide evenly. So members that subscribe to the same topics have the same partition numbers of all
 * topics of equal size (a join of two topics by key stays within a member), and who has what can be told in advance.
 */
export function assignRange(input: AssignorInput): Map<string, TopicPartitions[]> {
  const targets = new Map<string, TopicPartitions[]>(input.members.map(({ member }) => [member, []]))
  for (const [topicId, subscribers] of subscribersByTopic(input)) {
    const count = input.partitionCounts.get(topicId) ?? 0
    const share = Math.floor(count / subscribers.length)
    const extra = count % subscribers.length
    let next = 0
    subscribers.forEach((member, index) => {
      const size = share + (index < extra ? 1 : 0)
      if (size > 0) targets.get(member)?.push({ topicId, partitions: run(next, size) })
      next += size
    })
  }
  return targets
}

/** Topics in order, so that equal targets are equal arrays. */
function subscribersByTopic({ members }: AssignorInput): [Uuid, string[]][] {
  const subscribers = new Map<Uuid, string[]>()
  for (const { member, topicIds } of members)
    for (const topicId of topicIds) {
      const list = subscribers.get(topicId)
      if (list === undefined) subscribers.set(topicId, [member])
      else list.push(member)
    }
  return [...subscribers].sort(([a], [b]) => (a < b ? -1 : 1))
}

function run(from: PartitionId, count: number): PartitionId[] {
  return Array.from({ length: count }, (_, index) => from + index)
}
