import {
  BATCH_BYTES_MAX,
  BATCH_OVERHEAD,
  baseTimestampAt,
  DELETE_HORIZON_BIT,
  readBatchHeader,
  writeBatchHeader,
} from './batch-header.ts'
import { codeOfCompression } from './codecs.ts'
import { compress } from './compression.ts'
import { type DecodeOptions, RecordCursor } from './record-cursor.ts'
import { stampCrc } from './stamp-batch.ts'
import { VarintReader, varintSize, varlongSize, writeVarint, writeVarlong } from './varint.ts'

const COMPRESSION_BITS = 0x07
const NO_TIMESTAMP = -1

/** When the tombstones of a batch may go, as a cleaner wrote it there; undefined where none has. */
export function deleteHorizonAt(buffer: Buffer, at: number): number | undefined {
  const { attributes } = readBatchHeader(buffer, at)
  return (attributes & DELETE_HORIZON_BIT) === 0 ? undefined : baseTimestampAt(buffer, at)
}

/**
 * A batch with fewer records, as Kafka's `MemoryRecords.filterTo` makes it: first and last offset, producer, sequence,
 * leader epoch and compression stay, so that offsets, epochs and producer state can be read from it as before. (The max
 * timestamp stays as well, where Kafka takes that of the records left: it is part of the producer state.)
 *
 *     const filter = new BatchFilter(buffer, at)
 *     while (filter.next()) if (wanted(filter.record)) filter.keep()
 *     const left = filter.finish({ horizon, keepEmpty })
 */
export class BatchFilter {
  readonly record: RecordCursor
  readonly #batch: Buffer
  readonly #kept: Buffer[] = []
  #keptTombstones = 0

  /** `batch`: the bytes of exactly one batch. Throws for records that cannot be decoded, here or in `next`. */
  constructor(batch: Buffer, options: DecodeOptions = {}) {
    this.#batch = batch
    this.record = new RecordCursor(batch, 0, options)
  }

  next(): boolean {
    return this.record.next()
  }

  keep(): void {
    this.#kept.push(this.record.encoded())
    if (!this.record.hasValue) this.#keptTombstones++
  }

  /**
   * The bytes of the batch that is left; the batch itself where nothing is to be changed; undefined where nothing is left.
   * `horizon` is noted in a batch that keeps tombstones, and has none yet or is to have it renewed.
   */
  finish(options: {
    horizon: { readonly deleteMs: number; readonly isRenewed: boolean } | undefined
    keepEmpty: boolean
  }): Buffer | undefined {
    const header = readBatchHeader(this.#batch)
    const { horizon, keepEmpty } = options
    const hasHorizon = (header.attributes & DELETE_HORIZON_BIT) !== 0
    const isOther = !hasHorizon || (horizon?.isRenewed === true && header.baseTimestamp !== horizon.deleteMs)
    const newHorizon = this.#keptTombstones > 0 && isOther ? horizon : undefined
    if (this.#kept.length === 0) {
      if (!keepEmpty) return undefined
      return header.recordCount === 0 ? this.#batch : this.#emptied()
    }
    if (this.#kept.length === header.recordCount && !newHorizon) return this.#batch
    const baseTimestamp = newHorizon?.deleteMs ?? header.baseTimestamp
    const shift = header.baseTimestamp - baseTimestamp
    const records = shift === 0 ? Buffer.concat(this.#kept) : rebased(this.#kept, shift)
    const packed = compress(header.compression, records)
    const sizeInBytes = BATCH_OVERHEAD + packed.length
    // The producer's compressor may have been better than this one: a batch above the limit would count as damage.
    if (sizeInBytes > BATCH_BYTES_MAX) return this.#batch
    const batch = Buffer.allocUnsafeSlow(sizeInBytes)
    batch.set(packed, BATCH_OVERHEAD)
    const attributes = header.attributes | (newHorizon ? DELETE_HORIZON_BIT : 0)
    const recordCount = this.#kept.length
    writeBatchHeader(batch, 0, { ...header, sizeInBytes, attributes, baseTimestamp, recordCount })
    stampCrc(batch, 0)
    return batch
  }

  #emptied(): Buffer {
    const header = readBatchHeader(this.#batch)
    const batch = Buffer.allocUnsafeSlow(BATCH_OVERHEAD)
    writeBatchHeader(batch, 0, {
      ...header,
      sizeInBytes: BATCH_OVERHEAD,
      attributes: (header.attributes & ~(COMPRESSION_BITS | DELETE_HORIZON_BIT)) | codeOfCompression('none'),
      baseTimestamp: NO_TIMESTAMP,
      recordCount: 0,
    })
    stampCrc(batch, 0)
    return batch
  }
}

/** Encoded records whose timestamp deltas count from `shift` earlier. */
function rebased(records: readonly Buffer[], shift: number): Buffer {
  return Buffer.concat(
    records.map(record => {
      const reader = new VarintReader(record)
      reader.varint()
      const attributes = record[reader.position++] as number
      const delta = reader.varlong() + shift
      const rest = record.subarray(reader.position)
      const bodyBytes = 1 + varlongSize(delta) + rest.length
      const encoded = Buffer.allocUnsafe(varintSize(bodyBytes) + bodyBytes)
      let at = writeVarint(encoded, 0, bodyBytes)
      encoded[at++] = attributes
      at = writeVarlong(encoded, at, delta)
      encoded.set(rest, at)
      return encoded
    }),
  )
}
