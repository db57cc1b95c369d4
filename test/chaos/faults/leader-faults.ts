import type { Admin, PartitionDescription } from '../../../src/client/index.ts'
import { type NodeCluster, until } from '../../harness/node-cluster.ts'
import type { LogWorkload } from '../workload/log-workload.ts'
import { pause } from '../workload/numbered-producers.ts'

/**
 * - `kill`: SIGKILL of a leader that is not the controller; `kill-controller`: of one that is.
 * - `pause`: SIGSTOP of a leader, and SIGCONT 10 s later.
 * - `stop`: SIGTERM; `drain`: as `naru cluster drain` before it.
 */
export type LeaderFault = 'kill' | 'kill-controller' | 'pause' | 'stop' | 'drain'

export interface LeaderEvent {
  readonly fault: LeaderFault
  readonly nodeId: number
  /** Partitions that the node led. */
  readonly partitions: number
  /** The longest time without an acknowledgement, in any of them, until another node led them all. */
  readonly gapMs: number
  /** The same, in all partitions, from the node's return until everything was in sync again. */
  readonly returnGapMs: number
  /** Sends that were rejected meanwhile. */
  readonly failures: number
  /** From the node's return until everything was in sync again. */
  readonly healedMs: number
}

export interface Struck {
  readonly cluster: NodeCluster
  readonly admin: Admin
  readonly workload: LogWorkload
}

/** Acknowledged to each writer before each fault, so that it meets a cluster at work. */
const ACKNOWLEDGED_MIN = 20
const PAUSE_MS = 10_000
const HEALED_TIMEOUT_MS = 60_000

/** One fault of a node that leads something, from a healthy cluster to a healthy cluster. */
export async function strikeLeader(fault: LeaderFault, struck: Struck): Promise<LeaderEvent> {
  const { cluster, admin, workload } = struck
  await healthy(struck)
  await acknowledgedMore(workload)
  const { nodeId, partitions } = await victim(fault, struck)
  const failuresBefore = workload.failures.length
  const node = cluster.node(nodeId)
  const startMs = performance.now()
  let endHang = () => {}
  if (fault === 'pause') {
    const end = workload.history.begin({ op: 'hang', process: 'nemesis', node: nodeId, partition: '' })
    endHang = () => end({ type: 'ok' })
    node.pause()
  } else if (fault === 'stop' || fault === 'drain') {
    if (fault === 'drain') await admin.drainNode(nodeId)
    await node.stop()
  } else await node.kill()
  await ledByOthers(struck, nodeId, partitions)
  await acknowledgedMore(workload, partitions)
  if (fault === 'pause') {
    await pause(PAUSE_MS - (performance.now() - startMs))
  }
  const returnMs = performance.now()
  if (fault === 'pause') {
    node.resume()
    endHang()
  } else await node.start()
  await healthy(struck)
  const healedAtMs = performance.now()
  await acknowledgedMore(workload)
  const all = workload.acknowledgedAtMs.map((_, partition) => partition)
  return {
    fault,
    nodeId,
    partitions: partitions.length,
    gapMs: longestGap(workload, partitions, { fromMs: startMs, toMs: returnMs }),
    returnGapMs: longestGap(workload, all, { fromMs: returnMs, toMs: healedAtMs }),
    failures: workload.failures.length - failuresBefore,
    healedMs: healedAtMs - returnMs,
  }
}

/** Every replica is in sync, and every member of the quorum was heard a moment ago. */
export async function healthy({ cluster, admin, workload }: Struck): Promise<void> {
  await until(
    async () => {
      const partitions = await described(admin, workload.topic)
      const isInSync = partitions.every(
        one => one.leader !== undefined && one.isr.length === one.replicas.length,
      )
      if (!isInSync) return undefined
      const { members } = await admin.describeQuorum()
      const heard = members.filter(one => (one.lastContactMs ?? 0) < 1_000)
      return heard.length === cluster.nodes.size ? true : undefined
    },
    { timeoutMs: HEALED_TIMEOUT_MS },
  )
}

export async function described(admin: Admin, topic: string): Promise<readonly PartitionDescription[]> {
  const [found] = await admin.describeTopics([topic])
  return found?.partitions ?? []
}

/** A node that leads partitions, and is the controller, or is not, as the fault wants it. */
async function victim(
  fault: LeaderFault,
  { cluster, admin, workload }: Struck,
): Promise<{ nodeId: number; partitions: number[] }> {
  return await until(
    async () => {
      const controller = await cluster.controllerId(admin)
      const partitions = await described(admin, workload.topic)
      const leaders = new Set(partitions.flatMap(one => one.leader ?? []))
      const fits = (nodeId: number) =>
        fault === 'kill' ? nodeId !== controller : fault === 'kill-controller' ? nodeId === controller : true
      const candidates = [...leaders].filter(fits)
      const nodeId = candidates[Math.floor(performance.now()) % candidates.length]
      if (nodeId === undefined) return undefined
      const led = partitions.filter(one => one.leader === nodeId)
      return { nodeId, partitions: led.map(one => one.partition) }
    },
    { timeoutMs: HEALED_TIMEOUT_MS },
  )
}

async function ledByOthers(
  { admin, workload }: Struck,
  nodeId: number,
  partitions: readonly number[],
): Promise<void> {
  await until(async () => {
    const now = await described(admin, workload.topic)
    const isOver = partitions.every(one => (now[one]?.leader ?? nodeId) !== nodeId)
    return isOver ? true : undefined
  })
}

/** To each writer that awaits acknowledgements from any of these partitions. */
async function acknowledgedMore(
  { acknowledgedAtMs, awaiting }: LogWorkload,
  partitions: readonly number[] = acknowledgedAtMs.map((_, partition) => partition),
): Promise<void> {
  const concerned = awaiting.filter(own => own.some(partition => partitions.includes(partition)))
  const counts = () =>
    concerned.map(own => own.reduce((sum, one) => sum + (acknowledgedAtMs[one]?.length ?? 0), 0))
  const before = counts()
  await until(async () => {
    const isMore = counts().every((count, at) => count >= (before[at] ?? 0) + ACKNOWLEDGED_MIN)
    return isMore ? true : undefined
  })
}

/** Between two acknowledgements, to a writer of any of these, that lie in part at least in this time. */
function longestGap(
  { acknowledgedAtMs, awaiting }: LogWorkload,
  partitions: readonly number[],
  { fromMs, toMs }: { fromMs: number; toMs: number },
): number {
  let longest = 0
  for (const own of awaiting) {
    if (!own.some(partition => partitions.includes(partition))) continue
    const times = own.flatMap(partition => acknowledgedAtMs[partition] ?? []).sort((a, b) => a - b)
    for (let at = times.length - 1; at > 0; at--) {
      const [before, after] = [times[at - 1] as number, times[at] as number]
      if (after < fromMs) break
      if (before <= toMs) longest = Math.max(longest, after - before)
    }
  }
  return longest
}
