import { describe, expect, it } from 'vitest'
import { TimeIndex } from '../../src/log/time-index.ts'
import { SeededPrng } from '../harness/seeded-prng.ts'

describe('a time index', () => {
  it('finds what a plain search finds, after any truncation', () => {
    for (let seed = 0; seed < 200; seed++) {
      const prng = new SeededPrng(seed)
      const baseOffset = prng.uint32()
      const index = new TimeIndex(baseOffset)
      let entries: { timestamp: number; offset: number }[] = []
      let offset = baseOffset
      let newest = -1
      const start = 1_700_000_000_000
      for (let at = 0; at < prng.uint32() % 100; at++) {
        offset += 1 + (prng.uint32() % 20)
        const timestamp = start + at * 5 + (prng.uint32() % 30)
        if (timestamp > newest) entries.push({ timestamp, offset })
        newest = Math.max(newest, timestamp)
        index.maybeAppend({ timestamp, offset })
      }
      if (prng.chance(0.5)) {
        const cut = baseOffset + (prng.uint32() % (offset - baseOffset + 5))
        index.truncateTo(cut)
        entries = entries.filter(entry => entry.offset < cut)
      }
      expect(index.last).toEqual(entries.at(-1))
      for (let at = 0; at < 50; at++) {
        const timestamp = start - 10 + (prng.uint32() % 600)
        expect(index.lookup(timestamp)).toEqual(entries.filter(entry => entry.timestamp <= timestamp).at(-1))
      }
      expect(TimeIndex.parse(Buffer.from(index.bytes), baseOffset)?.last).toEqual(entries.at(-1))
    }
  })

  it('keeps no entry for batches without a timestamp, and is refused as a file where it does not rise', () => {
    const index = new TimeIndex(0)
    index.maybeAppend({ timestamp: -1, offset: 3 })
    expect(index.entryCount).toBe(0)
    index.maybeAppend({ timestamp: 5, offset: 3 })
    const bytes = Buffer.from(index.bytes)
    expect(TimeIndex.parse(bytes, 0)).toBeDefined()
    expect(TimeIndex.parse(Buffer.concat([bytes, bytes]), 0)).toBeUndefined()
    expect(TimeIndex.parse(bytes.subarray(1), 0)).toBeUndefined()
  })
})
