/**
 * A follower comes back to a gigabyte that it has missed, while producers go on: what does it cost them, and how long until it
 * is in sync again? Three nodes; the same paced load is measured before, with all in sync, and from the start of the
 * node until all partitions count it as in sync. Nothing else should run. Writes docs/reports/catch-up.md.
 *
 *     npm run proof:catch-up [-- MIB]
 */
import { randomBytes } from 'node:crypto'
import { NodeCluster, until } from '../../test/harness/node-cluster.ts'
import { ProcessorWindow } from '../bench/processor-time.ts'
import { percentile, spreadText, writeReport } from './report.ts'

const MISSED_MIB_DEFAULT = 1_024
const TOPIC = 'catch-up'
const PARTITIONS = 6
/** Of the measured load, all partitions together. */
const RECORDS_PER_SECOND = 2_000
const RECORD_BYTES = 1_000
const PACE_MS = 5
/** Of what is missed; sent this many at a time. */
const MISSED_RECORD_BYTES = 64 * 1024
const MISSED_RECORDS_AT_A_TIME = 256
const WARM_UP_MS = 5_000
const BEFORE_MS = 20_000
const CATCH_UP_TIMEOUT_MS = 120_000
const P99_FACTOR_MAX = 2

type Client = Awaited<ReturnType<NodeCluster['connect']>>
type Admin = ReturnType<Client['admin']>

const missedMib = Number(process.argv[2] ?? MISSED_MIB_DEFAULT)
const window = new ProcessorWindow()
await using cluster = await NodeCluster.start()
await using client = await cluster.connect()
const admin = client.admin()
const settings = { 'min.insync.replicas': '2' }
await admin.createTopics([{ name: TOPIC, partitions: PARTITIONS, replicationFactor: 3, settings }])
await measure(client, () => wait(WARM_UP_MS))
const before = await measure(client, () => wait(BEFORE_MS))
console.log(`before: ${spreadText(before)}`)

const awayId = ((await cluster.controllerId(admin)) % cluster.nodes.size) + 1
const away = cluster.node(awayId)
await away.stop()
await writeMissed(client, missedMib)
console.log(`node ${awayId} has missed ${missedMib} MiB`)
const back = new ProcessorWindow()
let servedMs = 0
const during = await measure(client, async () => {
  await away.start()
  servedMs = back.end().elapsedMs
  await until(() => isInSync(admin, awayId), { timeoutMs: CATCH_UP_TIMEOUT_MS })
})
const { elapsedMs: inSyncMs, stealPercent } = back.end()
console.log(`during: ${spreadText(during)}`)

const [p99Before, p99During] = [percentile(before, 99), percentile(during, 99)]
const text = writeReport('catch-up', {
  title: `A follower that has missed ${missedMib} MiB`,
  story:
    `Three nodes, a process each; a topic of ${PARTITIONS} partitions, replication factor 3, \`min.insync.replicas\` 2. One producer sends ` +
    `${RECORDS_PER_SECOND} records of ${RECORD_BYTES} bytes a second to all partitions in turn; the time of each from its sending to its ` +
    'acknowledgement counts. A node that does not lead the quorum is stopped; the others take the records that it misses; then it is ' +
    'started again, under that load, and the count begins anew until every partition has it in sync.',
  lines: [
    `- Before, all in sync, ${before.length} records: ${spreadText(before)}.`,
    `- From the start of the node until it was in sync, ${during.length} records: ${spreadText(during)}.`,
    `- It served ${servedMs.toFixed(0)} ms after its start, and was in sync everywhere after ${inSyncMs.toFixed(0)} ms: ` +
      `${((missedMib * 1000) / inSyncMs).toFixed(0)} MiB/s; ${stealPercent.toFixed(1)} % steal.`,
  ],
  promised: [
    {
      what: 'produce p99 at most doubles while the follower catches up',
      measured: `${p99Before.toFixed(1)} ms before, ${p99During.toFixed(1)} ms meanwhile`,
      isKept: p99During <= P99_FACTOR_MAX * p99Before,
    },
    {
      what: 'then it joins the in-sync replicas',
      measured: `after ${(inSyncMs / 1000).toFixed(1)} s`,
      // `until` has thrown otherwise.
      isKept: true,
    },
  ],
  usage: window.end(),
})
console.log(`\n${text}`)

/** Times of the paced load's records, in ms, sent until `work` is done. */
async function measure(of: Client, work: () => Promise<void>): Promise<number[]> {
  await using producer = of.producer()
  const value = randomBytes(RECORD_BYTES)
  const times: number[] = []
  const sends: Promise<void>[] = []
  const startedMs = performance.now()
  let isOver = false
  const worked = work().finally(() => {
    isOver = true
  })
  while (!isOver) {
    const due = ((performance.now() - startedMs) * RECORDS_PER_SECOND) / 1000
    while (sends.length < due) {
      const sentMs = performance.now()
      const sent = producer.send({ topic: TOPIC, partition: sends.length % PARTITIONS, value })
      sends.push(sent.then(() => void times.push(performance.now() - sentMs)))
    }
    await wait(PACE_MS)
  }
  await Promise.all([worked, ...sends])
  return times
}

async function writeMissed(of: Client, mib: number): Promise<void> {
  await using producer = of.producer()
  const value = randomBytes(MISSED_RECORD_BYTES)
  const count = (mib * 1024 * 1024) / MISSED_RECORD_BYTES
  for (let at = 0; at < count; at += MISSED_RECORDS_AT_A_TIME)
    await Promise.all(
      Array.from({ length: Math.min(MISSED_RECORDS_AT_A_TIME, count - at) }, (_, index) =>
        producer.send({ topic: TOPIC, partition: (at + index) % PARTITIONS, value }),
      ),
    )
}

async function isInSync(of: Admin, nodeId: number): Promise<true | undefined> {
  const [topic] = await of.describeTopics([TOPIC])
  const isEverywhere = topic?.partitions.every(({ isr }) => isr.includes(nodeId)) ?? false
  return isEverywhere ? true : undefined
}

function wait(ms: number): Promise<void> {
  return new Promise(resolve => setTimeout(resolve, ms))
}
