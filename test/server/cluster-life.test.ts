import { expect, test } from 'vitest'
import { ClusterLife } from './cluster-life.ts'

const SEEDS = 12
const STEPS = 60

test(`${SEEDS} lives of three nodes under faults lose no change that was answered, and end alike`, async () => {
  let answered = 0
  for (let seed = 1; seed <= SEEDS; seed++) {
    const result = await new ClusterLife({ seed, nodes: 3 }).run(STEPS).catch((error: Error) => {
      throw new Error(`seed ${seed}: ${error.message}`, { cause: error })
    })
    answered += result.answered
  }
  // Else the workload would have stopped testing what it is for.
  expect(answered).toBeGreaterThan(SEEDS * 5)
}, 180_000)

test('a life is the same twice', async () => {
  const run = () => new ClusterLife({ seed: 7, nodes: 3 }).run(STEPS)
  expect(await run()).toEqual(await run())
})
