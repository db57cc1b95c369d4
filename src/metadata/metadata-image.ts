import { assert, unreachable } from '../base/assert.ts'
import type { MetadataIndex, ProducerId, Uuid } from '../base/brands.ts'
import { NaruError } from '../base/errors.ts'
import { SnapshotRegistry } from '../machine/snapshot-registry.ts'
import type { StateMachine } from '../machine/state-machine.ts'
import { TimelineValue } from '../machine/timeline-value.ts'
import { MetadataDelta } from './metadata-delta.ts'
import {
  FEATURE_LEVEL_MAX,
  type MetadataRecord,
  type ProducerIdsRecord,
  RECORD_VERSION_MAX,
} from './metadata-record.ts'
import type { NodeImage } from './node-image.ts'
import { NodesImage } from './nodes-image.ts'
import type { TopicView } from './topic-image.ts'
import { TopicsImage } from './topics-image.ts'

/**
 * All metadata of the cluster, as the records of the metadata log up to some index make it. Changed in place,
 * only by `replay`, and only between turns of the event loop: who reads it after an `await` reads a newer one.
 *
 * A node has one that holds committed records only (`apply`; every part of the node reads it), and on a voter
 * the controller has a second one that may run ahead of the commit and is rolled back through `registry`.
 */
export class MetadataImage implements StateMachine<MetadataRecord> {
  readonly registry = new SnapshotRegistry()
  readonly nodes = new NodesImage(this.registry)
  readonly topics = new TopicsImage(this.registry)
  readonly #clusterId = new TimelineValue<Uuid | undefined>(this.registry, undefined)
  readonly #featureLevel = new TimelineValue(this.registry, 0)
  readonly #lastProducerIds = new TimelineValue<ProducerIdsRecord | undefined>(this.registry, undefined)
  #appliedEndIndex: MetadataIndex = 0

  /** Exclusive end of the committed records that `apply` and `restore` brought. */
  get appliedEndIndex(): MetadataIndex {
    return this.#appliedEndIndex
  }

  /** undefined before the first record of the log. */
  get clusterId(): Uuid | undefined {
    return this.#clusterId.get()
  }

  /** 0 before the first record of the log. */
  get featureLevel(): number {
    return this.#featureLevel.get()
  }

  /** All producer ids below are taken. */
  get nextProducerId(): ProducerId {
    return this.#lastProducerIds.get()?.nextProducerId ?? 0
  }

  /** Replays the committed records of the log up to `endIndex` and tells what they changed. */
  apply(entry: { records: Iterable<MetadataRecord>; endIndex: MetadataIndex }): MetadataDelta {
    const { endIndex } = entry
    assert(endIndex > this.#appliedEndIndex, `metadata up to ${endIndex} after ${this.#appliedEndIndex}`)
    const delta = new MetadataDelta()
    for (const record of entry.records) this.replay(record, delta)
    this.#appliedEndIndex = endIndex
    return delta
  }

  /** Replaces everything by a snapshot of committed records (`records`) and tells what that changed. */
  restore(snapshot: { records: Iterable<MetadataRecord>; endIndex: MetadataIndex }): MetadataDelta {
    const before = { nodes: this.nodes.all(), topics: [...this.topics.all()] }
    this.registry.forgetAll()
    this.clear()
    for (const record of snapshot.records) this.replay(record)
    this.#appliedEndIndex = snapshot.endIndex
    return this.#deltaSince(before)
  }

  replay(record: MetadataRecord, delta?: MetadataDelta): void {
    checkVersion(record)
    switch (record.type) {
      case 'featureLevel':
        this.#replayFeatureLevel(record.level)
        break
      case 'cluster':
        assert(this.clusterId === undefined, 'the metadata log names its cluster twice')
        this.#clusterId.set(record.clusterId)
        break
      case 'nodeRegistered':
        this.nodes.replayRegistered(record, delta)
        break
      case 'nodeUnfenced':
        this.nodes.replayUnfenced(record, delta)
        break
      case 'nodeFenced':
        this.nodes.replayState(record, { isFenced: true }, delta)
        break
      case 'nodeDraining':
        this.nodes.replayState(record, { isDraining: true }, delta)
        break
      case 'nodeRemoved':
        this.nodes.replayRemoved(record, delta)
        break
      case 'topic':
        this.topics.replayTopic(record, delta)
        break
      case 'topicDeleted':
        this.topics.replayTopicDeleted(record.topicId, delta)
        break
      case 'partition':
        this.topics.replayPartition(record, delta)
        break
      case 'partitionChanged':
        this.topics.replayPartitionChanged(record, delta)
        break
      case 'topicSettings':
        this.topics.replaySettings(record, delta)
        break
      case 'producerIds':
        assert(record.nextProducerId > this.nextProducerId, 'producer ids went back')
        this.#lastProducerIds.set(record)
        break
      default:
        unreachable(record, 'metadata record')
    }
  }

  clear(): void {
    this.nodes.clear()
    this.topics.clear()
    this.#clusterId.set(undefined)
    this.#featureLevel.set(0)
    this.#lastProducerIds.set(undefined)
  }

  /**
   * A snapshot: records that make this image from nothing. Equal images give equal records in equal order, so
   * snapshots of two nodes can be compared. Read it within one turn.
   */
  *records(): Iterable<MetadataRecord> {
    if (this.featureLevel > 0) yield { type: 'featureLevel', version: 0, level: this.featureLevel }
    if (this.clusterId !== undefined) yield { type: 'cluster', version: 0, clusterId: this.clusterId }
    yield* this.nodes.records()
    yield* this.topics.records()
    const producerIds = this.#lastProducerIds.get()
    if (producerIds !== undefined) yield producerIds
  }

  #replayFeatureLevel(level: number): void {
    if (level > FEATURE_LEVEL_MAX)
      throw tooNew(`feature level ${level}; this release knows levels up to ${FEATURE_LEVEL_MAX}`)
    assert(level > this.featureLevel, `feature level ${level} after ${this.featureLevel}`)
    this.#featureLevel.set(level)
  }

  #deltaSince(before: { nodes: NodeImage[]; topics: TopicView[] }): MetadataDelta {
    const delta = new MetadataDelta()
    const nodes = new Map(before.nodes.map(node => [node.nodeId, node]))
    for (const node of this.nodes.all()) {
      delta.onNodeCompared(nodes.get(node.nodeId), node)
      nodes.delete(node.nodeId)
    }
    for (const nodeId of nodes.keys()) delta.onNodeChanged(nodeId)
    for (const topic of before.topics)
      if (this.topics.byId(topic.id) === undefined) delta.onTopicDeleted(topic)
    const topics = new Map(before.topics.map(topic => [topic.id, topic]))
    for (const topic of this.topics.all()) delta.onTopicCompared(topics.get(topic.id), topic)
    return delta
  }
}

function checkVersion(record: MetadataRecord): void {
  const versionMax = RECORD_VERSION_MAX[record.type]
  if (record.version > versionMax)
    throw tooNew(
      `a ${record.type} record of version ${record.version}; this release knows up to ${versionMax}`,
    )
}

function tooNew(what: string): NaruError {
  return new NaruError('DATA_DIRECTORY_VERSION', `the metadata log holds ${what} (install a newer release)`)
}
