import { expect, test } from 'vitest'
import { loadMutant, MUTANTS } from '../harness/raft-mutants.ts'
import { RaftSimulation } from '../harness/raft-simulation.ts'

const SEEDS = 400

for (const mutant of MUTANTS) {
  test(`the simulation finds: ${mutant.name}`, async () => {
    const nodeClass = await loadMutant(mutant)
    const found = findBreach(seed => {
      new RaftSimulation({ seed, nodeClass, ...(mutant.spoil && { spoil: mutant.spoil }) }).run()
    })
    expect(found, `no seed below ${SEEDS} shows that ${mutant.harm}`).toBeDefined()
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
