import { NaruError } from '../base/errors.ts'
import { type Compression, compressionOfCode } from './codecs.ts'

/**
 * Header of a record batch: Kafka's format v2 (magic 2), all numbers big-endian. Behind it stand the records,
 * compressed as a whole if the attributes say so.
 *
 * | at | bytes | field | |
 * |---|---|---|---|
 * | 0 | 8 | base offset | written by the leader, outside the CRC |
 * | 8 | 4 | length | of all that follows this field |
 * | 12 | 4 | leader epoch | written by the leader, outside the CRC; -1 until then |
 * | 16 | 1 | magic | 2 |
 * | 17 | 4 | CRC-32C | of all that follows this field |
 * | 21 | 2 | attributes | bits 0-2 compression, 3 LogAppendTime, 4 transactional, 5 control, 6 delete horizon |
 * | 23 | 4 | last offset delta | count - 1, unless a cleaner removed records |
 * | 27 | 8 | base timestamp | of the first record, or the delete horizon |
 * | 35 | 8 | max timestamp | of all records; with LogAppendTime the time of each |
 * | 43 | 8 | producer id | -1: none |
 * | 51 | 2 | producer epoch | -1: none |
 * | 53 | 4 | base sequence | of the first record; wraps to 0 after 2^31 - 1; -1: none |
 * | 57 | 4 | record count | |
 *
 * The getters by position trust that a whole header is there; 64-bit fields beyond 2^53 come out rounded and are
 * refused by `validate-batch.ts`, which runs on everything that enters a node or an SDK.
 */
export const LOG_OVERHEAD = 12
export const BATCH_OVERHEAD = 61
export const MAGIC = 2
/** Largest `max.message.bytes` of a topic: no batch is longer, so a longer one is damage. */
export const BATCH_BYTES_MAX = 8 * 1024 * 1024

export const CRC_AT = 17
/** The CRC covers everything from here to the end of the batch. */
export const CRC_START = 21

const LENGTH_AT = 8
const LEADER_EPOCH_AT = 12
const MAGIC_AT = 16
const ATTRIBUTES_AT = 21
const LAST_OFFSET_DELTA_AT = 23
const BASE_TIMESTAMP_AT = 27
const MAX_TIMESTAMP_AT = 35
const PRODUCER_ID_AT = 43
const PRODUCER_EPOCH_AT = 51
const BASE_SEQUENCE_AT = 53
const RECORD_COUNT_AT = 57

const COMPRESSION_MASK = 0x07
const LOG_APPEND_TIME_BIT = 0x08
const TRANSACTIONAL_BIT = 0x10
const CONTROL_BIT = 0x20
export const DELETE_HORIZON_BIT = 0x40
/** Bits that the format leaves unused. */
export const RESERVED_BITS = 0xff80

export type TimestampType = 'CreateTime' | 'LogAppendTime'

export interface BatchHeader {
  readonly baseOffset: number
  /** Of the whole batch, from its first byte. */
  readonly sizeInBytes: number
  readonly leaderEpoch: number
  readonly magic: number
  readonly crc: number
  readonly attributes: number
  readonly compression: Compression
  readonly timestampType: TimestampType
  readonly isTransactional: boolean
  readonly isControl: boolean
  readonly lastOffsetDelta: number
  readonly baseTimestamp: number
  readonly maxTimestamp: number
  readonly producerId: number
  readonly producerEpoch: number
  readonly baseSequence: number
  readonly recordCount: number
}

/** All fields as they stand; throws if fewer than 61 bytes are there or the compression has no name. */
export function readBatchHeader(buffer: Buffer, at = 0): BatchHeader {
  if (at < 0 || at + BATCH_OVERHEAD > buffer.length)
    throw new NaruError(
      'INVALID_BATCH',
      `a batch header of ${BATCH_OVERHEAD} bytes does not fit at byte ${at} of ${buffer.length}`,
    )
  const attributes = attributesAt(buffer, at)
  return {
    baseOffset: baseOffsetAt(buffer, at),
    sizeInBytes: sizeInBytesAt(buffer, at),
    leaderEpoch: leaderEpochAt(buffer, at),
    magic: magicAt(buffer, at),
    crc: crcAt(buffer, at),
    attributes,
    compression: compressionOfCode(attributes & COMPRESSION_MASK),
    timestampType: (attributes & LOG_APPEND_TIME_BIT) === 0 ? 'CreateTime' : 'LogAppendTime',
    isTransactional: (attributes & TRANSACTIONAL_BIT) !== 0,
    isControl: (attributes & CONTROL_BIT) !== 0,
    lastOffsetDelta: lastOffsetDeltaAt(buffer, at),
    baseTimestamp: baseTimestampAt(buffer, at),
    maxTimestamp: maxTimestampAt(buffer, at),
    producerId: producerIdAt(buffer, at),
    producerEpoch: producerEpochAt(buffer, at),
    baseSequence: baseSequenceAt(buffer, at),
    recordCount: recordCountAt(buffer, at),
  }
}

export function baseOffsetAt(buffer: Buffer, at: number): number {
  return readInt64(buffer, at)
}

/** Offset of the last record, inclusive. */
export function lastOffsetAt(buffer: Buffer, at: number): number {
  return readInt64(buffer, at) + lastOffsetDeltaAt(buffer, at)
}

/** Needs only the first 12 bytes (`LOG_OVERHEAD`) of the batch. */
export function sizeInBytesAt(buffer: Buffer, at: number): number {
  return buffer.readInt32BE(at + LENGTH_AT) + LOG_OVERHEAD
}

export function leaderEpochAt(buffer: Buffer, at: number): number {
  return buffer.readInt32BE(at + LEADER_EPOCH_AT)
}

export function magicAt(buffer: Buffer, at: number): number {
  return buffer.readInt8(at + MAGIC_AT)
}

export function crcAt(buffer: Buffer, at: number): number {
  return buffer.readUInt32BE(at + CRC_AT)
}

function attributesAt(buffer: Buffer, at: number): number {
  return buffer.readUInt16BE(at + ATTRIBUTES_AT)
}

export function compressionAt(buffer: Buffer, at: number): Compression {
  return compressionOfCode(attributesAt(buffer, at) & COMPRESSION_MASK)
}

export function timestampTypeAt(buffer: Buffer, at: number): TimestampType {
  return (attributesAt(buffer, at) & LOG_APPEND_TIME_BIT) === 0 ? 'CreateTime' : 'LogAppendTime'
}

export function isControlAt(buffer: Buffer, at: number): boolean {
  return (attributesAt(buffer, at) & CONTROL_BIT) !== 0
}

export function lastOffsetDeltaAt(buffer: Buffer, at: number): number {
  return buffer.readInt32BE(at + LAST_OFFSET_DELTA_AT)
}

export function baseTimestampAt(buffer: Buffer, at: number): number {
  return readInt64(buffer, at + BASE_TIMESTAMP_AT)
}

export function maxTimestampAt(buffer: Buffer, at: number): number {
  return readInt64(buffer, at + MAX_TIMESTAMP_AT)
}

/** The latest of the records that are there; -1 for a batch that a cleaner has emptied, whatever it once held. */
export function newestTimestampAt(buffer: Buffer, at: number): number {
  return recordCountAt(buffer, at) === 0 ? -1 : maxTimestampAt(buffer, at)
}

export function producerIdAt(buffer: Buffer, at: number): number {
  return readInt64(buffer, at + PRODUCER_ID_AT)
}

export function producerEpochAt(buffer: Buffer, at: number): number {
  return buffer.readInt16BE(at + PRODUCER_EPOCH_AT)
}

export function baseSequenceAt(buffer: Buffer, at: number): number {
  return buffer.readInt32BE(at + BASE_SEQUENCE_AT)
}

export function recordCountAt(buffer: Buffer, at: number): number {
  return buffer.readInt32BE(at + RECORD_COUNT_AT)
}

/** Writes every field except the CRC (see `stamp-batch.ts`), which needs the records in place. */
export function writeBatchHeader(
  buffer: Buffer,
  at: number,
  header: Omit<
    BatchHeader,
    'magic' | 'crc' | 'compression' | 'timestampType' | 'isTransactional' | 'isControl'
  >,
): void {
  writeInt64(buffer, at, header.baseOffset)
  buffer.writeInt32BE(header.sizeInBytes - LOG_OVERHEAD, at + LENGTH_AT)
  buffer.writeInt32BE(header.leaderEpoch, at + LEADER_EPOCH_AT)
  buffer.writeInt8(MAGIC, at + MAGIC_AT)
  buffer.writeUInt16BE(header.attributes, at + ATTRIBUTES_AT)
  buffer.writeInt32BE(header.lastOffsetDelta, at + LAST_OFFSET_DELTA_AT)
  writeInt64(buffer, at + BASE_TIMESTAMP_AT, header.baseTimestamp)
  writeInt64(buffer, at + MAX_TIMESTAMP_AT, header.maxTimestamp)
  writeProducer(buffer, at, header)
  buffer.writeInt32BE(header.recordCount, at + RECORD_COUNT_AT)
}

export interface ProducerFields {
  readonly producerId: number
  readonly producerEpoch: number
  readonly baseSequence: number
}

export function writeProducer(buffer: Buffer, at: number, fields: ProducerFields): void {
  writeInt64(buffer, at + PRODUCER_ID_AT, fields.producerId)
  buffer.writeInt16BE(fields.producerEpoch, at + PRODUCER_EPOCH_AT)
  buffer.writeInt32BE(fields.baseSequence, at + BASE_SEQUENCE_AT)
}

export function writeLeaderFields(
  buffer: Buffer,
  at: number,
  fields: { baseOffset: number; leaderEpoch: number },
): void {
  writeInt64(buffer, at, fields.baseOffset)
  buffer.writeInt32BE(fields.leaderEpoch, at + LEADER_EPOCH_AT)
}

export function writeTimestampType(
  buffer: Buffer,
  at: number,
  fields: { type: TimestampType; maxTimestamp: number },
): void {
  const attributes = attributesAt(buffer, at) & ~LOG_APPEND_TIME_BIT
  const bit = fields.type === 'LogAppendTime' ? LOG_APPEND_TIME_BIT : 0
  buffer.writeUInt16BE(attributes | bit, at + ATTRIBUTES_AT)
  writeInt64(buffer, at + MAX_TIMESTAMP_AT, fields.maxTimestamp)
}

const TWO_32 = 2 ** 32

/** Two 32-bit halves: exact for safe integers, and several times faster than a BigInt. */
function readInt64(buffer: Buffer, at: number): number {
  return buffer.readInt32BE(at) * TWO_32 + buffer.readUInt32BE(at + 4)
}

function writeInt64(buffer: Buffer, at: number, value: number): void {
  buffer.writeInt32BE(Math.floor(value / TWO_32), at)
  buffer.writeUInt32BE(value >>> 0, at + 4)
}
