import { NaruError } from '../../base/errors.ts'
import type { Timer } from '../../ports/clock.ts'
import { callUser } from '../call-user.ts'
import type { Connection } from '../connection.ts'
import type { MetadataCache } from '../metadata-cache.ts'
import { shown } from '../option-check.ts'
import { BufferBudget } from './buffer-budget.ts'
import { Identities } from './identities.ts'
import type { PartitionQueue, PartitionQueueHost } from './partition-queue.ts'
import type { PendingSend, ProducerBatch } from './producer-batch.ts'
import { type ProducerSettings, producerSettings } from './producer-settings.ts'
import { Sender } from './sender.ts'
import { SpareBuffers } from './spare-buffers.ts'
import { TopicQueue } from './topic-queue.ts'
import type { Producer, ProducerOptions, ProducerRecord, RecordLocation } from './types.ts'

export interface StreamProducerOptions {
  readonly connection: Connection
  readonly metadata: MetadataCache
  readonly options: ProducerOptions
  readonly onClose: () => void
}

/** How often deadlines are looked at while there are any. */
const SWEEP_MS = 500

/**
 * The producer that programs use: gives each record to its topic, keeps the budget, and tells what became of records.
 * Topic -> partition -> batch is the way of a record; `Sender` takes batches to leaders.
 */
export class StreamProducer implements Producer {
  readonly #connection: Connection
  readonly #settings: ProducerSettings
  readonly #metadata: MetadataCache
  readonly #budget: BufferBudget
  readonly #sender: Sender
  readonly #topics = new Map<string, TopicQueue>()
  readonly #host: PartitionQueueHost
  readonly #stopListening: () => void
  readonly #onClose: () => void
  /** Most programs write to one topic for long stretches. */
  #lastTopic: TopicQueue | undefined
  #sweep: Timer | undefined
  #firstError: NaruError | undefined
  #failedCount = 0
  #closing: Promise<void> | undefined

  constructor({ connection, metadata, options, onClose }: StreamProducerOptions) {
    this.#settings = producerSettings(options)
    this.#connection = connection
    this.#metadata = metadata
    this.#onClose = onClose
    this.#budget = new BufferBudget(this.#settings.bufferBytesMax)
    this.#sender = new Sender({
      connection,
      metadata,
      settings: this.#settings,
      onWarnings: warnings => this.#tellWarnings(warnings),
    })
    this.#host = this.#makeHost(new Identities(connection))
    this.#stopListening = metadata.onChange(changed => this.#onMetadata(changed))
  }

  get bufferedBytes(): number {
    return this.#budget.bytes
  }

  send(record: ProducerRecord): Promise<RecordLocation> {
    return new Promise((resolve, reject) => {
      this.#requireOpen()
      const send: PendingSend = { resolve, reject }
      if (this.#budget.hasRoom && !this.#budget.hasLine) return this.#topic(record).add(record, send)
      this.#budget.whenRoom(() => {
        try {
          this.#topic(record).add(record, send)
        } catch (thrown) {
          reject(thrown)
        }
      })
    })
  }

  enqueue(record: ProducerRecord): boolean {
    this.#requireOpen()
    const budget = this.#budget
    if (!budget.hasRoom && budget.bytes >= 2 * budget.bytesMax)
      throw new NaruError(
        'OVERLOADED',
        `the buffer of the producer holds ${budget.bytes} bytes, twice bufferBytesMax: await ready() when enqueue returns false`,
      )
    this.#topic(record).add(record, undefined)
    return budget.hasRoom
  }

  ready(): Promise<void> {
    return new Promise(resolve => this.#budget.whenRoom(resolve))
  }

  async flush(): Promise<void> {
    await this.#settled()
    const error = this.#firstError
    const count = this.#failedCount
    this.#firstError = undefined
    this.#failedCount = 0
    if (error === undefined) return
    const { reason, outcome, details } = error
    throw count === 1
      ? error
      : new NaruError(reason, `${count} records failed, the first with: ${error.message}`, {
          cause: error,
          outcome,
          details,
        })
  }

  close(): Promise<void> {
    this.#closing ??= this.flush().finally(() => {
      this.#stopListening()
      this.#sweep?.cancel()
      this.#sender.close()
      this.#onClose()
    })
    return this.#closing
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  #topic(record: ProducerRecord): TopicQueue {
    const name = record.topic
    const last = this.#lastTopic
    if (last?.name === name) return last
    if (typeof name !== 'string' || name === '')
      throw new TypeError(`record: topic must be the name of a topic, not ${shown(name)}`)
    let topic = this.#topics.get(name)
    if (topic === undefined) {
      topic = new TopicQueue({
        name,
        connection: this.#connection,
        metadata: this.#metadata,
        host: this.#host,
        partitioner: this.#settings.partitioner,
        onFailed: (failure, send) => {
          send?.reject(failure.error)
          this.#tellFailure({ ...failure, recordCount: 1 }, send === undefined ? 1 : 0)
        },
        onWarnings: warnings => this.#tellWarnings(warnings),
      })
      this.#topics.set(name, topic)
    }
    this.#lastTopic = topic
    return topic
  }

  #makeHost(identities: Identities): PartitionQueueHost {
    return {
      settings: this.#settings,
      spareBuffers: new SpareBuffers(),
      nowMs: () => this.#connection.clock.monotonicMs(),
      newBackoff: () => this.#connection.backoff(),
      maxMessageBytes: topic => this.#topics.get(topic)?.maxMessageBytes ?? 0,
      wake: (queue, delayMs) => this.#sender.wake(queue, delayMs),
      takeBytes: bytes => {
        this.#budget.take(bytes)
        this.#armSweep()
      },
      releaseBytes: bytes => this.#budget.release(bytes),
      onSealed: queue => this.#topics.get(queue.topic)?.onSealed(queue.partition),
      onDelivered: (queue, batch, baseOffset) => {
        const { topic, partition } = queue
        batch.succeed({ topic, partition, baseOffset })
        const { recordCount } = batch
        const { onDelivered } = this.#settings
        if (onDelivered)
          callUser(() => onDelivered({ topic, partition, baseOffset: baseOffset ?? -1, recordCount }))
      },
      onFailed: (queue, batch, error) => this.#onBatchFailed(queue, batch, error),
      requestIdentity: (queue, fresh) => void identities.give(queue, fresh),
      refreshLeader: (queue, refusal) => this.#sender.lookForLeader(queue, refusal),
    }
  }

  #onBatchFailed({ topic, partition }: PartitionQueue, batch: ProducerBatch, error: NaruError): void {
    const { recordCount, enqueuedCount } = batch
    batch.fail(error)
    this.#tellFailure({ topic, partition, recordCount, error }, enqueuedCount)
  }

  #tellFailure(
    failure: { topic: string; partition: number | undefined; recordCount: number; error: NaruError },
    enqueuedCount: number,
  ): void {
    if (enqueuedCount > 0) this.#firstError ??= failure.error
    this.#failedCount += enqueuedCount
    const { onError } = this.#settings
    if (onError) callUser(() => onError(failure))
  }

  #tellWarnings(warnings: readonly string[]): void {
    const { onWarning } = this.#settings
    if (onWarning) for (const warning of warnings) callUser(() => onWarning(warning))
  }

  #onMetadata(changed: ReadonlySet<string>): void {
    for (const name of changed) {
      const topic = this.#topics.get(name)
      if (topic === undefined) continue
      topic.onMetadata()
      for (const queue of topic.partitions) this.#sender.onMetadata(queue)
    }
  }

  /** Everything that was taken before this call. */
  async #settled(): Promise<void> {
    // Sends that wait for room come before a callback that joins the line now.
    await this.ready()
    const topics = [...this.#topics.values()]
    await Promise.all(topics.map(topic => topic.looked()))
    const batches = topics.flatMap(topic => [...topic.partitions].flatMap(queue => this.#sealed(queue)))
    await Promise.all(batches.map(batch => new Promise<void>(resolve => batch.onSettled(resolve))))
  }

  #sealed(queue: PartitionQueue): ProducerBatch[] {
    queue.seal()
    return queue.unsettled()
  }

  #armSweep(): void {
    if (this.#sweep !== undefined) return
    const everyMs = Math.min(SWEEP_MS, Math.ceil(this.#settings.deliveryTimeoutMs / 4))
    this.#sweep = this.#connection.clock.setTimer(everyMs, () => {
      this.#sweep = undefined
      this.#expire()
      if (this.#budget.bytes > 0) this.#armSweep()
    })
  }

  #expire(): void {
    const limitMs = this.#connection.clock.monotonicMs() - this.#settings.deliveryTimeoutMs
    for (const topic of this.#topics.values()) {
      topic.expire(limitMs)
      for (const queue of topic.partitions) queue.expire()
    }
    this.#sender.checkAnswers()
  }

  #requireOpen(): void {
    if (this.#closing)
      throw new NaruError('CLOSED', 'the producer was closed (make a new one: client.producer())')
  }
}
