import { describe, expect, it } from 'vitest'
import { runChaos } from './cluster-chaos.ts'

const GROUPS = 10
const SEEDS_PER_GROUP = 25

describe('drivers in trouble', () => {
  const totals = { leaders: 0, snapshotsInstalled: 0, truncations: 0, acknowledged: 0, reads: 0, boots: 0 }
  for (let group = 0; group < GROUPS; group++) {
    const first = group * SEEDS_PER_GROUP
    it(`keep every promise, seeds ${first} ... ${first + SEEDS_PER_GROUP - 1}`, async () => {
      for (let seed = first; seed < first + SEEDS_PER_GROUP; seed++) {
        try {
          const { counts } = (await runChaos({ seed })).oracle
          for (const key of Object.keys(totals) as (keyof typeof totals)[]) totals[key] += counts[key]
        } catch (thrown) {
          throw new Error(`seed ${seed}: ${(thrown as Error).message}`, { cause: thrown })
        }
      }
    })
  }

  it('really were in trouble', () => {
    expect(totals.acknowledged).toBeGreaterThan(GROUPS * SEEDS_PER_GROUP * 10)
    for (const count of Object.values(totals)) expect(count).toBeGreaterThan(20)
  })
})
