import type { PartitionId, Uuid } from '../base/brands.ts'
import { NaruError } from '../base/errors.ts'
import { Controller } from '../metadata/controller.ts'
import { isActive } from '../metadata/node-image.ts'
import type { TopicView } from '../metadata/topic-image.ts'
import { isInternalTopic } from '../metadata/topic-name.ts'
import { randomUuid } from '../ports/prng.ts'
import { errorToFailure } from '../wire/failure.ts'
import type {
  AddPartitionsRequest,
  AddPartitionsResponse,
  CreateTopicResult,
  CreateTopicsRequest,
  DeleteTopicsRequest,
  DescribeTopicsRequest,
  DescribeTopicsResponse,
  ListTopicsRequest,
  ListTopicsResponse,
  NewTopic,
  PartitionDescription,
  TopicDescription,
  TopicResult,
} from '../wire/messages.ts'
import { describeTopicSettings } from './admin-configs.ts'
import { pageOf, readToken, writeToken } from './pages.ts'
import { countWithin, integerWithin, invalidRequest, timeoutMsOf } from './request-checks.ts'
import type { ServiceNode } from './service-node.ts'
import { settledWithin } from './settled-within.ts'
import { findTopic } from './topic-lookup.ts'

const TOPICS_MAX = 100

/** The calls of naru.v1.Admin that make, change and show topics. */
export class AdminTopics {
  readonly #node: ServiceNode

  constructor(node: ServiceNode) {
    this.#node = node
  }

  async create(request: CreateTopicsRequest): Promise<{ results: CreateTopicResult[] }> {
    countWithin(request.topics.length, { name: 'topics', min: 1, max: TOPICS_MAX })
    const timeoutMs = timeoutMsOf(request.timeoutMs)
    const deadlineMs = this.#node.clock.monotonicMs() + timeoutMs
    const { controller, controllerOptions, prng } = this.#node
    const { validateOnly } = request
    const topics = request.topics.map(newTopic)
    const created = await controller.submit(newest =>
      new Controller(newest, controllerOptions).topics.create({ topics, validateOnly }, () =>
        randomUuid(prng),
      ),
    )
    const results = created.map(async (result): Promise<CreateTopicResult> => {
      const none = { topicId: '', partitions: 0, replicationFactor: 0, notServing: [], warnings: [] }
      if (!result.ok) return { ...none, topic: result.name, failure: errorToFailure(result.error) }
      const { name: topic, topicId, partitionCount: partitions, replicationFactor } = result
      const made = { ...none, topic, partitions, replicationFactor }
      if (validateOnly) return made
      return { ...made, topicId, notServing: await this.#notServing(topicId, deadlineMs) }
    })
    return { results: await Promise.all(results) }
  }

  async delete(request: DeleteTopicsRequest): Promise<{ results: TopicResult[] }> {
    const { topics, topicIds } = request
    timeoutMsOf(request.timeoutMs)
    countWithin(topics.length, { name: 'topics', min: 1, max: TOPICS_MAX })
    if (topicIds.length > 0 && topicIds.length !== topics.length)
      throw invalidRequest(
        `topic_ids: ${topicIds.length} for ${topics.length} topics; give one per topic, or none`,
      )
    const { controller, controllerOptions } = this.#node
    const named = topics.map((name, index) => {
      const topicId = topicIds[index]
      return { name, ...(topicId !== undefined && { topicId }) }
    })
    const deleted = await controller.submit(newest =>
      new Controller(newest, controllerOptions).topics.delete({ topics: named }),
    )
    return { results: deleted.map(result => this.#topicResult(result)) }
  }

  list(request: ListTopicsRequest): ListTopicsResponse {
    const { topics } = this.#node.controller.image
    const names = topics
      .names()
      .filter(
        name => name.startsWith(request.namePrefix) && (request.includeInternal || !isInternalTopic(name)),
      )
    const { items, nextPageToken } = pageOf(names, name => name, request)
    const found = items.map(name => topics.byName(name)).filter(topic => topic !== undefined)
    return {
      topics: found.map(({ name, id, partitionCount, replicationFactor }) => ({
        topic: name,
        topicId: id,
        partitions: partitionCount,
        replicationFactor,
        internal: isInternalTopic(name),
      })),
      nextPageToken,
    }
  }

  /** Pages count partitions, since a topic may have thousands. */
  describe(request: DescribeTopicsRequest): DescribeTopicsResponse {
    countWithin(request.topics.length, { name: 'topics', min: 1, max: TOPICS_MAX })
    const size = integerWithin(request.pageSize, { name: 'page_size', min: 1, max: 10_000, default: 2_000 })
    let [index, from] = describeToken(request.pageToken, request.topics.length)
    const topics: TopicDescription[] = []
    let left = size
    for (; index < request.topics.length && left > 0; index++, from = 0) {
      const described = this.#describe(request.topics[index] as string, { from, count: left })
      topics.push(described)
      // What is not there is an item too, or its message would not be counted.
      left -= Math.max(1, described.partitions.length)
      const end = from + described.partitions.length
      if (end < described.partitionCount) return { topics, nextPageToken: writeToken(`${index}/${end}`) }
    }
    const isLast = index >= request.topics.length
    return { topics, nextPageToken: isLast ? '' : writeToken(`${index}/0`) }
  }

  async addPartitions(request: AddPartitionsRequest): Promise<AddPartitionsResponse> {
    const { topic: name, topicId, partitionCount, validateOnly } = request
    const deadlineMs = this.#node.clock.monotonicMs() + timeoutMsOf(request.timeoutMs)
    const { controller, controllerOptions } = this.#node
    findTopic(this.#node, name, topicId)
    const assignments = request.assignments.map(list => list.nodeIds)
    await controller.submit(newest =>
      new Controller(newest, controllerOptions).topics.addPartitions({
        name,
        partitionCount,
        validateOnly,
        ...(topicId !== undefined && { topicId }),
        ...(assignments.length > 0 && { assignments }),
      }),
    )
    if (validateOnly) return { partitionCount, notServing: [] }
    const topic = findTopic(this.#node, name, topicId)
    return { partitionCount, notServing: await this.#notServing(topic.id, deadlineMs) }
  }

  /** Partitions without a serving leader once all are there, or at the deadline. */
  async #notServing(topicId: Uuid, deadlineMs: number): Promise<PartitionId[]> {
    const { clock, replicas, controller } = this.#node
    await settledWithin(clock, replicas.whenOpened(topicId), Math.max(0, deadlineMs - clock.monotonicMs()))
    const count = controller.image.topics.byId(topicId)?.partitionCount ?? 0
    return Array.from({ length: count }, (_, partition) => partition).filter(
      partition => replicas.leader(topicId, partition) === undefined,
    )
  }

  #topicResult(
    result: { ok: true; name: string } | { ok: false; name: string; error: NaruError },
  ): TopicResult {
    if (result.ok) return { topic: result.name }
    return { topic: result.name, failure: errorToFailure(result.error) }
  }

  #describe(name: string, range: { from: number; count: number }): TopicDescription {
    try {
      const topic = findTopic(this.#node, name, undefined)
      return {
        topic: name,
        topicId: topic.id,
        internal: isInternalTopic(name),
        partitionCount: topic.partitionCount,
        partitions: this.#describePartitions(topic, range),
        settings: describeTopicSettings(topic, this.#node.controllerOptions.topicDefaults ?? {}),
      }
    } catch (thrown) {
      if (!(thrown instanceof NaruError)) throw thrown
      const nothing = { topicId: '', internal: false, partitionCount: 0, partitions: [], settings: [] }
      return { topic: name, ...nothing, failure: errorToFailure(thrown) }
    }
  }

  #describePartitions(
    topic: TopicView,
    { from, count }: { from: number; count: number },
  ): PartitionDescription[] {
    const { nodes } = this.#node.controller.image
    const descriptions: PartitionDescription[] = []
    for (let partition = from; partition < Math.min(topic.partitionCount, from + count); partition++) {
      const state = topic.partition(partition)
      if (state === undefined) break
      const { leader, leaderEpoch, partitionEpoch, replicas, isr, elr } = state
      descriptions.push({
        partition,
        ...(leader !== null && { leaderId: leader }),
        leaderEpoch,
        partitionEpoch,
        replicas,
        isr,
        elr,
        offlineReplicas: replicas.filter(nodeId => !isActive(nodes.get(nodeId))),
        addingReplicas: [],
        removingReplicas: [],
      })
    }
    return descriptions
  }
}

function newTopic(topic: NewTopic) {
  const { partitions, replicationFactor, assignments, settings } = topic
  return {
    name: topic.topic,
    settings,
    ...(partitions !== undefined && { partitions }),
    ...(replicationFactor !== undefined && { replicationFactor }),
    ...(assignments.length > 0 && { assignments: assignments.map(list => list.nodeIds) }),
  }
}

function describeToken(token: string, topicCount: number): [topic: number, partition: number] {
  if (token === '') return [0, 0]
  const match = /^(\d{1,3})\/(\d{1,6})$/.exec(readToken(token))
  const index = Number(match?.[1] ?? Number.NaN)
  if (match === null || index >= topicCount)
    throw invalidRequest('page_token is not of this request: start again without it')
  return [index, Number(match[2])]
}
