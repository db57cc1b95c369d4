import { readFile } from 'node:fs/promises'
import { expect, test } from 'vitest'
import { SeededPrng } from '../../harness/seeded-prng.ts'
import { simulateCluster } from '../cluster-simulation.ts'
import { drawSwarm, type Swarm } from '../cluster-swarm.ts'
import { CLUSTER_MUTANTS } from './cluster-mutants.ts'
import { PLANTED_BUGS } from './planted-bugs.ts'

const SRC = new URL('../../../src/', import.meta.url)

test('every passage that a planted bug exchanges is there, once', async () => {
  for (const { name, edits } of PLANTED_BUGS)
    for (const [file, passage] of edits) {
      const code = await readFile(new URL(file, SRC), 'utf8')
      expect(code.split(passage).length, `${name}: ${file}: ${passage}`).toBe(2)
    }
})

test('each planted bug is known by its simulation and name', () => {
  const names = PLANTED_BUGS.map(({ simulation, name }) => `${simulation}: ${name}`)
  expect(new Set(names).size).toBe(names.length)
})

test('a cluster in which nobody promises anything is found out at once', async () => {
  const canary = CLUSTER_MUTANTS.find(({ name }) => name.startsWith('canary: nobody'))
  expect(canary?.spoil).toBeDefined()
  // A node alone needs nobody's promise.
  const seed = firstSeed(({ nodes }) => nodes > 1)
  const { failure } = await simulateCluster({ seed, lengthShare: 0.3, ...canary })
  expect(failure?.message).toMatch(/^L no sign of a controller/)
}, 60_000)

function firstSeed(isWanted: (swarm: Swarm) => boolean): number {
  let seed = 1
  while (!isWanted(drawSwarm(new SeededPrng(`cluster ${seed}`).fork('swarm')))) seed++
  return seed
}
