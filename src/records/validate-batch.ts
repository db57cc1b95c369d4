import { type ErrorReason, NaruError } from '../base/errors.ts'
import {
  BATCH_BYTES_MAX,
  BATCH_OVERHEAD,
  type BatchHeader,
  CRC_START,
  crcAt,
  DELETE_HORIZON_BIT,
  LOG_OVERHEAD,
  MAGIC,
  magicAt,
  RESERVED_BITS,
  readBatchHeader,
  sizeInBytesAt,
} from './batch-header.ts'
import { crc32c } from './crc32c.ts'
import { RecordCursor } from './record-cursor.ts'

/**
 * What is checked of a batch before it is believed. The leader checks what a client sends (`validateClientBatch`);
 * everyone who gets stored bytes, from a disk or a peer, checks `checkBatch`. Records stay opaque in both, unless
 * `walkRecords` asks for a look into uncompressed ones.
 *
 * Base offset, length and leader epoch lie outside the CRC: whoever stores a batch compares them with what he
 * expects at that place.
 */

/** Fewest bytes of a record: length, attributes, two deltas, key length, value length, header count. */
const RECORD_BYTES_MIN = 7

export interface ClientBatchLimits {
  /** `max.message.bytes` of the topic: the whole batch, as it is sent. */
  readonly maxMessageBytes: number
  /** Latest timestamp taken, in milliseconds since 1970: now plus what clocks may differ. Default: any. */
  readonly timestampMsMax?: number
  /** Also walks the records of an uncompressed batch. */
  readonly walkRecords?: boolean
}

/** Checks a batch that a client wants to append; the base offset and leader epoch in it do not matter. */
export function validateClientBatch(buffer: Buffer, at: number, limits: ClientBatchLimits): BatchHeader {
  const size = requireSize(buffer, at, buffer.length)
  if (size > limits.maxMessageBytes)
    throw refuse(
      'RECORD_TOO_LARGE',
      at,
      `it has ${size} bytes, max.message.bytes is ${limits.maxMessageBytes}`,
    )
  const header = checkIntegrity(buffer, at)
  if (header.isControl) throw refuse('INVALID_BATCH', at, 'only a node may set the control bit')
  if (header.isTransactional)
    throw refuse('INVALID_BATCH', at, 'the transactional bit is set, and there are no transactions here')
  if ((header.attributes & (RESERVED_BITS | DELETE_HORIZON_BIT)) !== 0)
    throw refuse(
      'INVALID_BATCH',
      at,
      `attributes 0x${header.attributes.toString(16)} have bits of no meaning here`,
    )
  if (header.recordCount === 0) throw refuse('INVALID_BATCH', at, 'it holds no record')
  if (header.lastOffsetDelta !== header.recordCount - 1)
    throw refuse(
      'INVALID_BATCH',
      at,
      `last offset delta ${header.lastOffsetDelta} does not fit ${header.recordCount} records`,
    )
  if (header.producerId >= 0 && (header.producerEpoch < 0 || header.baseSequence < 0))
    throw refuse(
      'INVALID_BATCH',
      at,
      `producer ${header.producerId} without epoch (${header.producerEpoch}) or sequence (${header.baseSequence})`,
    )
  validateTimestamps(header, at, limits.timestampMsMax ?? Number.MAX_SAFE_INTEGER)
  if (limits.walkRecords && header.compression === 'none') walkRecords(buffer, at, header)
  return header
}

/** Checks a batch that a node has written: structure and CRC, not who may write what. */
export function checkBatch(buffer: Buffer, at = 0): BatchHeader {
  requireSize(buffer, at, buffer.length)
  const header = checkIntegrity(buffer, at)
  const { baseOffset, lastOffsetDelta } = header
  if (baseOffset < 0 || baseOffset + lastOffsetDelta > Number.MAX_SAFE_INTEGER)
    throw refuse('INVALID_BATCH', at, `base offset ${baseOffset} is no offset`)
  return header
}

/**
 * Size of the batch at `at` if all of it lies before `end`, else 0: more bytes are needed. Throws if what is
 * there cannot be the start of a batch. For reading files and streams piece by piece.
 */
export function completeBatchSize(buffer: Buffer, at: number, end: number = buffer.length): number {
  if (at + LOG_OVERHEAD > end) return 0
  const size = sizeInBytesAt(buffer, at)
  if (size < BATCH_OVERHEAD || size > BATCH_BYTES_MAX)
    throw refuse(
      'INVALID_BATCH',
      at,
      `its length field says ${size} bytes (${BATCH_OVERHEAD} ... ${BATCH_BYTES_MAX})`,
    )
  if (at + BATCH_OVERHEAD <= end && magicAt(buffer, at) !== MAGIC)
    throw refuse('INVALID_BATCH', at, `magic ${magicAt(buffer, at)}, only ${MAGIC} is known`)
  return at + size <= end ? size : 0
}

/** Positions of the batches that fill `start` ... `end` without a gap. Throws at one that is not all there. */
export function* batchPositions(
  buffer: Buffer,
  start = 0,
  end = buffer.length,
): Generator<number, void, void> {
  for (let at = start; at < end; ) {
    const size = requireSize(buffer, at, end)
    yield at
    at += size
  }
}

function requireSize(buffer: Buffer, at: number, end: number): number {
  if (at < 0 || at > end) throw refuse('INVALID_BATCH', at, `it starts outside the ${end} bytes given`)
  const size = completeBatchSize(buffer, at, end)
  if (size === 0) throw refuse('INVALID_BATCH', at, `it is cut off after ${end - at} bytes`)
  return size
}

/** Fields that contradict themselves, numbers that do not fit, and the CRC. The batch is all there. */
function checkIntegrity(buffer: Buffer, at: number): BatchHeader {
  const size = sizeInBytesAt(buffer, at)
  const crc = crc32c(buffer, at + CRC_START, at + size)
  // The CRC first: when bytes changed on the way, all other complaints would mislead.
  if (crc !== crcAt(buffer, at))
    throw refuse('CORRUPT_BATCH', at, `its CRC-32C is ${hex(crcAt(buffer, at))}, its bytes give ${hex(crc)}`)
  const header = readBatchHeader(buffer, at)
  requireInt64(header.maxTimestamp, 'max timestamp', at)
  requireInt64(header.baseTimestamp, 'base timestamp', at)
  requireInt64(header.producerId, 'producer id', at)
  const { recordCount, lastOffsetDelta } = header
  if (recordCount < 0 || lastOffsetDelta < 0 || recordCount > lastOffsetDelta + 1)
    throw refuse('INVALID_BATCH', at, `${recordCount} records with last offset delta ${lastOffsetDelta}`)
  if (header.compression === 'none' && recordCount * RECORD_BYTES_MIN > size - BATCH_OVERHEAD)
    throw refuse('INVALID_BATCH', at, `${recordCount} records do not fit into ${size - BATCH_OVERHEAD} bytes`)
  return header
}

function validateTimestamps(header: BatchHeader, at: number, timestampMsMax: number): void {
  if (header.timestampType === 'LogAppendTime')
    throw refuse('INVALID_TIMESTAMP', at, 'its timestamp type is LogAppendTime, which only a node may set')
  const latest = Math.max(header.maxTimestamp, header.baseTimestamp)
  if (latest > timestampMsMax)
    throw refuse(
      'INVALID_TIMESTAMP',
      at,
      `timestamp ${latest} is later than the latest taken, ${timestampMsMax}`,
    )
}

function walkRecords(buffer: Buffer, at: number, header: BatchHeader): void {
  const cursor = new RecordCursor(buffer, at)
  for (let delta = 0; cursor.next(); delta++) {
    if (cursor.offsetDelta !== delta)
      throw refuse('INVALID_BATCH', at, `record ${delta} has offset delta ${cursor.offsetDelta}`)
    if (cursor.timestamp > header.maxTimestamp)
      throw refuse('INVALID_BATCH', at, `record ${delta} is later than the max timestamp of the batch`)
  }
}

function requireInt64(value: number, what: string, at: number): void {
  if (value < -1 || value > Number.MAX_SAFE_INTEGER)
    throw refuse('INVALID_BATCH', at, `${what} ${value} is out of range (-1 for none, to 2^53 - 1)`)
}

function refuse(reason: ErrorReason, at: number, what: string): NaruError {
  return new NaruError(reason, `batch at byte ${at}: ${what}`, { details: { position: String(at) } })
}

function hex(value: number): string {
  return `0x${value.toString(16).padStart(8, '0')}`
}
