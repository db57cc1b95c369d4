import { NaruError } from '../base/errors.ts'
import { isActive } from '../metadata/node-image.ts'
import { addingReplicas, removingReplicas } from '../metadata/partition-reassignment.ts'
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
import { changeMetadata } from './metadata-changes.ts'
import { pageOf, readToken, writeToken } from './pages.ts'
import { partitionsNotServing } from './partition-serving.ts'
import { countWithin, integerWithin, invalidRequest, timeoutMsOf } from './request-checks.ts'
import type { ServiceNode } from './service-node.ts'
import { doubtAbout, findTopic, isDenial } from './topic-lookup.ts'

const TOPICS_MAX = 100

/** The calls of naru.v1.Admin that make, change and show topics. */
export class AdminTopics {
  readonly #node: ServiceNode

  constructor(node: ServiceNode) {
    this.#node = node
  }

  /** On the controller, as all that changes something; the answer comes within `leftMs` in any case. */
  async create(request: CreateTopicsRequest, leftMs: number): Promise<{ results: CreateTopicResult[] }> {
    countWithin(request.topics.length, { name: 'topics', min: 1, max: TOPICS_MAX })
    const deadlineMs = this.#deadlineMs(request, leftMs)
    const { validateOnly } = request
    const topics = request.topics.map(newTopic)
    const nextTopicId = () => randomUuid(this.#node.prng)
    const created = await changeMetadata(this.#node, controller =>
      controller.topics.create({ topics, validateOnly }, nextTopicId),
    )
    const results = created.map(async (result): Promise<CreateTopicResult> => {
      const none = { topicId: '', partitions: 0, replicationFactor: 0, notServing: [], warnings: [] }
      if (!result.ok) return { ...none, topic: result.name, failure: errorToFailure(result.error) }
      const { name: topic, topicId, partitionCount: partitions, replicationFactor } = result
      const made = { ...none, topic, partitions, replicationFactor }
      if (validateOnly) return made
      const notServing = await partitionsNotServing(this.#node, topicId, deadlineMs)
      return { ...made, topicId, notServing }
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
    const named = topics.map((name, index) => {
      const topicId = topicIds[index]
      return { name, ...(topicId !== undefined && { topicId }) }
    })
    const deleted = await changeMetadata(this.#node, controller =>
      controller.topics.delete({ topics: named }),
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
  async describe(request: DescribeTopicsRequest): Promise<DescribeTopicsResponse> {
    countWithin(request.topics.length, { name: 'topics', min: 1, max: TOPICS_MAX })
    const size = integerWithin(request.pageSize, { name: 'page_size', min: 1, max: 10_000, default: 2_000 })
    let [index, from] = describeToken(request.pageToken, request.topics.length)
    const doubt = await doubtAbout(this.#node, request.topics)
    const topics: TopicDescription[] = []
    let left = size
    for (; index < request.topics.length && left > 0; index++, from = 0) {
      const described = this.#describe(request.topics[index] as string, { from, count: left, doubt })
      topics.push(described)
      // What is not there is an item too, or its message would not be counted.
      left -= Math.max(1, described.partitions.length)
      const end = from + described.partitions.length
      if (end < described.partitionCount) return { topics, nextPageToken: writeToken(`${index}/${end}`) }
    }
    const isLast = index >= request.topics.length
    return { topics, nextPageToken: isLast ? '' : writeToken(`${index}/0`) }
  }

  async addPartitions(request: AddPartitionsRequest, leftMs: number): Promise<AddPartitionsResponse> {
    const { topic: name, topicId, partitionCount, validateOnly } = request
    const deadlineMs = this.#deadlineMs(request, leftMs)
    const assignments = request.assignments.map(list => list.nodeIds)
    await changeMetadata(this.#node, controller =>
      controller.topics.addPartitions({
        name,
        partitionCount,
        validateOnly,
        ...(topicId !== undefined && { topicId }),
        ...(assignments.length > 0 && { assignments }),
      }),
    )
    if (validateOnly) return { partitionCount, notServing: [] }
    const topic = findTopic(this.#node, name, topicId)
    return { partitionCount, notServing: await partitionsNotServing(this.#node, topic.id, deadlineMs) }
  }

  #deadlineMs(request: { readonly timeoutMs?: number }, leftMs: number): number {
    return this.#node.clock.monotonicMs() + Math.min(timeoutMsOf(request.timeoutMs), leftMs)
  }

  #topicResult(
    result: { ok: true; name: string } | { ok: false; name: string; error: NaruError },
  ): TopicResult {
    if (result.ok) return { topic: result.name }
    return { topic: result.name, failure: errorToFailure(result.error) }
  }

  #describe(
    name: string,
    range: { from: number; count: number; doubt: NaruError | undefined },
  ): TopicDescription {
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
      const error = isDenial(thrown) ? (range.doubt ?? thrown) : thrown
      return { topic: name, ...nothing, failure: errorToFailure(error) }
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
        addingReplicas: addingReplicas(state),
        removingReplicas: removingReplicas(state),
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
