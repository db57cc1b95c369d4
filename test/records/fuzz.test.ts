import fc from 'fast-check'
import { beforeAll, describe, expect, it } from 'vitest'
import { NaruError } from '../../src/base/errors.ts'
import { batchPositions } from '../../src/records/batch-positions.ts'
import { COMPRESSIONS } from '../../src/records/codecs.ts'
import { decompress, initCompression } from '../../src/records/compression.ts'
import { decodeControlRecord } from '../../src/records/control-record.ts'
import { decodeBatch } from '../../src/records/decode-batch.ts'
import { RecordCursor } from '../../src/records/record-cursor.ts'
import { stampCrc } from '../../src/records/stamp-batch.ts'
import { checkBatch, validateClientBatch } from '../../src/records/validate-batch.ts'
import { SAMPLES, sampleBatches, sampleSegments } from './kafka-samples.ts'

/**
 * Whatever bytes come in, the codec answers with records or with a NaruError: no other exception, no loop, no
 * output beyond its limit. Mutants get a right CRC, or nothing but the CRC check would ever be tested.
 */
beforeAll(initCompression)

const LIMITS = { maxMessageBytes: 1024 * 1024, walkRecords: true }
const DECOMPRESSED_MAX = 256 * 1024

function only<T>(run: () => T): T | NaruError {
  try {
    return run()
  } catch (thrown) {
    if (thrown instanceof NaruError) return thrown
    throw thrown
  }
}

function survive(batch: Buffer): void {
  only(() => checkBatch(batch))
  only(() => validateClientBatch(batch, 0, LIMITS))
  const records = only(() => decodeBatch(batch, 0, { decompressedBytesMax: DECOMPRESSED_MAX }))
  if (records instanceof NaruError) return
  let bytes = 0
  for (const record of records) {
    bytes += (record.key?.length ?? 0) + (record.value?.length ?? 0)
    expect(record.offset).toSatisfy(Number.isFinite)
    expect(record.timestamp).toSatisfy(Number.isSafeInteger)
    only(() => decodeControlRecord(record))
  }
  expect(bytes).toBeLessThanOrEqual(Math.max(DECOMPRESSED_MAX, batch.length))
}

const mutations = fc.array(
  fc.record({
    where: fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
    // Most damage near the front, where headers and lengths are.
    isNear: fc.boolean(),
    byte: fc.constantFrom(0, 1, 0x7f, 0x80, 0xff).chain(edge => fc.constantFrom(edge, 2, 0x3e, 0x55, 0xaa)),
  }),
  { minLength: 1, maxLength: 6 },
)

describe('mutated batches of Kafka', () => {
  it.each(SAMPLES)('%s', name => {
    const batches = sampleBatches(name)
    fc.assert(
      fc.property(fc.nat(), mutations, fc.boolean(), (pick, changes, isRecordsOnly) => {
        const batch = Buffer.from(batches[pick % batches.length] as Buffer)
        const start = isRecordsOnly ? 61 : 0
        for (const { where, isNear, byte } of changes) {
          const span = isNear ? Math.min(120, batch.length - start) : batch.length - start
          batch.writeUInt8(byte, start + Math.floor(where * span))
        }
        if (only(() => [...batchPositions(batch)]) instanceof NaruError) return
        stampCrc(batch, 0)
        survive(batch)
      }),
      { numRuns: 400 },
    )
  })

  it('cut off anywhere', () => {
    for (const name of SAMPLES) {
      const batch = sampleBatches(name)[0] as Buffer
      for (let length = 0; length < Math.min(batch.length, 400); length++) {
        expect(only(() => checkBatch(batch.subarray(0, length)))).toBeInstanceOf(NaruError)
        expect(only(() => new RecordCursor(batch.subarray(0, length)))).toBeInstanceOf(NaruError)
      }
    }
  })

  it('found in damaged segments', () => {
    const segments = SAMPLES.flatMap(sampleSegments)
    fc.assert(
      fc.property(fc.nat(), fc.nat(), fc.uint8Array({ minLength: 1, maxLength: 16 }), (pick, at, bytes) => {
        const segment = Buffer.from(segments[pick % segments.length] as Buffer)
        segment.set(bytes, at % (segment.length - bytes.length))
        only(() => {
          for (const position of batchPositions(segment)) only(() => checkBatch(segment, position))
        })
      }),
      { numRuns: 100 },
    )
  })
})

describe('arbitrary bytes', () => {
  it('as a batch', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 62, maxLength: 300 }), fc.nat(4), (bytes, codec) => {
        const batch = Buffer.from(bytes)
        batch.writeInt32BE(batch.length - 12, 8)
        batch.writeInt8(2, 16)
        batch.writeUInt16BE(codec, 21)
        stampCrc(batch, 0)
        survive(batch)
        // The same with a believable header: the records alone are arbitrary.
        batch.writeInt32BE(9, 23)
        batch.writeInt32BE(10, 57)
        batch.fill(0, 27, 57)
        stampCrc(batch, 0)
        survive(batch)
      }),
      { numRuns: 2000 },
    )
  })

  it.each(COMPRESSIONS)('as %s data, with and without its magic', codec => {
    const starts = [
      '',
      '1f8b0800000000000003',
      '82534e415050590000000001000000010000',
      '04224d186040',
      '28b52ffd',
    ]
    fc.assert(
      fc.property(fc.constantFrom(...starts), fc.uint8Array({ maxLength: 400 }), (start, bytes) => {
        const data = Buffer.concat([Buffer.from(start, 'hex'), bytes])
        const result = only(() => decompress(codec, data, 10_000))
        if (Buffer.isBuffer(result)) expect(result.length).toBeLessThanOrEqual(10_000)
      }),
      { numRuns: 1000 },
    )
  })
})
