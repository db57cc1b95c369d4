import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Command } from 'commander'
import { ChaosRounds } from './chaos/chaos-rounds.ts'
import { chaosTable } from './chaos/chaos-table.ts'
import { positiveNumber, wholeNumber } from './chaos/number-options.ts'
import { roundLine } from './chaos/round-line.ts'

/** `npm run chaos`: real nodes under faults, mixture after mixture (test/chaos/round.ts says what that is). */
interface Flags {
  readonly seed: number
  readonly only?: string
  readonly rounds: number
  readonly seconds: number
  readonly minutes?: number
  readonly withoutRoot?: boolean
  readonly results?: string
  readonly findings?: string
}

const flags = new Command('npm run chaos --')
  .description('Real nodes under real faults; exits with 1 if anything that is promised was broken')
  .option('--seed <n>', 'of the first round', wholeNumber, 1)
  .option('--only <mixture>', 'one mixture, or several with commas, instead of all 14')
  .option('--rounds <n>', 'how many, each with the next seed', wholeNumber, 1)
  .option('--seconds <n>', 'of each mixture', positiveNumber, 90)
  .option('--minutes <n>', 'rounds until this is over, instead of --rounds', positiveNumber)
  .option('--without-root', 'leave out what needs root, as for an ordinary user')
  .option('--results <file>', 'append what each mixture came to, as a line of JSON')
  .option('--findings <directory>', 'where histories and logs go; default: a temporary one')
  .parse()
  .opts<Flags>()

const findingsDirectory = flags.findings ?? mkdtempSync(join(tmpdir(), 'naru-findings-'))
const rounds = new ChaosRounds({ ...flags, only: flags.only?.split(','), findingsDirectory })
const results = await rounds.run()
console.log(chaosTable(results.map(one => roundLine(one))))
for (const { mixture, seed, findings } of results)
  for (const finding of findings) console.log(`${mixture.name}, seed ${seed}: ${finding}`)
for (const what of rounds.leftOut) console.log(`left out: ${what}`)
const broken = results.filter(one => one.findings.length > 0)
console.log(
  broken.length === 0
    ? `${results.length} mixtures, nothing that is promised was broken`
    : `${broken.length} of ${results.length} mixtures found something; histories and logs are in ${findingsDirectory}`,
)
process.exitCode = broken.length === 0 ? 0 : 1
