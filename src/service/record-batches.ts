import type { PartitionId } from '../base/brands.ts'
import { NaruError } from '../base/errors.ts'
import { BatchBuilder } from '../records/batch-builder.ts'
import type { ProducerSequence, Record } from '../wire/messages.ts'
import { batchRecord } from '../wire/record-codec.ts'

/**
 * Turns records, as thin clients send them, into batches: one or more per partition, in the order of the
 * records. What the leader would refuse a whole batch for is found here, record by record, so that one bad
 * record does not take others with it.
 *
 * From here on they go the way of ready batches. So there is one way into a partition, and when its leader is
 * elsewhere (forwarding) only batches travel. A client of this process in between (src/client over the in-process
 * transport) would buffer, linger and number them a second time, to the same effect.
 */
export interface RecordBatch {
  readonly partition: PartitionId
  readonly batch: Buffer
  /** Places of its records among those given, in order. */
  readonly places: readonly number[]
}

export interface RecordLimits {
  /** `max.message.bytes` of the topic. */
  readonly maxMessageBytes: number
  /** Latest timestamp that the topic takes. */
  readonly timestampMsMax: number
  readonly nowMs: number
}

export interface EncodedRecords {
  readonly batches: readonly RecordBatch[]
  /** By the place of the record. */
  readonly refused: ReadonlyMap<number, { readonly partition: PartitionId; readonly error: NaruError }>
}

/** `partitionOf` picks the partition of each record. */
export function encodeRecords(
  records: readonly Record[],
  partitionOf: (record: Record) => PartitionId,
  limits: RecordLimits,
): EncodedRecords {
  const open = new Map<PartitionId, OpenBatch>()
  const batches: RecordBatch[] = []
  const refused = new Map<number, { partition: PartitionId; error: NaruError }>()
  for (const [place, record] of records.entries()) {
    const partition = partitionOf(record)
    let batch = open.get(partition)
    if (batch === undefined) {
      batch = new OpenBatch(partition)
      open.set(partition, batch)
    }
    try {
      checkRecord(record, place, limits)
      // A bound: the exact size is only known once the record is in the batch, and then it stays there.
      if (batch.hasRecords && batch.sizeInBytes + sizeBound(record) > limits.maxMessageBytes)
        batches.push(batch.build())
      batch.append(record, place, limits.nowMs)
    } catch (thrown) {
      if (!(thrown instanceof NaruError)) throw thrown
      refused.set(place, { partition, error: thrown })
    }
  }
  for (const batch of open.values()) if (batch.hasRecords) batches.push(batch.build())
  return { batches, refused }
}

/**
 * With a sequence, all records make one batch or nothing is written: a retry is recognised by its batch, so the
 * records must not be cut another way the next time.
 */
export function encodeSequence(
  records: readonly Record[],
  options: { partition: PartitionId; producer: ProducerSequence },
  limits: RecordLimits,
): Buffer {
  const { producerId, producerEpoch, baseSequence } = options.producer
  const batch = new OpenBatch(options.partition)
  for (const [place, record] of records.entries()) {
    checkRecord(record, place, limits)
    batch.append(record, place, limits.nowMs)
    if (batch.sizeInBytes > limits.maxMessageBytes)
      throw new NaruError(
        'RECORD_TOO_LARGE',
        `with record ${place} the batch has ${batch.sizeInBytes} bytes, max.message.bytes is ${limits.maxMessageBytes}: ` +
          'records with a producer sequence go into one batch, send fewer at a time',
      )
  }
  return batch.build({ producerId, producerEpoch, baseSequence }).batch
}

class OpenBatch {
  readonly #partition: PartitionId
  readonly #builder = new BatchBuilder({ capacityBytes: CAPACITY_BYTES })
  #places: number[] = []

  constructor(partition: PartitionId) {
    this.#partition = partition
  }

  get hasRecords(): boolean {
    return this.#places.length > 0
  }

  get sizeInBytes(): number {
    return this.#builder.sizeInBytes
  }

  append(record: Record, place: number, nowMs: number): void {
    this.#builder.append(batchRecord(record, nowMs))
    this.#places.push(place)
  }

  build(sequence: Partial<ProducerSequence> = {}): RecordBatch {
    const places = this.#places
    this.#places = []
    return { partition: this.#partition, batch: this.#builder.build(sequence), places }
  }
}

function checkRecord(record: Record, place: number, limits: RecordLimits): void {
  const { timestampMs } = record
  if (timestampMs !== undefined && (timestampMs < 0 || timestampMs > limits.timestampMsMax))
    throw new NaruError(
      'INVALID_TIMESTAMP',
      `record ${place}: timestamp_ms ${timestampMs} is outside of 0 to ${limits.timestampMsMax}, the latest that the topic takes now`,
    )
  // The bound is above the exact size by less than 64 bytes: who is so near the limit may as well be told.
  const bytes = BATCH_BYTES + sizeBound(record)
  if (bytes > limits.maxMessageBytes)
    throw new NaruError(
      'RECORD_TOO_LARGE',
      `record ${place} takes up to ${bytes} bytes as a batch, max.message.bytes is ${limits.maxMessageBytes}: send smaller records, or raise it`,
      { details: { max_message_bytes: String(limits.maxMessageBytes) } },
    )
}

/** No smaller than the encoded record, and not much larger. */
function sizeBound(record: Record): number {
  let bytes = RECORD_BYTES + (record.key?.length ?? 0) + (record.value?.length ?? 0)
  for (const header of record.headers)
    bytes += HEADER_BYTES + Buffer.byteLength(header.key) + (header.value?.length ?? 0)
  return bytes
}

/** Header of a batch. */
const BATCH_BYTES = 61
/** Lengths, deltas, attributes and header count, at their largest. */
const RECORD_BYTES = 5 + 1 + 10 + 5 + 5 + 5 + 5
const HEADER_BYTES = 5 + 5
/** Most calls of thin clients bring little. */
const CAPACITY_BYTES = 4 * 1024
