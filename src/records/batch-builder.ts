import { assert } from '../base/assert.ts'
import { NaruError } from '../base/errors.ts'
import { BATCH_BYTES_MAX, BATCH_OVERHEAD, writeBatchHeader } from './batch-header.ts'
import { type Compression, codeOfCompression } from './codecs.ts'
import { compress, DECOMPRESSED_BYTES_MAX } from './compression.ts'
import { stampCrc } from './stamp-batch.ts'
import { varintSize, varlongSize, writeVarint, writeVarlong } from './varint.ts'

export interface RecordInput {
  readonly key?: Uint8Array | null | undefined
  /** Null or absent: a tombstone. */
  readonly value?: Uint8Array | null | undefined
  /** Milliseconds since 1970. */
  readonly timestamp: number
  readonly headers?: readonly { readonly key: string; readonly value: Uint8Array | null }[] | undefined
}

export interface BuildOptions {
  readonly compression?: Compression
  readonly producerId?: number
  readonly producerEpoch?: number
  /** Sequence of the first record. */
  readonly baseSequence?: number
  /** A leader stamps these two at append (`stampBatch`). */
  readonly baseOffset?: number
  readonly leaderEpoch?: number
}

/** Shorter pieces are copied by a loop: for them a call of `set` costs more than the bytes. */
const LOOP_COPY_BYTES_MAX = 24
const CAPACITY_BYTES = 16 * 1024
const EMPTY = Buffer.alloc(0)

/**
 * Encodes records into one batch, into one growing buffer: no object per record, no second copy. `build` hands
 * the buffer over when the batch is not compressed, and leaves the builder empty and ready for the next batch.
 *
 * Invariant: bytes 0 ... 60 of the buffer are room for the header, records follow without a gap.
 */
export class BatchBuilder {
  readonly #capacityBytes: number
  #buffer: Buffer
  #end = BATCH_OVERHEAD
  #count = 0
  #lastOffsetDelta = -1
  #baseTimestamp = 0
  #maxTimestamp = -1

  /** `buffer`: to encode into, for the first batch; whoever gives it away has no more use for its bytes. */
  constructor(options: { capacityBytes?: number; buffer?: Buffer | undefined } = {}) {
    this.#capacityBytes = Math.max(BATCH_OVERHEAD, options.capacityBytes ?? CAPACITY_BYTES)
    this.#buffer = options.buffer ?? EMPTY
  }

  get recordCount(): number {
    return this.#count
  }

  /** Of the batch if built now without compression. */
  get sizeInBytes(): number {
    return this.#end
  }

  /** Adds a record at the next offset and returns the size of the batch so far, uncompressed. */
  append(record: RecordInput): number {
    return this.appendAt(this.#lastOffsetDelta + 1, record)
  }

  /** Adds a record at that offset delta: rising, with gaps where a cleaner has removed records. */
  appendAt(offsetDelta: number, record: RecordInput): number {
    const { timestamp, headers } = record
    const key = record.key ?? null
    const value = record.value ?? null
    assert(offsetDelta > this.#lastOffsetDelta, 'offset deltas of a batch rise')
    requireTimestamp(timestamp)
    const timestampDelta = this.#count === 0 ? 0 : timestamp - this.#baseTimestamp
    const headerCount = headers === undefined ? 0 : headers.length
    const bodyBytes =
      1 + // attributes, unused
      varlongSize(timestampDelta) +
      varintSize(offsetDelta) +
      bytesSize(key) +
      bytesSize(value) +
      varintSize(headerCount) +
      (headers === undefined || headerCount === 0 ? 0 : headersSize(headers))
    const end = this.#end + varintSize(bodyBytes) + bodyBytes
    if (end > this.#buffer.length) this.#grow(end)

    const buffer = this.#buffer
    let at = writeVarint(buffer, this.#end, bodyBytes)
    buffer[at++] = 0
    at = writeVarlong(buffer, at, timestampDelta)
    at = writeVarint(buffer, at, offsetDelta)
    at = writeBytes(buffer, at, key)
    at = writeBytes(buffer, at, value)
    at = writeVarint(buffer, at, headerCount)
    if (headers !== undefined && headerCount > 0) at = writeHeaders(buffer, at, headers)
    assert(at === end, 'a record fills exactly its computed size')

    if (this.#count === 0) this.#baseTimestamp = timestamp
    if (timestamp > this.#maxTimestamp) this.#maxTimestamp = timestamp
    this.#lastOffsetDelta = offsetDelta
    this.#count++
    this.#end = end
    return end
  }

  /** The finished batch. The builder is empty afterwards. */
  build(options: BuildOptions = {}): Buffer {
    assert(this.#count > 0, 'a batch holds at least one record')
    const compression = options.compression ?? 'none'
    const batch = this.#takeBytes(compression)
    writeBatchHeader(batch, 0, {
      baseOffset: options.baseOffset ?? 0,
      sizeInBytes: batch.length,
      leaderEpoch: options.leaderEpoch ?? -1,
      attributes: codeOfCompression(compression),
      lastOffsetDelta: this.#lastOffsetDelta,
      baseTimestamp: this.#baseTimestamp,
      maxTimestamp: this.#maxTimestamp,
      producerId: options.producerId ?? -1,
      producerEpoch: options.producerEpoch ?? -1,
      baseSequence: options.baseSequence ?? -1,
      recordCount: this.#count,
    })
    stampCrc(batch, 0)
    this.#reset()
    return batch
  }

  #takeBytes(compression: Compression): Buffer {
    if (compression === 'none') {
      requireBatchFits(this.#end)
      // A mostly empty buffer would be held for as long as the batch is: copy out the little there is.
      if (this.#end < this.#buffer.length / 2) {
        const batch = Buffer.allocUnsafeSlow(this.#end)
        batch.set(this.#buffer.subarray(0, this.#end))
        return batch
      }
      const batch = this.#buffer.subarray(0, this.#end)
      // Not before it is needed: who builds one batch per builder would pay for two.
      this.#buffer = EMPTY
      return batch
    }
    const records = compress(compression, this.#buffer.subarray(BATCH_OVERHEAD, this.#end))
    requireBatchFits(BATCH_OVERHEAD + records.length)
    const batch = Buffer.allocUnsafeSlow(BATCH_OVERHEAD + records.length)
    batch.set(records, BATCH_OVERHEAD)
    return batch
  }

  #reset(): void {
    this.#end = BATCH_OVERHEAD
    this.#count = 0
    this.#lastOffsetDelta = -1
    this.#maxTimestamp = -1
  }

  #grow(neededBytes: number): void {
    if (neededBytes > DECOMPRESSED_BYTES_MAX)
      throw new NaruError(
        'RECORD_TOO_LARGE',
        `with this record the batch has ${neededBytes} bytes, more than readers decompress (${DECOMPRESSED_BYTES_MAX}): send it alone, or split it`,
      )
    const grown = Buffer.allocUnsafeSlow(Math.max(neededBytes, this.#capacityBytes, this.#buffer.length * 2))
    grown.set(this.#buffer.subarray(0, this.#end))
    this.#buffer = grown
  }
}

type Headers = NonNullable<RecordInput['headers']>

function bytesSize(bytes: Uint8Array | null): number {
  if (bytes === null) return 1
  const length = bytes.length
  return varintSize(length) + length
}

function writeBytes(buffer: Buffer, at: number, bytes: Uint8Array | null): number {
  if (bytes === null) return writeVarint(buffer, at, -1)
  const length = bytes.length
  const start = writeVarint(buffer, at, length)
  if (length > LOOP_COPY_BYTES_MAX) buffer.set(bytes, start)
  else for (let index = 0; index < length; index++) buffer[start + index] = bytes[index] as number
  return start + length
}

function headersSize(headers: Headers): number {
  let size = 0
  for (const { key, value } of headers) {
    const keyLength = Buffer.byteLength(key)
    size += varintSize(keyLength) + keyLength + bytesSize(value)
  }
  return size
}

function writeHeaders(buffer: Buffer, at: number, headers: Headers): number {
  let position = at
  for (const { key, value } of headers) {
    position = writeVarint(buffer, position, Buffer.byteLength(key))
    position += buffer.write(key, position)
    position = writeBytes(buffer, position, value)
  }
  return position
}

function requireTimestamp(timestamp: number): void {
  if (!Number.isSafeInteger(timestamp) || timestamp < -1)
    throw new NaruError(
      'INVALID_TIMESTAMP',
      `timestamp ${timestamp} is no whole number of milliseconds since 1970 (-1: none)`,
    )
}

function requireBatchFits(sizeInBytes: number): void {
  if (sizeInBytes > BATCH_BYTES_MAX)
    throw new NaruError(
      'RECORD_TOO_LARGE',
      `the batch has ${sizeInBytes} bytes, no topic takes more than ${BATCH_BYTES_MAX}: send fewer or smaller records at a time`,
    )
}
