import { expect, test } from 'vitest'
import { GroupSimulation } from './group-simulation.ts'

const SEEDS = 100

test('groups keep their promises through random lives', () => {
  for (let seed = 0; seed < SEEDS; seed++) {
    try {
      new GroupSimulation({ seed }).run()
    } catch (error) {
      expect.fail(`seed ${seed}: ${(error as Error).stack}`)
    }
  }
})
