import { appendFile, writeFile } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { SingleBar } from 'cli-progress'
import { Command, InvalidArgumentError, Option } from 'commander'
import { runSeeds, type SeedSummary } from './sim/run-seeds.ts'
import { simulationSection, situationsText } from './sim/sim-report.ts'

/** `npm run sim`: clusters of whole nodes under faults, seed after seed (test/sim/cluster-simulation.ts says what that is). */
/** With fewer, what was not met tells nothing. */
const TOLD_FROM_SEEDS = 100
const ROOT = new URL('..', import.meta.url).pathname

const SIMULATIONS = { never: 'cluster', drawn: 'mixed', always: 'members' } as const

interface Flags {
  readonly seed: number
  readonly seeds?: number
  readonly minutes?: number
  readonly report?: boolean
  readonly results?: string
  readonly trace?: boolean
  readonly twice?: boolean
  readonly groups: 'never' | 'drawn' | 'always'
  readonly length: number
  readonly processes: number
}

const flags = new Command('npm run sim --')
  .description('Simulates clusters of whole nodes under faults; exits with 1 if a seed fails')
  .option('--seed <n>', 'the first seed', whole, 1)
  .option('--seeds <n>', 'how many (default 1; without end if --minutes is given)', positive)
  .option('--minutes <n>', 'begin no seed after so long', share)
  .option('--report', 'write docs/reports/simulation-DATE.md')
  .option('--results <file>', 'append what was counted, as a line of JSON')
  .option('--trace', 'print all that happens')
  .addOption(
    new Option('--groups <when>', 'consumer groups are at work; drawn: in one of four seeds')
      .choices(['never', 'drawn', 'always'])
      .default('drawn'),
  )
  .option('--twice', 'run each seed twice and compare')
  .option('--length <share>', 'of the time in which things go wrong; 1 is the full length', share, 1)
  .option('--processes <n>', 'at work at the same time', positive, availableParallelism())
  .parse()
  .opts<Flags>()

process.exitCode = await simulate(flags)

async function simulate({
  seed,
  trace,
  twice,
  groups,
  length,
  processes,
  minutes,
  ...rest
}: Flags): Promise<number> {
  const seeds = rest.seeds ?? (minutes === undefined ? 1 : Number.MAX_SAFE_INTEGER)
  const bar = new SingleBar({
    format: 'seeds [{bar}] {value}/{total} failed {failed} eta {eta_formatted}',
    stream: process.stderr,
    clearOnComplete: true,
    hideCursor: true,
  })
  const isShown = process.stderr.isTTY && seeds > 1
  if (isShown) bar.start(seeds, 0, { failed: 0 })
  const summary = await runSeeds({
    root: ROOT,
    from: seed,
    seeds,
    minutesMax: minutes,
    processes,
    task: {
      simulation: SIMULATIONS[groups],
      lengthShare: length,
      isTracing: trace === true,
      isTwice: twice === true,
      mutant: undefined,
    },
    onAnswer: (answer, table) => {
      for (const line of answer.trace) console.log(line)
      if (isShown) bar.update(table.seeds, { failed: table.failures.length })
      else if (answer.failure !== undefined)
        console.error(`seed ${answer.seed}: ${answer.failure}\n${answer.stack ?? ''}`)
    },
  })
  bar.stop()
  const { table, seconds } = summary
  console.log(table.toString())
  console.log(
    `${table.seeds} seeds from ${seed} on, ${table.failures.length} failed; ${Math.round(table.simulatedMs / 60_000)} min of simulated time, ` +
      `${table.events} events, in ${seconds.toFixed(1)} s (${(table.seeds / seconds).toFixed(1)} seeds/s)`,
  )
  if (table.seeds >= TOLD_FROM_SEEDS) console.log(situationsText(table))
  if (rest.report) await report(summary)
  if (rest.results) await appendFile(rest.results, `${JSON.stringify({ seconds, ...table.totals() })}\n`)
  if (table.failures.length === 0) return 0
  const flags = [length === 1 ? [] : [`--length ${length}`], groups === 'drawn' ? [] : [`--groups ${groups}`]]
  console.log(table.failuresText(['npm run sim --', ...flags.flat()].join(' ')))
  return 1
}

async function report(summary: SeedSummary): Promise<void> {
  const date = new Date().toISOString().slice(0, 10)
  const path = `docs/reports/simulation-${date}.md`
  await writeFile(join(ROOT, path), `# Simulation of ${date}\n\n${simulationSection(summary)}`)
  console.log(`written: ${path}`)
}

function whole(text: string): number {
  const value = Number(text)
  if (!Number.isSafeInteger(value) || value < 0) throw new InvalidArgumentError('a whole number, 0 or more')
  return value
}

function positive(text: string): number {
  if (whole(text) === 0) throw new InvalidArgumentError('a whole number, 1 or more')
  return Number(text)
}

function share(text: string): number {
  const value = Number(text)
  if (!(value > 0 && value <= 100)) throw new InvalidArgumentError('a number above 0')
  return value
}
