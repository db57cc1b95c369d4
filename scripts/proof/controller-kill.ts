/**
 * Kills the node that leads the metadata quorum, again and again, while topics are created, altered and deleted through
 * the others; then asks every node whether each acknowledged change is there, and none twice. Writes
 * docs/reports/controller-kill.md.
 *
 *     npm run proof:controller [-- KILLS]
 */
import { connect } from '../../src/server/client.ts'
import { type ControllerKill, killController } from '../../test/harness/controller-kills.ts'
import { NodeCluster } from '../../test/harness/node-cluster.ts'
import { TopicChanges } from '../../test/harness/topic-changes.ts'
import { ProcessorWindow } from '../bench/processor-time.ts'
import { spreadText, writeReport } from './report.ts'

const KILLS_DEFAULT = 20
const WORKERS = 4
/** Section 1 of the design: an in-sync follower takes over within this when its node was the controller, too. */
const TAKEOVER_MS_MAX = 2_000

const killCount = Number(process.argv[2] ?? KILLS_DEFAULT)
const window = new ProcessorWindow()
await using cluster = await NodeCluster.start()
await using client = await cluster.connect()
const admin = client.admin()
const changes = new TopicChanges(admin)
changes.start(WORKERS)
const kills: ControllerKill[] = []
for (let round = 1; round <= killCount; round++) {
  const kill = await killController(cluster, changes, admin)
  kills.push(kill)
  console.log(
    `kill ${round}: node ${kill.nodeId}, no acknowledged change for ${kill.gapMs.toFixed(0)} ms, ` +
      `first one under the next leader after ${kill.recoveredMs.toFixed(0)} ms`,
  )
}
await changes.stop()
const wrong: string[] = []
for (const address of cluster.addresses) {
  await using one = await connect(address)
  for (const what of await changes.check(one.admin())) wrong.push(`${address}: ${what}`)
}
const { acknowledged, unknown, acknowledgedAtMs } = changes.summary
const between = acknowledgedAtMs.slice(1).map((atMs, index) => atMs - (acknowledgedAtMs[index] ?? 0))
const gaps = kills.map(kill => kill.gapMs)
const text = writeReport('controller-kill', {
  title: 'The controller killed under changes of topics',
  story:
    `Three nodes, a process each; ${WORKERS} workers create, alter and delete topics of replication factor 3 through any of them. ` +
    `${killCount} times the leader of the metadata quorum is ended with SIGKILL, and started again once another one has ` +
    'acknowledged a change. In the end each node is asked for all topics.',
  lines: [
    `- ${acknowledged} changes acknowledged; ${unknown} ended with their outcome unknown, which only those under way at a kill may.`,
    `- Between acknowledged changes: ${spreadText(between)}.`,
    `- Longest time without one around each kill: ${spreadText(gaps)}.`,
    `- From a kill to the first change acknowledged under the next leader: ${spreadText(kills.map(kill => kill.recoveredMs))}.`,
    ...wrong.map(one => `- WRONG: ${one}`),
  ],
  promised: [
    {
      what: 'each acknowledged change is on every node, none twice',
      measured: wrong.length === 0 ? `${acknowledged} of ${acknowledged}` : `${wrong.length} wrong`,
      isKept: wrong.length === 0,
    },
    {
      what: `changes go on within ${TAKEOVER_MS_MAX} ms of a kill`,
      measured: `${Math.max(...gaps).toFixed(0)} ms at worst`,
      isKept: Math.max(...gaps) <= TAKEOVER_MS_MAX,
    },
  ],
  usage: window.end(),
})
console.log(`\n${text}`)
process.exitCode = wrong.length === 0 ? 0 : 1
