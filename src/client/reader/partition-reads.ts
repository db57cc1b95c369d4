import type { NodeId, Offset, PartitionId } from '../../base/brands.ts'
import { NaruError } from '../../base/errors.ts'
import { failureToError } from '../../wire/failure.ts'
import type { ListOffsetsPartition, MessageInit, Skipped, TopicMetadata } from '../../wire/messages.ts'
import { callUser } from '../call-user.ts'
import type { Connection } from '../connection.ts'
import { unknownTopic } from '../leader-calls.ts'
import type { MetadataCache } from '../metadata-cache.ts'
import type { ReceivedBatches } from './batch-decoder.ts'
import { LeaderStreams, mayPass } from './leader-streams.ts'
import { listedOffsets } from './listed-offsets.ts'
import { PartitionCursor } from './partition-cursor.ts'
import type { ReaderSettings } from './reader-settings.ts'

export interface PartitionReadsOptions {
  readonly connection: Connection
  readonly metadata: MetadataCache
  readonly settings: ReaderSettings
  readonly onReceived: (received: ReceivedBatches) => void
  /** What was received for it is not wanted any more. */
  readonly onDropped: (cursor: PartitionCursor) => void
  /** A partition is done, or all are known now. */
  readonly onChanged: () => void
  readonly onFailed: (error: NaruError) => void
}

/**
 * The partitions of a reader. Start and stop are made offsets first, so that however often a stream breaks, reading
 * goes on towards the same end. A failure that may not pass ends the reader.
 */
export class PartitionReads {
  readonly #options: PartitionReadsOptions
  readonly #cursors = new Map<PartitionId, PartitionCursor>()
  readonly #streams: LeaderStreams
  readonly #stopListening: () => void
  #topic: TopicMetadata | undefined
  #isClosed = false

  constructor(options: PartitionReadsOptions) {
    this.#options = options
    const { connection, metadata, settings, onReceived, onChanged } = options
    this.#streams = new LeaderStreams({
      connection,
      metadata,
      creditBytesMax: settings.creditBytesMax,
      events: {
        resolve: (leaderId, cursors) => this.#resolve(leaderId, cursors),
        onReceived,
        onSkipped: (cursor, skipped) => this.#onSkipped(cursor, skipped),
        onCutOff: (cursor, endOffset) => this.#onCutOff(cursor, endOffset),
        onChanged,
        mayGoOn: (cursor, error) => this.#mayGoOn(cursor, error),
      },
    })
    this.#stopListening = metadata.onChange(topics => {
      if (topics.has(settings.topic)) this.#onMetadata()
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
    this.#stopListening()
    this.#streams.close()
  }

  async #begin(): Promise<void> {
    const { metadata, settings, onFailed, onChanged } = this.#options
    try {
      const topic = await metadata.fetch(settings.topic)
      if (this.#isClosed) return
      if (topic === undefined) throw unknownTopic(settings.topic)
      const count = topic.partitions.length
      for (const partition of settings.partitions ?? []) requirePartition(topic.topic, partition, count)
      this.#topic = topic
      const partitions = settings.partitions ?? Array.from({ length: count }, (_, index) => index)
      this.#streams.add(partitions.map(partition => this.#newCursor(topic, partition)))
      if (partitions.length === 0) onChanged()
    } catch (thrown) {
      if (!this.#isClosed) onFailed(NaruError.from(thrown))
    }
  }

  #newCursor(
    { topic, topicId }: Pick<TopicMetadata, 'topic' | 'topicId'>,
    partition: PartitionId,
  ): PartitionCursor {
    const cursor = new PartitionCursor({ topic, topicId, partition })
    this.#cursors.set(partition, cursor)
    return cursor
  }

  #onMetadata(): void {
    const { metadata, settings } = this.#options
    const topic = metadata.topic(settings.topic)
    if (this.#topic === undefined || topic === undefined || topic.topicId !== this.#topic.topicId) return
    const before = this.#topic.partitions.length
    this.#topic = topic
    if (settings.partitions !== undefined || settings.hasStop) return
    for (let partition = before; partition < topic.partitions.length; partition++) {
      const cursor = this.#newCursor(topic, partition)
      // It was not there when reading began, so all of it is new.
      cursor.resolve({ start: 0, stop: undefined })
      this.#streams.add([cursor])
    }
  }

  async #resolve(leaderId: NodeId, cursors: readonly PartitionCursor[]): Promise<void> {
    const { connection, settings } = this.#options
    const asked: MessageInit<ListOffsetsPartition>[] = []
    for (const { topic, topicId, partition } of cursors) {
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
    const offsets = await listedOffsets(connection, leaderId, asked)
    if (this.#isClosed) return
    let place = 0
    for (const cursor of cursors) {
      const stop = settings.stopOf(cursor.partition)
      const listedStart = offsets[place++]
      const listedEnd = stop !== undefined && stop.offset === undefined ? offsets[place++] : undefined
      const failure = listedStart?.failure ?? listedEnd?.failure
      if (failure) {
        this.#streams.failed(cursor, failureToError(failure))
        continue
      }
      cursor.resolve({
        start: cursor.fetchOffset ?? settings.startOf(cursor.partition).offset ?? listedStart?.offset ?? 0,
        stop: stop === undefined ? undefined : (stop.offset ?? listedEnd?.offset ?? 0),
      })
    }
  }

  /** Who wants only what is new does not go back to the oldest record there is: the end is looked up again. */
  #onSkipped(cursor: PartitionCursor, { topic, partition, from, to }: Skipped): boolean {
    const { settings } = this.#options
    callUser(() => settings.onSkipped?.({ topic, partition, from, to }))
    return settings.startOf(cursor.partition).at === 'LATEST'
  }

  /** The end of the log was given up, unless whoever began to read there was mistaken. */
  #onCutOff(cursor: PartitionCursor, endOffset: Offset): boolean {
    const { settings, onDropped } = this.#options
    const { topic, topicId, partition, nextOffset = endOffset } = cursor
    if (cursor.highWatermark === undefined) return false
    this.#streams.remove(cursor)
    onDropped(cursor)
    const next = this.#newCursor({ topic, topicId }, partition)
    // What was received and not given out is read again.
    next.resolve({ start: Math.min(nextOffset, endOffset), stop: cursor.stopOffset })
    if (nextOffset > endOffset)
      callUser(() => settings.onSkipped?.({ topic, partition, from: nextOffset, to: endOffset }))
    this.#streams.add([next])
    return true
  }

  #mayGoOn(cursor: PartitionCursor, error: NaruError): boolean {
    const { connection, settings, onFailed } = this.#options
    const failingMs = connection.clock.monotonicMs() - (cursor.failingSinceMs ?? 0)
    if (mayPass(error) && failingMs < settings.retryTimeoutMs) return true
    onFailed(error)
    return false
  }
}

function requirePartition(topic: string, partition: PartitionId, count: number): void {
  if (partition < count) return
  throw new NaruError(
    'UNKNOWN_PARTITION',
    `topic "${topic}" has no partition ${partition}: it has ${count}, numbered from 0`,
    { details: { topic, partition: String(partition), partition_count: String(count) } },
  )
}
