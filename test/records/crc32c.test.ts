import { expect, test } from 'vitest'
import { crc32c, crc32cAfter } from '../../src/records/crc32c.ts'

test('a CRC goes on where another ended', () => {
  const whole = Buffer.from('the quick brown fox jumps over the lazy dog')
  for (let cut = 0; cut <= whole.length; cut++)
    expect(crc32cAfter(crc32c(whole, 0, cut), whole.subarray(cut))).toBe(crc32c(whole))
})
