import {
  CRC_AT,
  CRC_START,
  type ProducerFields,
  sizeInBytesAt,
  writeLeaderFields,
  writeProducer,
  writeTimestampType,
} from './batch-header.ts'
import { crc32c } from './crc32c.ts'

/**
 * Changes of a batch where it lies. Whoever stamps owns the bytes: another node, a retry or a test that still
 * holds the same buffer would see them change.
 */

/** What a leader writes at append. Both fields lie outside the CRC, so the batch stays valid. */
export function stampBatch(
  buffer: Buffer,
  at: number,
  fields: { baseOffset: number; leaderEpoch: number },
): void {
  writeLeaderFields(buffer, at, fields)
}

/** `message.timestamp.type=LogAppendTime`: every record of the batch now counts as written at that time. */
export function stampLogAppendTime(buffer: Buffer, at: number, timestampMs: number): void {
  writeTimestampType(buffer, at, { type: 'LogAppendTime', maxTimestamp: timestampMs })
  stampCrc(buffer, at)
}

/** A producer with a new id or epoch sends its waiting batches anew under new sequences. */
export function stampProducer(buffer: Buffer, at: number, fields: ProducerFields): void {
  writeProducer(buffer, at, fields)
  stampCrc(buffer, at)
}

export function stampCrc(buffer: Buffer, at: number): void {
  buffer.writeUInt32BE(crc32c(buffer, at + CRC_START, at + sizeInBytesAt(buffer, at)), at + CRC_AT)
}
