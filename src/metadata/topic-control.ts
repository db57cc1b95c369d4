import type { NodeId, PartitionId, Uuid } from '../base/brands.ts'
import { NaruError } from '../base/errors.ts'
import type { MachineResult } from '../machine/state-machine.ts'
import { CONTROLLER_LIMITS, type ControllerLimits, type ControllerOptions } from './controller-options.ts'
import { type Assignments, CreationPlan, type NewTopic } from './creation-plan.ts'
import { topicToMake } from './internal-topics.ts'
import type { MetadataImage } from './metadata-image.ts'
import type { MetadataRecord, PartitionRecord, SettingOverrides } from './metadata-record.ts'
import { isActive } from './node-image.ts'
import { requireUserTopic } from './topic-errors.ts'
import { checkTopicSettings, normalizeSetting, resolveTopicSettings } from './topic-settings.ts'
import { partitionRecord } from './topics-image.ts'

/**
 * Handlers that create, delete and widen topics. Each looks at the newest state and returns the records that
 * bring the change about; several topics of one request succeed and fail each for itself.
 */
export class TopicControl {
  readonly #image: MetadataImage
  readonly #options: ControllerOptions
  readonly #limits: ControllerLimits

  constructor(image: MetadataImage, options: ControllerOptions) {
    this.#image = image
    this.#options = options
    this.#limits = { ...CONTROLLER_LIMITS, ...options.limits }
  }

  /** `nextTopicId` draws a new random id for each topic that is created. */
  create(
    request: { readonly topics: readonly NewTopic[]; readonly validateOnly?: boolean },
    nextTopicId: () => Uuid,
  ): MachineResult<MetadataRecord, CreateTopicResult[]> {
    this.#checkTopicCount(request.topics.length)
    const plan = new CreationPlan(this.#image, request.topics, this.#options.nodesListed)
    const response = request.topics.map(topic => this.#tryCreate(topic, plan, nextTopicId))
    return { records: request.validateOnly === true ? [] : plan.records, response }
  }

  /** Deletes topics with all their records; a topic id guards against deleting a namesake made since. */
  delete(request: {
    readonly topics: readonly { readonly name: string; readonly topicId?: Uuid }[]
  }): MachineResult<MetadataRecord, DeleteTopicResult[]> {
    this.#checkTopicCount(request.topics.length)
    const records: MetadataRecord[] = []
    const deleted = new Set<Uuid>()
    const response = request.topics.map(({ name, topicId }): DeleteTopicResult => {
      try {
        const topic = requireUserTopic(this.#image, name, topicId)
        if (deleted.has(topic.id))
          throw new NaruError('INVALID_REQUEST', `topic "${name}" is named twice in this request`)
        deleted.add(topic.id)
        records.push({ type: 'topicDeleted', version: 0, topicId: topic.id })
        return { ok: true, name, topicId: topic.id }
      } catch (thrown) {
        return failure(name, thrown)
      }
    })
    return { records, response }
  }

  /** Raises the number of partitions to `partitionCount`; asking for the present number is fine and does nothing. */
  addPartitions(request: {
    readonly name: string
    readonly topicId?: Uuid
    readonly partitionCount: number
    readonly assignments?: Assignments
    readonly validateOnly?: boolean
  }): MachineResult<MetadataRecord, { partitionCount: number }> {
    const { name, partitionCount, assignments } = request
    const topic = requireUserTopic(this.#image, name, request.topicId)
    this.#checkPartitionCount(name, partitionCount)
    const first = topic.partitionCount
    const response = { partitionCount }
    if (partitionCount < first)
      throw new NaruError(
        'INVALID_PARTITION_COUNT',
        `topic "${name}" has ${first} partitions and cannot have fewer, ${partitionCount} were asked for (make a new topic with fewer and copy the records)`,
        { details: { topic: name } },
      )
    const plan = new CreationPlan(this.#image, [], this.#options.nodesListed)
    const count = partitionCount - first
    this.#checkRoom(count, plan)
    const { replicationFactor } = topic
    const wanted = { name, count, assignments, replicationFactor }
    plan.checkReplicas(wanted)
    const replicaLists = plan.replicaLists(wanted)
    const records = this.#partitionRecords({ topicId: topic.id, first, replicaLists })
    return { records: request.validateOnly === true ? [] : records, response }
  }

  #tryCreate(topic: NewTopic, plan: CreationPlan, nextTopicId: () => Uuid): CreateTopicResult {
    try {
      return this.#create(topic, plan, nextTopicId)
    } catch (thrown) {
      return failure(topic.name, thrown)
    }
  }

  #create(asked: NewTopic, plan: CreationPlan, nextTopicId: () => Uuid): CreateTopicResult {
    const topic = topicToMake(asked)
    const { name, assignments } = topic
    plan.checkIsFree(name)
    if (assignments !== undefined && (topic.partitions ?? topic.replicationFactor) !== undefined)
      throw new NaruError(
        'INVALID_REQUEST',
        `topic "${name}": give either assignments, or partitions and replication factor`,
      )
    const count = assignments?.length ?? topic.partitions ?? this.#options.defaultPartitions
    this.#checkPartitionCount(name, count)
    this.#checkRoom(count, plan)
    const replicationFactor =
      assignments?.[0]?.length ?? topic.replicationFactor ?? this.#defaultReplicationFactor()
    const wanted = { name, count, assignments, replicationFactor }
    plan.checkReplicas(wanted)
    const settings = this.#checkSettings(topic.settings ?? {}, replicationFactor)
    // From here on nothing throws: a topic is in the plan whole or not at all.
    const replicaLists = plan.replicaLists(wanted)
    const topicId = nextTopicId()
    plan.add(name, [
      { type: 'topic', version: 0, topicId, name, settings },
      ...this.#partitionRecords({ topicId, first: 0, replicaLists }),
    ])
    return { ok: true, name, topicId, partitionCount: count, replicationFactor }
  }

  #checkSettings(settings: SettingOverrides, replicationFactor: number): SettingOverrides {
    const overrides = Object.fromEntries(
      Object.entries(settings).map(([key, value]) => [key, normalizeSetting(key, value)]),
    )
    const defaults = this.#options.topicDefaults ?? {}
    checkTopicSettings(resolveTopicSettings(overrides, { replicationFactor, defaults }), replicationFactor)
    return overrides
  }

  /** Counting nodes that are down: else what is made while a cluster starts would have one replica for ever. */
  #defaultReplicationFactor(): number {
    const nodeCount = Math.max(this.#options.nodesListed, this.#image.nodes.count)
    return Math.min(this.#options.defaultReplicationFactorMax ?? 3, nodeCount)
  }

  #partitionRecords(of: {
    topicId: Uuid
    first: PartitionId
    replicaLists: readonly (readonly NodeId[])[]
  }): PartitionRecord[] {
    const { topicId, first } = of
    return of.replicaLists.map((replicas, index) => {
      const isr = replicas.filter(nodeId => isActive(this.#image.nodes.get(nodeId)))
      const leader = isr[0] as NodeId
      const epochs = { leaderEpoch: 0, partitionEpoch: 0, lastUncleanEpoch: null }
      const state = { replicas, isr, elr: [], leader, ...epochs }
      return partitionRecord({ topicId, partition: first + index, state })
    })
  }

  #checkTopicCount(count: number): void {
    const max = this.#limits.topicsPerRequestMax
    if (count > max)
      throw new NaruError(
        'REQUEST_TOO_LARGE',
        `${count} topics in one request, at most ${max} are taken (split it)`,
      )
  }

  #checkPartitionCount(name: string, count: number): void {
    const max = this.#limits.partitionsPerTopicMax
    if (Number.isSafeInteger(count) && count >= 1 && count <= max) return
    throw new NaruError(
      'INVALID_PARTITION_COUNT',
      `topic "${name}" cannot have ${count} partitions (ask for 1 to ${max})`,
      { details: { topic: name, partitions_max: String(max) } },
    )
  }

  #checkRoom(count: number, plan: CreationPlan): void {
    const { partitionsPerRequestMax, partitionsPerClusterMax } = this.#limits
    if (plan.partitionCount + count > partitionsPerRequestMax)
      throw new NaruError(
        'REQUEST_TOO_LARGE',
        `more than ${partitionsPerRequestMax} new partitions in one request (split it)`,
      )
    const existing = this.#image.topics.partitionCount + plan.partitionCount
    if (existing + count > partitionsPerClusterMax)
      throw new NaruError(
        'INVALID_PARTITION_COUNT',
        `the cluster has ${existing} partitions and takes at most ${partitionsPerClusterMax}, ${count} more were asked for (delete topics, or use fewer partitions)`,
      )
  }
}

/** The error is a failure of this topic alone. `topicId` stands for nothing if the request only validated. */
export type CreateTopicResult =
  | {
      readonly ok: true
      readonly name: string
      readonly topicId: Uuid
      readonly partitionCount: number
      readonly replicationFactor: number
    }
  | TopicFailure

export type DeleteTopicResult =
  | { readonly ok: true; readonly name: string; readonly topicId: Uuid }
  | TopicFailure

export interface TopicFailure {
  readonly ok: false
  readonly name: string
  readonly error: NaruError
}

/** An expected failure of one topic; anything else is the failure of the whole request. */
function failure(name: string, thrown: unknown): TopicFailure {
  if (!(thrown instanceof NaruError)) throw thrown
  return { ok: false, name, error: thrown }
}
