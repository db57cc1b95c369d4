import { describe, expect, it } from 'vitest'
import { BatchBuilder } from '../../src/records/batch-builder.ts'
import { decodeBatch } from '../../src/records/decode-batch.ts'
import type { Record } from '../../src/wire/messages.ts'
import { Producer } from '../../src/wire/methods.ts'
import { batchRecord, storedRecord } from '../../src/wire/record-codec.ts'

describe('a record on its way from a request to a reader', () => {
  it.each<[string, Record]>([
    ['absent key and value', { headers: [], timestampMs: 7 }],
    ['empty key and value', { key: Buffer.alloc(0), value: Buffer.alloc(0), headers: [], timestampMs: 7 }],
    [
      'headers with repeated keys, empty and absent values',
      {
        key: Buffer.from('k'),
        value: Buffer.from('v'),
        headers: [{ key: 'a', value: Buffer.from('1') }, { key: 'a', value: Buffer.alloc(0) }, { key: 'b' }],
        timestampMs: 0,
      },
    ],
  ])('keeps %s', (_what, record) => {
    const { request } = Producer.produce
    const received = request.decode(request.encode({ records: [record] })).records[0] as Record
    expect(received).toEqual(record)
    const builder = new BatchBuilder()
    builder.append(batchRecord(received, 99))
    const stored = decodeBatch(builder.build()).map(storedRecord)
    expect(stored).toEqual([{ ...record, offset: 0 }])
  })

  it('gets the time of the node if it has none', () => {
    expect(batchRecord({ headers: [] }, 99).timestamp).toBe(99)
  })
})
