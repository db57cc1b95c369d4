import type { MetadataIndex, NodeId, PartitionId } from '../base/brands.ts'
import { NaruError } from '../base/errors.ts'
import type { MetadataGetResponse, MetadataWatchResponse, TopicMetadata } from '../wire/messages.ts'
import { Metadata } from '../wire/methods.ts'
import { type Connection, clientClosed } from './connection.ts'
import { MetadataWatch } from './metadata-watch.ts'

/** Topics whose metadata has changed. */
export type MetadataListener = (topics: ReadonlySet<string>) => void

/**
 * Topics, partitions and leaders as a node tells them: a watch keeps the whole picture current, so that a new leader
 * is known as soon as there is one; `fetch` asks for what must not be a moment old.
 *
 * Invariant: what is known of a topic never goes back to an older metadata index, whichever node told it.
 */
export class MetadataCache {
  readonly #connection: Connection
  readonly #watch: MetadataWatch
  readonly #topics = new Map<string, { metadata: TopicMetadata; index: MetadataIndex }>()
  readonly #listeners = new Set<MetadataListener>()
  readonly #fetches = new Map<string, Promise<TopicMetadata | undefined>>()
  /** Names of the picture that is being received, until it is whole. */
  #picture: Set<string> | undefined = new Set()
  #clusterId = ''
  #resolveReady: (() => void) | undefined
  readonly #ready: Promise<void>

  constructor(connection: Connection) {
    this.#connection = connection
    this.#ready = new Promise(resolve => {
      this.#resolveReady = resolve
    })
    this.#watch = new MetadataWatch({
      connection,
      onOpen: () => {
        this.#picture = new Set()
      },
      onFrame: frame => this.#apply(frame),
    })
  }

  /** Resolves with the first whole picture. */
  start(): Promise<void> {
    this.#watch.start()
    return this.#ready
  }

  get clusterId(): string {
    return this.#clusterId
  }

  /** Why there is no picture yet, if a node was tried. */
  get lastError(): NaruError | undefined {
    return this.#watch.lastError
  }

  topic(name: string): TopicMetadata | undefined {
    return this.#topics.get(name)?.metadata
  }

  onChange(listener: MetadataListener): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** What the cluster knows now of a topic; undefined: there is no such topic. */
  fetch(name: string): Promise<TopicMetadata | undefined> {
    const running = this.#fetches.get(name)
    if (running) return running
    const fetched = this.#fetch(name).finally(() => this.#fetches.delete(name))
    this.#fetches.set(name, fetched)
    return fetched
  }

  /**
   * What a refusal says of who leads now. True if it is news: no metadata need be asked for, and listeners were told. A
   * topic that is not known, or is another one by now, learns nothing by it.
   */
  learn(topic: string, partition: PartitionId, error: NaruError): boolean {
    const hint = leaderHint(error)
    const known = this.#topics.get(topic)
    const before = known?.metadata.partitions[partition]
    if (hint === undefined || known === undefined || before === undefined) return false
    if (before.leaderEpoch >= hint.leaderEpoch) return false
    if (hint.address !== undefined)
      this.#connection.nodes.update([{ nodeId: hint.leaderId, address: hint.address }])
    const partitions = known.metadata.partitions.with(partition, {
      ...before,
      leaderId: hint.leaderId,
      leaderEpoch: hint.leaderEpoch,
    })
    this.#topics.set(topic, { ...known, metadata: { ...known.metadata, partitions } })
    this.#tell(new Set([topic]))
    return true
  }

  close(): void {
    this.#watch.close()
    this.#listeners.clear()
  }

  async #fetch(name: string): Promise<TopicMetadata | undefined> {
    const answer = await this.#connection.call(
      Metadata.get,
      { topics: [name] },
      { repeatable: true, check: response => requireAnswer(response, name) },
    )
    if (this.#connection.isClosed) throw clientClosed()
    this.#requireCluster(answer.clusterId)
    this.#merge(answer)
    return answer.topics.find(topic => topic.topic === name)
  }

  #merge(answer: MetadataGetResponse): void {
    const changed = new Set<string>()
    this.#connection.nodes.update(answer.nodes)
    for (const metadata of answer.topics) this.#set(metadata, answer.metadataIndex, changed)
    for (const name of answer.unknownTopics) this.#remove(name, answer.metadataIndex, changed)
    this.#tell(changed)
  }

  #apply(frame: MetadataWatchResponse): void {
    this.#requireCluster(frame.clusterId)
    const changed = new Set<string>()
    this.#connection.nodes.update(frame.nodes, frame.removedNodeIds)
    for (const { topic } of frame.deletedTopics) this.#remove(topic, frame.metadataIndex, changed)
    for (const metadata of frame.topics) {
      this.#picture?.add(metadata.topic)
      this.#set(metadata, frame.metadataIndex, changed)
    }
    if (frame.complete && this.#picture) {
      // What the whole picture lacks was deleted while nobody watched.
      for (const name of this.#topics.keys())
        if (!this.#picture.has(name)) this.#remove(name, frame.metadataIndex, changed)
      this.#picture = undefined
      this.#resolveReady?.()
    }
    this.#tell(changed)
  }

  /** An address that leads to another cluster now must not mix the two. */
  #requireCluster(clusterId: string): void {
    if (this.#clusterId === '') this.#clusterId = clusterId
    if (clusterId !== '' && clusterId !== this.#clusterId)
      throw new NaruError(
        'CONNECTION_FAILED',
        `the node belongs to the cluster ${clusterId}, this client to ${this.#clusterId} (connect again)`,
      )
  }

  #set(metadata: TopicMetadata, index: MetadataIndex, changed: Set<string>): void {
    const known = this.#topics.get(metadata.topic)
    if (known && known.index > index) return
    const newest = known ? withNewestLeaders(metadata, known.metadata) : metadata
    this.#topics.set(metadata.topic, { metadata: newest, index })
    // Who waits for a change must not be told of an answer that says the same again.
    if (!known || !isSame(known.metadata, newest)) changed.add(metadata.topic)
  }

  #remove(name: string, index: MetadataIndex, changed: Set<string>): void {
    const known = this.#topics.get(name)
    if (!known || known.index > index) return
    this.#topics.delete(name)
    changed.add(name)
  }

  #tell(changed: ReadonlySet<string>): void {
    if (changed.size > 0) for (const listener of [...this.#listeners]) listener(changed)
  }
}

/** A node that does not know the topic, and cannot ask the quorum whether it exists, says neither. */
function requireAnswer({ topics, unknownTopics }: MetadataGetResponse, name: string): void {
  if (unknownTopics.includes(name) || topics.some(topic => topic.topic === name)) return
  throw new NaruError(
    'CONTROLLER_NOT_AVAILABLE',
    `whether topic "${name}" exists cannot be told now: the node that was asked does not know it, and does not reach the metadata quorum (try again; naru cluster quorum shows which voters are missing)`,
    { details: { topic: name } },
  )
}

/** A leader may know of its successor before the node that tells of the topic does. */
function withNewestLeaders(metadata: TopicMetadata, known: TopicMetadata): TopicMetadata {
  if (metadata.topicId !== known.topicId) return metadata
  const isBehind = metadata.partitions.some(
    ({ leaderEpoch }, index) => leaderEpoch < (known.partitions[index]?.leaderEpoch ?? 0),
  )
  if (!isBehind) return metadata
  const partitions = metadata.partitions.map((told, index) => {
    const before = known.partitions[index]
    return before !== undefined && told.leaderEpoch < before.leaderEpoch ? before : told
  })
  return { ...metadata, partitions }
}

interface LeaderHint {
  readonly leaderId: NodeId
  readonly leaderEpoch: number
  readonly address: string | undefined
}

function leaderHint({ reason, details }: NaruError): LeaderHint | undefined {
  if (reason !== 'NOT_LEADER') return undefined
  const leaderId = Number(details['leader_id'] ?? Number.NaN)
  const leaderEpoch = Number(details['leader_epoch'] ?? Number.NaN)
  if (!Number.isSafeInteger(leaderId) || !Number.isSafeInteger(leaderEpoch)) return undefined
  return { leaderId, leaderEpoch, address: details['leader_address'] }
}

function isSame(a: TopicMetadata, b: TopicMetadata): boolean {
  return (
    a.topicId === b.topicId &&
    a.maxMessageBytes === b.maxMessageBytes &&
    a.partitions.length === b.partitions.length &&
    a.partitions.every((one, index) => {
      const other = b.partitions[index]
      return one.leaderId === other?.leaderId && one.leaderEpoch === other?.leaderEpoch
    })
  )
}
