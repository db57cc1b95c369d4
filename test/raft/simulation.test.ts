import { expect, test } from 'vitest'
import { RaftSimulation, type RaftSimulationReport } from '../harness/raft-simulation.ts'

const SEEDS = 240
const CHUNK = 60

for (let from = 0; from < SEEDS; from += CHUNK) {
  test(`R1-R15 hold, and the cluster converges: seeds ${from} to ${from + CHUNK - 1}`, () => {
    const total = { committed: 0, leaders: 0, crashes: 0, snapshots: 0, changes: 0, reads: 0 }
    for (let seed = from; seed < from + CHUNK; seed++) {
      const report = runSeed(seed)
      for (const key of Object.keys(total) as (keyof typeof total)[]) total[key] += report[key]
    }
    // A simulation in which nothing happens would pass as well.
    expect(total.committed).toBeGreaterThan(CHUNK * 50)
    expect(total.leaders).toBeGreaterThan(CHUNK * 2)
    expect(total.crashes).toBeGreaterThan(CHUNK * 4)
    expect(total.snapshots).toBeGreaterThan(CHUNK / 4)
    expect(total.changes).toBeGreaterThan(CHUNK)
    expect(total.reads).toBeGreaterThan(CHUNK * 15)
  })
}

test('a seed always tells the same story', () => {
  expect(runSeed(7).hash).toBe(runSeed(7).hash)
  expect(runSeed(7).hash).not.toBe(runSeed(8).hash)
})

function runSeed(seed: number): RaftSimulationReport {
  try {
    return new RaftSimulation({ seed }).run()
  } catch (error) {
    throw new Error(`seed ${seed}: ${(error as Error).message}`, { cause: error })
  }
}
