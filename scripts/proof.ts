import { spawnSync } from 'node:child_process'
import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Command } from 'commander'
import { REPOSITORY } from './bench/child-processes.ts'
import { ProcessorWindow } from './bench/processor-time.ts'
import { ChaosRounds } from './chaos/chaos-rounds.ts'
import { chaosTable } from './chaos/chaos-table.ts'
import { positiveNumber, wholeNumber } from './chaos/number-options.ts'
import { proofLines, proofPromises } from './proof/proof-lines.ts'
import { writeReport } from './proof/report.ts'

/**
 * `npm run proof`: simulated clusters, then real ones, then leaders killed again and again; what was tried and what came of
 * it is written to docs/reports/DATE.md. Nothing else should run.
 */
interface Flags {
  readonly seed: number
  readonly seeds: number
  readonly rounds: number
  readonly seconds: number
  readonly leaderMinutes: number
}

const flags = new Command('npm run proof --')
  .description('Simulation and chaos, with a report; exits with 1 if anything that is promised was broken')
  .option('--seed <n>', 'of the first simulation and the first round', wholeNumber, 1)
  .option('--seeds <n>', 'simulations', wholeNumber, 20_000)
  .option('--rounds <n>', 'of all mixtures of the chaos suite', wholeNumber, 3)
  .option('--seconds <n>', 'of each mixture', positiveNumber, 90)
  .option('--leader-minutes <n>', 'in which leaders only are killed', positiveNumber, 70)
  .parse()
  .opts<Flags>()

const window = new ProcessorWindow()
const findingsDirectory = mkdtempSync(join(tmpdir(), 'naru-findings-'))
const { seed, seeds, rounds, seconds, leaderMinutes } = flags

const simulation = spawnSync(
  process.execPath,
  ['--import', 'tsx', 'scripts/sim.ts', '--seed', String(seed), '--seeds', String(seeds)],
  { cwd: REPOSITORY, encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'], maxBuffer: 2 ** 28 },
)
console.log(simulation.stdout)
const all = new ChaosRounds({ seed, rounds, seconds, findingsDirectory })
const results = await all.run()
const leaders = new ChaosRounds({
  seed: seed + rounds,
  rounds: 0,
  minutes: leaderMinutes,
  seconds: 600,
  only: ['leaders'],
  findingsDirectory,
})
results.push(...(await leaders.run()))

const isSimulationKept = simulation.status === 0
const usage = window.end()
const date = new Date().toISOString().slice(0, 10)
const promised = proofPromises(results, { isSimulationKept, seeds })
const text = writeReport(date, {
  title: `What was tried on ${date}`,
  story:
    'Simulated clusters of whole nodes under a seed each, then clusters of real processes in network namespaces, with file systems of ' +
    'their own, under the faults of the chaos suite ([reliability.md](../reliability.md)); histories of all clients are held to what ' +
    'a log promises.',
  lines: [
    '## Simulation',
    '',
    ...simulation.stdout
      .trimEnd()
      .split('\n')
      .map(line => `    ${line}`),
    '',
    '## Chaos',
    '',
    ...chaosTable(results)
      .split('\n')
      .map(line => `    ${line}`),
    '',
    ...proofLines(results, [...all.leftOut]),
  ],
  promised,
  usage,
})
console.log(text)
process.exitCode = promised.every(one => one.isKept) ? 0 : 1
