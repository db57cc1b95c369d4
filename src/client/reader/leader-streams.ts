import type { NodeId, Offset } from '../../base/brands.ts'
import { NaruError } from '../../base/errors.ts'
import type { Timer } from '../../ports/clock.ts'
import type { Skipped, TopicMetadata } from '../../wire/messages.ts'
import type { Backoff } from '../backoff.ts'
import type { Connection } from '../connection.ts'
import { noLeader } from '../leader-calls.ts'
import type { MetadataCache } from '../metadata-cache.ts'
import { passedOver, type ReceivedBatches } from './batch-decoder.ts'
import type { PartitionCursor } from './partition-cursor.ts'
import { ReadStream } from './read-stream.ts'

export interface LeaderStreamsOptions {
  readonly connection: Connection
  readonly metadata: MetadataCache
  /** Of each node that is read from, whatever the number of its partitions. */
  readonly creditBytesMax: number
  readonly events: {
    /** Makes offsets of the places where these start and stop: asked at their leader before they are read. */
    readonly resolve: (leaderId: NodeId, cursors: readonly PartitionCursor[]) => Promise<void>
    readonly onReceived: (received: ReceivedBatches) => void
    /** Offsets are gone that were not read: true, if the cursor is to be resolved anew instead of reading on behind them. */
    readonly onSkipped: (cursor: PartitionCursor, skipped: Skipped) => boolean
    /**
     * The log ends before what comes next, as its leader has made sure of. True: the cursor was removed, and another one
     * added in its place, perhaps; false: it fails.
     */
    readonly onCutOff: (cursor: PartitionCursor, endOffset: Offset) => boolean
    /** A cursor is done, or others have found their places. */
    readonly onChanged: () => void
    /** False: this will not pass by itself, or has been waited for long enough. The cursor is not read any more then. */
    readonly mayGoOn: (cursor: PartitionCursor, error: NaruError) => boolean
  }
}

/**
 * Keeps partitions, of any topics, on streams of their leaders: one stream for each node. However often a stream
 * breaks or a leader moves, reading goes on exactly where it was.
 *
 * A cursor is unresolved -> waiting -> on a stream -> done; a failure that may pass takes it back to waiting.
 */
export class LeaderStreams {
  readonly #options: LeaderStreamsOptions
  readonly #cursors = new Set<PartitionCursor>()
  readonly #streams = new Map<NodeId, ReadStream>()
  /** On no stream. */
  readonly #waiting = new Set<PartitionCursor>()
  readonly #backoff: Backoff
  readonly #stopListening: () => void
  #timer: Timer | undefined
  #isAssigning = false
  #isClosed = false

  constructor(options: LeaderStreamsOptions) {
    this.#options = options
    this.#backoff = options.connection.backoff()
    this.#stopListening = options.metadata.onChange(topics => this.#onMetadata(topics))
  }

  add(cursors: readonly PartitionCursor[]): void {
    for (const cursor of cursors) {
      this.#cursors.add(cursor)
      this.#waiting.add(cursor)
    }
    if (cursors.length > 0) this.#assignSoon(0)
  }

  /** Nothing more is received for it. */
  remove(cursor: PartitionCursor): void {
    if (!this.#cursors.delete(cursor)) return
    this.#waiting.delete(cursor)
    this.#takeOffStream(cursor)
  }

  /** What keeps it from being read, found by whoever resolves it. */
  failed(cursor: PartitionCursor, error: NaruError): void {
    if (this.#isClosed || !this.#cursors.has(cursor)) return
    const { connection, metadata, events } = this.#options
    const endOffset = endBefore(cursor.fetchOffset, error)
    if (endOffset !== undefined && events.onCutOff(cursor, endOffset)) return
    // It was well before: the pauses begin short again.
    if (cursor.failingSinceMs === undefined) this.#backoff.reset()
    cursor.failingSinceMs ??= connection.clock.monotonicMs()
    if (!events.mayGoOn(cursor, error)) {
      this.remove(cursor)
      return
    }
    this.#waiting.add(cursor)
    const isNamed = metadata.learn(cursor.topic, cursor.partition, error)
    if (!isNamed) metadata.fetch(cursor.topic).catch(() => {})
    this.#assignSoon(isNamed ? 0 : this.#backoff.nextMs())
  }

  close(): void {
    this.#isClosed = true
    this.#timer?.cancel()
    this.#stopListening()
    for (const stream of this.#streams.values()) stream.close()
    this.#streams.clear()
    this.#cursors.clear()
    this.#waiting.clear()
  }

  #onMetadata(topics: ReadonlySet<string>): void {
    for (const cursor of this.#cursors) {
      if (!topics.has(cursor.topic)) continue
      const stream = this.#streamOf(cursor)
      const leaderId = this.#leaderOf(cursor)
      if (stream === undefined || leaderId === undefined || stream.nodeId === leaderId) continue
      // The old leader may be cut off, and say nothing of it.
      this.#takeOffStream(cursor)
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
        for (const cursor of cursors) this.failed(cursor, noLeader(cursor))
        continue
      }
      for (const cursor of cursors) this.#waiting.delete(cursor)
      this.#streamTo(leaderId).add(cursors)
    }
    if ([...this.#waiting].some(cursor => !cursor.isResolved)) this.#assignSoon(this.#backoff.nextMs())
    this.#options.events.onChanged()
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
      const leaderId = this.#leaderOf(cursor)
      const group = groups.get(leaderId) ?? []
      group.push(cursor)
      groups.set(leaderId, group)
    }
    return groups
  }

  /** A topic that is gone, or another one of its name, fails where it is read. */
  #leaderOf(cursor: PartitionCursor): NodeId | undefined {
    const topic: TopicMetadata | undefined = this.#options.metadata.topic(cursor.topic)
    if (topic?.topicId === cursor.topicId) cursor.leaderId = topic.partitions[cursor.partition]?.leaderId
    return cursor.leaderId
  }

  async #resolveAt(leaderId: NodeId | undefined, cursors: readonly PartitionCursor[]): Promise<void> {
    try {
      if (leaderId === undefined) for (const cursor of cursors) this.failed(cursor, noLeader(cursor))
      else await this.#options.events.resolve(leaderId, cursors)
    } catch (thrown) {
      for (const cursor of cursors.filter(one => !one.isResolved)) this.failed(cursor, NaruError.from(thrown))
    }
  }

  #streamTo(nodeId: NodeId): ReadStream {
    const open = this.#streams.get(nodeId)
    if (open) return open
    const { connection, creditBytesMax, events } = this.#options
    const route = connection.nodes.route(nodeId)
    const stream = new ReadStream({
      connection,
      nodeId,
      route,
      creditBytesMax,
      onReceived: events.onReceived,
      onSkipped: (cursor, skipped) => this.#onSkipped(cursor, skipped),
      onDone: () => events.onChanged(),
      onFailed: (cursor, error) => this.failed(cursor, error),
      onClosed: (closed, wasHeard, error) => {
        if (this.#streams.get(nodeId) === closed) this.#streams.delete(nodeId)
        if (!wasHeard && error.reason === 'CONNECTION_FAILED') connection.nodes.markUnreachable(route)
      },
    })
    this.#streams.set(nodeId, stream)
    return stream
  }

  #onSkipped(cursor: PartitionCursor, skipped: Skipped): void {
    const { events } = this.#options
    if (events.onSkipped(cursor, skipped)) {
      this.#takeOffStream(cursor)
      cursor.isResolved = false
      cursor.fetchOffset = undefined
      this.#waiting.add(cursor)
      this.#assignSoon(0)
      return
    }
    cursor.received(skipped.to)
    events.onReceived(passedOver(cursor, skipped.to))
  }

  #takeOffStream(cursor: PartitionCursor): void {
    const stream = this.#streamOf(cursor)
    if (stream === undefined) return
    stream.remove(cursor)
    if (!stream.isEmpty) return
    this.#streams.delete(stream.nodeId)
    stream.close()
  }

  #streamOf(cursor: PartitionCursor): ReadStream | undefined {
    for (const stream of this.#streams.values()) if (stream.has(cursor)) return stream
    return undefined
  }
}

/** Where the log ends, if the error says that this is before `offset`. */
export function endBefore(offset: Offset | undefined, { reason, details }: NaruError): Offset | undefined {
  if (reason !== 'OFFSET_OUT_OF_RANGE' || offset === undefined) return undefined
  const endOffset = Number(details['high_watermark'])
  return endOffset < offset ? endOffset : undefined
}

/** Errors that the same call, here or at another node, may not meet a moment later. */
export function mayPass(error: NaruError): boolean {
  return error.retriable || error.reason === 'CANCELLED' || error.reason === 'CLOSED'
}
