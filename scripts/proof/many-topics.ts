/**
 * What many partitions cost. A cluster with 1,000 topics of 3 partitions, replication factor 3: how long they take to make in
 * batches, what the processes use when nothing happens, and how long a node takes to start again once each partition holds
 * a record. A second cluster with one topic of 1,000 partitions: until all of its leaders serve, what the processes use,
 * and how long a killed node's partitions take to be written to again. Nothing else should run. Writes
 * docs/reports/many-topics.md.
 *
 *     npm run proof:topics [-- TOPICS [PARTITIONS]]
 */
import { NodeCluster, until } from '../../test/harness/node-cluster.ts'
import { ProcessorWindow } from '../bench/processor-time.ts'
import { type Promised, writeReport } from './report.ts'

const TOPICS_DEFAULT = 1_000
const PARTITIONS_PER_TOPIC = 3
const TOPICS_PER_BATCH = 100
/** Of the one large topic. */
const PARTITIONS_DEFAULT = 1_000
const LARGE_TOPIC = 'large'
const REPLICATION_FACTOR = 3
const IDLE_WINDOW_MS = 20_000
/** After the work, for syncs and checkpoints that follow it. */
const SETTLE_MS = 5_000
const CREATION_TIMEOUT_MS = 60_000

const CREATION_MS_MAX = 10_000
const RESTART_MS_MAX = 5_000
const IDLE_PERCENT_MAX = 3
const LARGE_CREATION_MS_MAX = 1_500
const LARGE_FAILOVER_MS_MAX = 2_000
const LARGE_IDLE_PERCENT_MAX = 5

interface Idle {
  readonly nodeId: number
  readonly percent: number
  readonly memoryMb: number
}

const topicCount = Number(process.argv[2] ?? TOPICS_DEFAULT)
const partitionCount = Number(process.argv[3] ?? PARTITIONS_DEFAULT)
const window = new ProcessorWindow()
const many = await measureManyTopics(topicCount)
const large = await measureLargeTopic(partitionCount)
const text = writeReport('many-topics', {
  title: `${topicCount} topics, and a topic of ${partitionCount} partitions`,
  story:
    `Three nodes, a process each. First ${topicCount} topics of ${PARTITIONS_PER_TOPIC} partitions, replication factor ` +
    `${REPLICATION_FACTOR}, made in batches of ${TOPICS_PER_BATCH}, each answered when the leaders of all its partitions ` +
    'serve; then, as long as nothing was ever written, an idle time; then a record into every partition, and restarts. In a ' +
    `second cluster one topic of ${partitionCount} partitions; a record into each; then a node is killed, and to each ` +
    'partition that it led a record is sent at once: the time is that until the last of them is acknowledged.',
  lines: [...many.lines, ...large.lines],
  promised: [...many.promised, ...large.promised],
  usage: window.end(),
})
console.log(`\n${text}`)

async function measureManyTopics(count: number): Promise<{ lines: string[]; promised: Promised[] }> {
  await using cluster = await NodeCluster.start()
  await using client = await cluster.connect()
  const admin = client.admin()
  const names = Array.from({ length: count }, (_, index) => `many-${index}`)
  const creation = new ProcessorWindow()
  for (let at = 0; at < names.length; at += TOPICS_PER_BATCH)
    await createServing(
      admin,
      names.slice(at, at + TOPICS_PER_BATCH).map(name => ({ name, partitions: PARTITIONS_PER_TOPIC })),
    )
  const created = creation.end()
  console.log(`${count} topics created in ${created.elapsedMs.toFixed(0)} ms`)
  const idle = await measureIdle(cluster)
  const filling = new ProcessorWindow()
  await writeToEach(
    client,
    names.flatMap(topic =>
      Array.from({ length: PARTITIONS_PER_TOPIC }, (_, partition) => ({ topic, partition })),
    ),
  )
  const filled = filling.end()
  const restarts = []
  for (const how of ['stop', 'kill'] as const) {
    await wait(SETTLE_MS)
    restarts.push(await measureRestart(cluster, admin, how))
    await until(async () => ((await admin.listTopics()).length >= count ? true : undefined))
  }
  const slowestMs = Math.max(...restarts.map(one => one.startMs))
  return {
    lines: [
      `- Creation of ${count} topics: ${created.elapsedMs.toFixed(0)} ms, ${created.stealPercent.toFixed(1)} % steal.`,
      ...idle.map(one => idleText(one, `${count * PARTITIONS_PER_TOPIC} partitions`)),
      `- The first record into each partition, sent all at once: the last acknowledged after ${filled.elapsedMs.toFixed(0)} ms.`,
      ...restarts.map(
        ({ how, stopMs, startMs, steal }) =>
          `- A node after SIG${how === 'stop' ? 'TERM' : 'KILL'} (gone after ${stopMs.toFixed(0)} ms): serves again ` +
          `${startMs.toFixed(0)} ms after its start, ${steal.toFixed(1)} % steal.`,
      ),
    ],
    promised: [
      within(`creation of ${count} topics`, created.elapsedMs, CREATION_MS_MAX),
      within('a node serves after its start', slowestMs, RESTART_MS_MAX),
      idlePromise(idle, IDLE_PERCENT_MAX, `${count * PARTITIONS_PER_TOPIC} partitions`),
    ],
  }
}

async function measureLargeTopic(count: number): Promise<{ lines: string[]; promised: Promised[] }> {
  await using cluster = await NodeCluster.start()
  await using client = await cluster.connect()
  const admin = client.admin()
  const creation = new ProcessorWindow()
  await createServing(admin, [{ name: LARGE_TOPIC, partitions: count }])
  const created = creation.end()
  console.log(`a topic of ${count} partitions created in ${created.elapsedMs.toFixed(0)} ms`)
  const idle = await measureIdle(cluster)
  await writeToEach(
    client,
    Array.from({ length: count }, (_, partition) => ({ topic: LARGE_TOPIC, partition })),
  )
  await wait(SETTLE_MS)
  const victim = ((await cluster.controllerId(admin)) % cluster.nodes.size) + 1
  const [topic] = await admin.describeTopics([LARGE_TOPIC])
  const led = topic?.partitions.filter(({ leader }) => leader === victim) ?? []
  const failover = new ProcessorWindow()
  await cluster.node(victim).kill()
  await writeToEach(
    client,
    led.map(({ partition }) => ({ topic: LARGE_TOPIC, partition })),
  )
  const moved = failover.end()
  console.log(`${led.length} leaders moved in ${moved.elapsedMs.toFixed(0)} ms`)
  return {
    lines: [
      `- Creation of a topic of ${count} partitions: ${created.elapsedMs.toFixed(0)} ms, ${created.stealPercent.toFixed(1)} % steal.`,
      ...idle.map(one => idleText(one, `${count} partitions`)),
      `- A node that led ${led.length} partitions killed: all written to again after ${moved.elapsedMs.toFixed(0)} ms, ` +
        `${moved.stealPercent.toFixed(1)} % steal.`,
    ],
    promised: [
      within(
        `the leaders of a new topic of ${count} partitions serve`,
        created.elapsedMs,
        LARGE_CREATION_MS_MAX,
      ),
      within(
        `the ${led.length} leaders of a killed node have moved, and serve,`,
        moved.elapsedMs,
        LARGE_FAILOVER_MS_MAX,
      ),
      idlePromise(idle, LARGE_IDLE_PERCENT_MAX, `${count} partitions`),
    ],
  }
}

type Client = Awaited<ReturnType<NodeCluster['connect']>>
type Admin = ReturnType<Client['admin']>

async function createServing(admin: Admin, topics: { name: string; partitions: number }[]): Promise<void> {
  const created = await admin.createTopics(
    topics.map(topic => ({ ...topic, replicationFactor: REPLICATION_FACTOR })),
    { timeoutMs: CREATION_TIMEOUT_MS },
  )
  const late = created.filter(one => one.notServing.length > 0)
  if (late.length > 0) throw new Error(`${late.length} topics were made, but do not serve`)
}

async function writeToEach(client: Client, places: { topic: string; partition: number }[]): Promise<void> {
  await using producer = client.producer()
  await Promise.all(places.map(place => producer.send({ ...place, value: 'a record' })))
}

async function measureIdle(cluster: NodeCluster): Promise<Idle[]> {
  await wait(SETTLE_MS)
  return Promise.all(
    [...cluster.nodes].map(async ([nodeId, node]) => {
      const idleWindow = new ProcessorWindow(node.pid)
      await wait(IDLE_WINDOW_MS)
      const { processMs, elapsedMs } = idleWindow.end()
      const memoryMb = (await node.residentBytes()) / 2 ** 20
      return { nodeId, percent: (100 * processMs) / elapsedMs, memoryMb }
    }),
  )
}

async function measureRestart(cluster: NodeCluster, admin: Admin, how: 'stop' | 'kill') {
  const nodeId = await cluster.controllerId(admin)
  const node = cluster.node((nodeId % cluster.nodes.size) + 1)
  const stop = new ProcessorWindow()
  await node[how]()
  const stopMs = stop.end().elapsedMs
  const start = new ProcessorWindow()
  await node.start()
  const { elapsedMs: startMs, stealPercent: steal } = start.end()
  console.log(`after ${how}: serves again after ${startMs.toFixed(0)} ms`)
  return { how, stopMs, startMs, steal }
}

function idleText({ nodeId, percent, memoryMb }: Idle, what: string): string {
  const time = `${IDLE_WINDOW_MS / 1000} s`
  return `- Node ${nodeId} with ${what} and nothing to do for ${time}: ${percent.toFixed(1)} % of a core, ${memoryMb.toFixed(0)} MiB.`
}

function within(what: string, measuredMs: number, maxMs: number): Promised {
  const measured = `${(measuredMs / 1000).toFixed(1)} s`
  return { what: `${what} within ${maxMs / 1000} s`, measured, isKept: measuredMs <= maxMs }
}

function idlePromise(idle: readonly Idle[], percentMax: number, what: string): Promised {
  const busiest = Math.max(...idle.map(one => one.percent))
  return {
    what: `an idle node of ${what} uses at most ${percentMax} % of a core`,
    measured: `${busiest.toFixed(1)} %`,
    isKept: busiest <= percentMax,
  }
}

function wait(ms: number): Promise<void> {
  return new Promise(resolve => setTimeout(resolve, ms))
}
