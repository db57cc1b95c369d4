import fc from 'fast-check'
import { beforeAll, describe, expect, it } from 'vitest'
import { BatchBuilder, type RecordInput } from '../../src/records/batch-builder.ts'
import { BATCH_BYTES_MAX, readBatchHeader } from '../../src/records/batch-header.ts'
import { COMPRESSIONS } from '../../src/records/codecs.ts'
import { initCompression } from '../../src/records/compression.ts'
import { decodeBatch, decodeRecords } from '../../src/records/decode-batch.ts'
import { RecordCursor } from '../../src/records/record-cursor.ts'
import { stampBatch, stampLogAppendTime, stampProducer } from '../../src/records/stamp-batch.ts'
import { checkBatch, validateClientBatch } from '../../src/records/validate-batch.ts'
import { reasonOf, refusalOf } from './reasons.ts'

beforeAll(initCompression)

const bytes = fc.option(
  fc.uint8Array({ maxLength: 60 }).map(value => Buffer.from(value)),
  { nil: null },
)
const record: fc.Arbitrary<RecordInput> = fc.record({
  timestamp: fc.oneof(fc.integer({ min: -1, max: Number.MAX_SAFE_INTEGER }), fc.nat()),
  key: bytes,
  value: bytes,
  headers: fc.array(fc.record({ key: fc.string({ unit: 'grapheme', maxLength: 8 }), value: bytes }), {
    maxLength: 3,
  }),
})

function build(records: readonly RecordInput[], options?: Parameters<BatchBuilder['build']>[0]): Buffer {
  const builder = new BatchBuilder()
  for (const each of records) builder.append(each)
  return builder.build(options)
}

const numbered = (count: number): RecordInput[] =>
  Array.from({ length: count }, (_, index) => ({ timestamp: 1000 + index, value: Buffer.from(`v${index}`) }))

describe('what is put in comes out', () => {
  it.each(COMPRESSIONS)('for any records, compressed with %s', compression => {
    fc.assert(
      fc.property(fc.array(record, { minLength: 1, maxLength: 40 }), records => {
        const batch = build(records, { compression, baseOffset: 77 })
        validateClientBatch(batch, 0, { maxMessageBytes: BATCH_BYTES_MAX, walkRecords: true })
        expect(decodeBatch(batch)).toEqual(records.map((each, index) => ({ offset: 77 + index, ...each })))
      }),
      { numRuns: 60 },
    )
  })

  it('with values larger than the first buffer, and many of them', () => {
    const records = numbered(3000).map(each => ({ ...each, key: null, headers: [] }))
    records.push({ timestamp: 5, key: null, value: Buffer.alloc(100_000, 7), headers: [] })
    const decoded = decodeBatch(build(records)).map(({ offset: _, ...rest }) => rest)
    expect(decoded).toEqual(records)
  })
})

describe('a builder', () => {
  it('is empty after build, and later batches do not touch earlier ones', () => {
    const builder = new BatchBuilder({ capacityBytes: 100 })
    for (const each of numbered(10)) builder.append(each)
    const first = builder.build()
    const copy = Buffer.from(first)
    expect(builder.recordCount).toBe(0)
    builder.append({ timestamp: 1, value: Buffer.from('second') })
    const second = builder.build()
    expect(first.equals(copy)).toBe(true)
    expect(readBatchHeader(second)).toMatchObject({ recordCount: 1, baseTimestamp: 1, maxTimestamp: 1 })
  })

  it('tells the exact size of the uncompressed batch', () => {
    const builder = new BatchBuilder()
    let size = 0
    for (const each of numbered(100)) size = builder.append(each)
    expect(builder.sizeInBytes).toBe(size)
    expect(builder.build()).toHaveLength(size)
  })

  it('holds no more memory than the batch needs when little was put in', () => {
    expect(build(numbered(1)).buffer.byteLength).toBeLessThan(100)
  })

  it.each([1.5, -2, Number.NaN, 2 ** 53])('refuses timestamp %d', timestamp => {
    expect(reasonOf(() => build([{ timestamp, value: null }]))).toBe('INVALID_TIMESTAMP')
  })

  it('refuses a batch that no topic would take, and stays usable', () => {
    const builder = new BatchBuilder()
    builder.append({ timestamp: 1, value: Buffer.alloc(BATCH_BYTES_MAX) })
    expect(refusalOf(() => builder.build()).message).toContain(String(BATCH_BYTES_MAX))
    expect(builder.build({ compression: 'gzip' }).length).toBeLessThan(20_000)
  })
})

describe('stamping', () => {
  it('by the leader leaves the CRC right', () => {
    const batch = build(numbered(3))
    stampBatch(batch, 0, { baseOffset: 2 ** 40 + 3, leaderEpoch: 9 })
    expect(checkBatch(batch)).toMatchObject({ baseOffset: 2 ** 40 + 3, leaderEpoch: 9 })
    expect(decodeBatch(batch).map(each => each.offset)).toEqual([2 ** 40 + 3, 2 ** 40 + 4, 2 ** 40 + 5])
  })

  it('with the append time gives it to every record', () => {
    const batch = build(numbered(3))
    stampLogAppendTime(batch, 0, 1_700_000_000_123)
    expect(checkBatch(batch).timestampType).toBe('LogAppendTime')
    for (const each of decodeRecords(batch)) expect(each.timestamp).toBe(1_700_000_000_123)
  })

  it('with a new producer changes nothing else', () => {
    const batch = build(numbered(2), { producerId: 1, producerEpoch: 0, baseSequence: 500 })
    stampProducer(batch, 0, { producerId: 2 ** 40, producerEpoch: 3, baseSequence: 0 })
    const again = build(numbered(2), { producerId: 2 ** 40, producerEpoch: 3, baseSequence: 0 })
    expect(batch.equals(again)).toBe(true)
  })

  it('reaches the batch in the middle of a buffer, and only that', () => {
    const batch = build(numbered(2))
    const three = Buffer.concat([batch, batch, batch])
    stampBatch(three, batch.length, { baseOffset: 5, leaderEpoch: 1 })
    stampLogAppendTime(three, batch.length, 99)
    expect(checkBatch(three, batch.length)).toMatchObject({ baseOffset: 5, maxTimestamp: 99 })
    expect(three.subarray(0, batch.length).equals(batch)).toBe(true)
    expect(three.subarray(2 * batch.length).equals(batch)).toBe(true)
  })
})

describe('a cursor', () => {
  it('walks without making views, and can be asked for each part', () => {
    const batch = build([
      { timestamp: 5, key: Buffer.from('k'), value: null },
      { timestamp: 6, value: Buffer.from('v'), headers: [{ key: 'h', value: null }] },
    ])
    const cursor = new RecordCursor(batch)
    expect(cursor.next()).toBe(true)
    expect([cursor.hasKey, cursor.hasValue, cursor.key()?.toString()]).toEqual([true, false, 'k'])
    expect(cursor.next()).toBe(true)
    // Asking for headers before, after or never does not move the walk.
    expect(cursor.headers()).toEqual([{ key: 'h', value: null }])
    expect([cursor.hasKey, cursor.offset, cursor.value()?.toString()]).toEqual([false, 1, 'v'])
    expect(cursor.next()).toBe(false)
    expect(cursor.next()).toBe(false)
  })

  it('gives views into the batch, not copies', () => {
    const batch = build([{ timestamp: 5, value: Buffer.from('value') }])
    expect(decodeBatch(batch)[0]?.value?.buffer).toBe(batch.buffer)
  })
})
