import { expect, it } from 'vitest'
import { KeyOffsetMap } from '../../src/log/key-offset-map.ts'
import { SeededPrng } from '../harness/seeded-prng.ts'

it('finds what a map finds, and refuses new keys alone when it is full', () => {
  const prng = new SeededPrng('key map')
  const keys = new KeyOffsetMap({ bytesMax: 24 * 1000, keysMax: 1_000_000 })
  const twin = new Map<string, number>()
  for (let step = 0; step < 20_000; step++) {
    const key = `key ${prng.uint32() % 1500}`
    const offset = 2 ** 40 + step
    if (keys.put(Buffer.from(key), offset)) twin.set(key, offset)
    else expect(twin.has(key)).toBe(false)
  }
  expect(keys.size).toBe(twin.size)
  expect(keys.size).toBe(900)
  expect(keys.sizeBytes).toBe(24 * 1000)
  for (let at = 0; at < 1500; at++) expect(keys.get(Buffer.from(`key ${at}`))).toBe(twin.get(`key ${at}`))
})

it('takes no more memory than the keys that can come, and holds offset 0', () => {
  const keys = new KeyOffsetMap({ bytesMax: 2 ** 30, keysMax: 3 })
  expect(keys.sizeBytes).toBeLessThan(200)
  expect(keys.put(Buffer.from('a'), 0)).toBe(true)
  expect(keys.get(Buffer.from('a'))).toBe(0)
  expect(keys.get(Buffer.from('b'))).toBeUndefined()
})
