import type { NodeId, PartitionId } from '../../base/brands.ts'
import { NaruError } from '../../base/errors.ts'
import type { Timer } from '../../ports/clock.ts'
import { failureToError } from '../../wire/failure.ts'
import type { ListOffsetsPartition, MessageInit, Skipped, TopicMetadata } from '../../wire/messages.ts'
import { Consumer } from '../../wire/methods.ts'
import type { Backoff } from '../backoff.ts'
import type { Connection } from '../connection.ts'
import { unknownTopic } from '../leader-calls.ts'
import type { MetadataCache } from '../metadata-cache.ts'
import { passedOver, type ReceivedBatches } from './batch-decoder.ts'
import { PartitionCursor } from './partition-cursor.ts'
import { ReadStream } from './read-stream.ts'
import type { ReaderSettings } from './reader-settings.ts'

export interface PartitionReadsOptions {
  readonly connection: Connection
  readonly metadata: MetadataCache
  readonly settings: ReaderSettings
  readonly onReceived: (received: ReceivedBatches) => void
  /** A partition is done, or all are known now. */
  readonly onChanged: () => void
  readonly onFailed: (error: NaruError) => void
}

/**
 * Keeps every partition of a reader on a stream of its leader. Start and stop are made offsets first, so that however
 * often a stream breaks, reading goes on exactly where it was, towards the same end.
 *
 * A partition is unresolved -> waiting -> on a stream -> done; a failure that may pass takes it back to waiting, any
 * other ends the reader.
 */
export class PartitionReads {
  readonly #options: PartitionReadsOptions
  readonly #cursors = new Map<PartitionId, PartitionCursor>()
  readonly #streams = new Map<NodeId, ReadStream>()
  /** On no stream. */
  readonly #waiting = new Set<PartitionCursor>()
  readonly #backoff: Backoff
  readonly #stopListening: () => void
  #topic: TopicMetadata | undefined
  #timer: Timer | undefined
  #isAssigning = false
  #isClosed = false

  constructor(options: PartitionReadsOptions) {
    this.#options = options
    this.#backoff = options.connection.backoff()
    this.#stopListening = options.metadata.onChange(topics => {
      if (topics.has(options.settings.topic)) this.#onMetadata()
    })
    void this.#begin()
  }

  /** The partitions are known. */
  get hasBegun(): boolean {
    return this.#topic !== undefined
  }

  get cursors(): PartitionCursor[] {
    return [...this.#cursors.values()]
  }

  /** Everything up to all stops was received. */
  get isDone(): boolean {
    return this.hasBegun && this.cursors.every(cursor => cursor.isDone)
  }

  close(): void {
    this.#isClosed = true
    this.#timer?.cancel()
    this.#stopListening()
    for (const stream of this.#streams.values()) stream.close()
    this.#streams.clear()
  }

  async #begin(): Promise<void> {
    const { metadata, settings, onFailed } = this.#options
    try {
      const topic = await metadata.fetch(settings.topic)
      if (this.#isClosed) return
      if (topic === undefined) throw unknownTopic(settings.topic)
      const count = topic.partitions.length
      for (const partition of settings.partitions ?? []) requirePartition(topic.topic, partition, count)
      for (const partition of settings.partitions ?? Array.from({ length: count }, (_, index) => index))
        this.#addCursor(partition)
      this.#topic = topic
    } catch (thrown) {
      if (!this.#isClosed) onFailed(NaruError.from(thrown))
      return
    }
    this.#assignSoon(0)
  }

  #addCursor(partition: PartitionId): PartitionCursor {
    const cursor = new PartitionCursor({ topic: this.#options.settings.topic, partition })
    this.#cursors.set(partition, cursor)
    this.#waiting.add(cursor)
    return cursor
  }

  #onMetadata(): void {
    const { metadata, settings } = this.#options
    const topic = metadata.topic(settings.topic)
    // A topic that is gone, or another one of its name, fails where it is read.
    if (this.#topic === undefined || topic === undefined || topic.topicId !== this.#topic.topicId) return
    const before = this.#topic.partitions.length
    this.#topic = topic
    if (settings.partitions === undefined && !settings.hasStop)
      for (let partition = before; partition < topic.partitions.length; partition++)
        // It was not there when reading began, so all of it is new.
        this.#addCursor(partition).resolve({ start: 0, stop: undefined })
    for (const cursor of this.#cursors.values()) {
      const leaderId = topic.partitions[cursor.partition]?.leaderId
      const stream = this.#streamOf(cursor)
      if (stream === undefined || leaderId === undefined || stream.nodeId === leaderId) continue
      // The old leader may be cut off, and say nothing of it.
      stream.remove(cursor)
      this.#waiting.add(cursor)
    }
    if (this.#waiting.size > 0) this.#assignSoon(0)
  }

  #assignSoon(delayMs: number): void {
    if (this.#isClosed || this.#isAssigning) return
    this.#timer?.cancel()
    this.#timer = this.#options.connection.clock.setTimer(delayMs, () => void this.#assign())
  }

  async #assign(): Promise<void> {
    this.#isAssigning = true
    const unresolved = [...this.#waiting].filter(cursor => !cursor.isResolved)
    await Promise.all(
      [...this.#byLeader(unresolved)].map(([leaderId, cursors]) => this.#resolveAt(leaderId, cursors)),
    )
    this.#isAssigning = false
    if (this.#isClosed) return
    for (const [leaderId, cursors] of this.#byLeader(this.#takeReadable())) {
      if (leaderId === undefined) {
        for (const cursor of cursors) this.#onFailed(cursor, noLeader(cursor))
        continue
      }
      for (const cursor of cursors) this.#waiting.delete(cursor)
      this.#streamTo(leaderId).add(cursors)
    }
    if ([...this.#waiting].some(cursor => !cursor.isResolved)) this.#assignSoon(this.#backoff.nextMs())
    this.#options.onChanged()
  }

  /** Those that wait and can be read now; those that are done wait no longer. */
  #takeReadable(): PartitionCursor[] {
    const resolved = [...this.#waiting].filter(cursor => cursor.isResolved)
    for (const cursor of resolved) {
      if (!cursor.isDone && !cursor.reachedStop) continue
      cursor.isDone = true
      this.#waiting.delete(cursor)
    }
    return resolved.filter(cursor => !cursor.isDone)
  }

  /** By the node that leads them; undefined: none does. */
  #byLeader(cursors: readonly PartitionCursor[]): Map<NodeId | undefined, PartitionCursor[]> {
    const groups = new Map<NodeId | undefined, PartitionCursor[]>()
    for (const cursor of cursors) {
      const leaderId = this.#topic?.partitions[cursor.partition]?.leaderId
      const group = groups.get(leaderId) ?? []
      group.push(cursor)
      groups.set(leaderId, group)
    }
    return groups
  }

  async #resolveAt(leaderId: NodeId | undefined, cursors: readonly PartitionCursor[]): Promise<void> {
    try {
      if (leaderId === undefined) {
        for (const cursor of cursors) this.#onFailed(cursor, noLeader(cursor))
        return
      }
      for (let at = 0; at < cursors.length; at += LISTED_MAX)
        await this.#resolve(leaderId, cursors.slice(at, at + LISTED_MAX))
    } catch (thrown) {
      for (const cursor of cursors.filter(one => !one.isResolved))
        this.#onFailed(cursor, NaruError.from(thrown))
    }
  }

  /** Makes offsets of the places where these start and stop. */
  async #resolve(leaderId: NodeId, cursors: readonly PartitionCursor[]): Promise<void> {
    const { connection, settings } = this.#options
    const { topic, topicId } = this.#topic as TopicMetadata
    const asked: MessageInit<ListOffsetsPartition>[] = []
    for (const { partition } of cursors) {
      const at = { topic, topicId, partition }
      const start = settings.startOf(partition)
      const stop = settings.stopOf(partition)
      // An offset that is given needs no looking up, and may be gone: reading says so then.
      asked.push({ ...at, position: start.offset === undefined ? start : { at: 'EARLIEST' } })
      // A leader that does not know its end just now must not keep a reader from what needs none.
      if (stop !== undefined && stop.offset === undefined)
        asked.push({
          ...at,
          position: stop.timestampMs === undefined ? { at: 'LATEST' } : { timestampMs: stop.timestampMs },
        })
    }
    const { offsets } = await connection.callNode(
      leaderId,
      Consumer.listOffsets,
      { partitions: asked },
      { timeoutMs: LIST_TIMEOUT_MS },
    )
    if (this.#isClosed) return
    let place = 0
    for (const cursor of cursors) {
      const stop = settings.stopOf(cursor.partition)
      const listedStart = offsets[place++]
      const listedEnd = stop !== undefined && stop.offset === undefined ? offsets[place++] : undefined
      const failure = listedStart?.failure ?? listedEnd?.failure
      if (failure) {
        this.#onFailed(cursor, failureToError(failure))
        continue
      }
      cursor.resolve({
        start: cursor.fetchOffset ?? settings.startOf(cursor.partition).offset ?? listedStart?.offset ?? 0,
        stop: stop === undefined ? undefined : (stop.offset ?? listedEnd?.offset ?? 0),
      })
    }
  }

  #streamTo(nodeId: NodeId): ReadStream {
    const open = this.#streams.get(nodeId)
    if (open) return open
    const { connection, settings } = this.#options
    const route = connection.nodes.route(nodeId)
    const stream = new ReadStream({
      connection,
      nodeId,
      route,
      topic: settings.topic,
      topicId: (this.#topic as TopicMetadata).topicId,
      creditBytesMax: settings.creditBytesMax,
      onReceived: this.#options.onReceived,
      onSkipped: (cursor, skipped) => this.#onSkipped(cursor, skipped),
      onDone: () => this.#options.onChanged(),
      onFailed: (cursor, error) => this.#onFailed(cursor, error),
      onClosed: (closed, wasHeard, error) => {
        if (this.#streams.get(nodeId) === closed) this.#streams.delete(nodeId)
        if (!wasHeard && error.reason === 'CONNECTION_FAILED') connection.nodes.markUnreachable(route)
      },
    })
    this.#streams.set(nodeId, stream)
    return stream
  }

  #onSkipped(cursor: PartitionCursor, skipped: Skipped): void {
    const { settings } = this.#options
    const isLatest = settings.startOf(cursor.partition).at === 'LATEST'
    const stream = this.#streamOf(cursor)
    if (isLatest && stream) {
      // Who wants only what is new does not go back to the oldest record there is: the end is looked up again.
      stream.remove(cursor)
      cursor.isResolved = false
      cursor.fetchOffset = undefined
      this.#waiting.add(cursor)
      this.#assignSoon(0)
    } else {
      cursor.received(skipped.to)
      this.#options.onReceived(passedOver(cursor, skipped.to))
    }
    const { topic, partition, from, to } = skipped
    settings.onSkipped?.({ topic, partition, from, to })
  }

  #streamOf(cursor: PartitionCursor): ReadStream | undefined {
    return [...this.#streams.values()].find(stream => stream.has(cursor))
  }

  #onFailed(cursor: PartitionCursor, error: NaruError): void {
    if (this.#isClosed) return
    const { connection, metadata, settings, onFailed } = this.#options
    const nowMs = connection.clock.monotonicMs()
    // It was well before: the pauses begin short again.
    if (cursor.failingSinceMs === undefined) this.#backoff.reset()
    cursor.failingSinceMs ??= nowMs
    if (!mayPass(error) || nowMs - cursor.failingSinceMs >= settings.retryTimeoutMs) {
      onFailed(error)
      return
    }
    this.#waiting.add(cursor)
    metadata.fetch(settings.topic).catch(() => {})
    this.#assignSoon(this.#backoff.nextMs())
  }
}

/** Two places for each; the API takes 1,000. */
const LISTED_MAX = 500
/** A leader that hangs has a successor by then. */
const LIST_TIMEOUT_MS = 4_000

function mayPass(error: NaruError): boolean {
  return error.retriable || error.reason === 'CANCELLED' || error.reason === 'CLOSED'
}

function noLeader({ topic, partition }: PartitionCursor): NaruError {
  return new NaruError(
    'LEADER_NOT_AVAILABLE',
    `"${topic}" partition ${partition} has no leader now (the logs of the nodes say why)`,
    { details: { topic, partition: String(partition) } },
  )
}

function requirePartition(topic: string, partition: PartitionId, count: number): void {
  if (partition < count) return
  throw new NaruError(
    'UNKNOWN_PARTITION',
    `topic "${topic}" has no partition ${partition}: it has ${count}, numbered from 0`,
    { details: { topic, partition: String(partition), partition_count: String(count) } },
  )
}
