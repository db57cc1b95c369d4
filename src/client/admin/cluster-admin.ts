import { failureToError } from '../../wire/failure.ts'
import type {
  DeleteRecordsResult,
  Failure,
  MessageInit,
  ListedOffset as WireOffset,
  TopicDescription as WireTopic,
} from '../../wire/messages.ts'
import { Admin as AdminService, Consumer, type Method } from '../../wire/methods.ts'
import type { Connection } from '../connection.ts'
import { askLeaders } from '../leader-calls.ts'
import type { MetadataCache } from '../metadata-cache.ts'
import { shown } from '../option-check.ts'
import { clusterDescription, quorumDescription } from './cluster-descriptions.ts'
import { ClusterMoves } from './cluster-moves.ts'
import type { MovesAdmin, PartitionPlace } from './moves-types.ts'
import type {
  Admin,
  ClusterDescription,
  CreatedTopic,
  CreateTopicsOptions,
  DeletedRecords,
  ListedOffset,
  ListTopicsOptions,
  NewTopic,
  OffsetPosition,
  PartitionDescription,
  QuorumDescription,
  TopicDescription,
  TopicListing,
  TopicSetting,
} from './types.ts'
import { wirePosition } from './wire-position.ts'

/** Any node takes these calls. What only reads is repeated after any failure; a change only if it did not happen. */
export class ClusterAdmin implements Admin {
  readonly #connection: Connection
  readonly #metadata: MetadataCache
  readonly #moves: ClusterMoves

  constructor(connection: Connection, metadata: MetadataCache) {
    this.#connection = connection
    this.#metadata = metadata
    this.#moves = new ClusterMoves(connection)
  }

  async createTopics(
    topics: readonly NewTopic[],
    options: CreateTopicsOptions = {},
  ): Promise<CreatedTopic[]> {
    if (!Array.isArray(topics))
      throw new TypeError(`createTopics takes an array of topics, not ${shown(topics)}`)
    const timeoutMs = options.timeoutMs ?? TIMEOUT_MS
    const { results } = await this.#connection.call(
      AdminService.createTopics,
      {
        topics: topics.map(({ name, ...rest }) => ({ topic: name, ...rest })),
        validateOnly: options.validateOnly ?? false,
        timeoutMs,
      },
      { timeoutMs: timeoutMs + ANSWER_MS },
    )
    throwFirst(results)
    return results.map(({ topic, topicId, partitions, replicationFactor, notServing, warnings }) => ({
      name: topic,
      topicId,
      partitions,
      replicationFactor,
      notServing,
      warnings,
    }))
  }

  async deleteTopics(names: readonly string[]): Promise<void> {
    const { results } = await this.#connection.call(
      AdminService.deleteTopics,
      { topics: names, timeoutMs: TIMEOUT_MS },
      { timeoutMs: TIMEOUT_MS + ANSWER_MS },
    )
    throwFirst(results)
  }

  async listTopics(options: ListTopicsOptions = {}): Promise<TopicListing[]> {
    const found: TopicListing[] = []
    let pageToken = ''
    do {
      const page = await this.#connection.call(
        AdminService.listTopics,
        {
          namePrefix: options.prefix ?? '',
          includeInternal: options.includeInternal ?? false,
          pageSize: PAGE_TOPICS,
          pageToken,
        },
        { repeatable: true },
      )
      for (const { topic, ...rest } of page.topics) found.push({ name: topic, ...rest })
      pageToken = page.nextPageToken
    } while (pageToken !== '')
    return found
  }

  async describeTopics(names: readonly string[]): Promise<TopicDescription[]> {
    const found: TopicDescription[] = []
    for (let at = 0; at < names.length; at += DESCRIBED_TOPICS_MAX)
      found.push(...(await this.#describe(names.slice(at, at + DESCRIBED_TOPICS_MAX))))
    return found
  }

  async createPartitions(name: string, count: number): Promise<void> {
    await this.#connection.call(
      AdminService.addPartitions,
      { topic: name, partitionCount: count, timeoutMs: TIMEOUT_MS },
      { timeoutMs: TIMEOUT_MS + ANSWER_MS },
    )
  }

  async alterTopicSettings(
    name: string,
    change: { readonly set?: Readonly<Record<string, string>>; readonly remove?: readonly string[] },
    options: { readonly validateOnly?: boolean } = {},
  ): Promise<void> {
    const { results } = await this.#connection.call(AdminService.alterConfigs, {
      changes: [{ topic: name, set: change.set ?? {}, unset: change.remove ?? [] }],
      validateOnly: options.validateOnly ?? false,
    })
    throwFirst(results)
  }

  async deleteRecords(
    name: string,
    before: Readonly<Record<number, number | 'latest'>>,
  ): Promise<DeletedRecords[]> {
    const beforeOf = (partition: number) => {
      const place = before[partition]
      return place === 'latest' ? ({ at: 'LATEST' } as const) : { offset: place }
    }
    const results = await askLeaders<DeleteRecordsResult>(this.#connection, this.#metadata, {
      topic: name,
      partitions: Object.keys(before).map(Number),
      timeoutMs: TIMEOUT_MS,
      // Deleting what is gone already changes nothing; but `latest` moves.
      repeatable: !Object.values(before).includes('latest'),
      ask: async (nodeId, partitions, leftMs) => {
        const asked = partitions.map(partition => ({ topic: name, partition, before: beforeOf(partition) }))
        const request = { partitions: asked, timeoutMs: Math.max(1, Math.floor(leftMs)) }
        return (await this.#callLeader(nodeId, AdminService.deleteRecords, request, leftMs)).results
      },
      failed: (partition, failure) => ({ topic: name, partition, logStartOffset: 0, failure }),
    })
    throwFirst(results)
    return results.map(({ partition, logStartOffset }) => ({ partition, logStartOffset }))
  }

  async describeCluster(): Promise<ClusterDescription> {
    return clusterDescription(
      await this.#connection.call(AdminService.describeCluster, {}, { repeatable: true }),
    )
  }

  async describeQuorum(options: { readonly timeoutMs?: number } = {}): Promise<QuorumDescription> {
    return quorumDescription(
      await this.#connection.call(AdminService.describeQuorum, {}, { ...options, repeatable: true }),
    )
  }

  async addVoter(nodeId: number): Promise<readonly number[]> {
    const options = { timeoutMs: TIMEOUT_MS }
    return (await this.#connection.call(AdminService.addVoter, { nodeId }, options)).voters
  }

  async removeVoter(
    nodeId: number,
    { directoryId }: { readonly directoryId?: string } = {},
  ): Promise<readonly number[]> {
    const request = { nodeId, ...(directoryId !== undefined && { directoryId }) }
    const options = { timeoutMs: TIMEOUT_MS }
    return (await this.#connection.call(AdminService.removeVoter, request, options)).voters
  }

  async drainNode(nodeId: number, options: { readonly timeoutMs?: number } = {}): Promise<PartitionPlace[]> {
    const timeoutMs = options.timeoutMs ?? DRAIN_TIMEOUT_MS
    const { remaining } = await this.#connection.call(
      AdminService.drainNode,
      { nodeId, timeoutMs },
      { timeoutMs: timeoutMs + ANSWER_MS },
    )
    return remaining.map(({ topic, partition }) => ({ topic, partition }))
  }

  async removeNode(nodeId: number, options: { readonly force?: boolean } = {}): Promise<void> {
    await this.#connection.call(
      AdminService.removeNode,
      { nodeId, force: options.force ?? false },
      { timeoutMs: TIMEOUT_MS },
    )
  }

  reassignPartitions(
    ...args: Parameters<MovesAdmin['reassignPartitions']>
  ): ReturnType<MovesAdmin['reassignPartitions']> {
    return this.#moves.reassignPartitions(...args)
  }

  listReassignments(
    ...args: Parameters<MovesAdmin['listReassignments']>
  ): ReturnType<MovesAdmin['listReassignments']> {
    return this.#moves.listReassignments(...args)
  }

  cancelReassignments(
    ...args: Parameters<MovesAdmin['cancelReassignments']>
  ): ReturnType<MovesAdmin['cancelReassignments']> {
    return this.#moves.cancelReassignments(...args)
  }

  changeReplicationFactor(
    ...args: Parameters<MovesAdmin['changeReplicationFactor']>
  ): ReturnType<MovesAdmin['changeReplicationFactor']> {
    return this.#moves.changeReplicationFactor(...args)
  }

  rebalance(...args: Parameters<MovesAdmin['rebalance']>): ReturnType<MovesAdmin['rebalance']> {
    return this.#moves.rebalance(...args)
  }

  electPreferredLeaders(
    ...args: Parameters<MovesAdmin['electPreferredLeaders']>
  ): ReturnType<MovesAdmin['electPreferredLeaders']> {
    return this.#moves.electPreferredLeaders(...args)
  }

  recoverPartitions(
    ...args: Parameters<MovesAdmin['recoverPartitions']>
  ): ReturnType<MovesAdmin['recoverPartitions']> {
    return this.#moves.recoverPartitions(...args)
  }

  async listOffsets(
    name: string,
    position: OffsetPosition,
    options: { readonly partitions?: readonly number[] } = {},
  ): Promise<ListedOffset[]> {
    const wanted = { topic: name, position: wirePosition('listOffsets', position) }
    const offsets = await askLeaders<WireOffset>(this.#connection, this.#metadata, {
      topic: name,
      partitions: options.partitions,
      timeoutMs: TIMEOUT_MS,
      repeatable: true,
      ask: async (nodeId, partitions, leftMs) => {
        const asked = partitions.map(partition => ({ ...wanted, partition }))
        return (await this.#callLeader(nodeId, Consumer.listOffsets, { partitions: asked }, leftMs)).offsets
      },
      failed: (partition, failure) => ({ topic: name, partition, leaderEpoch: 0, failure }),
    })
    throwFirst(offsets)
    return offsets.map(({ partition, offset = 0, timestampMs }) => ({ partition, offset, timestampMs }))
  }

  #callLeader<Request, Response>(
    nodeId: number | undefined,
    method: Method<Request, Response>,
    request: MessageInit<Request>,
    timeoutMs: number,
  ): Promise<Response> {
    if (nodeId === undefined) return this.#connection.call(method, request, { timeoutMs })
    return this.#connection.callNode(nodeId, method, request, { timeoutMs })
  }

  async #describe(names: readonly string[]): Promise<TopicDescription[]> {
    const found = new Map<string, { topic: WireTopic; partitions: PartitionDescription[] }>()
    let pageToken = ''
    do {
      const page = await this.#connection.call(
        AdminService.describeTopics,
        { topics: names, pageToken },
        { repeatable: true },
      )
      throwFirst(page.topics)
      // A topic of many partitions goes on on the next page.
      for (const topic of page.topics) {
        const known = found.get(topic.topic) ?? { topic, partitions: [] }
        known.partitions.push(...topic.partitions.map(partitionDescription))
        found.set(topic.topic, known)
      }
      pageToken = page.nextPageToken
    } while (pageToken !== '')
    return [...found.values()].map(({ topic, partitions }) => ({
      name: topic.topic,
      topicId: topic.topicId,
      internal: topic.internal,
      partitions,
      settings: topic.settings.map(
        ({ source, ...rest }): TopicSetting => ({
          ...rest,
          source: source.toLowerCase() as TopicSetting['source'],
        }),
      ),
    }))
  }
}

const TIMEOUT_MS = 30_000
/** As nodes have it where a caller says nothing. */
const DRAIN_TIMEOUT_MS = 25_000
/** For the answer of a call that has used up its time on the node. */
const ANSWER_MS = 2_000
const PAGE_TOPICS = 1_000
const DESCRIBED_TOPICS_MAX = 100

function throwFirst(results: readonly { readonly failure?: Failure }[]): void {
  for (const { failure } of results) if (failure) throw failureToError(failure)
}

function partitionDescription(of: WireTopic['partitions'][number]): PartitionDescription {
  return {
    partition: of.partition,
    leader: of.leaderId,
    leaderEpoch: of.leaderEpoch,
    replicas: of.replicas,
    isr: of.isr,
    elr: of.elr,
    offlineReplicas: of.offlineReplicas,
    addingReplicas: of.addingReplicas,
    removingReplicas: of.removingReplicas,
  }
}
