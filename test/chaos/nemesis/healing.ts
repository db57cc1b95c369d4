import { until } from '../../harness/node-cluster.ts'
import { described } from '../faults/leader-faults.ts'
import { NO_FAULTS } from '../machine/links.ts'
import type { Scene } from './fault.ts'

/** Wide: it is a promise that everything heals, none that it is quick on a machine that others use. */
const HEALED_TIMEOUT_MS = 120_000
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

/** Resolves when all partitions have all their replicas in sync, and every voter has all that is committed. */
export async function allInSync({ admin, workload, unrest }: Scene): Promise<void> {
  await until(
    async () => {
      const partitions = await described(admin, workload.topic)
      const isInSync = (one: (typeof partitions)[number]) =>
        one.leader !== undefined &&
        one.isr.length === one.replicas.length &&
        one.addingReplicas.length + one.removingReplicas.length === 0
      if (partitions.length < workload.partitions || !partitions.every(isInSync)) return undefined
      const { members, committedIndex, leader } = await admin.describeQuorum()
      const isCurrent = (one: (typeof members)[number]) =>
        one.nodeId === leader || (one.matchIndex ?? 0) >= committedIndex
      return members.length > 0 && members.every(isCurrent) ? true : undefined
    },
    { timeoutMs: HEALED_TIMEOUT_MS },
  )
  unrest.end()
}

/** Resolves when the node that is down is in sync for nothing, and the other voters have all that is committed. */
export async function replicasElsewhere({ admin, workload }: Scene, nodeId: number): Promise<void> {
  await until(
    async () => {
      const partitions = await described(admin, workload.topic)
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
