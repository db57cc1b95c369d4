import type { PartitionDescription } from '../../../src/client/index.ts'
import { GROUPS_TOPIC } from '../../../src/metadata/internal-topics.ts'
import { until } from '../../harness/node-cluster.ts'
import { NO_FAULTS } from '../machine/links.ts'
import { pause } from '../workload/numbered-producers.ts'
import type { Scene } from './fault.ts'

/**
 * It is a promise that everything heals, none that it is quick on a machine that others use: what still changes is on its way.
 * But not to and fro for ever.
 */
const STUCK_MS = 120_000
const HEALED_TIMEOUT_MS = 600_000
const LOOK_MS = 100
const ELSEWHERE_TIMEOUT_MS = 60_000

/** Takes back whatever a fault may have left: every node runs, nothing is slow, and nothing is cut. */
export async function healAll({ cluster }: Scene): Promise<void> {
  await cluster.world.network.setLinks(NO_FAULTS)
  for (const nodeId of cluster.nodeIds) {
    cluster.nodes.node(nodeId).resume()
    const place = cluster.place(nodeId)
    await place.setDisk({})
    await place.setClockOffset(0)
    await place.image?.empty()
  }
  await cluster.startAll()
}

/**
 * Resolves when all partitions have all their replicas in sync, and every voter has all that is committed; else rejects, and
 * says what is lacking.
 */
export async function allInSync(scene: Scene): Promise<void> {
  const beginMs = performance.now()
  let lacking = 'nobody has answered yet'
  let changedMs = beginMs
  let cause: unknown
  while (lacking !== '') {
    const before = lacking
    try {
      lacking = (await lackingOf(scene)).join('; ')
    } catch (thrown) {
      // Whoever cannot answer now has not changed anything.
      cause = thrown
    }
    const nowMs = performance.now()
    if (lacking !== before) changedMs = nowMs
    if (nowMs > changedMs + STUCK_MS || nowMs > beginMs + HEALED_TIMEOUT_MS)
      throw new Error(`not in sync after ${Math.round(nowMs - beginMs)} ms: ${lacking}`, { cause })
    if (lacking !== '') await pause(LOOK_MS)
  }
  scene.unrest.end()
}

/** Of all that clients have acknowledgements of: records, and what groups have committed. */
async function allPartitions({
  admin,
  workload,
}: Scene): Promise<(PartitionDescription & { readonly topic: string })[]> {
  const topics = await admin.describeTopics([workload.topic, GROUPS_TOPIC])
  return topics.flatMap(({ name, partitions }) => partitions.map(one => ({ ...one, topic: name })))
}

async function lackingOf(scene: Scene): Promise<string[]> {
  const { admin, workload } = scene
  const partitions = await allPartitions(scene)
  const late = partitions.filter(
    one =>
      one.leader === undefined ||
      one.isr.length < one.replicas.length ||
      one.addingReplicas.length + one.removingReplicas.length > 0,
  )
  const { members, committedIndex, leader, term } = await admin.describeQuorum()
  const behind = members.filter(one => one.nodeId !== leader && (one.matchIndex ?? 0) < committedIndex)
  const { nodes } = await admin.describeCluster()
  const fenced = nodes.filter(({ state }) => state !== 'active')
  return [
    ...fenced.map(
      ({ nodeId, state, appliedIndex }) =>
        `node ${nodeId} is ${state}, metadata applied to ${appliedIndex ?? '?'}`,
    ),
    ...(partitions.length < workload.partitions ? ['the topic is not known'] : []),
    ...late.map(
      one =>
        `${one.topic}-${one.partition} of leader ${one.leader ?? 'none'}, epoch ${one.leaderEpoch}, has in sync ${one.isr.join()} of ` +
        `${one.replicas.join()}, adding ${one.addingReplicas.join()}, removing ${one.removingReplicas.join()}`,
    ),
    ...(leader === undefined ? [`term ${term} has no controller`] : []),
    ...behind.map(
      one => `member ${one.nodeId} has the metadata to ${one.matchIndex ?? '?'} of ${committedIndex}`,
    ),
  ]
}

/** Resolves when the node that is down is in sync for nothing, and the other voters have all that is committed. */
export async function replicasElsewhere(scene: Scene, nodeId: number): Promise<void> {
  const { admin } = scene
  await until(
    async () => {
      const partitions = await allPartitions(scene)
      const isElsewhere = partitions.every(
        one => one.leader !== undefined && !one.isr.includes(nodeId) && !one.elr.includes(nodeId),
      )
      const { members, committedIndex, leader } = await admin.describeQuorum()
      const others = members.filter(one => one.nodeId !== nodeId && one.nodeId !== leader)
      const isCommitted = others.every(one => (one.matchIndex ?? 0) >= committedIndex)
      return isElsewhere && isCommitted ? true : undefined
    },
    { timeoutMs: ELSEWHERE_TIMEOUT_MS },
  )
}
