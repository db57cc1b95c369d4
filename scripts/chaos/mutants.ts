import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import Table from 'cli-table3'
import { Command } from 'commander'
import { CHAOS_MUTANTS } from '../../test/chaos/mutants/chaos-mutants.ts'
import { atExit, REPOSITORY } from '../bench/child-processes.ts'
import { ChaosRounds } from './chaos-rounds.ts'
import { buildMutant } from './mutant-program.ts'
import { positiveNumber, wholeNumber } from './number-options.ts'

/** `npm run chaos:mutants`: builds known mistakes into real nodes, and counts the rounds until the chaos suite finds each. */
const flags = new Command('npm run chaos:mutants --')
  .description('Plants known bugs in real nodes; exits with 1 if one is not found')
  .option('--seed <n>', 'of the first round', wholeNumber, 1)
  .option('--rounds <n>', 'until a mutant counts as not found', wholeNumber, 5)
  .option('--seconds <n>', 'of each round', positiveNumber, 45)
  .option('--only <text>', 'mutants whose name holds it')
  .parse()
  .opts<{ seed: number; rounds: number; seconds: number; only?: string }>()

const table = new Table({
  head: ['planted', 'mixture', 'rounds', 'found as'],
  style: { head: [], border: [] },
})
let missed = 0
for (const mutant of CHAOS_MUTANTS) {
  if (!mutant.name.includes(flags.only ?? '')) continue
  const { program, remove } = await buildMutant(REPOSITORY, mutant)
  const findingsDirectory = mkdtempSync(join(tmpdir(), 'naru-findings-'))
  const removeFindings = () => rmSync(findingsDirectory, { recursive: true, force: true })
  const forget = atExit(removeFindings)
  let found: string | undefined
  let rounds = 0
  try {
    while (found === undefined && rounds < flags.rounds) {
      const seed = flags.seed + rounds++
      const { seconds } = flags
      const one = { seed, rounds: 1, seconds, only: [mutant.mixture], findingsDirectory, program }
      for (const { verdict } of await new ChaosRounds(one).run())
        if (verdict?.validity === 'invalid') found = [...verdict.counts.keys()].join(', ')
    }
  } finally {
    remove()
    removeFindings()
    forget()
  }
  if (found === undefined) missed++
  table.push([mutant.name, mutant.mixture, rounds, found ?? 'NOT FOUND'])
}
console.log(table.toString())
process.exitCode = missed === 0 ? 0 : 1
