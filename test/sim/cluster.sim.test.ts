import { expect, test } from 'vitest'
import { simulateCluster } from './cluster-simulation.ts'
import { OFTEN } from './situations.ts'

/** A short form: `npm run sim` runs as many as there is time for, each for longer. */
const GROUPS = 10
const SEEDS_PER_GROUP = 10
const LENGTH_SHARE = 0.3
/** Of every how many seeds one is run twice. */
const TWICE_EVERY = 10

const totals = new Map<string, number>()

for (let group = 0; group < GROUPS; group++) {
  const first = 1 + group * SEEDS_PER_GROUP
  const last = first + SEEDS_PER_GROUP - 1
  test(`whole nodes keep every promise under faults, seeds ${first} ... ${last}`, async () => {
    for (let seed = first; seed <= last; seed++) {
      const { failure, digest, counts } = await simulateCluster({ seed, lengthShare: LENGTH_SHARE })
      if (failure)
        throw new Error(
          `npm run sim -- --groups never --length ${LENGTH_SHARE} --trace --seed ${seed}: ${failure.message}`,
          { cause: failure },
        )
      for (const [what, count] of counts) totals.set(what, (totals.get(what) ?? 0) + count)
      if (seed % TWICE_EVERY !== 0) continue
      const again = await simulateCluster({ seed, lengthShare: LENGTH_SHARE })
      expect(again.digest, `seed ${seed} runs twice in the same way`).toBe(digest)
    }
  }, 90_000)
}

test.each([
  [8, 'a producer without an identity that sent again what a node had taken and never answered'],
  [20, 'a replica that never came back after its directory was gone'],
  [477, 'a replica in sync whose mark of an earlier quarantine came back with a power cut of all'],
  [
    936,
    "the oracle itself: a snapshot takes back what was acknowledged behind it, of a log that was not the leader's",
  ],
  [124, 'the oracle itself: an answer to a former leader is about the log that its sender had then'],
  [23, 'a start whose note of its registration met a failed sync, reported as an accident'],
])(
  'seed %i, which once failed by %s',
  async seed => {
    const { failure } = await simulateCluster({ seed })
    expect(failure?.message).toBeUndefined()
  },
  60_000,
)

test('they really were in trouble', () => {
  const seldom = OFTEN.filter(what => (totals.get(what) ?? 0) < 3)
  expect(seldom, 'what hardly happens is not tested').toEqual([])
})
