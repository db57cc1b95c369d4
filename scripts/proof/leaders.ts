/**
 * Leaders of partitions are killed, hung and stopped, again and again, under writers and readers whose history is held to
 * what a log promises; each time the longest gap between acknowledgements is measured, if wished beside Kafka's. Nothing
 * else should run. Writes docs/reports/leaders.md (leaders-heavy.md), and the history to a file if anything is wrong with it.
 *
 *     npm run proof:leaders [-- --kills N --only kill,kill-controller,pause,stop,drain --load light|heavy
 *                               --with-kafka DIR --kafka-kills N]
 *
 * DIR: as for `npm run bench`, a folder whose `kafka/lib.sh` starts and stops Kafka.
 */
import { existsSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import type { Verdict } from '../../test/chaos/checker/check-history.ts'
import { verdictText } from '../../test/chaos/checker/report.ts'
import { type LeaderEvent, type LeaderFault, strikeLeader } from '../../test/chaos/faults/leader-faults.ts'
import { LogWorkload } from '../../test/chaos/workload/log-workload.ts'
import { NodeCluster } from '../../test/harness/node-cluster.ts'
import { ProcessorWindow } from '../bench/processor-time.ts'
import { KafkaFailover, type KafkaFault, type KafkaTrial } from './kafka-failover.ts'
import { type Promised, percentile, spreadText, writeReport } from './report.ts'

const TOPIC = 'proof'
const PARTITIONS = 6

interface FaultClass {
  readonly title: string
  readonly faults: readonly LeaderFault[]
  /** The same of Kafka. */
  readonly kafka?: KafkaFault
  /** For the 99th percentile of the gaps: section 1 of the design. */
  readonly gapMsMax: number
}

const CLASSES: readonly FaultClass[] = [
  { title: 'SIGKILL of a leader', faults: ['kill'], kafka: 'hard', gapMsMax: 1_000 },
  {
    title: 'SIGKILL of a leader that is the controller',
    faults: ['kill-controller'],
    kafka: 'both',
    gapMsMax: 2_000,
  },
  { title: 'SIGSTOP of a leader for 10 s', faults: ['pause'], gapMsMax: 4_000 },
  {
    title: 'SIGTERM, or drain and SIGTERM, of a leader',
    faults: ['stop', 'drain'],
    kafka: 'term',
    gapMsMax: 200,
  },
]

const LOADS = {
  light:
    'The light load: two idempotent producers, one awaiting each record of 100 bytes, the other sending 2,000 a second with ' +
    'five batches in flight, both through all partitions in turn; one reader follows.',
  heavy:
    'The heavy load, which fills the machine: two idempotent producers for each partition, one awaiting each record, the ' +
    'other with five batches in flight, as fast as they can; a reader that follows and one that asks, by way of each node.',
} as const

const { values: flags } = parseArgs({
  options: {
    kills: { type: 'string', default: '20' },
    only: { type: 'string' },
    load: { type: 'string', default: 'light' },
    'with-kafka': { type: 'string' },
    'kafka-kills': { type: 'string', default: '5' },
  },
})
const kills = Number(flags.kills)
const kafkaKills = Number(flags['kafka-kills'])
const anchors = flags['with-kafka'] === undefined ? undefined : resolve(flags['with-kafka'])
if (anchors !== undefined && !existsSync(join(anchors, 'kafka/lib.sh')))
  throw new Error(`${anchors} has no kafka/lib.sh: --with-kafka takes the folder above it`)
const only = flags.only?.split(',')
const load = flags.load === 'heavy' ? 'heavy' : 'light'
const classes = CLASSES.map(one => ({
  ...one,
  faults: one.faults.filter(fault => only?.includes(fault) ?? true),
})).filter(one => one.faults.length > 0)

const window = new ProcessorWindow()
const struck: Struck[] = []
for (const one of classes) {
  const naru = await strikeNaru(one)
  const trials = anchors === undefined || one.kafka === undefined ? [] : await strikeKafka(anchors, one.kafka)
  struck.push({ ...one, ...naru, trials })
}
const isValid = struck.every(one => one.verdict.validity === 'valid' && one.readerFailures.length === 0)
const text = writeReport(load === 'light' ? 'leaders' : 'leaders-heavy', {
  title: 'Leaders killed, hung and stopped',
  story:
    `Three nodes, a process each; a topic of ${PARTITIONS} partitions, replication factor 3, \`min.insync.replicas\` 2. ` +
    `${LOADS[load]} Each fault begins and ends with every replica in sync. The gap is the longest time between two ` +
    'acknowledgements to a producer that awaits each record, of those whose partitions the node led.',
  lines: struck.flatMap(linesOf),
  promised: struck.flatMap(promisesOf),
  usage: window.end(),
})
console.log(`\n${text}`)
process.exitCode = isValid ? 0 : 1

interface MeasuredEvent extends LeaderEvent {
  readonly stealPercent: number
  readonly busyPercent: number
}

interface Struck extends FaultClass {
  readonly events: readonly MeasuredEvent[]
  readonly verdict: Verdict
  readonly readerFailures: readonly Error[]
  readonly trials: readonly KafkaTrial[]
}

/** One kind of fault, on a cluster of its own. */
async function strikeNaru({
  faults,
}: FaultClass): Promise<Pick<Struck, 'events' | 'verdict' | 'readerFailures'>> {
  await using cluster = await NodeCluster.start()
  await using client = await cluster.connect()
  const admin = client.admin()
  const settings = { 'min.insync.replicas': '2' }
  await admin.createTopics([{ name: TOPIC, partitions: PARTITIONS, replicationFactor: 3, settings }])
  await using workload = await LogWorkload.start(cluster, { topic: TOPIC, partitions: PARTITIONS, load })
  const events: MeasuredEvent[] = []
  for (let round = 0; round < kills; round++) {
    const eventWindow = new ProcessorWindow()
    const fault = faults[round % faults.length] as LeaderFault
    const event = await strikeLeader(fault, { cluster, admin, workload })
    const { stealPercent, busyPercent } = eventWindow.end()
    events.push({ ...event, stealPercent, busyPercent })
    console.log(eventText(round, { ...event, stealPercent, busyPercent }))
  }
  const verdict = await workload.finish()
  if (verdict.validity !== 'valid') {
    const file = join(tmpdir(), `naru-proof-leaders-${faults.join('-')}-${process.pid}.jsonl`)
    writeFileSync(file, workload.history.text())
    console.error(`the history is in ${file}`)
  }
  return { events, verdict, readerFailures: workload.readerFailures }
}

async function strikeKafka(directory: string, fault: KafkaFault): Promise<KafkaTrial[]> {
  await using kafka = await KafkaFailover.start(directory)
  const trials: KafkaTrial[] = []
  for (let round = 0; round < kafkaKills; round++) {
    const trial = await kafka.strike(fault)
    trials.push(trial)
    console.log(
      `Kafka, ${fault} ${round + 1}: gap ${trial.gapMs} ms, ${trial.failedSends} sends failed, ${trial.lost} lost`,
    )
  }
  return trials
}

function linesOf({ title, events, verdict, readerFailures, trials }: Struck): string[] {
  const most = (values: readonly number[]) => Math.max(...values)
  const findings = verdictText(verdict).split('\n')
  return [
    `- ${title}, ${events.length} times: ${spreadText(events.map(one => one.gapMs))}; at the node's return ` +
      `${spreadText(events.map(one => one.returnGapMs))}; in sync again after ${spreadText(events.map(one => one.healedMs))}; ` +
      `the machine ${percentile(
        events.map(one => one.busyPercent),
        50,
      ).toFixed(0)} % busy, steal at most ${most(events.map(one => one.stealPercent)).toFixed(1)} %.`,
    ...kafkaLines(events, trials),
    '',
    ...findings.map(line => `      ${line}`),
    ...readerFailures.map(error => `- A reader gave up: ${error.message}`),
    '',
  ]
}

function kafkaLines(events: readonly MeasuredEvent[], trials: readonly KafkaTrial[]): string[] {
  if (trials.length === 0) return []
  const gaps = trials.map(one => one.gapMs)
  const ratio =
    percentile(gaps, 50) /
    percentile(
      events.map(one => one.gapMs),
      50,
    )
  const failed = trials.reduce((sum, one) => sum + one.failedSends, 0)
  return [
    `  - Kafka beside it, ${trials.length} times: ${spreadText(gaps)}, ${failed} sends failed. Its p50 is **${ratio.toFixed(1)} times** Naru's. ` +
      'Its load is the easier one: one program that sends to one partition, awaiting each record, and no reader.',
  ]
}

function promisesOf({ title, gapMsMax, events, verdict, readerFailures }: Struck): Promised[] {
  const p99 = percentile(
    events.map(one => one.gapMs),
    99,
  )
  const failures = events.reduce((sum, one) => sum + one.failures, 0)
  return [
    {
      what: `${title}: writes go on within ${gapMsMax} ms (p99)`,
      measured: `${p99.toFixed(0)} ms`,
      isKept: p99 <= gapMsMax,
    },
    { what: `${title}: no send fails`, measured: `${failures} failed`, isKept: failures === 0 },
    {
      what: `${title}: no anomaly in the history, no reader gives up`,
      measured: `${verdict.validity}, ${verdict.sends.ok} sends acknowledged, ${readerFailures.length} gave up`,
      isKept: verdict.validity === 'valid' && readerFailures.length === 0,
    },
  ]
}

function eventText(round: number, event: MeasuredEvent): string {
  const { fault, nodeId, partitions, gapMs, returnGapMs, healedMs, failures, stealPercent, busyPercent } =
    event
  return (
    `${fault} ${round + 1}: node ${nodeId} with ${partitions} partitions, gap ${gapMs.toFixed(0)} ms, ` +
    `at its return ${returnGapMs.toFixed(0)} ms, in sync after ${healedMs.toFixed(0)} ms, ${failures} sends failed, ` +
    `${busyPercent.toFixed(0)} % busy, ${stealPercent.toFixed(1)} % steal`
  )
}
