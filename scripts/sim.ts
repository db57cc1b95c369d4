import { availableParallelism } from 'node:os'
import { SingleBar } from 'cli-progress'
import { Command, InvalidArgumentError } from 'commander'
import { SeedPool } from './sim/seed-pool.ts'
import { SeedTable } from './sim/seed-table.ts'

/** `npm run sim`: clusters of whole nodes under faults, seed after seed (test/sim/cluster-simulation.ts says what that is). */
const ROOT = new URL('..', import.meta.url).pathname

interface Flags {
  readonly seed: number
  readonly seeds: number
  readonly trace?: boolean
  readonly twice?: boolean
  readonly length: number
  readonly processes: number
}

const flags = new Command('npm run sim --')
  .description('Simulates clusters of whole nodes under faults; exits with 1 if a seed fails')
  .option('--seed <n>', 'the first seed', whole, 1)
  .option('--seeds <n>', 'how many', positive, 1)
  .option('--trace', 'print all that happens')
  .option('--twice', 'run each seed twice and compare')
  .option('--length <share>', 'of the time in which things go wrong; 1 is the full length', share, 1)
  .option('--processes <n>', 'at work at the same time', positive, availableParallelism())
  .parse()
  .opts<Flags>()

process.exitCode = await simulate(flags)

async function simulate({ seed, seeds, trace, twice, length, processes }: Flags): Promise<number> {
  const table = new SeedTable()
  const bar = new SingleBar({
    format: 'seeds [{bar}] {value}/{total} failed {failed} eta {eta_formatted}',
    stream: process.stderr,
    clearOnComplete: true,
    hideCursor: true,
  })
  const isShown = process.stderr.isTTY && seeds > 1
  if (isShown) bar.start(seeds, 0, { failed: 0 })
  const startedMs = performance.now()
  const task = { lengthShare: length, isTracing: trace === true, isTwice: twice === true, mutant: undefined }
  const pool = new SeedPool(
    {
      root: ROOT,
      processes,
      task,
      onAnswer: answer => {
        table.add(answer)
        for (const line of answer.trace) console.log(line)
        if (isShown) bar.update(table.seeds, { failed: table.failures.length })
        else if (answer.failure !== undefined)
          console.error(`seed ${answer.seed}: ${answer.failure}\n${answer.stack ?? ''}`)
      },
    },
    { from: seed, count: seeds },
  )
  await pool.run()
  bar.stop()
  const seconds = (performance.now() - startedMs) / 1000
  console.log(table.toString())
  console.log(
    `${table.seeds} seeds from ${seed} on, ${table.failures.length} failed; ${Math.round(table.simulatedMs / 60_000)} min of simulated time, ` +
      `${table.events} events, in ${seconds.toFixed(1)} s (${(table.seeds / seconds).toFixed(1)} seeds/s)`,
  )
  if (table.failures.length === 0) return 0
  const again = length === 1 ? 'npm run sim --' : `npm run sim -- --length ${length}`
  console.log(table.failuresText(again))
  return 1
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
