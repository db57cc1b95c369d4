import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import Table from 'cli-table3'
import { Command } from 'commander'
import { CHAOS_MUTANTS } from '../../test/chaos/mutants/chaos-mutants.ts'
import { REPOSITORY } from '../bench/child-processes.ts'
import { commitName } from '../bench/machine-facts.ts'
import { scratchDirectory } from '../scratch-directory.ts'
import { ChaosRounds } from './chaos-rounds.ts'
import { buildMutant } from './mutant-program.ts'
import { ChaosMutantReport } from './mutant-report.ts'
import { positiveNumber, wholeNumber } from './number-options.ts'

const REPORT = 'docs/reports/chaos-mutants.md'

/** `npm run chaos:mutants`: builds known mistakes into real nodes, and counts the rounds until the chaos suite finds each. */
const flags = new Command('npm run chaos:mutants --')
  .description('Plants known bugs in real nodes; exits with 1 if one is not found')
  .option('--seed <n>', 'of the first round', wholeNumber, 1)
  .option('--rounds <n>', 'until a mutant counts as not found', wholeNumber, 5)
  .option('--seconds <n>', 'of each round', positiveNumber, 45)
  .option('--only <text>', 'mutants whose name holds it')
  .option('--report', `write what was found into ${REPORT}; what was not sought keeps its row`)
  .parse()
  .opts<{ seed: number; rounds: number; seconds: number; only?: string; report?: boolean }>()

const table = new Table({
  head: ['planted', 'mixture', 'rounds', 'found as'],
  style: { head: [], border: [] },
})
const report = flags.report ? new ChaosMutantReport(join(REPOSITORY, REPORT)) : undefined
/** Of before the report changes the tree. */
const commit = commitName()
let missed = 0
for (const mutant of CHAOS_MUTANTS) {
  if (!mutant.name.includes(flags.only ?? '')) continue
  const { program, remove } = await buildMutant(REPOSITORY, mutant)
  const findings = scratchDirectory('naru-findings-')
  const findingsDirectory = findings.path
  let found: string | undefined
  let rounds = 0
  try {
    while (found === undefined && rounds < flags.rounds) {
      const seed = flags.seed + rounds++
      const { seconds } = flags
      // A round that finds nothing takes it away.
      mkdirSync(findingsDirectory, { recursive: true })
      const one = { seed, rounds: 1, seconds, only: [mutant.mixture], findingsDirectory, program }
      for (const { verdict } of await new ChaosRounds(one).run())
        if (verdict?.validity === 'invalid') found = [...verdict.counts.keys()].join(', ')
    }
  } finally {
    remove()
    findings.remove()
  }
  if (found === undefined) missed++
  report?.put({ mutant, rounds, found, commit })
  table.push([mutant.name, mutant.mixture, rounds, found ?? 'NOT FOUND'])
}
console.log(table.toString())
process.exitCode = missed === 0 ? 0 : 1
