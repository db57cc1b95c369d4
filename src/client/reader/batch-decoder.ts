import type { Offset } from '../../base/brands.ts'
import { NaruError } from '../../base/errors.ts'
import { isControlAt, lastOffsetAt } from '../../records/batch-header.ts'
import { RecordCursor } from '../../records/record-cursor.ts'
import { checkBatch } from '../../records/validate-batch.ts'
import type { PartitionCursor } from './partition-cursor.ts'
import type { ConsumedRecord, RecordBatch } from './types.ts'

/** Records per part of a batch: a few milliseconds of decoding, after which other work may come first. */
const PART_RECORDS_MAX = 8_192

/** Whole batches of one partition as they came; or none, where only the position moves on. */
export interface ReceivedBatches {
  readonly cursor: PartitionCursor
  readonly bytes: Buffer
  /** Behind the last record that they cover. */
  readonly nextOffset: Offset
  readonly highWatermark: Offset
  /** They are decoded: what they cost may come again. */
  readonly onConsumed: () => void
}

/** Up to there, nothing is left to read (removed by a cleaner, retention, or the stop). */
export function passedOver(cursor: PartitionCursor, nextOffset: Offset): ReceivedBatches {
  const highWatermark = cursor.highWatermark ?? nextOffset
  return { cursor, bytes: NO_BYTES, nextOffset, highWatermark, onConsumed: () => {} }
}

const NO_BYTES = Buffer.alloc(0)

/**
 * Decodes received batches part by part, the CRC of each batch checked first. Records that were given out before (a
 * batch is resent whole) or lie behind the stop are left out.
 */
export class BatchDecoder {
  readonly #received: ReceivedBatches
  #at = 0
  #batch: OpenBatch | undefined

  constructor(received: ReceivedBatches) {
    this.#received = received
  }

  /** The next part with records in it; undefined: all is decoded. */
  next(): RecordBatch | undefined {
    for (;;) {
      if (this.#batch === undefined) {
        const stored = this.#nextStored()
        if (stored === undefined) return undefined
        this.#batch = { ...stored, records: this.#decoding(() => new RecordCursor(stored.bytes)) }
      }
      const part = this.#part()
      if (part.records.length > 0) return part
    }
  }

  /** The next batch with all its bytes and none of its records; undefined: there is no more. */
  nextWhole(): RecordBatch | undefined {
    const { cursor, highWatermark } = this.#received
    const stored = this.#nextStored()
    if (stored === undefined) return undefined
    const { topic, partition } = cursor
    const { bytes, endOffset } = stored
    cursor.gaveOut(endOffset)
    return { topic, partition, records: [], nextOffset: endOffset, highWatermark, bytes }
  }

  /** Its CRC is checked, and it has records that this reader has not had. */
  #nextStored(): StoredBatch | undefined {
    const { cursor, bytes, nextOffset } = this.#received
    while (this.#at < bytes.length) {
      const at = this.#at
      let sizeInBytes: number
      try {
        sizeInBytes = checkBatch(bytes, at).sizeInBytes
      } catch (thrown) {
        throw this.#corrupt(NaruError.from(thrown))
      }
      this.#at = at + sizeInBytes
      const endOffset = lastOffsetAt(bytes, at) + 1
      // Control batches hold no records of users.
      if (isControlAt(bytes, at) || endOffset <= (cursor.nextOffset ?? 0)) continue
      return { bytes: bytes.subarray(at, this.#at), endOffset }
    }
    cursor.gaveOut(nextOffset)
    return undefined
  }

  #part(): RecordBatch {
    const { cursor, highWatermark } = this.#received
    const { bytes, records, endOffset } = this.#batch as OpenBatch
    const from = cursor.nextOffset ?? 0
    const stop = cursor.stopOffset ?? Number.POSITIVE_INFINITY
    const found: ConsumedRecord[] = []
    const isEnd = this.#decoding(() => decodeInto(found, records, { cursor, from, stop }))
    if (isEnd) this.#batch = undefined
    const last = found.at(-1)
    const nextOffset = isEnd ? Math.min(endOffset, stop) : last ? last.offset + 1 : from
    cursor.gaveOut(nextOffset)
    const { topic, partition } = cursor
    return { topic, partition, records: found, nextOffset: Math.max(from, nextOffset), highWatermark, bytes }
  }

  #decoding<T>(decode: () => T): T {
    try {
      return decode()
    } catch (thrown) {
      throw this.#corrupt(NaruError.from(thrown))
    }
  }

  #corrupt(cause: NaruError): NaruError {
    const { topic, partition, nextOffset } = this.#received.cursor
    return new NaruError(
      'CORRUPT_DATA',
      `"${topic}" partition ${partition}: what came for offset ${nextOffset} cannot be read: ${cause.message}`,
      { cause, details: { topic, partition: String(partition), offset: String(nextOffset) } },
    )
  }
}

interface StoredBatch {
  readonly bytes: Buffer
  readonly endOffset: Offset
}

interface OpenBatch extends StoredBatch {
  readonly records: RecordCursor
}

/** True: the batch has no more for this reader. */
function decodeInto(
  found: ConsumedRecord[],
  records: RecordCursor,
  range: { cursor: PartitionCursor; from: Offset; stop: Offset },
): boolean {
  const { topic, partition } = range.cursor
  while (found.length < PART_RECORDS_MAX) {
    if (!records.next()) return true
    const { offset } = records
    if (offset < range.from) continue
    if (offset >= range.stop) return true
    found.push({
      topic,
      partition,
      offset,
      timestampMs: records.timestamp,
      key: records.key(),
      value: records.value(),
      headers: records.headers(),
    })
  }
  return false
}
