import { expect, test } from 'vitest'
import { GROUP_MUTANTS, loadGroupMutant } from './group-mutants.ts'
import { GroupSimulation } from './group-simulation.ts'

const SEEDS = 300

for (const mutant of GROUP_MUTANTS) {
  test(`the simulation finds: ${mutant.name}`, async () => {
    const code = await loadGroupMutant(mutant)
    const found = findBreach(seed => new GroupSimulation({ seed, code }).run())
    expect(found, `no seed below ${SEEDS} shows that ${mutant.harm}`).toBeDefined()
    expect(found).toMatch(mutant.found)
  })
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
