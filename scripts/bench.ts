import { copyFile, mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { BenchRun } from './bench/bench-run.ts'
import { isInMemory, machineFacts } from './bench/machine-facts.ts'
import { type BenchOptions, parseOptions, type Scenario } from './bench/options.ts'
import { reportText } from './bench/report.ts'
import { summarise } from './bench/samples.ts'
import { latency } from './bench/scenarios/latency.ts'
import { partitions } from './bench/scenarios/partitions.ts'
import { profile } from './bench/scenarios/profile.ts'
import { startup } from './bench/scenarios/startup.ts'
import { throughput } from './bench/scenarios/throughput.ts'
import { judgeTargets } from './bench/targets.ts'

/** `npm run bench`: docs/performance.md says what is measured, and how far to trust it. */
const SCENARIO_RUNS: Readonly<Record<Scenario, (run: BenchRun) => Promise<void>>> = {
  throughput,
  latency,
  startup,
  partitions,
}

await bench(parseOptions(process.argv.slice(2)))

async function bench(options: BenchOptions): Promise<void> {
  const scratch = await mkdtemp(join(options.scratch ?? tmpdir(), 'naru-bench-'))
  await mkdir(options.results, { recursive: true })
  const facts = machineFacts({ scratch, withJava: options.anchors !== undefined })
  if (isInMemory(facts))
    console.warn(`bench: ${scratch} is in memory, where a sync costs nothing: name a disk with --scratch`)
  const run = new BenchRun(options, scratch)
  const stamp = facts.at.replaceAll(/[:.]/g, '-')
  try {
    if (options.profile) {
      const directory = join(options.results, `profile-${stamp}`)
      const text = await profile(run, directory)
      await writeFile(join(directory, 'top.md'), text)
      console.log(`\n${text}\n${directory}`)
      return
    }
    for (const scenario of options.scenarios) await SCENARIO_RUNS[scenario](run)
  } catch (thrown) {
    await keepLogs(scratch, join(options.results, `failed-${stamp}`))
    throw thrown
  } finally {
    await rm(scratch, { recursive: true, force: true })
    await writeReport(run, { facts, file: join(options.results, `bench-${stamp}`) })
  }
}

/** A run that broke off may be the fault of a node: what its log said must outlive the scratch folder. */
async function keepLogs(scratch: string, directory: string): Promise<void> {
  const logs = (await readdir(scratch)).filter(name => name.endsWith('.log'))
  await mkdir(directory, { recursive: true })
  for (const name of logs) await copyFile(join(scratch, name), join(directory, name))
  console.error(`bench: it broke off; the logs of the nodes are in ${directory}`)
}

/** Also of a run that broke off: what was measured until then is still true. */
async function writeReport(
  run: BenchRun,
  place: { facts: ReturnType<typeof machineFacts>; file: string },
): Promise<void> {
  if (run.samples.length === 0) return
  const { options, samples } = run
  const summaries = summarise(samples)
  // Windows of two seconds find a JVM cold: a verdict on them would be false.
  const targets = options.quick ? [] : judgeTargets(summaries)
  const settings =
    `One node, its defaults (synced before each acknowledgement), one producer or reader process, 6 partitions; ` +
    `windows of ${options.seconds} s, ${options.repeats} of each${options.quick ? '; QUICK: the figures mean nothing' : ''}.`
  const text = reportText({ facts: place.facts, settings, summaries, targets })
  await writeFile(`${place.file}.md`, text)
  const data = { facts: place.facts, options, samples, summaries, targets }
  await writeFile(`${place.file}.json`, `${JSON.stringify(data, undefined, 2)}\n`)
  console.log(`\n${text}\n${place.file}.md`)
}
