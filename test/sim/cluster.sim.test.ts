import { expect, test } from 'vitest'
import { ClusterSimulation } from './cluster-simulation.ts'

const SEEDS = 12
const STEPS = 60

test(`${SEEDS} seeds of three nodes under faults lose no change that was answered, and end alike`, async () => {
  let answered = 0
  for (let seed = 1; seed <= SEEDS; seed++) {
    const result = await new ClusterSimulation({ seed, nodes: 3 }).run(STEPS).catch(error => {
      throw new Error(`seed ${seed}: ${error.message}`, { cause: error })
    })
    answered += result.answered
  }
  // Else the workload would have stopped testing what it is for.
  expect(answered).toBeGreaterThan(SEEDS * 5)
}, 180_000)

test('a seed runs twice in the same way', async () => {
  const run = () => new ClusterSimulation({ seed: 7, nodes: 3 }).run(STEPS)
  expect(await run()).toEqual(await run())
})
