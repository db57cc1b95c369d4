import type { Admin } from '../../src/client/index.ts'
import { type NodeCluster, until } from './node-cluster.ts'
import type { TopicChanges } from './topic-changes.ts'

export interface ControllerKill {
  readonly nodeId: number
  /** Between the last change acknowledged before and the first one after. */
  readonly gapMs: number
  /** From the kill to the first change acknowledged after another node led. */
  readonly recoveredMs: number
}

/** Acknowledged changes before each kill, so that it meets a cluster at work. */
const ACKNOWLEDGED_MIN = 20

/**
 * Kills the node that leads the quorum (SIGKILL) while changes are made, waits for the first acknowledged one under
 * another leader, and starts the node again until it follows.
 */
export async function killController(
  cluster: NodeCluster,
  changes: TopicChanges,
  admin: Admin,
): Promise<ControllerKill> {
  const target = changes.summary.acknowledged + ACKNOWLEDGED_MIN
  await until(async () => (changes.summary.acknowledged >= target ? true : undefined))
  const nodeId = await cluster.controllerId(admin)
  const killedMs = performance.now()
  await cluster.node(nodeId).kill()
  const next = await cluster.controllerId(admin, nodeId)
  const electedMs = performance.now()
  const after = await until(async () => changes.summary.acknowledgedAtMs.find(atMs => atMs > electedMs))
  await cluster.node(nodeId).start()
  await until(async () => {
    const { leader, members } = await admin.describeQuorum()
    const back = members.find(one => one.nodeId === nodeId)
    return leader !== undefined && back?.lastContactMs !== undefined && back.lastContactMs < 1_000
      ? next
      : undefined
  })
  const { acknowledgedAtMs } = changes.summary
  return { nodeId, gapMs: longestGap(acknowledgedAtMs, killedMs, after), recoveredMs: after - killedMs }
}

/** Between two acknowledgements that lie, in part at least, in the time from `fromMs` to `toMs`. */
function longestGap(acknowledgedAtMs: readonly number[], fromMs: number, toMs: number): number {
  let longest = 0
  for (let i = 1; i < acknowledgedAtMs.length; i++) {
    const [before, after] = [acknowledgedAtMs[i - 1] ?? 0, acknowledgedAtMs[i] ?? 0]
    if (after >= fromMs && before <= toMs) longest = Math.max(longest, after - before)
  }
  return longest
}
