import { describe, expect, it } from 'vitest'
import { type Prng, randomBetween, randomUuid } from '../../src/ports/prng.ts'
import { SystemPrng } from '../../src/ports/system-prng.ts'
import { SeededPrng } from '../harness/seeded-prng.ts'

describe.each<[string, () => Prng]>([
  ['the system', () => new SystemPrng()],
  ['a seed', () => new SeededPrng(1)],
])('randomness of %s', (_, make) => {
  it('stays within its ranges and reaches their ends', () => {
    const prng = make()
    const rolls = new Set<number>()
    for (let draw = 0; draw < 10_000; draw++) {
      const word = prng.uint32()
      expect(Number.isInteger(word) && word >= 0 && word < 2 ** 32).toBe(true)
      const fraction = prng.fraction()
      expect(fraction >= 0 && fraction < 1).toBe(true)
      rolls.add(randomBetween(prng, { min: 3, max: 6 }))
    }
    expect([...rolls].sort()).toEqual([3, 4, 5, 6])
  })

  it('gives fresh bytes of any length, which stay as they were', () => {
    const prng = make()
    const first = prng.bytes(32)
    const copy = Buffer.from(first)
    const seen = new Set([copy.toString('hex')])
    for (let draw = 0; draw < 1000; draw++) seen.add(Buffer.from(prng.bytes(32)).toString('hex'))
    expect(seen.size).toBe(1001)
    expect(Buffer.from(first).equals(copy)).toBe(true)
    expect(prng.bytes(0)).toHaveLength(0)
    expect(prng.bytes(10_000)).toHaveLength(10_000)
  })

  it('makes distinct ids of 22 characters that never start with a dash', () => {
    const prng = make()
    const ids = new Set(Array.from({ length: 2000 }, () => randomUuid(prng)))
    expect(ids.size).toBe(2000)
    for (const id of ids) expect(id).toMatch(/^[A-Za-z0-9_][A-Za-z0-9_-]{21}$/)
  })
})

it('repeats for a seed, differs between seeds and between forks', () => {
  const draw = (prng: Prng) => [prng.uint32(), prng.uint32(), prng.uint32()]
  expect(draw(new SeededPrng(7))).toEqual(draw(new SeededPrng(7)))
  expect(draw(new SeededPrng(7))).not.toEqual(draw(new SeededPrng(8)))
  expect(draw(new SeededPrng(7).fork('disk'))).not.toEqual(draw(new SeededPrng(7).fork('network')))
})
