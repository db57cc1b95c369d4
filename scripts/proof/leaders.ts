/**
 * Leaders of partitions are killed, hung and stopped, again and again, under writers and readers whose history is held to
 * what a log promises; each time the longest gap between acknowledgements is measured. Nothing else should run. Writes
 * docs/reports/leaders.md (leaders-heavy.md), and the history to a file if anything is wrong with it.
 *
 *     npm run proof:leaders [-- --kills N --only kill,kill-controller,pause,stop,drain --load light|heavy]
 */
import { writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { verdictText } from '../../test/chaos/checker/report.ts'
import { type LeaderEvent, type LeaderFault, strikeLeader } from '../../test/chaos/faults/leader-faults.ts'
import { LogWorkload } from '../../test/chaos/workload/log-workload.ts'
import { NodeCluster } from '../../test/harness/node-cluster.ts'
import { ProcessorWindow } from '../bench/processor-time.ts'
import { type Promised, percentile, spreadText, writeReport } from './report.ts'

const TOPIC = 'proof'
const PARTITIONS = 6

interface FaultClass {
  readonly title: string
  readonly faults: readonly LeaderFault[]
  /** For the 99th percentile of the gaps: section 1 of the design. */
  readonly gapMsMax: number
}

const CLASSES: readonly FaultClass[] = [
  { title: 'SIGKILL of a leader', faults: ['kill'], gapMsMax: 1_000 },
  { title: 'SIGKILL of a leader that is the controller', faults: ['kill-controller'], gapMsMax: 2_000 },
  { title: 'SIGSTOP of a leader for 10 s', faults: ['pause'], gapMsMax: 4_000 },
  { title: 'SIGTERM, or drain and SIGTERM, of a leader', faults: ['stop', 'drain'], gapMsMax: 200 },
]

const LOADS = {
  light:
    'The light load: two idempotent producers, one awaiting each record of 100 bytes, the other sending 2,000 a second with ' +
    'five batches in flight, both through all partitions in turn; one reader follows.',
  heavy:
    'The heavy load, which fills the machine: two idempotent producers for each partition, one awaiting each record, the ' +
    'other with five batches in flight, as fast as they can; a reader that follows and one that asks, by way of each node.',
} as const

type MeasuredEvent = LeaderEvent & { readonly stealPercent: number; readonly busyPercent: number }

const { values: flags } = parseArgs({
  options: {
    kills: { type: 'string', default: '20' },
    only: { type: 'string' },
    load: { type: 'string', default: 'light' },
  },
})
const kills = Number(flags.kills)
const only = flags.only?.split(',')
const load = flags.load === 'heavy' ? 'heavy' : 'light'
const classes = CLASSES.map(one => ({
  ...one,
  faults: one.faults.filter(fault => only?.includes(fault) ?? true),
})).filter(one => one.faults.length > 0)

const window = new ProcessorWindow()
await using cluster = await NodeCluster.start()
await using client = await cluster.connect()
const admin = client.admin()
await admin.createTopics([
  { name: TOPIC, partitions: PARTITIONS, replicationFactor: 3, settings: { 'min.insync.replicas': '2' } },
])
await using workload = await LogWorkload.start(cluster, { topic: TOPIC, partitions: PARTITIONS, load })

const events: MeasuredEvent[] = []
for (const { faults } of classes)
  for (let round = 0; round < kills; round++) {
    const eventWindow = new ProcessorWindow()
    const event = await strikeLeader(faults[round % faults.length] as LeaderFault, {
      cluster,
      admin,
      workload,
    })
    const { stealPercent, busyPercent } = eventWindow.end()
    events.push({ ...event, stealPercent, busyPercent })
    console.log(eventText(round, { ...event, stealPercent, busyPercent }))
  }
const verdict = await workload.finish()
const usage = window.end()

const findings = verdictText(verdict)
if (verdict.validity !== 'valid') {
  const file = join(tmpdir(), `naru-proof-leaders-${process.pid}.jsonl`)
  writeFileSync(file, workload.history.text())
  console.error(`the history is in ${file}`)
}
const text = writeReport(load === 'light' ? 'leaders' : 'leaders-heavy', {
  title: 'Leaders killed, hung and stopped',
  story:
    `Three nodes, a process each; a topic of ${PARTITIONS} partitions, replication factor 3, \`min.insync.replicas\` 2. ` +
    `${LOADS[load]} Each fault begins and ends with every replica in sync. The gap is the longest time between two ` +
    'acknowledgements to a producer that awaits each record, of those whose partitions the node led.',
  lines: [
    ...classes.flatMap(classLines),
    '',
    ...findings.split('\n').map(line => `    ${line}`),
    ...workload.readerFailures.map(error => `- A reader gave up: ${error.message}`),
  ],
  promised: [
    {
      what: 'no anomaly in the history of all clients',
      measured: `${verdict.validity}, ${verdict.sends.ok} sends acknowledged`,
      isKept: verdict.validity === 'valid',
    },
    {
      what: 'no reader gives up',
      measured: `${workload.readerFailures.length} did`,
      isKept: workload.readerFailures.length === 0,
    },
    ...classes.flatMap(classPromises),
  ],
  usage,
})
console.log(`\n${text}`)
process.exitCode = verdict.validity === 'valid' && workload.readerFailures.length === 0 ? 0 : 1

function classLines({ title, faults }: FaultClass): string[] {
  const own = events.filter(one => faults.includes(one.fault))
  const steal = own.map(one => one.stealPercent)
  return [
    `- ${title}, ${own.length} times: ${spreadText(own.map(one => one.gapMs))}; at the node's return ` +
      `${spreadText(own.map(one => one.returnGapMs))}; in sync again after ${spreadText(own.map(one => one.healedMs))}; ` +
      `steal at most ${Math.max(...steal).toFixed(1)} %.`,
  ]
}

function classPromises({ title, faults, gapMsMax }: FaultClass): Promised[] {
  const own = events.filter(one => faults.includes(one.fault))
  const p99 = percentile(
    own.map(one => one.gapMs),
    99,
  )
  const failures = own.reduce((sum, one) => sum + one.failures, 0)
  const gap = {
    what: `${title}: writes go on within ${gapMsMax} ms (p99)`,
    measured: `${p99.toFixed(0)} ms`,
    isKept: p99 <= gapMsMax,
  }
  const errors = { what: `${title}: no send fails`, measured: `${failures} failed`, isKept: failures === 0 }
  return [gap, errors]
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
