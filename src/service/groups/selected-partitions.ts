import type { PartitionSelection } from '../../groups/offset-control.ts'
import type { TopicSelector } from '../../wire/messages.ts'
import type { ServiceNode } from '../service-node.ts'
import { findTopic, lookTwice, requirePartition } from '../topic-lookup.ts'

/** The partitions that a call names, by the ids of their topics; undefined: it names none, and means all that are known. */
export async function selectPartitions(
  node: ServiceNode,
  selectors: readonly TopicSelector[],
): Promise<PartitionSelection[] | undefined> {
  if (selectors.length === 0) return undefined
  const select = (isLastLook: boolean) =>
    selectors.map(({ topic: name, partition }): PartitionSelection => {
      const topic = findTopic(node, name, undefined, isLastLook)
      if (partition !== undefined) requirePartition(topic, partition)
      return { topicId: topic.id, partition }
    })
  return lookTwice(node, select)
}
