import { resolve } from 'node:path'
import { Command, InvalidArgumentError } from 'commander'

export const SCENARIOS = ['throughput', 'latency', 'startup', 'partitions'] as const
export type Scenario = (typeof SCENARIOS)[number]

export interface BenchOptions {
  readonly scenarios: readonly Scenario[]
  /** Length of a window. */
  readonly seconds: number
  readonly repeats: number
  /** Only shows that everything runs. */
  readonly quick: boolean
  /** Folder of the anchor scripts; undefined: without Kafka. */
  readonly anchors: string | undefined
  readonly profile: boolean
  /** How large the log is that a killed node comes back with. */
  readonly recoveryBytes: number
  /** Data goes below it; undefined: the system's temporary folder. */
  readonly scratch: string | undefined
  readonly results: string
}

export function parseOptions(words: readonly string[]): BenchOptions {
  const command = new Command('npm run bench --')
    .description('Measures one node with its own tools, and Kafka beside it if asked (docs/performance.md)')
    .option('--seconds <n>', 'length of a window (default: 16; quick: 2)', positive)
    .option('--repeats <n>', 'windows of a series (default: 3; quick: 1)', positive)
    .option('--quick', 'a few seconds each: shows that everything runs, the figures mean nothing')
    .option('--only <scenarios>', `some of ${SCENARIOS.join(',')}`, scenarioList)
    .option('--with-kafka [dir]', 'anchor scripts to start and load Kafka with (default: ANCHORS_DIR)')
    .option(
      '--profile',
      'profiles of node and producer, and their 15 most expensive functions, instead of figures',
    )
    .option(
      '--recovery-mb <n>',
      'log that a killed node comes back with (default: 1000; quick: 50)',
      positive,
    )
    .option('--scratch <dir>', 'where the data goes: a real disk, not memory (default: the temporary folder)')
    .option('--results <dir>', 'where the tables go', 'results')
    .parse([...words], { from: 'user' })
  const flags = command.opts<Flags>()
  const quick = flags.quick === true
  const anchors = flags.withKafka === true ? process.env['ANCHORS_DIR'] : flags.withKafka
  if (flags.withKafka === true && !anchors)
    command.error('error: --with-kafka needs a folder, or ANCHORS_DIR')
  return {
    scenarios: flags.only ?? SCENARIOS,
    seconds: flags.seconds ?? (quick ? 2 : 16),
    repeats: flags.repeats ?? (quick ? 1 : 3),
    quick,
    anchors: typeof anchors === 'string' ? resolve(anchors) : undefined,
    profile: flags.profile === true,
    recoveryBytes: (flags.recoveryMb ?? (quick ? 50 : 1000)) * 1e6,
    scratch: flags.scratch && resolve(flags.scratch),
    results: resolve(flags.results),
  }
}

interface Flags {
  readonly seconds?: number
  readonly repeats?: number
  readonly quick?: boolean
  readonly only?: Scenario[]
  readonly withKafka?: string | true
  readonly profile?: boolean
  readonly recoveryMb?: number
  readonly scratch?: string
  readonly results: string
}

function positive(text: string): number {
  const value = Number(text)
  if (Number.isInteger(value) && value > 0) return value
  throw new InvalidArgumentError('It must be a whole number from 1 on.')
}

function scenarioList(text: string): Scenario[] {
  return text.split(',').map(name => {
    const scenario = SCENARIOS.find(one => one === name)
    if (!scenario) throw new InvalidArgumentError(`There is: ${SCENARIOS.join(', ')}.`)
    return scenario
  })
}
