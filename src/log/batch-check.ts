import type { Epoch, Offset } from '../base/brands.ts'
import {
  BATCH_BYTES_MAX,
  BATCH_OVERHEAD,
  baseOffsetAt,
  CRC_START,
  crcAt,
  LOG_OVERHEAD,
  lastOffsetDeltaAt,
  leaderEpochAt,
  MAGIC,
  magicAt,
  recordCountAt,
  sizeInBytesAt,
} from '../records/batch-header.ts'
import { crc32c } from '../records/crc32c.ts'

/**
 * What must hold of a batch before it is appended as a follower and before its bytes leave the disk (rule B5): whole,
 * CRC right, in place by its offset, of the epoch that the epoch cache has there. Base offset, length, epoch and magic
 * lie outside the CRC, so the last two checks are what finds damage in them.
 */
export interface BatchExpectation {
  /** Where the batch must begin. */
  readonly nextOffset: Offset
  /** The log was compacted once: a batch may begin above `nextOffset`, and hold fewer records than offsets. */
  readonly gapsAllowed: boolean
  /** First offset behind the segment: no batch may reach it. */
  readonly offsetLimit: Offset
  agrees(epoch: Epoch, from: Offset, to: Offset): boolean
}

/** Bytes of the batch at `at`, or what is wrong with its length; undefined where its 12 first bytes are not there. */
export function batchSizeAt(buffer: Buffer, at: number): number | string | undefined {
  if (buffer.length - at < LOG_OVERHEAD) return undefined
  const sizeBytes = sizeInBytesAt(buffer, at)
  if (sizeBytes < BATCH_OVERHEAD || sizeBytes > BATCH_BYTES_MAX) {
    return `a batch length of ${sizeBytes} bytes is impossible`
  }
  return sizeBytes
}

/** What is wrong with the batch of `sizeBytes` at `at`, all of whose bytes are in the buffer; undefined if nothing. */
export function batchDefectAt(
  buffer: Buffer,
  at: number,
  sizeBytes: number,
  expected: BatchExpectation,
): string | undefined {
  if (magicAt(buffer, at) !== MAGIC) return `the magic byte is ${magicAt(buffer, at)} instead of ${MAGIC}`
  const crc = crc32c(buffer, at + CRC_START, at + sizeBytes)
  if (crc !== crcAt(buffer, at)) return `the CRC is ${crc} instead of ${crcAt(buffer, at)}`
  const baseOffset = baseOffsetAt(buffer, at)
  const delta = lastOffsetDeltaAt(buffer, at)
  const count = recordCountAt(buffer, at)
  if (delta < 0 || count < 0 || (expected.gapsAllowed ? count > delta + 1 : count !== delta + 1)) {
    return `it holds ${count} records for ${delta + 1} offsets`
  }
  const inPlace = expected.gapsAllowed
    ? baseOffset >= expected.nextOffset
    : baseOffset === expected.nextOffset
  if (!inPlace) return `it begins at offset ${baseOffset} where ${expected.nextOffset} is due`
  const lastOffset = baseOffset + delta
  if (!(lastOffset < expected.offsetLimit)) {
    return `it ends at offset ${lastOffset}, beyond the ${expected.offsetLimit} that follows its segment`
  }
  const epoch = leaderEpochAt(buffer, at)
  if (!expected.agrees(epoch, baseOffset, lastOffset)) {
    return `its leader epoch ${epoch} is not the one of offset ${baseOffset}`
  }
  return undefined
}
