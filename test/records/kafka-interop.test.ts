import { beforeAll, describe, expect, it } from 'vitest'
import { BatchBuilder } from '../../src/records/batch-builder.ts'
import { readBatchHeader } from '../../src/records/batch-header.ts'
import { initCompression } from '../../src/records/compression.ts'
import { decodeControlRecord } from '../../src/records/control-record.ts'
import { type DecodedRecord, decodeBatch, decodeRecords } from '../../src/records/decode-batch.ts'
import { checkBatch } from '../../src/records/validate-batch.ts'
import { SAMPLES, sampleBatches, sampleRecords } from './kafka-samples.ts'

beforeAll(initCompression)

describe('segments written by Apache Kafka', () => {
  it.each(SAMPLES)('%s: every record is what its own consumer read', name => {
    const actual = []
    for (const batch of sampleBatches(name)) {
      const header = checkBatch(batch)
      if (header.isControl) continue
      for (const record of decodeRecords(batch))
        actual.push({
          ...asSample(record),
          timestampType: header.timestampType,
          leaderEpoch: header.leaderEpoch,
        })
    }
    expect(actual).toEqual(sampleRecords(name))
  })

  it('names the codec of each folder', () => {
    for (const name of ['none', 'gzip', 'snappy', 'lz4', 'zstd'])
      for (const batch of sampleBatches(name)) expect(readBatchHeader(batch).compression).toBe(name)
  })

  it('transactions: control batches tell which of them were committed', () => {
    const outcomes = []
    for (const batch of sampleBatches('transactions')) {
      const header = checkBatch(batch)
      expect(header.isTransactional).toBe(true)
      if (header.isControl)
        for (const record of decodeRecords(batch)) outcomes.push(decodeControlRecord(record))
    }
    expect(outcomes.map(outcome => outcome.type)).toEqual(['commit', 'commit', 'commit', 'abort', 'commit'])
    for (const outcome of outcomes) expect(outcome.coordinatorEpoch).toBe(0)
  })

  it.each(['none', 'plain-producer', 'rolled'])(
    '%s: encoding the records again gives the same bytes',
    name => {
      const builder = new BatchBuilder()
      for (const batch of sampleBatches(name)) {
        for (const record of decodeBatch(batch)) builder.append(record)
        expect(builder.build(readBatchHeader(batch)).equals(batch)).toBe(true)
      }
    },
  )

  it.each(['gzip', 'snappy', 'lz4', 'zstd'] as const)(
    '%s: compressed again and read back, the same records',
    name => {
      const builder = new BatchBuilder()
      for (const batch of sampleBatches(name)) {
        const header = readBatchHeader(batch)
        const records = decodeBatch(batch)
        for (const record of records) builder.append(record)
        const again = builder.build(header)
        expect(checkBatch(again)).toMatchObject({
          ...header,
          crc: expect.anything(),
          sizeInBytes: again.length,
        })
        expect(decodeBatch(again).map(asSample)).toEqual(records.map(asSample))
      }
    },
  )
})

function asSample(record: DecodedRecord) {
  const base64 = (bytes: Buffer | null) => (bytes === null ? null : bytes.toString('base64'))
  return {
    offset: record.offset,
    timestamp: record.timestamp,
    key: base64(record.key),
    value: base64(record.value),
    headers: record.headers.map(({ key, value }) => [key, base64(value)]),
  }
}
