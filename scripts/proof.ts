import { Command, Option } from 'commander'
import { MIXTURES } from '../test/chaos/mixtures.ts'
import { positiveNumber, wholeNumber } from './chaos/number-options.ts'
import { leaderKills, proofLines, proofPromises, usageOf } from './proof/proof-lines.ts'
import {
  chaosPortion,
  roundName,
  SEEDS_PER_PORTION,
  seedsName,
  simulatePortion,
} from './proof/proof-portions.ts'
import { findingsOf, ProofState } from './proof/proof-state.ts'
import { writeReport } from './proof/report.ts'

/**
 * `npm run proof`: rounds of the chaos suite, then leaders killed again and again, then simulated clusters, portion by
 * portion. What is over is kept in a file, so that a run that was broken off, or had only some minutes, is taken up
 * again by the next one; what all of them came to is written to docs/reports/DATE.md. Nothing else should run.
 */
interface Flags {
  readonly seed: number
  readonly seeds: number
  readonly rounds: number
  readonly seconds: number
  readonly leaderKills: number
  readonly minutes?: number
  readonly only?: Part
  readonly state: string
  readonly fixed?: string
  readonly how?: string
}

type Part = 'rounds' | 'leaders' | 'simulation'

/** Of one portion in which only leaders are killed. */
const LEADERS_SECONDS = 600
/** Whatever comes of them. */
const LEADERS_PORTIONS_MAX = 60

const flags = new Command('npm run proof --')
  .description(
    'Chaos and simulation at length, with a report; exits with 1 if anything that is promised was broken',
  )
  .option('--seed <n>', 'of the first round and the first simulation', wholeNumber, 1)
  .option('--seeds <n>', 'simulations', wholeNumber, 20_000)
  .option('--rounds <n>', 'of all mixtures of the chaos suite', wholeNumber, 3)
  .option('--seconds <n>', 'of each mixture', positiveNumber, 90)
  .option('--leader-kills <n>', 'in all, after the rounds with nothing but that', wholeNumber, 500)
  .option('--minutes <n>', 'begin nothing more after so long; the next run goes on', positiveNumber)
  .addOption(new Option('--only <part>', 'of these').choices(['rounds', 'leaders', 'simulation']))
  .option('--state <file>', 'what is over, a line each', 'results/proof.jsonl')
  .option('--fixed <name>', 'what this portion (leaders/3, simulation/201) found is mended: run it again')
  .option('--how <text>', 'for the report, with --fixed')
  .parse()
  .opts<Flags>()

const state = new ProofState(flags.state)
if (flags.fixed !== undefined) {
  if (!state.isDone(flags.fixed) || !flags.how)
    throw new Error(`--fixed names a portion of ${flags.state} that is over, and --how tells of the mending`)
  state.add({ kind: 'fix', name: flags.fixed, how: flags.how, at: new Date().toISOString() })
}
const endMs = flags.minutes === undefined ? Number.POSITIVE_INFINITY : flags.minutes * 60_000
for await (const name of portions()) {
  const done = state.portions.find(one => one.name === name)
  const found = done === undefined ? [] : findingsOf(done)
  console.error(
    `${new Date().toISOString()} ${name}: ${found.length === 0 ? 'ok' : `${found.length} FINDINGS`}`,
  )
}
const promised = proofPromises(state, flags)
const text = writeReport(new Date().toISOString().slice(0, 10), {
  title: 'What was tried, and what came of it',
  story:
    'Simulated clusters of whole nodes under a seed each, and clusters of real processes in network namespaces, with file systems of ' +
    'their own, under the faults of the chaos suite ([reliability.md](../reliability.md)); histories of all clients are held to what ' +
    'a log promises. Portion by portion, put together here.',
  lines: proofLines(state),
  promised,
  usage: usageOf(state.portions),
})
console.log(text)
process.exitCode = promised.every(one => one.isKept) ? 0 : 1

/** Runs what is not over yet, and tells the name of each. */
async function* portions(): AsyncIterable<string> {
  const isWanted = (part: Part) => flags.only === undefined || flags.only === part
  const isTime = () => performance.now() < endMs
  const findings = `${flags.state}.findings`
  if (isWanted('rounds'))
    for (let seed = flags.seed; seed < flags.seed + flags.rounds; seed++)
      for (const { name: mixture } of MIXTURES) {
        const name = roundName(mixture, seed)
        if (state.isDone(name) || !isTime()) continue
        await chaosPortion(state, { mixture, seed, seconds: flags.seconds, findings })
        yield name
      }
  if (isWanted('leaders'))
    for (let at = 0; at < LEADERS_PORTIONS_MAX; at++) {
      const seed = flags.seed + flags.rounds + at
      const name = roundName('leaders', seed)
      if (state.isDone(name)) continue
      if (leaderKills(state.rounds) >= flags.leaderKills || !isTime()) break
      await chaosPortion(state, { mixture: 'leaders', seed, seconds: LEADERS_SECONDS, findings })
      yield name
    }
  if (isWanted('simulation'))
    for (let from = flags.seed; from < flags.seed + flags.seeds; from += SEEDS_PER_PORTION) {
      if (state.isDone(seedsName(from)) || !isTime()) continue
      const count = Math.min(SEEDS_PER_PORTION, flags.seed + flags.seeds - from)
      await simulatePortion(state, { from, count })
      yield seedsName(from)
    }
}
