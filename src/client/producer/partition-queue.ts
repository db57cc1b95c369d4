import { assert } from '../../base/assert.ts'
import type { Offset, PartitionId } from '../../base/brands.ts'
import { NaruError } from '../../base/errors.ts'
import type { RecordInput } from '../../records/batch-builder.ts'
import { BATCH_BYTES_MAX } from '../../records/batch-header.ts'
import type { Backoff } from '../backoff.ts'
import { type BatchStamp, type PendingSend, ProducerBatch, type ProducerIdentity } from './producer-batch.ts'
import type { ProducerSettings } from './producer-settings.ts'
import {
  expired,
  isAboutLeader,
  isMissingPredecessor,
  mustFail,
  refusedSize,
  unknownOutcome,
} from './send-errors.ts'
import type { SpareBuffers } from './spare-buffers.ts'

/** What a queue needs of its producer. */
export interface PartitionQueueHost {
  readonly settings: ProducerSettings
  readonly spareBuffers: SpareBuffers
  nowMs(): number
  newBackoff(): Backoff
  /** Of the topic, as last known. */
  maxMessageBytes(topic: string): number
  /** There may be something to send, now or after so many ms. */
  wake(queue: PartitionQueue, delayMs?: number): void
  takeBytes(bytes: number): void
  releaseBytes(bytes: number): void
  onSealed(queue: PartitionQueue): void
  onDelivered(queue: PartitionQueue, batch: ProducerBatch, baseOffset: Offset | undefined): void
  onFailed(queue: PartitionQueue, batch: ProducerBatch, error: NaruError): void
  /** Asks for an identity; `useIdentity` or `failIdentity` follows. `fresh`: never used before. */
  requestIdentity(queue: PartitionQueue, fresh: boolean): void
  /** What was known of the leader is wrong. True: the refusal has named another one. */
  refreshLeader(queue: PartitionQueue, refusal: NaruError): boolean
}

/** Sequences wrap from 2^31 - 1 to 0. */
const SEQUENCES = 2 ** 31
const CAPACITY_BYTES_MIN = 1024

/**
 * The records of one partition on their way: batches in order, up to five in flight.
 *
 * Order and exactly-once, by Kafka's idempotent producer: a batch keeps id, epoch and sequence through its retries.
 * When one fails, nothing more is sent until everything in flight is answered; then the unsettled ones go again from
 * the first on, one at a time until one succeeds. A batch that fails for good leaves a gap in the sequence that the
 * leader would refuse for ever, so the partition goes on under a new identity: the batches that a leader has proven
 * unstored take it, those that may be stored are resent under their own.
 *
 * Natural batching: an idle partition sends at once; while batches are in flight, records gather until their batch is
 * full or everything is answered.
 *
 * Invariant: unless `#isProbing`, the batches in flight are the first `#inFlightCount` of `#batches`.
 */
export class PartitionQueue {
  readonly topic: string
  readonly partition: PartitionId
  readonly #host: PartitionQueueHost
  readonly #backoff: Backoff
  readonly #batches: ProducerBatch[] = []
  #open: ProducerBatch | undefined
  #inFlightCount = 0
  #identity: ProducerIdentity | undefined
  #nextSequence = 0
  #isAskingIdentity = false
  #hadIdentity = false
  /** Something failed: one batch at a time, until one succeeds that was alone in flight. */
  #isProbing = false
  #retryAtMs = 0
  #capacityBytes = CAPACITY_BYTES_MIN

  constructor(host: PartitionQueueHost, of: { topic: string; partition: PartitionId }) {
    this.topic = of.topic
    this.partition = of.partition
    this.#host = host
    this.#backoff = host.newBackoff()
  }

  get isIdle(): boolean {
    return this.#batches.length === 0 && this.#open === undefined
  }

  get inFlightCount(): number {
    return this.#inFlightCount
  }

  /** `bytes`: of the record, at most. */
  add(record: RecordInput, bytes: number, send: PendingSend | undefined): void {
    const { settings } = this.#host
    const full = this.#open
    if (full && full.recordCount > 0 && full.sizeInBytes + bytes > this.#batchBytesMax()) this.seal()
    if (this.#open === undefined) {
      const capacityBytes = this.#capacityBytes
      const buffer = this.#host.spareBuffers.take(capacityBytes)
      this.#open = new ProducerBatch({ createdMs: this.#host.nowMs(), capacityBytes, buffer })
      if (this.#inFlightCount === 0 && this.#batches.length === 0)
        this.#host.wake(this, settings.lingerMs > 0 ? settings.lingerMs : undefined)
    }
    const batch = this.#open
    let grown: number
    try {
      grown = batch.append(record, send)
    } catch (thrown) {
      // It was opened, and announced, for a record that is none.
      if (batch.recordCount === 0) this.#open = undefined
      throw thrown
    }
    batch.countedBytes += grown
    this.#host.takeBytes(grown)
    if (batch.sizeInBytes >= this.#batchBytesMax()) this.seal()
  }

  /** No more records for the batch that is being filled. */
  seal(): void {
    const batch = this.#open
    if (batch === undefined || batch.recordCount === 0) return
    this.#open = undefined
    this.#batches.push(batch)
    // The next one will be about as large: a buffer that fits saves growing it.
    this.#capacityBytes = capacityFor(batch.sizeInBytes)
    this.#host.onSealed(this)
    this.#host.wake(this)
  }

  /** Of all that is not settled. */
  unsettled(): ProducerBatch[] {
    return this.#open && this.#open.recordCount > 0 ? [...this.#batches, this.#open] : [...this.#batches]
  }

  /** The next batch to send now, encoded, which counts as in flight from here on. */
  next(): { batch: ProducerBatch; bytes: Buffer } | undefined {
    for (;;) {
      const batch = this.#candidate()
      if (batch === undefined) return undefined
      const stamp = this.#stampFor(batch)
      if (stamp === 'pending') return undefined
      assert(!batch.isInFlight, 'a batch is sent again only after the attempt before it has ended')
      const bytes = this.#encode(batch, stamp)
      // Too large even compressed: it has failed alone, before anything of it was sent.
      if (bytes === undefined) continue
      batch.isInFlight = true
      batch.attempt++
      this.#inFlightCount++
      return { batch, bytes }
    }
  }

  onStored(batch: ProducerBatch, baseOffset: Offset | undefined): void {
    this.#landed(batch)
    if (this.#inFlightCount === 0) this.#isProbing = false
    this.#backoff.reset()
    this.#remove(batch)
    this.#host.onDelivered(this, batch, baseOffset)
    const bytes = batch.takeBytes()
    if (bytes) this.#host.spareBuffers.give(bytes)
    this.#wakeAfterAnswer()
  }

  /** The leader has refused it, or says that it does not know. */
  onRefused(batch: ProducerBatch, error: NaruError): void {
    const isFirst = this.#batches[0] === batch
    this.#landed(batch)
    batch.lastError = error
    if (error.outcome === 'unknown') batch.mayBeStored = true
    if (isMissingPredecessor(error, batch)) {
      batch.mayBeStored = false
      // Its predecessors are not stored yet: it goes again behind them. Without any, the leader has lost the sequence.
      if (isFirst && batch.stamp?.identity === this.#identity) this.#dropIdentity()
      if (batch.stamp?.identity !== this.#identity) batch.stamp = undefined
      this.#retry(isFirst ? this.#backoff.nextMs() : undefined)
    } else if (mustFail(error, batch, this.#host.settings.idempotent)) {
      this.#fail(batch, error)
    } else {
      const isNamed = isAboutLeader(error) && this.#host.refreshLeader(this, error)
      this.#retry(isNamed ? undefined : Math.max(this.#backoff.nextMs(), error.retryAfterMs ?? 0))
    }
    this.#wakeAfterAnswer()
  }

  /** The stream broke, or the leader is one no longer: `wasSent` false only where it certainly never left. */
  onBroken(batch: ProducerBatch, error: NaruError, wasSent: boolean): void {
    this.#landed(batch)
    batch.lastError = error
    if (wasSent) batch.mayBeStored = true
    if (batch.mayBeStored && !this.#host.settings.idempotent) this.#fail(batch, error)
    else this.#retry(undefined)
  }

  /** Waits before the leader is tried again after a failure that concerned no batch: what ends meanwhile ends for that. */
  pause(error: NaruError): void {
    for (const batch of this.unsettled()) batch.lastError = error
    this.#retry(this.#backoff.nextMs())
    this.#wakeAfterAnswer()
  }

  /** There is a new leader: no reason to wait any longer. */
  hurry(): void {
    this.#retryAtMs = 0
    this.#backoff.reset()
    this.#host.wake(this)
  }

  useIdentity(identity: ProducerIdentity): void {
    this.#isAskingIdentity = false
    this.#hadIdentity = true
    this.#identity = identity
    this.#nextSequence = 0
    this.#host.wake(this)
  }

  failIdentity(error: NaruError): void {
    this.#isAskingIdentity = false
    if (error.retriable) this.pause(error)
    else this.failAll(error)
  }

  /** Ends what has been tried for too long; returns when the next one will have been. */
  expire(): void {
    const { deliveryTimeoutMs } = this.#host.settings
    const limitMs = this.#host.nowMs() - deliveryTimeoutMs
    if (this.#open && this.#open.createdMs <= limitMs) this.seal()
    for (const batch of [...this.#batches]) {
      if (batch.createdMs > limitMs) break
      if (batch.isInFlight) {
        this.#landed(batch)
        batch.mayBeStored = true
        this.#isProbing = true
      }
      this.#fail(batch, expired(batch, deliveryTimeoutMs))
    }
    this.#wakeAfterAnswer()
  }

  failAll(error: NaruError): void {
    this.seal()
    for (const batch of [...this.#batches]) {
      if (batch.isInFlight) {
        this.#landed(batch)
        batch.mayBeStored = true
      }
      this.#fail(batch, error)
    }
  }

  /**
   * Under another identity than what is in flight it would be no successor to the leader, which could take it and refuse what
   * was sent before it.
   */
  #mayFollow(batch: ProducerBatch): boolean {
    const before = this.#batches[this.#inFlightCount - 1]
    if (this.#inFlightCount === 0 || before?.stamp === undefined) return true
    return before.stamp.identity === (batch.stamp?.identity ?? this.#identity)
  }

  #candidate(): ProducerBatch | undefined {
    const { settings } = this.#host
    if (this.#host.nowMs() < this.#retryAtMs) return undefined
    if (this.#inFlightCount >= (this.#isProbing ? 1 : settings.inFlightMax)) return undefined
    const batch = this.#batches[this.#inFlightCount]
    if (batch !== undefined) return this.#mayFollow(batch) ? batch : undefined
    const open = this.#open
    if (open === undefined || open.recordCount === 0 || this.#inFlightCount > 0) return undefined
    const lingerLeftMs = settings.lingerMs > 0 ? open.createdMs + settings.lingerMs - this.#host.nowMs() : 0
    if (lingerLeftMs > 0) {
      this.#host.wake(this, lingerLeftMs)
      return undefined
    }
    this.seal()
    return this.#batches[0]
  }

  #stampFor(batch: ProducerBatch): BatchStamp | undefined | 'pending' {
    if (!this.#host.settings.idempotent) return undefined
    if (batch.stamp !== undefined) return batch.stamp
    if (this.#identity !== undefined) return { identity: this.#identity, baseSequence: this.#nextSequence }
    if (!this.#isAskingIdentity) {
      this.#isAskingIdentity = true
      this.#host.requestIdentity(this, this.#hadIdentity)
    }
    return 'pending'
  }

  #encode(batch: ProducerBatch, stamp: BatchStamp | undefined): Buffer | undefined {
    const isNew = stamp !== undefined && stamp !== batch.stamp
    const maxMessageBytes = this.#host.maxMessageBytes(this.topic)
    let bytes: Buffer
    try {
      bytes = batch.encode(this.#host.settings.compression, stamp)
    } catch (thrown) {
      batch.stamp = undefined
      this.#fail(batch, NaruError.from(thrown))
      return undefined
    }
    if (bytes.length > maxMessageBytes && batch.attempt === 0) {
      batch.stamp = undefined
      this.#fail(batch, refusedSize(this.topic, bytes.length, maxMessageBytes))
      return undefined
    }
    if (isNew) this.#nextSequence = (this.#nextSequence + batch.recordCount) % SEQUENCES
    const freed = batch.countedBytes - bytes.length
    if (freed > 0) {
      batch.countedBytes = bytes.length
      this.#host.releaseBytes(freed)
    }
    return bytes
  }

  #fail(batch: ProducerBatch, error: NaruError): void {
    this.#remove(batch)
    // What is in flight behind it will be refused for its gap, and goes again before all that was not sent yet.
    if (this.#inFlightCount > 0) this.#isProbing = true
    if (batch.stamp !== undefined && batch.stamp.identity === this.#identity) this.#dropIdentity()
    this.#host.onFailed(this, batch, batch.mayBeStored ? unknownOutcome(this, error) : error)
  }

  /** The batches that no leader has can go under another identity; the others settle under their own. */
  #dropIdentity(): void {
    this.#identity = undefined
    for (const batch of this.#batches) if (!batch.isInFlight && !batch.mayBeStored) batch.stamp = undefined
  }

  #landed(batch: ProducerBatch): void {
    assert(batch.isInFlight, 'only what is in flight is answered')
    batch.isInFlight = false
    this.#inFlightCount--
  }

  #remove(batch: ProducerBatch): void {
    const at = this.#batches.indexOf(batch)
    assert(at >= 0, 'a batch is settled once')
    this.#batches.splice(at, 1)
    this.#host.releaseBytes(batch.countedBytes)
  }

  #retry(delayMs: number | undefined): void {
    this.#isProbing = true
    if (delayMs !== undefined) this.#retryAtMs = Math.max(this.#retryAtMs, this.#host.nowMs() + delayMs)
  }

  #wakeAfterAnswer(): void {
    if (this.isIdle || this.#inFlightCount >= this.#host.settings.inFlightMax) return
    const delayMs = this.#retryAtMs - this.#host.nowMs()
    this.#host.wake(this, delayMs > 0 ? delayMs : undefined)
  }

  #batchBytesMax(): number {
    return Math.min(
      this.#host.settings.batchBytesMax,
      this.#host.maxMessageBytes(this.topic),
      BATCH_BYTES_MAX,
    )
  }
}

function capacityFor(bytes: number): number {
  let capacity = CAPACITY_BYTES_MIN
  while (capacity < bytes) capacity *= 2
  return capacity
}
