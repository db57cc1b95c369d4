import { describe, expect, it } from 'vitest'
import { decodeControlRecord } from '../../src/records/control-record.ts'
import { reasonOf } from './reasons.ts'

const hex = (text: string) => Buffer.from(text, 'hex')

describe('a control record', () => {
  it.each([
    ['abort', '00000000', '000000000007', { type: 'abort', coordinatorEpoch: 7 }],
    ['commit', '00000001', '00000000002a', { type: 'commit', coordinatorEpoch: 42 }],
    ['a type of a newer version', '00000002', '0000', { type: 2, coordinatorEpoch: undefined }],
  ])('%s', (_what, key, value, expected) => {
    expect(decodeControlRecord({ offset: 1, key: hex(key), value: hex(value) })).toEqual(expected)
  })

  it.each([
    ['no key', null, hex('000000000007')],
    ['half a key', hex('0000'), hex('000000000007')],
    ['a negative version', hex('ffff0000'), hex('000000000007')],
    ['no value', hex('00000001'), null],
    ['half a value', hex('00000001'), hex('0000')],
  ])('with %s is refused', (_what, key, value) => {
    expect(reasonOf(() => decodeControlRecord({ offset: 1, key, value }))).toBe('INVALID_BATCH')
  })
})
