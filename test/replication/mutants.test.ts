import { expect, test } from 'vitest'
import { loadMutant, MUTANTS } from './replication-mutants.ts'
import { ReplicationSimulation } from './replication-simulation.ts'

const SEEDS = 600

for (const mutant of MUTANTS) {
  test(`the simulation finds: ${mutant.name}`, async () => {
    const cores = await loadMutant(mutant)
    const found = findBreach(mutant.seed ?? 0, seed =>
      new ReplicationSimulation({ seed, cores, ...mutant.options }).run(),
    )
    expect(found, `no seed below ${SEEDS} shows that ${mutant.harm}`).toBeDefined()
  }, 120_000)
}

function findBreach(first: number, run: (seed: number) => void): string | undefined {
  for (let seed = -1; seed < SEEDS; seed++) {
    try {
      run(seed < 0 ? first : seed)
    } catch (error) {
      return (error as Error).message
    }
  }
  return undefined
}
