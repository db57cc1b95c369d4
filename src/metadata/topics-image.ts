import { assert } from '../base/assert.ts'
import type { PartitionId, Uuid } from '../base/brands.ts'
import type { SnapshotRegistry } from '../machine/snapshot-registry.ts'
import { TimelineMap } from '../machine/timeline-map.ts'
import { TimelineValue } from '../machine/timeline-value.ts'
import type { MetadataDelta } from './metadata-delta.ts'
import type {
  MetadataRecord,
  PartitionChangedRecord,
  PartitionRecord,
  PartitionState,
  TopicRecord,
  TopicSettingsRecord,
} from './metadata-record.ts'
import { changePartition, checkPartitionState } from './partition-state.ts'
import { TopicImage, type TopicView } from './topic-image.ts'
import { topicCollisionKey } from './topic-name.ts'

/**
 * The topics of the cluster with their partitions and settings. Changed only by the `replay...` methods, which
 * `MetadataImage.replay` calls. Invariants: a name belongs to one topic; no two names differ only by `.` and `_`.
 */
export class TopicsImage {
  readonly #registry: SnapshotRegistry
  readonly #topics: TimelineMap<Uuid, TopicImage>
  readonly #ids: TimelineMap<string, Uuid>
  readonly #idsByCollisionKey: TimelineMap<string, Uuid>
  readonly #partitionCount: TimelineValue<number>

  constructor(registry: SnapshotRegistry) {
    this.#registry = registry
    this.#topics = new TimelineMap(registry)
    this.#ids = new TimelineMap(registry)
    this.#idsByCollisionKey = new TimelineMap(registry)
    this.#partitionCount = new TimelineValue(registry, 0)
  }

  get count(): number {
    return this.#topics.size
  }

  /** Of all topics. */
  get partitionCount(): number {
    return this.#partitionCount.get()
  }

  byName(name: string): TopicView | undefined {
    const id = this.#ids.get(name)
    return id === undefined ? undefined : this.#topics.get(id)
  }

  byId(id: Uuid): TopicView | undefined {
    return this.#topics.get(id)
  }

  /** The topic whose name is this one, or differs from it only by `.` and `_`. */
  colliding(name: string): TopicView | undefined {
    const id = this.#idsByCollisionKey.get(topicCollisionKey(name))
    return id === undefined ? undefined : this.#topics.get(id)
  }

  /** In no particular order (see TimelineMap). */
  all(): Iterable<TopicView> {
    return this.#topics.values()
  }

  /** Sorted, as pages of lists want them. */
  names(): string[] {
    return [...this.#ids.keys()].sort()
  }

  replayTopic(record: TopicRecord, delta?: MetadataDelta): void {
    const { topicId, name, settings, cachedNodes = [] } = record
    assert(!this.#topics.has(topicId), () => `topic id ${topicId} comes twice`)
    assert(this.colliding(name) === undefined, () => `topic name ${name} is taken`)
    this.#topics.set(topicId, new TopicImage(this.#registry, { id: topicId, name, settings, cachedNodes }))
    this.#ids.set(name, topicId)
    this.#idsByCollisionKey.set(topicCollisionKey(name), topicId)
    delta?.onTopicCreated(topicId)
  }

  replayTopicDeleted(topicId: Uuid, delta?: MetadataDelta): void {
    const topic = this.#topic(topicId)
    this.#topics.delete(topicId)
    this.#ids.delete(topic.name)
    this.#idsByCollisionKey.delete(topicCollisionKey(topic.name))
    this.#partitionCount.set(this.partitionCount - topic.partitionCount)
    delta?.onTopicDeleted(topic)
  }

  replayPartition(record: PartitionRecord, delta?: MetadataDelta): void {
    const { topicId, partition } = record
    const topic = this.#topic(topicId)
    assert(partition === topic.partitionCount, () => `partition ${partition} of ${topic.name} out of order`)
    const { type: _type, version: _version, topicId: _id, partition: _partition, ...state } = record
    checkPartitionState(state, () => `partition ${partition} of ${topic.name}`)
    topic.setPartition(partition, state)
    this.#partitionCount.set(this.partitionCount + 1)
    delta?.onPartitionChanged(topicId, { partition, before: undefined })
  }

  replayPartitionChanged(record: PartitionChangedRecord, delta?: MetadataDelta): void {
    const { topicId, partition } = record
    const topic = this.#topic(topicId)
    const before = topic.partition(partition)
    assert(
      before !== undefined,
      () => `a change of partition ${partition} of ${topic.name}, which does not exist`,
    )
    const { replicationFactor } = topic
    topic.setPartition(partition, changePartition(before, record))
    // Defaults follow it, so a leader that did not hear of it would go by another min.insync.replicas than the controller.
    if (topic.replicationFactor !== replicationFactor) delta?.onSettingsChanged(topicId)
    delta?.onPartitionChanged(topicId, { partition, before })
  }

  replaySettings(record: TopicSettingsRecord, delta?: MetadataDelta): void {
    const topic = this.#topic(record.topicId)
    const removed = new Set(record.removed)
    const kept = Object.entries(topic.settings).filter(([key]) => !removed.has(key))
    topic.setSettings({ ...Object.fromEntries(kept), ...record.set })
    if (record.cachedNodes) topic.setCachedNodes(record.cachedNodes)
    delta?.onSettingsChanged(record.topicId)
  }

  clear(): void {
    this.#topics.clear()
    this.#ids.clear()
    this.#idsByCollisionKey.clear()
    this.#partitionCount.set(0)
  }

  /** Records that make these topics. */
  *records(): Iterable<MetadataRecord> {
    for (const name of this.names()) {
      const topic = this.byName(name) as TopicView
      const { id: topicId, settings, cachedNodes } = topic
      const more = cachedNodes.length === 0 ? {} : { cachedNodes }
      yield { type: 'topic', version: 0, topicId, name, settings, ...more }
      for (const [partition, state] of topic.partitions())
        yield partitionRecord({ topicId: topic.id, partition, state })
    }
  }

  #topic(topicId: Uuid): TopicImage {
    const topic = this.#topics.get(topicId)
    assert(topic !== undefined, () => `a record of topic id ${topicId}, which does not exist`)
    return topic
  }
}

export function partitionRecord(of: {
  topicId: Uuid
  partition: PartitionId
  state: PartitionState
}): PartitionRecord {
  return { type: 'partition', version: 0, topicId: of.topicId, partition: of.partition, ...of.state }
}
