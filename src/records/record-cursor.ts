import { NaruError } from '../base/errors.ts'
import {
  BATCH_OVERHEAD,
  baseOffsetAt,
  baseTimestampAt,
  compressionAt,
  lastOffsetDeltaAt,
  maxTimestampAt,
  recordCountAt,
  timestampTypeAt,
} from './batch-header.ts'
import { requireBatchSize } from './batch-positions.ts'
import { DECOMPRESSED_BYTES_MAX, decompress } from './compression.ts'
import { VarintReader } from './varint.ts'

export interface RecordHeader {
  readonly key: string
  readonly value: Buffer | null
}

export interface DecodeOptions {
  /** Largest size of the records once decompressed. Default `DECOMPRESSED_BYTES_MAX`. */
  readonly decompressedBytesMax?: number
}

/** Shared by all records without headers. */
const NO_HEADERS: readonly RecordHeader[] = Object.freeze([])

/** A header takes at least two bytes: the lengths of its key and value. */
const HEADER_BYTES_MIN = 2
const ABSENT = -1

/**
 * Walks the records of one batch:
 *
 *     for (const cursor = new RecordCursor(buffer, at); cursor.next(); ) use(cursor.offset, cursor.value())
 *
 * Between two calls of `next`, the fields and methods speak of the current record. Key and value are views into
 * the batch (or into its decompressed copy), made only when asked for; whoever keeps one keeps all of its buffer.
 *
 * The batch has passed `checkBatch` or `validateClientBatch`: only then do its bytes and numbers mean anything.
 * Its records may still be nonsense, which is reported as INVALID_BATCH when it is met; nothing is read outside
 * the batch, and the offsets given out rise and stay within it.
 *
 * A record is: length, attributes (unused), timestamp delta, offset delta, key length and key, value length and
 * value, header count and headers (key length, key, value length, value); length -1 means null.
 */
export class RecordCursor {
  readonly recordCount: number
  /** Counted from the start of the batch: 0 for its first record, with gaps where a cleaner removed some. */
  offsetDelta = -1
  timestamp = 0
  readonly #baseOffset: number
  readonly #lastOffsetDelta: number
  readonly #baseTimestamp: number
  /** With LogAppendTime, the one timestamp of all records. */
  readonly #appendTime: number | undefined
  readonly #bytes: Buffer
  readonly #reader: VarintReader
  readonly #end: number
  #index = 0
  #recordStart: number
  #recordEnd: number
  #keyAt = 0
  #keyLength = ABSENT
  #valueAt = 0
  #valueLength = ABSENT
  #headerCount = 0
  #headersAt = 0

  constructor(buffer: Buffer, at = 0, options: DecodeOptions = {}) {
    const end = at + requireBatchSize(buffer, at)
    const compression = compressionAt(buffer, at)
    this.recordCount = recordCountAt(buffer, at)
    this.#baseOffset = baseOffsetAt(buffer, at)
    this.#lastOffsetDelta = lastOffsetDeltaAt(buffer, at)
    this.#baseTimestamp = baseTimestampAt(buffer, at)
    this.#appendTime =
      timestampTypeAt(buffer, at) === 'LogAppendTime' ? maxTimestampAt(buffer, at) : undefined
    const start = at + BATCH_OVERHEAD
    if (compression === 'none' || this.recordCount === 0) {
      this.#bytes = buffer
      this.#recordEnd = start
      this.#end = end
    } else {
      const limit = options.decompressedBytesMax ?? DECOMPRESSED_BYTES_MAX
      this.#bytes = decompress(compression, buffer.subarray(start, end), limit)
      this.#recordEnd = 0
      this.#end = this.#bytes.length
    }
    this.#recordStart = this.#recordEnd
    this.#reader = new VarintReader(this.#bytes, this.#recordEnd)
  }

  /** Moves to the next record, or returns false behind the last. */
  next(): boolean {
    const reader = this.#reader
    if (this.#index >= this.recordCount) {
      if (this.#recordEnd !== this.#end)
        throw this.#invalid(`${this.#end - this.#recordEnd} bytes are left behind the last record`)
      return false
    }
    this.#recordStart = this.#recordEnd
    reader.position = this.#recordStart
    const length = reader.varint()
    const end = reader.position + length
    // Written so that NaN, which a broken varint leaves behind, fails too.
    if (!(length >= 0 && end <= this.#end)) throw this.#invalid('its length does not fit into the batch')
    // The attributes of a record are unused.
    reader.position++
    const timestampDelta = reader.varlong()
    const offsetDelta = reader.varint()
    this.#keyLength = reader.varint()
    this.#keyAt = reader.position
    if (this.#keyLength > 0) reader.position += this.#keyLength
    this.#valueLength = reader.varint()
    this.#valueAt = reader.position
    if (this.#valueLength > 0) reader.position += this.#valueLength
    this.#headerCount = reader.varint()
    this.#headersAt = reader.position
    const headerBytes = end - reader.position
    const fits =
      this.#headerCount === 0 ? headerBytes === 0 : headerBytes >= this.#headerCount * HEADER_BYTES_MIN
    if (!fits || this.#headerCount < 0 || this.#keyLength < ABSENT || this.#valueLength < ABSENT)
      throw this.#invalid('its fields do not add up to its length')
    if (offsetDelta <= this.offsetDelta || offsetDelta > this.#lastOffsetDelta)
      throw this.#invalid(`offset delta ${offsetDelta} after ${this.offsetDelta} of ${this.#lastOffsetDelta}`)
    const timestamp = this.#appendTime ?? this.#baseTimestamp + timestampDelta
    if (timestamp < -1 || timestamp > Number.MAX_SAFE_INTEGER)
      throw this.#invalid(`timestamp ${timestamp} is out of range`)
    this.offsetDelta = offsetDelta
    this.timestamp = timestamp
    this.#recordEnd = end
    this.#index++
    return true
  }

  get offset(): number {
    return this.#baseOffset + this.offsetDelta
  }

  /** Of the encoded record, with its length field. */
  get sizeInBytes(): number {
    return this.#recordEnd - this.#recordStart
  }

  /** The whole record as it stands, with its length field: a view. */
  encoded(): Buffer {
    return this.#bytes.subarray(this.#recordStart, this.#recordEnd)
  }

  key(): Buffer | null {
    if (this.#keyLength === ABSENT) return null
    return this.#bytes.subarray(this.#keyAt, this.#keyAt + this.#keyLength)
  }

  value(): Buffer | null {
    if (this.#valueLength === ABSENT) return null
    return this.#bytes.subarray(this.#valueAt, this.#valueAt + this.#valueLength)
  }

  get hasKey(): boolean {
    return this.#keyLength !== ABSENT
  }

  /** False: a tombstone. */
  get hasValue(): boolean {
    return this.#valueLength !== ABSENT
  }

  headers(): readonly RecordHeader[] {
    if (this.#headerCount === 0) return NO_HEADERS
    const reader = this.#reader
    const end = this.#recordEnd
    const headers: RecordHeader[] = []
    reader.position = this.#headersAt
    for (let index = 0; index < this.#headerCount; index++) {
      const keyLength = reader.varint()
      const keyAt = reader.position
      reader.position += keyLength
      if (!(keyLength >= 0 && reader.position <= end))
        throw this.#invalid(`the key of header ${index} does not fit`)
      const valueLength = reader.varint()
      const valueAt = reader.position
      if (valueLength > 0) reader.position += valueLength
      if (!(valueLength >= ABSENT && reader.position <= end))
        throw this.#invalid(`the value of header ${index} does not fit`)
      headers.push({
        key: this.#bytes.toString('utf8', keyAt, keyAt + keyLength),
        value: valueLength === ABSENT ? null : this.#bytes.subarray(valueAt, valueAt + valueLength),
      })
    }
    if (reader.position !== end) throw this.#invalid('its headers do not add up to its length')
    return headers
  }

  #invalid(what: string): NaruError {
    return new NaruError(
      'INVALID_BATCH',
      `record ${this.#index} of ${this.recordCount} in the batch at offset ${this.#baseOffset}: ${what}`,
    )
  }
}
