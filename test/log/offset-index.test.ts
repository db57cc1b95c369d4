import { describe, expect, it } from 'vitest'
import { OffsetIndex } from '../../src/log/offset-index.ts'
import { SeededPrng } from '../harness/seeded-prng.ts'

describe('an offset index', () => {
  it('finds what a plain search finds, after any truncation', () => {
    for (let seed = 0; seed < 200; seed++) {
      const prng = new SeededPrng(seed)
      const baseOffset = prng.uint32() * 1000
      const index = new OffsetIndex(baseOffset)
      let entries: { lastOffset: number; position: number }[] = []
      let lastOffset = baseOffset
      let position = 0
      for (let at = 0; at < prng.uint32() % 200; at++) {
        lastOffset += 1 + (prng.uint32() % 50)
        position += 1 + (prng.uint32() % 5000)
        entries.push({ lastOffset, position })
        index.append({ lastOffset, position })
      }
      if (prng.chance(0.5)) {
        const cut = prng.uint32() % (position + 10)
        index.truncateTo(cut)
        entries = entries.filter(entry => entry.position < cut)
      }
      expect(index.entryCount).toBe(entries.length)
      for (let at = 0; at < 50; at++) {
        const offset = baseOffset + (prng.uint32() % (lastOffset - baseOffset + 20))
        const expected = entries.filter(entry => entry.lastOffset <= offset).at(-1)?.position ?? 0
        expect(index.lookup(offset)).toBe(expected)
      }
      const copy = OffsetIndex.parse(Buffer.from(index.bytes), baseOffset, position + 1)
      expect(copy?.bytes).toEqual(index.bytes)
    }
  })

  it('is refused as a file where it cannot be one of the segment', () => {
    const index = new OffsetIndex(100)
    index.append({ lastOffset: 110, position: 50 })
    index.append({ lastOffset: 120, position: 90 })
    const bytes = Buffer.from(index.bytes)
    expect(OffsetIndex.parse(bytes, 100, 91)).toBeDefined()
    expect(OffsetIndex.parse(bytes, 100, 90)).toBeUndefined()
    expect(OffsetIndex.parse(bytes.subarray(0, 15), 100, 91)).toBeUndefined()
    expect(OffsetIndex.parse(Buffer.concat([bytes, bytes]), 100, 1000)).toBeUndefined()
    expect(OffsetIndex.parse(Buffer.concat([bytes, Buffer.alloc(8)]), 100, 1000)).toBeUndefined()
  })
})
