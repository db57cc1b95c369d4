import { batchError } from './batch-errors.ts'
import {
  BATCH_OVERHEAD,
  type BatchHeader,
  CRC_START,
  crcAt,
  DELETE_HORIZON_BIT,
  RESERVED_BITS,
  readBatchHeader,
  sizeInBytesAt,
} from './batch-header.ts'
import { requireBatchSize } from './batch-positions.ts'
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
  const size = requireBatchSize(buffer, at)
  if (size > limits.maxMessageBytes)
    throw batchError(
      'RECORD_TOO_LARGE',
      at,
      `it has ${size} bytes, max.message.bytes is ${limits.maxMessageBytes}`,
    )
  const header = checkIntegrity(buffer, at)
  if (header.isControl) throw batchError('INVALID_BATCH', at, 'only a node may set the control bit')
  if (header.isTransactional)
    throw batchError('INVALID_BATCH', at, 'the transactional bit is set, and there are no transactions here')
  if ((header.attributes & (RESERVED_BITS | DELETE_HORIZON_BIT)) !== 0)
    throw batchError(
      'INVALID_BATCH',
      at,
      `attributes 0x${header.attributes.toString(16)} have bits of no meaning here`,
    )
  if (header.recordCount === 0) throw batchError('INVALID_BATCH', at, 'it holds no record')
  if (header.lastOffsetDelta !== header.recordCount - 1)
    throw batchError(
      'INVALID_BATCH',
      at,
      `last offset delta ${header.lastOffsetDelta} does not fit ${header.recordCount} records`,
    )
  if (header.producerId >= 0 && (header.producerEpoch < 0 || header.baseSequence < 0))
    throw batchError(
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
  requireBatchSize(buffer, at)
  const header = checkIntegrity(buffer, at)
  const { baseOffset, lastOffsetDelta } = header
  if (baseOffset < 0 || baseOffset + lastOffsetDelta > Number.MAX_SAFE_INTEGER)
    throw batchError('INVALID_BATCH', at, `base offset ${baseOffset} is no offset`)
  return header
}

/** Fields that contradict themselves, numbers that do not fit, and the CRC. The batch is all there. */
function checkIntegrity(buffer: Buffer, at: number): BatchHeader {
  const size = sizeInBytesAt(buffer, at)
  const crc = crc32c(buffer, at + CRC_START, at + size)
  // The CRC first: when bytes changed on the way, all other complaints would mislead.
  if (crc !== crcAt(buffer, at))
    throw batchError(
      'CORRUPT_BATCH',
      at,
      `its CRC-32C is ${hex(crcAt(buffer, at))}, its bytes give ${hex(crc)}`,
    )
  const header = readBatchHeader(buffer, at)
  requireInt64(header.maxTimestamp, 'max timestamp', at)
  requireInt64(header.baseTimestamp, 'base timestamp', at)
  requireInt64(header.producerId, 'producer id', at)
  const { recordCount, lastOffsetDelta } = header
  if (recordCount < 0 || lastOffsetDelta < 0 || recordCount > lastOffsetDelta + 1)
    throw batchError('INVALID_BATCH', at, `${recordCount} records with last offset delta ${lastOffsetDelta}`)
  if (header.compression === 'none' && recordCount * RECORD_BYTES_MIN > size - BATCH_OVERHEAD)
    throw batchError(
      'INVALID_BATCH',
      at,
      `${recordCount} records do not fit into ${size - BATCH_OVERHEAD} bytes`,
    )
  return header
}

function validateTimestamps(header: BatchHeader, at: number, timestampMsMax: number): void {
  if (header.timestampType === 'LogAppendTime')
    throw batchError(
      'INVALID_TIMESTAMP',
      at,
      'its timestamp type is LogAppendTime, which only a node may set',
    )
  const latest = Math.max(header.maxTimestamp, header.baseTimestamp)
  if (latest > timestampMsMax)
    throw batchError(
      'INVALID_TIMESTAMP',
      at,
      `timestamp ${latest} is later than the latest taken, ${timestampMsMax}`,
    )
}

function walkRecords(buffer: Buffer, at: number, header: BatchHeader): void {
  const cursor = new RecordCursor(buffer, at)
  for (let delta = 0; cursor.next(); delta++) {
    if (cursor.offsetDelta !== delta)
      throw batchError('INVALID_BATCH', at, `record ${delta} has offset delta ${cursor.offsetDelta}`)
    if (cursor.timestamp > header.maxTimestamp)
      throw batchError('INVALID_BATCH', at, `record ${delta} is later than the max timestamp of the batch`)
  }
}

function requireInt64(value: number, what: string, at: number): void {
  if (value < -1 || value > Number.MAX_SAFE_INTEGER)
    throw batchError('INVALID_BATCH', at, `${what} ${value} is out of range (-1 for none, to 2^53 - 1)`)
}

function hex(value: number): string {
  return `0x${value.toString(16).padStart(8, '0')}`
}
