import { availableParallelism } from 'node:os'
import Table from 'cli-table3'
import { CLUSTER_MUTANTS, type ClusterMutant } from '../../test/sim/mutants/cluster-mutants.ts'
import { makeMutantTree } from './mutant-tree.ts'
import { type SeedAnswer, SeedPool } from './seed-pool.ts'

/** `npm run sim:mutants [-- part of a name]`: how many seeds the simulation needs for each planted bug; 1 if it misses one. */
const ROOT = new URL('../..', import.meta.url).pathname
const SEEDS_MAX = 500
/** So many seeds of the canary without a mistake must pass. */
const HARMLESS_SEEDS = 20

const wanted = process.argv[2] ?? ''
const table = new Table({
  head: ['planted bug', 'found by seed', 'as'],
  wordWrap: true,
  colWidths: [44, 16, 90],
  style: { head: [], border: [] },
})
let missed = 0
for (const mutant of CLUSTER_MUTANTS.filter(({ name }) => name.includes(wanted))) {
  const found = await firstFailure(mutant)
  const isAsItShould = (found === undefined) === (mutant.isHarmless === true)
  if (!isAsItShould) missed++
  const seed = found ? `${found.seed}` : `none of ${seedsOf(mutant)}`
  console.error(`${mutant.name}: ${seed}${isAsItShould ? '' : ', WRONG'}`)
  table.push([mutant.name, `${seed}${isAsItShould ? '' : '\nWRONG'}`, found?.failure?.slice(0, 160) ?? ''])
}
console.log(table.toString())
process.exitCode = missed === 0 ? 0 : 1

async function firstFailure(mutant: ClusterMutant): Promise<SeedAnswer | undefined> {
  const tree = await makeMutantTree(ROOT, mutant)
  let found: SeedAnswer | undefined
  try {
    const pool: SeedPool = new SeedPool(
      {
        root: tree.root,
        processes: availableParallelism(),
        task: { lengthShare: 1, isTracing: false, isTwice: false, mutant: mutant.name },
        onAnswer: answer => {
          if (answer.failure === undefined) return
          if (!found || answer.seed < found.seed) found = answer
          pool.stop()
        },
      },
      { from: 1, count: seedsOf(mutant) },
    )
    await pool.run()
  } finally {
    await tree.remove()
  }
  return found
}

function seedsOf(mutant: ClusterMutant): number {
  return mutant.isHarmless ? HARMLESS_SEEDS : SEEDS_MAX
}
