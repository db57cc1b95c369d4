import { expect, test } from 'vitest'
import { PartitionSimulation } from './partition-simulation.ts'

test('random lives of nodes and partitions keep what is committed, and who may lead', () => {
  for (let seed = 0; seed < 60; seed++)
    expect(() => new PartitionSimulation({ seed }).run(), `seed ${seed}`).not.toThrow()
}, 120_000)
