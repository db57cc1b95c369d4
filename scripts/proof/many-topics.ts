/**
 * A cluster with 1,000 topics of 3 partitions, replication factor 3: how long they take to make in batches, how long a node
 * takes to start again with them, and what the processes use when nothing happens. Nothing else should run.
 * Writes docs/reports/many-topics.md.
 *
 *     npm run proof:topics [-- TOPICS]
 */
import { NodeCluster, until } from '../../test/harness/node-cluster.ts'
import { ProcessorWindow } from '../bench/processor-time.ts'
import { writeReport } from './report.ts'

const TOPICS_DEFAULT = 1_000
const PARTITIONS = 3
const TOPICS_PER_BATCH = 100
const IDLE_WINDOW_MS = 20_000
/** After the work, for syncs and checkpoints that follow it. */
const SETTLE_MS = 5_000

const CREATION_MS_MAX = 10_000
const RESTART_MS_MAX = 5_000
const IDLE_PERCENT_MAX = 3

const topicCount = Number(process.argv[2] ?? TOPICS_DEFAULT)
const window = new ProcessorWindow()
await using cluster = await NodeCluster.start()
await using client = await cluster.connect()
const admin = client.admin()

const names = Array.from({ length: topicCount }, (_, index) => `many-${index}`)
const creation = new ProcessorWindow()
for (let at = 0; at < names.length; at += TOPICS_PER_BATCH) {
  const batch = names.slice(at, at + TOPICS_PER_BATCH)
  const created = await admin.createTopics(
    batch.map(name => ({ name, partitions: PARTITIONS, replicationFactor: 3 })),
    { timeoutMs: 60_000 },
  )
  const late = created.filter(one => one.notServing.length > 0)
  if (late.length > 0) throw new Error(`${late.length} topics were made, but do not serve`)
}
const created = creation.end()
console.log(`${topicCount} topics created in ${created.elapsedMs.toFixed(0)} ms`)

await wait(SETTLE_MS)
const idle = await Promise.all(
  [...cluster.nodes].map(async ([nodeId, node]) => {
    const idleWindow = new ProcessorWindow(node.pid)
    await wait(IDLE_WINDOW_MS)
    const { processMs, elapsedMs } = idleWindow.end()
    const memoryMb = (await node.residentBytes()) / 2 ** 20
    return { nodeId, percent: (100 * processMs) / elapsedMs, memoryMb }
  }),
)

const restarts: { how: string; stopMs: number; startMs: number; steal: number }[] = []
for (const how of ['stop', 'kill'] as const) {
  const nodeId = await cluster.controllerId(admin)
  const node = cluster.node((nodeId % cluster.nodes.size) + 1)
  const stop = new ProcessorWindow()
  await node[how]()
  const stopMs = stop.end().elapsedMs
  const start = new ProcessorWindow()
  await node.start()
  const { elapsedMs: startMs, stealPercent: steal } = start.end()
  restarts.push({ how, stopMs, startMs, steal })
  await until(async () => ((await admin.listTopics()).length >= topicCount ? true : undefined))
}

const slowest = Math.max(...restarts.map(one => one.startMs))
const busiest = Math.max(...idle.map(one => one.percent))
const text = writeReport('many-topics', {
  title: `${topicCount} topics`,
  story:
    `Three nodes, a process each; ${topicCount} topics of ${PARTITIONS} partitions, replication factor 3, made in batches of ` +
    `${TOPICS_PER_BATCH}, each answered when the leaders of all its partitions serve.`,
  lines: [
    `- Creation: ${created.elapsedMs.toFixed(0)} ms, ${created.stealPercent.toFixed(1)} % steal.`,
    ...restarts.map(
      ({ how, stopMs, startMs, steal }) =>
        `- A node after SIG${how === 'stop' ? 'TERM' : 'KILL'} (gone after ${stopMs.toFixed(0)} ms): serves again ` +
        `${startMs.toFixed(0)} ms after its start, ${steal.toFixed(1)} % steal.`,
    ),
    ...idle.map(
      ({ nodeId, percent, memoryMb }) =>
        `- Node ${nodeId} with nothing to do for ${IDLE_WINDOW_MS / 1000} s: ${percent.toFixed(1)} % of a core, ${memoryMb.toFixed(0)} MiB.`,
    ),
  ],
  promised: [
    {
      what: `creation within ${CREATION_MS_MAX / 1000} s`,
      measured: `${(created.elapsedMs / 1000).toFixed(1)} s`,
      isKept: created.elapsedMs <= CREATION_MS_MAX,
    },
    {
      what: `a node serves within ${RESTART_MS_MAX / 1000} s of its start`,
      measured: `${(slowest / 1000).toFixed(1)} s`,
      isKept: slowest <= RESTART_MS_MAX,
    },
    {
      what: `an idle node uses at most ${IDLE_PERCENT_MAX} % of a core`,
      measured: `${busiest.toFixed(1)} %`,
      isKept: busiest <= IDLE_PERCENT_MAX,
    },
  ],
  usage: window.end(),
})
console.log(`\n${text}`)

function wait(ms: number): Promise<void> {
  return new Promise(resolve => setTimeout(resolve, ms))
}
