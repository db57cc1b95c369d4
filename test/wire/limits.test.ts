import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  BATCH_REQUEST_BYTES_MAX,
  checkProduceSize,
  RECORD_REQUEST_BYTES_MAX,
  RECORD_REQUEST_RECORDS_MAX,
} from '../../src/wire/limits.ts'
import { Producer } from '../../src/wire/methods.ts'
import { arbitraryOf } from './arbitrary-message.ts'

const unary = Producer.produce.request
const stream = Producer.produceStream.request
const TOO_LARGE = expect.objectContaining({ reason: 'REQUEST_TOO_LARGE' })

describe('checkProduceSize', () => {
  it('counts the records that decoding would give', () => {
    fc.assert(
      fc.property(
        arbitraryOf('naru.v1.ProduceRequest'),
        arbitraryOf('naru.v1.ProduceStreamRequest'),
        (a, b) => {
          const request = unary.decode(unary.encode(a))
          expect(checkProduceSize('ProduceRequest', unary.encode(a))).toBe(request.records.length)
          const frame = stream.decode(stream.encode(b))
          const records = frame.entries.flatMap(entry => entry.records)
          expect(checkProduceSize('ProduceStreamRequest', stream.encode(b))).toBe(records.length)
        },
      ),
    )
  })

  it('refuses too many records', () => {
    const records = (count: number) => Array.from({ length: count }, () => ({}))
    const allowed = unary.encode({ records: records(RECORD_REQUEST_RECORDS_MAX) })
    expect(checkProduceSize('ProduceRequest', allowed)).toBe(RECORD_REQUEST_RECORDS_MAX)
    const tooMany = unary.encode({ records: records(RECORD_REQUEST_RECORDS_MAX + 1) })
    expect(() => checkProduceSize('ProduceRequest', tooMany)).toThrowError(TOO_LARGE)
    const half = { records: records(RECORD_REQUEST_RECORDS_MAX / 2 + 1) }
    const together = stream.encode({ entries: [half, half] })
    expect(() => checkProduceSize('ProduceStreamRequest', together)).toThrowError(TOO_LARGE)
  })

  it('allows ready batches more bytes than records', () => {
    const value = Buffer.alloc(RECORD_REQUEST_BYTES_MAX)
    expect(() => checkProduceSize('ProduceRequest', unary.encode({ records: [{ value }] }))).toThrowError(
      TOO_LARGE,
    )
    expect(checkProduceSize('ProduceRequest', unary.encode({ batches: [{ batch: value }] }))).toBe(0)
    const batch = Buffer.alloc(BATCH_REQUEST_BYTES_MAX)
    expect(() => checkProduceSize('ProduceRequest', unary.encode({ batches: [{ batch }] }))).toThrowError(
      TOO_LARGE,
    )
  })

  it('refuses what is malformed', () => {
    expect(() => checkProduceSize('ProduceStreamRequest', Buffer.from([0x1a, 5, 0]))).toThrowError(
      expect.objectContaining({ reason: 'INVALID_REQUEST' }),
    )
  })
})
