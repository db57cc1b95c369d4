import { describe, expect, it } from 'vitest'
import { LeaderEpochCache } from '../../src/log/leader-epoch-cache.ts'
import { SeededPrng } from '../harness/seeded-prng.ts'

/** The epoch of each record, as a list; undefined below the log start. */
function naive(epochs: (number | undefined)[]) {
  return {
    endOffsetFor(epoch: number) {
      const last = epochs.findLastIndex(one => one !== undefined && one <= epoch)
      return last === -1 ? undefined : { epoch: epochs[last], endOffset: last + 1 }
    },
  }
}

describe('the leader epoch cache', () => {
  it('answers as the list of all records would, through appends and truncations at both ends', () => {
    for (let seed = 0; seed < 60; seed++) {
      const prng = new SeededPrng(seed)
      const cache = new LeaderEpochCache()
      const epochs: (number | undefined)[] = []
      let start = 0
      let epoch = 0
      for (let step = 0; step < 40; step++) {
        const choice = prng.fraction()
        if (choice < 0.7) {
          epoch += prng.uint32() % 3
          cache.assign(epoch, epochs.length)
          for (let count = 1 + (prng.uint32() % 3); count > 0; count--) epochs.push(epoch)
        } else if (choice < 0.85) {
          const end = start + (prng.uint32() % (epochs.length - start + 1))
          epochs.length = end
          cache.truncateFromEnd(end)
        } else {
          start += prng.uint32() % (epochs.length - start + 1)
          epochs.fill(undefined, 0, start)
          cache.truncateFromStart(start)
        }
        for (let at = start; at < epochs.length; at++) expect(cache.epochAt(at)).toBe(epochs[at])
        if (epochs.length === start) continue
        for (let asked = 0; asked <= epoch + 1; asked++) {
          expect(cache.endOffsetFor(asked, epochs.length)).toEqual(naive(epochs).endOffsetFor(asked))
        }
      }
    }
  })

  it('sees a batch whose epoch is not the one of its offsets', () => {
    const cache = new LeaderEpochCache([
      { epoch: 1, startOffset: 5 },
      { epoch: 4, startOffset: 10 },
    ])
    expect(cache.agrees(1, 5, 9)).toBe(true)
    expect(cache.agrees(1, 8, 10)).toBe(false)
    expect(cache.agrees(4, 9, 12)).toBe(false)
    expect(cache.agrees(4, 10, 12)).toBe(true)
    expect(cache.agrees(2, 10, 12)).toBe(false)
    // Below the first entry nothing is known.
    expect(cache.agrees(0, 1, 4)).toBe(true)
  })
})
