import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import Table from 'cli-table3'
import { Command } from 'commander'
import { PLANTED_BUGS, type PlantedIn } from '../../test/sim/mutants/planted-bugs.ts'
import { commitName } from '../bench/machine-facts.ts'
import { MutantReport, type MutantRow } from './mutant-report.ts'
import { makeMutantTree } from './mutant-tree.ts'
import { type SeedAnswer, SeedPool, type SeedTask } from './seed-pool.ts'

/**
 * `npm run sim:mutants`: how many seeds the simulations need for each planted bug; 1 if one is missed. A part of a name,
 * or of a simulation's, picks some.
 */
const ROOT = new URL('../..', import.meta.url).pathname
const REPORT = 'docs/reports/mutants.md'
/** So many seeds of a canary without a mistake must pass. */
const HARMLESS_SEEDS = 20

interface Search {
  readonly bug: PlantedIn
  readonly found: SeedAnswer | undefined
  /** Seeds that fail without the bug as well: they prove nothing of it, and each is a bug of its own. */
  readonly unsound: readonly SeedAnswer[]
  readonly seconds: number
}

const program = new Command('npm run sim:mutants --')
  .description('Plants known bugs and counts the seeds until a simulation finds each')
  .argument('[part]', 'of a name, or of the name of a simulation', '')
  .option('--report', `write what was found into ${REPORT}; what was not sought keeps its row`)
  .option('--processes <n>', 'at work at the same time', Number, availableParallelism())
  .parse()
const [wanted = ''] = program.args
const flags = program.opts<{ report?: boolean; processes: number }>()

const report = flags.report ? new MutantReport(join(ROOT, REPORT)) : undefined
const searches: Search[] = []
for (const bug of PLANTED_BUGS.filter(({ name, simulation }) => `${simulation}: ${name}`.includes(wanted))) {
  const search = await searchFor(bug)
  searches.push(search)
  report?.put(rowOf(search))
  const verdict = isAsItShould(search) ? '' : ' WRONG'
  console.error(
    `${bug.simulation}: ${bug.name}: ${seedsText(search)}${verdict} (${search.seconds.toFixed(1)} s)`,
  )
}
console.log(tableOf(searches))
process.exitCode = searches.every(search => isAsItShould(search) && search.unsound.length === 0) ? 0 : 1

/** Goes on behind seeds that fail without the bug, too, until one proves something. */
async function searchFor(bug: PlantedIn): Promise<Search> {
  const startedMs = performance.now()
  const { simulation, name: mutant } = bug
  const tree = await makeMutantTree(ROOT, bug)
  const unsound: SeedAnswer[] = []
  let found: SeedAnswer | undefined
  try {
    for (let from = 1; from <= seedsMax(bug) && !found; ) {
      const seeds = { from, count: seedsMax(bug) - from + 1 }
      const failed = await firstFailure(tree.root, { simulation, mutant }, seeds)
      if (!failed) break
      const { seed } = failed
      const without = await firstFailure(ROOT, { simulation, mutant: undefined }, { from: seed, count: 1 })
      if (without) {
        tellUnsound(simulation, without)
        unsound.push(without)
      } else found = failed
      from = seed + 1
    }
  } finally {
    tree.remove()
  }
  return { bug, found, unsound, seconds: (performance.now() - startedMs) / 1000 }
}

function tellUnsound(simulation: string, failed: SeedAnswer): void {
  console.error(
    `A BUG THAT NOBODY PLANTED: seed ${failed.seed} of ${simulation} fails by itself: ${breachOf(failed)}`,
  )
}

async function firstFailure(
  root: string,
  what: Pick<SeedTask, 'simulation' | 'mutant'>,
  seeds: { readonly from: number; readonly count: number },
): Promise<SeedAnswer | undefined> {
  let found: SeedAnswer | undefined
  const pool: SeedPool = new SeedPool(
    {
      root,
      processes: flags.processes,
      task: { ...what, lengthShare: 1, isTracing: false, isTwice: false },
      onAnswer: answer => {
        if (answer.failure === undefined) return
        if (!found || answer.seed < found.seed) found = answer
        pool.stop()
      },
    },
    seeds,
  )
  await pool.run()
  return found
}

function seedsMax(bug: PlantedIn): number {
  return bug.isHarmless ? HARMLESS_SEEDS : bug.seedsMax
}

function isAsItShould({ bug, found }: Search): boolean {
  return (found === undefined) === (bug.isHarmless === true)
}

function seedsText({ bug, found, unsound }: Search): string {
  const text = found ? `${found.seed}` : `none of ${seedsMax(bug)}`
  if (unsound.length === 0) return text
  return `${text} (without it, too: ${unsound.map(({ seed }) => seed).join(', ')})`
}

function tableOf(all: readonly Search[]): string {
  const table = new Table({
    head: ['simulation', 'planted bug', 'seeds', 's', 'found as'],
    wordWrap: true,
    colWidths: [13, 44, 14, 7, 80],
    style: { head: [], border: [] },
  })
  for (const search of all) table.push(cells(search))
  return table.toString()
}

function cells(search: Search): string[] {
  const { bug, found, seconds } = search
  return [bug.simulation, bug.name, seedsText(search), seconds.toFixed(0), found ? breachOf(found) : '']
}

function breachOf({ failure = '' }: SeedAnswer): string {
  const [breach = ''] = failure.split('\n')
  return breach.slice(0, 160)
}

function rowOf(search: Search): MutantRow {
  const [, , seeds = '', , breach = ''] = cells(search)
  return { bug: search.bug, seeds, isAsItShould: isAsItShould(search), commit: commitName(), breach }
}
