import { assert } from '../../base/assert.ts'
import type { Epoch, NodeId, PartitionId, Uuid } from '../../base/brands.ts'
import { type ErrorDetails, NaruError } from '../../base/errors.ts'
import type { DiskReserve } from '../../log/disk-reserve.ts'
import type { LogEvent } from '../../log/log-core.ts'
import type { LogDirectory } from '../../log/log-directory.ts'
import type { UnopenedPartition } from '../../log/log-directory-options.ts'
import type { MetadataDelta } from '../../metadata/metadata-delta.ts'
import type { MetadataImage } from '../../metadata/metadata-image.ts'
import type { PartitionState } from '../../metadata/metadata-record.ts'
import type { TopicView } from '../../metadata/topic-image.ts'
import type { TopicSettings } from '../../metadata/topic-settings.ts'
import type { Clock } from '../../ports/clock.ts'
import type { MessageStream, ServiceHandlers } from '../../ports/transport.ts'
import { Replication } from '../../wire/generated/internal-services.ts'
import type { ViewOf } from './derived-view.ts'
import { HostedPartition, type ReplicaContents } from './hosted-partition.ts'
import type { PartitionLeader } from './partition-leader.ts'
import { partitionSettings } from './partition-settings.ts'
import type { ReplicationOptions } from './replication-options.ts'
import { Replicator } from './replicator.ts'

export interface ReplicaSetOptions {
  readonly nodeId: NodeId
  readonly directory: LogDirectory
  readonly clock: Clock
  readonly reserve: DiskReserve
  readonly onEvent: (event: LogEvent) => void
  /** A partition could not be opened or removed; the others go on. */
  readonly onError: (error: NaruError) => void
  /** This node's defaults for topics that do not set a setting. */
  readonly settingDefaults: Partial<TopicSettings>
  readonly replication: ReplicationOptions
  /** What is kept beside the logs of some topics. */
  readonly viewOf?: ViewOf
  /** This node leads a partition from now on, until the leader says that it has ended. */
  readonly onLeading?: (leader: PartitionLeader) => void
}

/**
 * All partitions that this node has a replica of, kept as the committed metadata say: a partition that appears
 * gets its log, one whose topic is deleted or whose replicas are elsewhere now loses it, settings apply at once.
 *
 * Directories of topics that the metadata do not know are left alone at start: metadata of then may be old. They are
 * removed by `removeOrphans`, once it is sure that the topic is gone (A10).
 *
 * Invariant: a partition whose directory is being removed is not hosted before that is over.
 */
export class ReplicaSet {
  readonly #options: ReplicaSetOptions
  readonly #topics = new Map<Uuid, Map<PartitionId, HostedPartition>>()
  /** Hosted, and not known yet to be open or not. */
  readonly #opening = new Set<HostedPartition>()
  readonly #removals = new Map<string, Promise<void>>()
  #stopping: NaruError | undefined
  #image: MetadataImage | undefined
  #replicator: Replicator | undefined

  constructor(options: ReplicaSetOptions) {
    this.#options = options
  }

  /**
   * Opens all partitions of this node; resolves when each one has its role, or is known to have none. The image holds the
   * registration of this process, under `nodeEpoch`.
   */
  async open(image: MetadataImage, { nodeEpoch }: { nodeEpoch: Epoch }): Promise<void> {
    this.#image = image
    this.#replicator = new Replicator({
      ...this.#options.replication,
      nodeId: this.#options.nodeId,
      nodeEpoch,
      clock: this.#options.clock,
      image,
      partition: (topicId, partition) => this.#topics.get(topicId)?.get(partition),
      partitions: () => this.#hosted(),
      isFull: () => this.#options.reserve.isLow,
      onError: this.#options.onError,
    })
    if (this.#stopping) this.#replicator.close(this.#stopping)
    for (const topic of image.topics.all()) this.#host(topic)
    await Promise.all([...this.#hosted()].map(partition => partition.opened))
  }

  /** Subscriber of the metadata. */
  onMetadata(delta: MetadataDelta, image: MetadataImage): void {
    if (this.#stopping) return
    this.#replicator?.onMetadata(delta)
    for (const topic of delta.deletedTopics.values()) this.#remove(topic)
    for (const topicId of new Set([...delta.changedPartitions.keys(), ...delta.changedSettings])) {
      const topic = image.topics.byId(topicId)
      if (topic) this.#host(topic)
    }
  }

  /** What the peers' port of this node serves for those that follow it; until `open`, they are told to try again. */
  get handlers(): ServiceHandlers {
    return new Map([
      [
        Replication.replicate.path,
        { kind: 'stream', endsAtDrain: true, handle: stream => this.#acceptStream(stream) },
      ],
    ])
  }

  /**
   * Removes directories that no partition of this node has: of topics deleted while it was away, of deletions that a
   * crash cut short. The metadata must hold everything that was committed before the call.
   */
  async removeOrphans(): Promise<void> {
    const { directory } = this.#options
    for (const found of await directory.unopenedPartitions()) {
      if (!this.#stopping && !this.#isExpected(found)) await this.#deleteDirectory(found)
    }
  }

  /** See `Replicator`. */
  hears(nodeId: NodeId): boolean {
    return this.#replicator?.hears(nodeId) ?? false
  }

  leader(topicId: Uuid, partition: PartitionId): PartitionLeader | undefined {
    return this.#topics.get(topicId)?.get(partition)?.leader
  }

  /** What this node's copy holds, whoever leads; undefined: it has none, or has not opened it. */
  describe(topicId: Uuid, partition: PartitionId): ReplicaContents | undefined {
    return this.#topics.get(topicId)?.get(partition)?.contents
  }

  /** The leader here, or the error that says why there is none. */
  requireLeader(topic: TopicView, partition: PartitionId): PartitionLeader {
    const hosted = this.#topics.get(topic.id)?.get(partition)
    const leader = hosted?.leader
    if (leader) return leader
    const details = { topic: topic.name, partition: String(partition) }
    const state = topic.partition(partition)
    if (!state)
      throw new NaruError(
        'UNKNOWN_PARTITION',
        `topic "${topic.name}" has no partition ${partition}: it has ${topic.partitionCount}, numbered from 0`,
        { details: { ...details, partitionCount: String(topic.partitionCount) } },
      )
    if (state.leader === this.#options.nodeId && hosted) throw hosted.refusal
    throw this.#ledElsewhere(state, { name: `"${topic.name}" partition ${partition}`, details })
  }

  /** Settled when every partition that this node hosts now is open, or known not to be. */
  async whenAllOpened(): Promise<void> {
    await Promise.all([...this.#opening].map(partition => partition.opened))
  }

  /** Settled when every partition of the topic that this node hosts is led, or known not to be. */
  async whenOpened(topicId: Uuid): Promise<void> {
    await Promise.all([...(this.#topics.get(topicId)?.values() ?? [])].map(partition => partition.opened))
  }

  /** Answers what is parked, then closes every log. */
  async close(because: NaruError): Promise<void> {
    this.#stopping = because
    this.#replicator?.close(because)
    await Promise.all([...this.#hosted()].map(partition => partition.close(because)))
    await Promise.all(this.#removals.values())
  }

  #acceptStream(stream: MessageStream): void {
    if (this.#replicator) {
      this.#replicator.accept(stream)
      return
    }
    stream.setHandlers({ onMessage() {} })
    stream.fail(
      new NaruError('NODE_STARTING', `node ${this.#options.nodeId} has not opened its partitions yet`),
    )
  }

  #host(topic: TopicView): void {
    let partitions = this.#topics.get(topic.id)
    if (!partitions) {
      partitions = new Map()
      this.#topics.set(topic.id, partitions)
    }
    const settings = partitionSettings(topic, this.#options.settingDefaults)
    for (const [partition, state] of topic.partitions()) {
      const hosted = partitions.get(partition)
      if (hosted && !this.#isHere(state)) this.#release({ topic, partition, hosted })
      else if (hosted) hosted.update(state, settings)
      else if (this.#isHere(state) && !this.#removals.has(keyOf(topic.id, partition))) {
        const identity = { topic: topic.name, topicId: topic.id, partition }
        const replicator = this.#replicator
        assert(replicator, 'partitions are hosted by a node that is registered')
        const { viewOf, onLeading = () => {} } = this.#options
        const beside = { view: viewOf?.(identity), onLeading }
        const made = new HostedPartition({
          ...this.#options,
          ...identity,
          ...beside,
          settings,
          state,
          replicator,
        })
        partitions.set(partition, made)
        this.#opening.add(made)
        void made.opened.finally(() => this.#opening.delete(made))
      }
    }
  }

  #ledElsewhere(
    { leader, leaderEpoch }: PartitionState,
    of: { name: string; details: ErrorDetails },
  ): NaruError {
    const { name, details } = of
    if (leader === null)
      return new NaruError(
        'LEADER_NOT_AVAILABLE',
        `${name} has no leader now: no node that runs has all of its records`,
        { details },
      )
    const address = this.#image?.nodes.get(leader)?.clientAddress
    return new NaruError('NOT_LEADER', `${name} is led by node ${leader}${address ? ` (${address})` : ''}`, {
      details: {
        ...details,
        leader_id: String(leader),
        leader_epoch: String(leaderEpoch),
        ...(address && { leader_address: address }),
      },
    })
  }

  #isHere(state: PartitionState): boolean {
    return state.replicas.includes(this.#options.nodeId)
  }

  #remove(topic: TopicView): void {
    const partitions = this.#topics.get(topic.id)
    if (!partitions) return
    this.#topics.delete(topic.id)
    const because = new NaruError('UNKNOWN_TOPIC', `topic "${topic.name}" was deleted`, {
      details: { topic: topic.name },
    })
    for (const [partition, hosted] of partitions) this.#beginRemoval({ topic, partition, hosted, because })
  }

  /** Other nodes have its replicas now. */
  #release(of: { topic: TopicView; partition: PartitionId; hosted: HostedPartition }): void {
    const { topic, partition } = of
    this.#topics.get(topic.id)?.delete(partition)
    const because = new NaruError('NOT_LEADER', `"${topic.name}" partition ${partition} has left this node`, {
      details: { topic: topic.name, partition: String(partition) },
    })
    this.#beginRemoval({ ...of, because })
  }

  #beginRemoval(target: Removal): void {
    const { topic, partition } = target
    const key = keyOf(topic.id, partition)
    const removal = this.#removeOne(target).finally(() => {
      this.#removals.delete(key)
      // It may have come back meanwhile.
      const now = this.#image?.topics.byId(topic.id)
      if (now && !this.#stopping) this.#host(now)
    })
    this.#removals.set(key, removal)
  }

  async #removeOne({ topic, partition, hosted, because }: Removal): Promise<void> {
    await hosted.close(because)
    await this.#forgetView({ topic: topic.name, partition })
    await this.#deleteDirectory({ topic: topic.name, topicId: topic.id, partition })
  }

  /** Where that fails, the view finds an empty log the next time, and goes then. */
  async #forgetView(of: Parameters<ViewOf>[0]): Promise<void> {
    try {
      await this.#options.viewOf?.(of)?.forget()
    } catch (thrown) {
      this.#options.onError(NaruError.from(thrown))
    }
  }

  async #deleteDirectory(of: UnopenedPartition): Promise<void> {
    try {
      await this.#options.directory.deletePartition(of)
    } catch (thrown) {
      this.#options.onError(NaruError.from(thrown))
    }
  }

  /** A partition of this directory belongs on this node, or may. */
  #isExpected({ topic, topicId, partition }: UnopenedPartition): boolean {
    const topics = this.#image?.topics
    if (!topics) return true
    if (topicId === undefined) return topics.byName(topic) !== undefined
    const state = topics.byId(topicId)?.partition(partition)
    return state !== undefined && this.#isHere(state)
  }

  *#hosted(): Iterable<HostedPartition> {
    for (const partitions of this.#topics.values()) yield* partitions.values()
  }
}

function keyOf(topicId: Uuid, partition: PartitionId): string {
  return `${topicId}-${partition}`
}

interface Removal {
  readonly topic: TopicView
  readonly partition: PartitionId
  readonly hosted: HostedPartition
  readonly because: NaruError
}
