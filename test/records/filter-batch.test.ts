import { beforeAll, describe, expect, it } from 'vitest'
import { BatchBuilder } from '../../src/records/batch-builder.ts'
import { readBatchHeader } from '../../src/records/batch-header.ts'
import type { Compression } from '../../src/records/codecs.ts'
import { initCompression } from '../../src/records/compression.ts'
import { decodeBatch } from '../../src/records/decode-batch.ts'
import { BatchFilter, deleteHorizonAt } from '../../src/records/filter-batch.ts'
import { checkBatch } from '../../src/records/validate-batch.ts'

beforeAll(initCompression)

const HORIZON_MS = 9_000_000_000_000
const HORIZON = { horizon: { deleteMs: HORIZON_MS, isRenewed: false }, keepEmpty: false }

/** Values 0 to 4; the third is a tombstone. */
function sample(compression: Compression = 'none'): Buffer {
  const builder = new BatchBuilder()
  for (let at = 0; at < 5; at++)
    builder.append({
      key: Buffer.from(`k${at}`),
      value: at === 2 ? null : Buffer.from(`v${at}`),
      timestamp: 1_700_000_000_000 - at * 1000,
      headers: [{ key: 'h', value: Buffer.from([at]) }],
    })
  return builder.build({
    compression,
    producerId: 5,
    producerEpoch: 1,
    baseSequence: 9,
    baseOffset: 100,
    leaderEpoch: 3,
  })
}

function left(
  batch: Buffer,
  keep: readonly number[],
  options: Parameters<BatchFilter['finish']>[0] = HORIZON,
): Buffer | undefined {
  const filter = new BatchFilter(batch)
  while (filter.next()) if (keep.includes(filter.record.offset)) filter.keep()
  return filter.finish(options)
}

describe.each(['none', 'gzip', 'snappy', 'lz4', 'zstd'] as const)(
  'a batch compressed with %s',
  compression => {
    it.each([[[101, 103]], [[102]], [[100, 102, 104]]])('keeps %j, and all that its header says', keep => {
      const batch = sample(compression)
      const filtered = left(batch, keep) as Buffer
      const before = readBatchHeader(batch)
      const { crc, sizeInBytes, baseTimestamp, recordCount, attributes, ...kept } = checkBatch(filtered)
      expect(before).toMatchObject(kept)
      expect([sizeInBytes, recordCount]).toEqual([filtered.length, keep.length])
      expect(decodeBatch(filtered)).toEqual(decodeBatch(batch).filter(({ offset }) => keep.includes(offset)))
      expect(deleteHorizonAt(filtered, 0)).toBe(keep.includes(102) ? HORIZON_MS : undefined)
    })
  },
)

it('is the same batch where all of it stays and no horizon comes', () => {
  const batch = left(sample(), [100, 101, 103, 104]) as Buffer
  expect(left(batch, [100, 101, 103, 104])).toBe(batch)
})

it('keeps the horizon that it has', () => {
  const first = left(sample(), [101, 102]) as Buffer
  const second = left(first, [102], {
    horizon: { deleteMs: 1, isRenewed: false },
    keepEmpty: false,
  }) as Buffer
  expect(deleteHorizonAt(second, 0)).toBe(HORIZON_MS)
  expect(decodeBatch(second)).toEqual(decodeBatch(sample()).slice(2, 3))
})

it('gets another horizon where it is renewed, and none where it is not known when that is', () => {
  const first = left(sample(), [102]) as Buffer
  const renewed = left(first, [102], {
    horizon: { deleteMs: 7, isRenewed: true },
    keepEmpty: false,
  }) as Buffer
  expect(deleteHorizonAt(renewed, 0)).toBe(7)
  expect(decodeBatch(renewed)).toEqual(decodeBatch(first))
  expect(left(renewed, [102], { horizon: { deleteMs: 7, isRenewed: true }, keepEmpty: false })).toBe(renewed)
  const none = left(sample(), [102], { horizon: undefined, keepEmpty: false }) as Buffer
  expect(deleteHorizonAt(none, 0)).toBeUndefined()
})

it('is gone without records, or stands for its header alone', () => {
  expect(left(sample(), [])).toBeUndefined()
  const empty = left(sample('zstd'), [], { ...HORIZON, keepEmpty: true }) as Buffer
  expect(empty).toHaveLength(61)
  expect(checkBatch(empty)).toMatchObject({
    baseOffset: 100,
    lastOffsetDelta: 4,
    leaderEpoch: 3,
    producerId: 5,
    producerEpoch: 1,
    baseSequence: 9,
    maxTimestamp: 1_700_000_000_000,
    recordCount: 0,
    compression: 'none',
  })
  expect(decodeBatch(empty)).toEqual([])
  expect(left(empty, [], { ...HORIZON, keepEmpty: true })).toBe(empty)
})
