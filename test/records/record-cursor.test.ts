import { describe, expect, it } from 'vitest'
import { BATCH_OVERHEAD, writeBatchHeader } from '../../src/records/batch-header.ts'
import { decodeBatch } from '../../src/records/decode-batch.ts'
import { RecordCursor } from '../../src/records/record-cursor.ts'
import { stampCrc } from '../../src/records/stamp-batch.ts'
import { checkBatch } from '../../src/records/validate-batch.ts'
import { refusalOf } from './reasons.ts'

/** A batch of records spelled out byte by byte, as no builder would write them. */
function batchOf(
  records: readonly (readonly number[])[],
  fields: { baseTimestamp?: number; lastOffsetDelta?: number } = {},
): Buffer {
  const body = Buffer.concat(records.map(record => Buffer.from(record)))
  const batch = Buffer.concat([Buffer.alloc(BATCH_OVERHEAD), body])
  writeBatchHeader(batch, 0, {
    baseOffset: 0,
    sizeInBytes: batch.length,
    leaderEpoch: 0,
    attributes: 0,
    lastOffsetDelta: fields.lastOffsetDelta ?? records.length - 1,
    baseTimestamp: fields.baseTimestamp ?? 0,
    maxTimestamp: 0,
    producerId: -1,
    producerEpoch: -1,
    baseSequence: -1,
    recordCount: records.length,
  })
  stampCrc(batch, 0)
  return batch
}

/** Zigzag: 1 is -1 (null), 2 is 1. */
const PLAIN = [12, 0, 0, 0, 1, 1, 0]
const ONE_HEADER = [20, 0, 0, 0, 1, 1, 2, 2, 104, 2, 118]

describe('records spelled out', () => {
  it('read as they should', () => {
    const [record] = decodeBatch(batchOf([ONE_HEADER]))
    expect(record).toMatchObject({ offset: 0, key: null, value: null })
    expect(record?.headers).toEqual([{ key: 'h', value: Buffer.from('v') }])
    expect(decodeBatch(batchOf([PLAIN]))).toHaveLength(1)
  })

  it.each<[string, Buffer, RegExp]>([
    ['a length past the batch', batchOf([[14, 0, 0, 0, 1, 1, 0]]), /its length does not fit/],
    ['a negative length', batchOf([[1, 0, 0, 0, 1, 1, 0]]), /its length does not fit/],
    ['a key past the record', batchOf([[12, 0, 0, 0, 20, 1, 0]]), /do not add up/],
    ['a key length of -2', batchOf([[12, 0, 0, 0, 3, 1, 0]]), /do not add up/],
    ['a value past the record', batchOf([[12, 0, 0, 0, 1, 20, 0]]), /do not add up/],
    ['a value length of -2', batchOf([[12, 0, 0, 0, 1, 3, 0]]), /do not add up/],
    ['bytes behind its headers', batchOf([[14, 0, 0, 0, 1, 1, 0, 9]]), /do not add up/],
    ['a header count of -1', batchOf([[12, 0, 0, 0, 1, 1, 1]]), /do not add up/],
    ['more headers than bytes', batchOf([[16, 0, 0, 0, 1, 1, 4, 0, 1]]), /do not add up/],
    ['a header without key', batchOf([[20, 0, 0, 0, 1, 1, 2, 1, 104, 2, 118]]), /key of header 0/],
    ['a header key past the record', batchOf([[20, 0, 0, 0, 1, 1, 2, 40, 104, 2, 118]]), /key of header 0/],
    ['a header value past it', batchOf([[20, 0, 0, 0, 1, 1, 2, 2, 104, 40, 118]]), /value of header 0/],
    ['a header value of -2', batchOf([[20, 0, 0, 0, 1, 1, 2, 2, 104, 3, 118]]), /value of header 0/],
    ['headers that end early', batchOf([[20, 0, 0, 0, 1, 1, 2, 2, 104, 0, 118]]), /headers do not add up/],
    ['an offset twice', batchOf([PLAIN, PLAIN]), /offset delta 0 after 0/],
    ['an offset past the last', batchOf([[12, 0, 0, 2, 1, 1, 0]]), /offset delta 1 after -1 of 0/],
    ['a negative offset delta', batchOf([[12, 0, 0, 1, 1, 1, 0]]), /offset delta -1/],
    ['a time before 1970', batchOf([[12, 0, 3, 0, 1, 1, 0]]), /timestamp -2/],
    [
      'a time beyond 2^53',
      batchOf([[12, 0, 4, 0, 1, 1, 0]], { baseTimestamp: Number.MAX_SAFE_INTEGER }),
      /timestamp 9007199254740992/,
    ],
  ])('with %s are refused', (_what, batch, message) => {
    checkBatch(batch)
    const refusal = refusalOf(() => decodeBatch(batch))
    expect(refusal.reason).toBe('INVALID_BATCH')
    expect(refusal.message).toMatch(message)
  })

  it('never show a neighbour: a record ends where the batch ends, whatever follows', () => {
    // Its value and header count would be the first bytes of the neighbour.
    const liar = batchOf([[16, 0, 0, 0, 2, 107, 2]])
    checkBatch(liar)
    const neighbour = batchOf([PLAIN])
    const cursor = new RecordCursor(Buffer.concat([liar, neighbour]))
    expect(refusalOf(() => cursor.next()).reason).toBe('INVALID_BATCH')
  })
})
