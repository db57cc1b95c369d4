import { expect, test } from 'vitest'
import { SpareBuffers } from '../../src/client/producer/spare-buffers.ts'

const KIB = 1024

test('gives back the whole buffer of a batch, once, to who needs that size', () => {
  const spares = new SpareBuffers()
  const whole = Buffer.allocUnsafeSlow(256 * KIB)
  spares.give(whole.subarray(0, 200 * KIB))
  expect(spares.take(128 * KIB)).toBeUndefined()
  const taken = spares.take(256 * KIB)
  expect(taken?.buffer).toBe(whole.buffer)
  expect(taken?.length).toBe(256 * KIB)
  expect(spares.take(256 * KIB)).toBeUndefined()
})

test('keeps no small buffers, no odd ones, and no more than 8 MiB', () => {
  const spares = new SpareBuffers()
  spares.give(Buffer.allocUnsafeSlow(32 * KIB))
  spares.give(Buffer.allocUnsafeSlow(100 * KIB))
  expect(spares.take(32 * KIB)).toBeUndefined()
  expect(spares.take(100 * KIB)).toBeUndefined()
  for (let count = 0; count < 100; count++) spares.give(Buffer.allocUnsafeSlow(256 * KIB))
  let taken = 0
  while (spares.take(256 * KIB)) taken++
  expect(taken).toBe(32)
})
