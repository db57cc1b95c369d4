import type { PartitionId } from '../base/brands.ts'
import type { MetadataImage } from './metadata-image.ts'
import type { PartitionChangedRecord, PartitionState } from './metadata-record.ts'
import { isActive, isUp } from './node-image.ts'
import { changeRecord, type ElectionFacts } from './partition-election.ts'
import type { TopicView } from './topic-image.ts'
import { resolveTopicSettings, type TopicSettings } from './topic-settings.ts'

/** What elections in a topic go by, with these settings of the topic and the nodes as they are. */
export function electionFacts(image: MetadataImage, settings: TopicSettings): ElectionFacts {
  return {
    isActive: nodeId => isActive(image.nodes.get(nodeId)),
    isUp: nodeId => isUp(image.nodes.get(nodeId)),
    minInsyncReplicas: settings['min.insync.replicas'],
    isUncleanAllowed: settings['unclean.leader.election.enable'],
  }
}

/** The records of a change that is tried on every partition of a topic. */
export function changePartitions(
  topic: TopicView,
  change: (state: PartitionState, partition: PartitionId) => PartitionState,
): PartitionChangedRecord[] {
  const records: PartitionChangedRecord[] = []
  for (const [partition, before] of topic.partitions()) {
    const record = changeRecord(
      { topicId: topic.id, partition },
      { before, after: change(before, partition) },
    )
    if (record !== undefined) records.push(record)
  }
  return records
}

export function settingsOf(topic: TopicView, defaults: Partial<TopicSettings> = {}): TopicSettings {
  return resolveTopicSettings(topic.settings, { replicationFactor: topic.replicationFactor, defaults })
}
