import { expect, test } from 'vitest'
import { simulateCluster } from './cluster-simulation.ts'
import { OFTEN_WITH_GROUPS } from './situations.ts'

/** A short form: `npm run sim` has groups in one of four seeds, `npm run sim -- --groups always` in all. */
const SEEDS = [1, 2, 3, 4, 5, 6]
const LENGTH_SHARE = 0.4
/** Is run twice. */
const TWICE = 3

const totals = new Map<string, number>()

test.each(SEEDS)(
  'groups keep every promise while their nodes and members are struck, seed %i',
  async seed => {
    const options = { seed, lengthShare: LENGTH_SHARE, groups: 'always' } as const
    const { failure, digest, counts } = await simulateCluster(options)
    if (failure)
      throw new Error(
        `npm run sim -- --groups always --length ${LENGTH_SHARE} --trace --seed ${seed}: ${failure.message}`,
        { cause: failure },
      )
    for (const [what, count] of counts) totals.set(what, (totals.get(what) ?? 0) + count)
    if (seed !== TWICE) return
    const again = await simulateCluster(options)
    expect(again.digest, 'it runs twice in the same way').toBe(digest)
  },
  300_000,
)

test.each([
  {
    seed: 2,
    groups: 'always' as const,
    cause: 'members whose log had lost its end to a recovery by hand: they failed, one after the other',
  },
  {
    seed: 1258,
    groups: 'drawn' as const,
    cause: 'a stop on a full disk whose note of what is synced was newer than the epochs beside it',
  },
  {
    seed: 1819,
    groups: 'drawn' as const,
    cause: 'a member that was told anew that it has what it had just released',
  },
  {
    seed: 1741,
    groups: 'drawn' as const,
    cause: 'a base offset in a compacted log that rotted, taken for a gap with a torn end behind it',
  },
])(
  'seed $seed with groups $groups, which once failed by $cause',
  async ({ seed, groups }) => {
    const { failure } = await simulateCluster({ seed, groups })
    expect(failure?.message).toBeUndefined()
  },
  300_000,
)

test('they really were struck', () => {
  const seldom = OFTEN_WITH_GROUPS.filter(what => (totals.get(what) ?? 0) === 0)
  expect(seldom, 'what does not happen is not tested').toEqual([])
})
