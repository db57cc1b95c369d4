import type { PartitionId } from '../../base/brands.ts'
import { NaruError } from '../../base/errors.ts'
import { delay } from '../../ports/clock.ts'
import type { RecordInput } from '../../records/batch-builder.ts'
import { partitionForKey } from '../../records/murmur2.ts'
import type { TopicMetadata } from '../../wire/messages.ts'
import { Producer } from '../../wire/methods.ts'
import { type Connection, clientClosed } from '../connection.ts'
import type { MetadataCache } from '../metadata-cache.ts'
import { shown } from '../option-check.ts'
import { PartitionQueue, type PartitionQueueHost } from './partition-queue.ts'
import type { PendingSend } from './producer-batch.ts'
import { encodedRecord, type MutableRecordInput, recordBytesMax } from './record-encoding.ts'
import { refusedSize } from './send-errors.ts'
import type { Partitioner, ProducerRecord } from './types.ts'

export interface TopicQueueOptions {
  readonly name: string
  readonly connection: Connection
  readonly metadata: MetadataCache
  readonly host: PartitionQueueHost
  readonly partitioner: Partitioner | undefined
  /** A record failed before it had a batch. */
  readonly onFailed: (
    failure: { topic: string; partition: number | undefined; error: NaruError },
    send: PendingSend | undefined,
  ) => void
  readonly onWarnings: (warnings: readonly string[]) => void
}

/**
 * The records of one topic: each finds its partition here. Until the topic is known, or while a record names a
 * partition that it did not have when last seen, records wait in order (their bytes counted), and the cluster is
 * asked; a topic that does not exist is created by that, if the cluster does so for producers.
 */
export class TopicQueue {
  readonly name: string
  readonly #options: TopicQueueOptions
  readonly #partitions = new Map<PartitionId, PartitionQueue>()
  readonly #scratch: MutableRecordInput = { key: null, value: null, timestamp: 0, headers: undefined }
  #metadata: TopicMetadata | undefined
  #waiting: WaitingRecord[] = []
  #looking: Promise<void> | undefined
  #sticky: PartitionId

  constructor(options: TopicQueueOptions) {
    this.#options = options
    this.name = options.name
    this.#metadata = options.metadata.topic(options.name)
    this.#sticky = options.connection.prng.uint32()
  }

  get partitions(): Iterable<PartitionQueue> {
    return this.#partitions.values()
  }

  get hasWaiting(): boolean {
    return this.#waiting.length > 0
  }

  get maxMessageBytes(): number {
    return this.#metadata?.maxMessageBytes ?? 0
  }

  /** Resolves once no record waits for the topic any more. */
  async looked(): Promise<void> {
    while (this.#looking) await this.#looking
  }

  add(record: ProducerRecord, send: PendingSend | undefined): void {
    const input = encodedRecord(record, this.#scratch, this.#options.connection.clock)
    if (record.partition !== undefined && !(Number.isSafeInteger(record.partition) && record.partition >= 0))
      throw new TypeError(
        `record: partition must be a whole number from 0 on, not ${shown(record.partition)}`,
      )
    if (this.#waiting.length > 0 || this.#metadata === undefined || !this.#tryAdd(record, input, send))
      this.#wait(record, input, send)
  }

  onMetadata(): void {
    const metadata = this.#options.metadata.topic(this.name)
    // A topic that was deleted is missed when its leader refuses the next batch; until then what is known serves.
    if (metadata !== undefined) this.#metadata = metadata
  }

  onSealed(partition: PartitionId): void {
    if (partition === this.#sticky) this.#sticky = this.#nextSticky()
  }

  /** Ends what has waited for too long. */
  expire(limitMs: number): void {
    while (this.#waiting.length > 0 && (this.#waiting[0] as WaitingRecord).takenMs <= limitMs)
      this.#failWaiting(
        1,
        new NaruError(
          'DEADLINE_EXCEEDED',
          `topic "${this.name}" could not be looked up in time (deliveryTimeoutMs)`,
          {
            outcome: 'none',
          },
        ),
      )
  }

  failAll(error: NaruError): void {
    this.#failWaiting(this.#waiting.length, error)
    for (const queue of this.#partitions.values()) queue.failAll(error)
  }

  /** False: it names a partition that is not known. */
  #tryAdd(record: ProducerRecord, input: RecordInput, send: PendingSend | undefined): boolean {
    const metadata = this.#metadata as TopicMetadata
    const partition = record.partition ?? this.#pick(record, input, metadata)
    if (partition >= metadata.partitions.length) return false
    this.#put(partition, input, send)
    return true
  }

  #put(partition: PartitionId, input: RecordInput, send: PendingSend | undefined): void {
    const { onFailed, host } = this.#options
    const bytes = recordBytesMax(input)
    try {
      if (bytes > this.maxMessageBytes && host.settings.compression === 'none')
        throw refusedSize(this.name, bytes, this.maxMessageBytes)
      this.#queue(partition).add(input, bytes, send)
    } catch (thrown) {
      onFailed({ topic: this.name, partition, error: NaruError.from(thrown) }, send)
    }
  }

  #pick(record: ProducerRecord, input: RecordInput, { partitions }: TopicMetadata): PartitionId {
    const picked = this.#options.partitioner?.(record, {
      name: this.name,
      partitionCount: partitions.length,
    })
    if (picked !== undefined) {
      if (Number.isSafeInteger(picked) && picked >= 0 && picked < partitions.length) return picked
      throw new TypeError(
        `partitioner: it must give a whole number below ${partitions.length}, not ${shown(picked)}`,
      )
    }
    const { key } = input
    if (key) return partitionForKey(key, partitions.length)
    if (this.#sticky >= partitions.length) this.#sticky %= partitions.length
    return this.#sticky
  }

  /** The next one that has a leader, or just the next one. */
  #nextSticky(): PartitionId {
    const partitions = this.#metadata?.partitions ?? []
    for (let step = 1; step <= partitions.length; step++) {
      const candidate = (this.#sticky + step) % partitions.length
      if (partitions[candidate]?.leaderId !== undefined) return candidate
    }
    return (this.#sticky + 1) % Math.max(1, partitions.length)
  }

  #queue(partition: PartitionId): PartitionQueue {
    let queue = this.#partitions.get(partition)
    if (queue === undefined) {
      queue = new PartitionQueue(this.#options.host, { topic: this.name, partition })
      this.#partitions.set(partition, queue)
    }
    return queue
  }

  #wait(record: ProducerRecord, input: RecordInput, send: PendingSend | undefined): void {
    const { host, connection } = this.#options
    const bytes = recordBytesMax(input)
    const headers = input.headers?.map(({ key, value }) => ({ key, value: copied(value) }))
    const copy = { ...input, key: copied(input.key), value: copied(input.value), headers }
    const takenMs = connection.clock.monotonicMs()
    this.#waiting.push({ record: { ...record, ...forPartitioner(copy) }, input: copy, bytes, takenMs, send })
    host.takeBytes(bytes)
    this.#looking ??= this.#look()
  }

  async #look(): Promise<void> {
    const { connection } = this.#options
    const backoff = connection.backoff()
    while (this.#waiting.length > 0) {
      const found = await this.#find().catch(NaruError.from)
      if (found instanceof NaruError && found.retriable && !connection.isClosed) {
        await delay(connection.clock, backoff.nextMs())
        continue
      }
      // Whoever is told below may send again at once: that begins a look-up of its own.
      this.#looking = undefined
      if (!(found instanceof NaruError)) this.#release(found)
      else this.#failWaiting(this.#waiting.length, connection.isClosed ? clientClosed() : found)
      return
    }
    this.#looking = undefined
  }

  async #find(): Promise<TopicMetadata> {
    return (await this.#options.metadata.fetch(this.name)) ?? (await this.#create())
  }

  /** A produce without records makes the topic, where the cluster makes topics for producers. */
  async #create(): Promise<TopicMetadata> {
    const { connection, metadata, onWarnings } = this.#options
    const { warnings } = await connection.call(Producer.produce, { topic: this.name }, { repeatable: true })
    onWarnings(warnings)
    const created = await metadata.fetch(this.name)
    if (created !== undefined) return created
    throw new NaruError(
      'UNKNOWN_TOPIC',
      `topic "${this.name}" does not exist (create it: naru topics create ${this.name})`,
      {
        details: { topic: this.name },
      },
    )
  }

  #release(metadata: TopicMetadata): void {
    const { host } = this.#options
    this.#metadata = metadata
    const waiting = this.#waiting
    this.#waiting = []
    let releasedBytes = 0
    for (const { record, input, bytes, send } of waiting) {
      releasedBytes += bytes
      try {
        if (!this.#tryAdd(record, input, send)) throw this.#unknownPartition(record.partition as PartitionId)
      } catch (thrown) {
        this.#fail(thrown, record.partition, send)
      }
    }
    // Only now: who waits for room comes behind all of these.
    host.releaseBytes(releasedBytes)
  }

  #unknownPartition(partition: PartitionId): NaruError {
    const count = this.#metadata?.partitions.length ?? 0
    return new NaruError(
      'UNKNOWN_PARTITION',
      `topic "${this.name}" has no partition ${partition}: it has ${count}, numbered from 0`,
      { details: { topic: this.name, partition: String(partition), partition_count: String(count) } },
    )
  }

  #failWaiting(count: number, error: NaruError): void {
    for (const { record, bytes, send } of this.#waiting.splice(0, count)) {
      this.#options.host.releaseBytes(bytes)
      this.#fail(error, record.partition, send)
    }
  }

  #fail(thrown: unknown, partition: PartitionId | undefined, send: PendingSend | undefined): void {
    this.#options.onFailed({ topic: this.name, partition, error: NaruError.from(thrown) }, send)
  }
}

interface WaitingRecord {
  /** With copies of the caller's bytes. */
  readonly record: ProducerRecord
  readonly input: RecordInput
  readonly bytes: number
  readonly takenMs: number
  readonly send: PendingSend | undefined
}

function copied(bytes: Uint8Array | null | undefined): Uint8Array | null {
  return bytes == null ? null : Buffer.from(bytes)
}

/** A custom partitioner sees what it would have seen at once. */
function forPartitioner({ key, value }: RecordInput): Pick<ProducerRecord, 'key' | 'value'> {
  return { key: key ?? null, value: value ?? null }
}
