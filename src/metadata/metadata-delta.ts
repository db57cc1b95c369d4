import type { NodeId, PartitionId, Uuid } from '../base/brands.ts'
import type { PartitionState, SettingOverrides } from './metadata-record.ts'
import type { NodeImage } from './node-image.ts'
import type { TopicView } from './topic-image.ts'

/**
 * What some records changed in an image, for those who act on it: read what is new from the image, and what is
 * gone from here. Changes that cancel each other (a topic created and deleted) leave no trace.
 * Written by `MetadataImage.replay`; read once, in the turn of the change.
 */
export class MetadataDelta {
  /** Also in `changedPartitions`, with all their partitions. */
  readonly createdTopics = new Set<Uuid>()
  /** As they were when they were deleted, by id. Their partitions are not in `changedPartitions`. */
  readonly deletedTopics = new Map<Uuid, TopicView>()
  /** By topic id: the partitions that are new or changed, and what they were before (undefined: new). */
  readonly changedPartitions = new Map<Uuid, Map<PartitionId, PartitionState | undefined>>()
  /** Set or removed, or with another number of replicas, which some defaults follow. */
  readonly changedSettings = new Set<Uuid>()
  /** Registered, removed, or with a new state. */
  readonly changedNodes = new Set<NodeId>()

  get isEmpty(): boolean {
    return (
      this.createdTopics.size === 0 &&
      this.deletedTopics.size === 0 &&
      this.changedPartitions.size === 0 &&
      this.changedSettings.size === 0 &&
      this.changedNodes.size === 0
    )
  }

  onTopicCreated(topicId: Uuid): void {
    this.createdTopics.add(topicId)
  }

  onTopicDeleted(topic: TopicView): void {
    this.changedPartitions.delete(topic.id)
    this.changedSettings.delete(topic.id)
    if (!this.createdTopics.delete(topic.id)) this.deletedTopics.set(topic.id, topic)
  }

  onPartitionChanged(
    topicId: Uuid,
    change: { partition: PartitionId; before: PartitionState | undefined },
  ): void {
    let partitions = this.changedPartitions.get(topicId)
    if (partitions === undefined) {
      partitions = new Map()
      this.changedPartitions.set(topicId, partitions)
    }
    if (!partitions.has(change.partition)) partitions.set(change.partition, change.before)
  }

  onSettingsChanged(topicId: Uuid): void {
    if (!this.createdTopics.has(topicId)) this.changedSettings.add(topicId)
  }

  onNodeChanged(nodeId: NodeId): void {
    this.changedNodes.add(nodeId)
  }

  /** For two images instead of records: `before` (undefined: new) has become `after`. */
  onTopicCompared(before: TopicView | undefined, after: TopicView): void {
    if (before === undefined) this.onTopicCreated(after.id)
    else if (
      before.replicationFactor !== after.replicationFactor ||
      !isSameSettings(before.settings, after.settings)
    )
      this.onSettingsChanged(after.id)
    for (const [partition, state] of after.partitions()) {
      const stateBefore = before?.partition(partition)
      if (stateBefore?.partitionEpoch !== state.partitionEpoch)
        this.onPartitionChanged(after.id, { partition, before: stateBefore })
    }
  }

  onNodeCompared(before: NodeImage | undefined, after: NodeImage): void {
    const isSame =
      before !== undefined &&
      before.nodeEpoch === after.nodeEpoch &&
      before.isFenced === after.isFenced &&
      before.isDraining === after.isDraining
    if (!isSame) this.onNodeChanged(after.nodeId)
  }
}

function isSameSettings(a: SettingOverrides, b: SettingOverrides): boolean {
  const keys = Object.keys(a)
  return (
    keys.length === Object.keys(b).length && keys.every(key => Object.hasOwn(b, key) && a[key] === b[key])
  )
}
