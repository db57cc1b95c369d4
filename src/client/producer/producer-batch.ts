import { assert } from '../../base/assert.ts'
import type { Offset, ProducerId } from '../../base/brands.ts'
import type { NaruError } from '../../base/errors.ts'
import { BatchBuilder, type RecordInput } from '../../records/batch-builder.ts'
import type { Compression } from '../../records/codecs.ts'
import { stampProducer } from '../../records/stamp-batch.ts'
import type { RecordLocation } from './types.ts'

/** The promise of one `send`. */
export interface PendingSend {
  resolve(location: RecordLocation): void
  reject(error: unknown): void
}

/** What leaders recognise retries by. Each partition counts its own sequence under it. */
export interface ProducerIdentity {
  readonly producerId: ProducerId
  readonly producerEpoch: number
}

export interface BatchStamp {
  readonly identity: ProducerIdentity
  readonly baseSequence: number
}

/**
 * Records of one partition that are sent and answered together: open (records come in) -> sealed -> sent, perhaps
 * several times -> settled.
 *
 * Invariants: the bytes are encoded once, when the batch is first sent. Once it may be stored, its stamp changes only
 * after a leader has proven that it is not (rule E1).
 */
export class ProducerBatch {
  /** By the monotonic clock, for its delivery timeout. */
  readonly createdMs: number
  /** What the budget counts for it. */
  countedBytes = 0
  recordCount = 0
  stamp: BatchStamp | undefined
  isInFlight = false
  /** Raised by each sending: an answer counts only for the attempt that it belongs to. */
  attempt = 0
  /** It was sent, and nobody knows what became of it. */
  mayBeStored = false
  lastError: NaruError | undefined
  readonly #builder: BatchBuilder
  #encoded: Buffer | undefined
  #sends: { readonly place: number; readonly send: PendingSend }[] | undefined
  #onSettled: (() => void)[] = []

  constructor(options: { createdMs: number; capacityBytes: number; buffer?: Buffer | undefined }) {
    const { createdMs, capacityBytes, buffer } = options
    this.createdMs = createdMs
    this.#builder = new BatchBuilder({ capacityBytes, buffer })
  }

  /** Its bytes, which nobody needs any more: the batch is stored, and each frame that held it had a copy. */
  takeBytes(): Buffer | undefined {
    const bytes = this.#encoded
    this.#encoded = undefined
    return bytes
  }

  /** Before compression. */
  get sizeInBytes(): number {
    return this.#encoded?.length ?? this.#builder.sizeInBytes
  }

  /** Records whose failure no promise tells. */
  get enqueuedCount(): number {
    return this.recordCount - (this.#sends?.length ?? 0)
  }

  /** Returns by how many bytes the batch grew. */
  append(record: RecordInput, send: PendingSend | undefined): number {
    const before = this.recordCount === 0 ? 0 : this.#builder.sizeInBytes
    const after = this.#builder.append(record)
    if (send !== undefined) {
      this.#sends ??= []
      this.#sends.push({ place: this.recordCount, send })
    }
    this.recordCount++
    return after - before
  }

  /** Compresses if asked to; without a stamp the batch carries no producer id. */
  encode(compression: Compression, stamp: BatchStamp | undefined): Buffer {
    if (this.#encoded === undefined) {
      this.#encoded = this.#builder.build({ compression, ...stamp?.identity, ...sequenceOf(stamp) })
    } else if (stamp !== undefined && stamp !== this.stamp) {
      assert(!this.mayBeStored, 'a batch that may be stored keeps its stamp')
      stampProducer(this.#encoded, 0, { ...stamp.identity, baseSequence: stamp.baseSequence })
    }
    this.stamp = stamp
    return this.#encoded
  }

  onSettled(callback: () => void): void {
    this.#onSettled.push(callback)
  }

  succeed(of: { topic: string; partition: number; baseOffset: Offset | undefined }): void {
    const { topic, partition, baseOffset } = of
    if (this.#sends)
      for (const { place, send } of this.#sends)
        send.resolve({ topic, partition, offset: baseOffset === undefined ? -1 : baseOffset + place })
    this.#settle()
  }

  fail(error: NaruError): void {
    if (this.#sends) for (const { send } of this.#sends) send.reject(error)
    this.#settle()
  }

  #settle(): void {
    for (const callback of this.#onSettled) callback()
    this.#onSettled = []
    this.#sends = undefined
  }
}

function sequenceOf(stamp: BatchStamp | undefined): { baseSequence?: number } {
  return stamp === undefined ? {} : { baseSequence: stamp.baseSequence }
}
