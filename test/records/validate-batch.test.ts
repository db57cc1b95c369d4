import { describe, expect, it } from 'vitest'
import { BatchBuilder } from '../../src/records/batch-builder.ts'
import { BATCH_BYTES_MAX, BATCH_OVERHEAD, LOG_OVERHEAD } from '../../src/records/batch-header.ts'
import { decodeBatch } from '../../src/records/decode-batch.ts'
import { stampBatch, stampCrc } from '../../src/records/stamp-batch.ts'
import { checkBatch, validateClientBatch } from '../../src/records/validate-batch.ts'
import { sampleBatches } from './kafka-samples.ts'
import { refusalOf } from './reasons.ts'

const NOW = 1_700_000_000_000
const LIMITS = { maxMessageBytes: 1024 * 1024, walkRecords: true }

function batchOf(count = 3): Buffer {
  const builder = new BatchBuilder()
  for (let index = 0; index < count; index++)
    builder.append({ timestamp: NOW + index, key: Buffer.from('key'), value: Buffer.from(`value ${index}`) })
  return builder.build({ producerId: 5, producerEpoch: 0, baseSequence: 10 })
}

/** A batch with one thing changed and its CRC made right again, unless that is what was changed. */
function changed(change: (batch: Buffer) => void, options: { crc?: boolean } = {}): Buffer {
  const batch = batchOf()
  change(batch)
  if (options.crc !== false) stampCrc(batch, 0)
  return batch
}

const HUGE = 1n << 60n

describe('a batch of a client', () => {
  it('is taken and described', () => {
    expect(validateClientBatch(batchOf(), 0, LIMITS)).toMatchObject({
      recordCount: 3,
      lastOffsetDelta: 2,
      baseTimestamp: NOW,
      maxTimestamp: NOW + 2,
      producerId: 5,
      producerEpoch: 0,
      baseSequence: 10,
      compression: 'none',
    })
  })

  it('may come from Kafka: all its samples of plain producers are taken', () => {
    for (const name of ['none', 'plain-producer', 'rolled', 'gzip', 'zstd'])
      for (const batch of sampleBatches(name)) validateClientBatch(batch, 0, LIMITS)
  })

  it('may stand anywhere in a buffer', () => {
    const batch = batchOf()
    expect(validateClientBatch(Buffer.concat([batch, batch]), batch.length, LIMITS).recordCount).toBe(3)
  })

  it.each<[string, Buffer, string, RegExp]>([
    ['a changed byte', changed(b => b.writeUInt8(7, 70), { crc: false }), 'CORRUPT_BATCH', /CRC-32C is 0x/],
    ['a changed CRC', changed(b => b.writeUInt32BE(1, 17), { crc: false }), 'CORRUPT_BATCH', /0x00000001/],
    ['a missing byte', batchOf().subarray(0, -1), 'INVALID_BATCH', /cut off/],
    ['half a header', batchOf().subarray(0, 30), 'INVALID_BATCH', /cut off/],
    ['nothing', Buffer.alloc(0), 'INVALID_BATCH', /cut off/],
    ['format 1', changed(b => b.writeInt8(1, 16)), 'INVALID_BATCH', /magic\) is 1/],
    [
      'a length below the header',
      changed(b => b.writeInt32BE(40, 8), { crc: false }),
      'INVALID_BATCH',
      /52 bytes/,
    ],
    [
      'a negative length',
      changed(b => b.writeInt32BE(-1, 8), { crc: false }),
      'INVALID_BATCH',
      /length field/,
    ],
    [
      'an absurd length',
      changed(b => b.writeInt32BE(BATCH_BYTES_MAX, 8), { crc: false }),
      'INVALID_BATCH',
      /8388608/,
    ],
    ['no records', changed(b => b.writeInt32BE(0, 57)), 'INVALID_BATCH', /no record/],
    ['a negative count', changed(b => b.writeInt32BE(-1, 57)), 'INVALID_BATCH', /-1 records/],
    ['fewer records than offsets', changed(b => b.writeInt32BE(3, 23)), 'INVALID_BATCH', /delta 3/],
    ['more records than offsets', changed(b => b.writeInt32BE(1, 23)), 'INVALID_BATCH', /delta 1/],
    [
      'more records than bytes',
      changed(b => {
        b.writeInt32BE(1000, 57)
        b.writeInt32BE(999, 23)
      }),
      'INVALID_BATCH',
      /do not fit/,
    ],
    ['an unknown compression', changed(b => b.writeInt16BE(6, 21)), 'UNSUPPORTED_COMPRESSION', /code 6/],
    ['the transactional bit', changed(b => b.writeInt16BE(0x10, 21)), 'INVALID_BATCH', /transactional/],
    ['the control bit', changed(b => b.writeInt16BE(0x20, 21)), 'INVALID_BATCH', /control/],
    ['a delete horizon', changed(b => b.writeInt16BE(0x40, 21)), 'INVALID_BATCH', /attributes 0x40/],
    ['a reserved bit', changed(b => b.writeInt16BE(0x100, 21)), 'INVALID_BATCH', /attributes 0x100/],
    ['LogAppendTime', changed(b => b.writeInt16BE(0x08, 21)), 'INVALID_TIMESTAMP', /LogAppendTime/],
    ['a producer without epoch', changed(b => b.writeInt16BE(-1, 51)), 'INVALID_BATCH', /producer 5/],
    ['a producer without sequence', changed(b => b.writeInt32BE(-1, 53)), 'INVALID_BATCH', /producer 5/],
    ['a producer id of -2', changed(b => b.writeBigInt64BE(-2n, 43)), 'INVALID_BATCH', /producer id -2/],
    ['a huge producer id', changed(b => b.writeBigInt64BE(HUGE, 43)), 'INVALID_BATCH', /producer id/],
    ['a huge base timestamp', changed(b => b.writeBigInt64BE(HUGE, 27)), 'INVALID_BATCH', /base timestamp/],
    ['a huge max timestamp', changed(b => b.writeBigInt64BE(HUGE, 35)), 'INVALID_BATCH', /max timestamp/],
    ['a max timestamp too low', changed(b => b.writeBigInt64BE(1n, 35)), 'INVALID_BATCH', /later than/],
    ['a record length that lies', changed(b => b.writeUInt8(0x7e, 61)), 'INVALID_BATCH', /record 0 of 3/],
    [
      'one record less than said',
      changed(b => {
        b.writeInt32BE(2, 57)
        b.writeInt32BE(1, 23)
      }),
      'INVALID_BATCH',
      /left behind the last/,
    ],
  ])('with %s is refused as %s', (_what, batch, reason, message) => {
    const refusal = refusalOf(() => validateClientBatch(batch, 0, LIMITS))
    expect(refusal.reason).toBe(reason)
    expect(refusal.message).toMatch(message)
  })

  it('with records out of order is refused if its records are walked', () => {
    const batch = batchOf()
    const second = 61 + (batch.readUInt8(61) >> 1) + 1
    batch.writeUInt8(4, second + 3)
    stampCrc(batch, 0)
    expect(refusalOf(() => validateClientBatch(batch, 0, LIMITS)).message).toMatch(/record 1/)
    expect(validateClientBatch(batch, 0, { maxMessageBytes: 1e6 }).recordCount).toBe(3)
  })

  it('above max.message.bytes is refused with both numbers', () => {
    const batch = batchOf()
    validateClientBatch(batch, 0, { maxMessageBytes: batch.length })
    const refusal = refusalOf(() => validateClientBatch(batch, 0, { maxMessageBytes: batch.length - 1 }))
    expect(refusal.reason).toBe('RECORD_TOO_LARGE')
    expect(refusal.message).toContain(`${batch.length} bytes, max.message.bytes is ${batch.length - 1}`)
  })

  it('from the future is refused', () => {
    validateClientBatch(batchOf(), 0, { ...LIMITS, timestampMsMax: NOW + 2 })
    const refusal = refusalOf(() => validateClientBatch(batchOf(), 0, { ...LIMITS, timestampMsMax: NOW + 1 }))
    expect(refusal.reason).toBe('INVALID_TIMESTAMP')
  })
})

describe('a stored batch', () => {
  it('passes for every sample, control batches included', () => {
    for (const name of ['transactions', 'log-append-time'])
      for (const batch of sampleBatches(name)) checkBatch(batch)
  })

  it('fails for any flipped bit that the CRC covers', () => {
    const batch = batchOf()
    for (let at = 21; at < batch.length; at++) {
      batch.writeUInt8(batch.readUInt8(at) ^ 0x10, at)
      expect(refusalOf(() => checkBatch(batch)).reason).toBe('CORRUPT_BATCH')
      batch.writeUInt8(batch.readUInt8(at) ^ 0x10, at)
    }
    checkBatch(batch)
  })

  it('may have lost records to a cleaner, even all of them', () => {
    const builder = new BatchBuilder()
    builder.appendAt(2, { timestamp: NOW, value: null })
    builder.appendAt(7, { timestamp: NOW, value: null })
    expect(checkBatch(builder.build({ baseOffset: 40 }))).toMatchObject({
      recordCount: 2,
      lastOffsetDelta: 7,
    })
    const emptied = Buffer.from(batchOf().subarray(0, BATCH_OVERHEAD))
    emptied.writeInt32BE(BATCH_OVERHEAD - LOG_OVERHEAD, 8)
    emptied.writeInt32BE(0, BATCH_OVERHEAD - 4)
    stampCrc(emptied, 0)
    expect(checkBatch(emptied)).toMatchObject({ recordCount: 0, lastOffsetDelta: 2 })
    expect(decodeBatch(emptied)).toEqual([])
  })

  it.each([-1n, HUGE])('with base offset %d is refused', offset => {
    const batch = batchOf()
    batch.writeBigInt64BE(offset, 0)
    expect(refusalOf(() => checkBatch(batch)).message).toContain('base offset')
  })

  it('still passes with the largest offsets and epochs', () => {
    const batch = batchOf()
    stampBatch(batch, 0, { baseOffset: Number.MAX_SAFE_INTEGER - 2, leaderEpoch: 2 ** 31 - 1 })
    expect(checkBatch(batch)).toMatchObject({
      baseOffset: Number.MAX_SAFE_INTEGER - 2,
      leaderEpoch: 2 ** 31 - 1,
    })
  })
})
