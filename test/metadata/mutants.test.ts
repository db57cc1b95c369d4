import { expect, test } from 'vitest'
import { loadPartitionMutant, PARTITION_MUTANTS } from './partition-mutants.ts'
import { PartitionSimulation } from './partition-simulation.ts'

const SEEDS = 300

for (const mutant of PARTITION_MUTANTS) {
  test(`the random lives find: ${mutant.name}`, async () => {
    const code = await loadPartitionMutant(mutant)
    expect(findBreach(seed => new PartitionSimulation({ seed, code }).run())).toMatch(mutant.found)
  }, 120_000)
}

function findBreach(run: (seed: number) => void): string | undefined {
  for (let seed = 0; seed < SEEDS; seed++) {
    try {
      run(seed)
    } catch (error) {
      return (error as Error).message
    }
  }
  return undefined
}
