/**
 * Members of a group are closed, killed, hung and added, and nodes that coordinate or lead are killed, again and again
 * while records flow; what members were given is held to what a group promises. Nothing else should run. Writes
 * docs/reports/groups.md.
 *
 *     npm run proof:groups [-- --faults N --rate RECORDS_PER_SECOND --with-kafka DIR]
 *
 * DIR: as for `npm run bench`, a folder whose `kafka/w7.sh` does the like of Kafka, with both of its protocols.
 */
import { existsSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import type { Gaps } from '../../test/chaos/groups/group-flow.ts'
import { GroupWorkload } from '../../test/chaos/groups/group-workload.ts'
import type { MemberProcess } from '../../test/chaos/groups/member-process.ts'
import { NodeCluster, until } from '../../test/harness/node-cluster.ts'
import { ProcessorWindow } from '../bench/processor-time.ts'
import { DiskPulse } from './disk-pulse.ts'
import { type KafkaDeparture, type KafkaProtocol, kafkaDepartures } from './kafka-groups.ts'
import { percentile, spreadText, writeReport } from './report.ts'

const PARTITIONS = 12
const MEMBERS = 6
/** Longer than a session. */
const PAUSE_MS = 12_000
/** What moves has moved, and the others have gone on, by then. */
const QUIET_MS = 1_500

type Fault = 'close' | 'kill' | 'pause' | 'kill-coordinator' | 'kill-leader'
/** Faults of members more often than faults of nodes, as in life. */
const FAULTS: readonly Fault[] = [
  'close',
  'kill',
  'close',
  'kill-coordinator',
  'kill',
  'close',
  'pause',
  'kill',
  'close',
  'kill-leader',
]

interface Struck {
  readonly fault: Fault
  /** From the signal until others had been given all that the member had. */
  readonly handoverMs?: number
  /** In the partitions that did not move. */
  readonly rest: Gaps
  /** Of a file beside the nodes' meanwhile. */
  readonly longestSyncMs: number
}

const { values: flags } = parseArgs({
  options: {
    faults: { type: 'string', default: '50' },
    rate: { type: 'string', default: '1000' },
    'with-kafka': { type: 'string' },
  },
})
const anchors = flags['with-kafka'] === undefined ? undefined : resolve(flags['with-kafka'])
if (anchors !== undefined && !existsSync(join(anchors, 'kafka/w7.sh')))
  throw new Error(`${anchors} has no kafka/w7.sh: --with-kafka takes the folder above it`)
const rate = Number(flags.rate)
const window = new ProcessorWindow()
const beside = anchors === undefined ? [] : await kafkaDepartures(anchors)
await using cluster = await NodeCluster.start()
await using client = await cluster.connect()
await using disk = await DiskPulse.start()
const admin = client.admin()
await admin.createTopics([{ name: 'work', partitions: PARTITIONS, replicationFactor: 3 }])
const group = 'workers'
await using workload = await GroupWorkload.start({
  cluster,
  client,
  topic: 'work',
  group,
  partitions: PARTITIONS,
  recordsPerSecond: rate,
})
for (let i = 0; i < MEMBERS; i++) workload.add()
await settled()

const struck: Struck[] = []
for (let round = 0; round < Number(flags.faults); round++) {
  const fault = FAULTS[round % FAULTS.length] as Fault
  const one = fault.startsWith('kill-') ? await strikeNode(fault) : await strikeMember(fault)
  struck.push(one)
  const handover =
    one.handoverMs === undefined ? '' : `, others had it all after ${one.handoverMs.toFixed(0)} ms`
  console.log(
    `${round + 1}: ${fault}${handover}; longest pause elsewhere ${longest(one.rest.givenMs).toFixed(0)} ms, ` +
      `of acknowledgements ${longest(one.rest.acknowledgedMs).toFixed(0)} ms, of the disk ${one.longestSyncMs.toFixed(0)} ms`,
  )
}
const verdict = await workload.finish()
const handovers = (fault: Fault) =>
  struck.flatMap(one => (one.fault === fault && one.handoverMs !== undefined ? one.handoverMs : []))
const closeMs = percentile(handovers('close'), 99)
const killMs = percentile(handovers('kill'), 99)
const closes = struck.filter(({ fault }) => fault === 'close')
const restMs = percentile(
  closes.flatMap(one => one.rest.givenMs),
  99,
)
const acknowledgedMs = percentile(
  closes.flatMap(one => one.rest.acknowledgedMs),
  99,
)
const text = writeReport('groups', {
  title: 'Members of a group closed, killed and hung',
  story:
    `Three nodes, a process each; a topic of ${PARTITIONS} partitions, replication factor 3, into which ${rate} records a second flow; ` +
    `${MEMBERS} members, a process each; one more stands by, so that what is measured is how it joins, not how its program is loaded. ${struck.length} faults: a member is closed (SIGTERM), killed (SIGKILL) or hung for ` +
    `${PAUSE_MS / 1000} s (SIGSTOP), and another one joins; or the node that coordinates the group, or one that leads partitions, is killed ` +
    'and started again. Times are from the signal until other members had been given all that the member had.',
  lines: [
    `- SIGTERM of a member, ${handovers('close').length} times: ${spreadText(handovers('close'))}.`,
    `- SIGKILL of a member, ${handovers('kill').length} times: ${spreadText(handovers('kill'))}.`,
    `- SIGSTOP of a member, ${handovers('pause').length} times: ${spreadText(handovers('pause'))}.`,
    `- Partitions that did not move while a member left and another one joined: the longest pause between two records, each time: ` +
      `${spreadText(closes.map(one => longest(one.rest.givenMs)))}; between two acknowledgements to the producer in the same ` +
      `partitions and times: ${spreadText(closes.map(one => longest(one.rest.acknowledgedMs)))}, of all such gaps p99 ` +
      `${acknowledgedMs.toFixed(0)} ms; a sync of another file on the same disk meanwhile: ` +
      `${spreadText(closes.map(one => one.longestSyncMs))}.`,
    ...(['consumer', 'classic'] as const).flatMap(protocol => kafkaLines(protocol)),
    `- ${verdict.recordCount} records were given out, ${verdict.repeatedCount} of them a second time.`,
    `- Sends that failed: ${workload.sendFailures.length}.`,
    ...verdict.findings.map(finding => `- WRONG: ${finding}`),
  ],
  promised: [
    {
      what: 'every record at least once, per partition in order, to one owner at a time',
      measured: verdict.findings.length === 0 ? 'so it was' : `${verdict.findings.length} findings`,
      isKept: verdict.findings.length === 0,
    },
    {
      what: 'close() until others have it all: 200 ms (p99)',
      measured: `${closeMs.toFixed(0)} ms`,
      isKept: closeMs <= 200,
    },
    {
      what: 'kill -9 until others have it all: 4 s (p99)',
      measured: `${killMs.toFixed(0)} ms`,
      isKept: killMs <= 4_000,
    },
    {
      what: 'partitions that do not move pause for 100 ms at most (p99)',
      measured: `${restMs.toFixed(0)} ms`,
      isKept: restMs <= 100,
    },
  ],
  usage: window.end(),
})
console.log(`\n${text}`)
process.exitCode = verdict.findings.length === 0 ? 0 : 1

async function settled(): Promise<void> {
  await workload.untilShared()
  await until(
    async () => {
      const { state, members } = await client.groups().describe(group)
      return (state === 'stable' && members.length === MEMBERS) || undefined
    },
    { timeoutMs: 60_000 },
  )
}

async function strikeMember(fault: Fault): Promise<Struck> {
  await workload.prepare()
  await settled()
  const running = workload.members.filter(({ isRunning }) => isRunning)
  const member = running[struck.length % running.length] as MemberProcess
  const partitions = workload.partitionsOf(member)
  const atMs = performance.now()
  if (fault === 'close') await member.close()
  else if (fault === 'kill') await member.kill()
  else member.pause()
  const handoverMs = await workload.handedOver(partitions, { member: member.name, atMs })
  if (fault === 'pause') {
    await rest(atMs + PAUSE_MS - performance.now())
    member.resume()
  } else workload.add()
  await rest(QUIET_MS)
  return { fault, handoverMs, ...whatRested(atMs) }
}

async function strikeNode(fault: Fault): Promise<Struck> {
  await settled()
  const atMs = performance.now()
  const nodeId =
    fault === 'kill-coordinator' ? (await client.groups().describe(group)).coordinator : await aLeader()
  await cluster.node(nodeId).kill()
  await rest(QUIET_MS)
  await cluster.node(nodeId).start()
  await until(
    async () => {
      const topics = await admin.describeTopics(['work', '__groups'])
      return (
        topics.every(topic =>
          topic.partitions.every(({ isr, replicas }) => isr.length === replicas.length),
        ) || undefined
      )
    },
    { timeoutMs: 60_000 },
  )
  return { fault, ...whatRested(atMs) }
}

function whatRested(sinceMs: number): Pick<Struck, 'rest' | 'longestSyncMs'> {
  return { rest: workload.flow.gapsOfUnmoved(sinceMs), longestSyncMs: disk.longestSince(sinceMs) }
}

async function aLeader(): Promise<number> {
  const [topic] = await admin.describeTopics(['work'])
  return topic?.partitions[struck.length % PARTITIONS]?.leader ?? 1
}

function longest(values: readonly number[]): number {
  return percentile(values, 100)
}

function kafkaLines(protocol: KafkaProtocol): string[] {
  const all = beside.filter(one => one.protocol === protocol)
  if (all.length === 0) return []
  const own = all.flatMap(({ kind, taken }) => (taken ? { kind, ...taken } : []))
  const takeovers = (kind: KafkaDeparture['kind']) => {
    const times = own.flatMap(one => (one.kind === kind ? one.takeoverMs : []))
    return `${times.length} times${times.length > 0 ? `: ${spreadText(times)}` : ''}`
  }
  const unsettled = all.length - own.length
  return [
    `- Kafka beside it, \`group.protocol=${protocol}\`, three members that poll every 100 ms: close() ${takeovers('close')}; ` +
      `SIGKILL ${takeovers('kill')}; the longest pause in partitions that did not move, each time: ` +
      `${spreadText(own.map(one => one.longestPauseMs))}. It had not settled within two minutes, and was not measured, ${unsettled} times.`,
  ]
}

function rest(ms: number): Promise<void> {
  return new Promise(resolve => setTimeout(resolve, Math.max(0, ms)))
}
