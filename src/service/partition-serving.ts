import type { NodeId, PartitionId, Uuid } from '../base/brands.ts'
import { NaruError } from '../base/errors.ts'
import { delay } from '../ports/clock.ts'
import type { ServiceNode } from './service-node.ts'
import { settledWithin } from './settled-within.ts'

/** Between two looks at who leads what: a leader that died meanwhile has a successor soon. */
const LOOK_AGAIN_MS = 200
/** One look: a leader that hangs has a successor before the caller's time is over, and that one serves. */
const LOOK_MS_MAX = 2_000

/**
 * Waits until the leaders of all partitions of a topic serve, wherever they are. Returns those that do not at the
 * deadline, or that will not for a reason that waiting does not cure. A topic that is gone by then lacks nothing.
 */
export async function partitionsNotServing(
  node: ServiceNode,
  topicId: Uuid,
  deadlineMs: number,
): Promise<PartitionId[]> {
  const { clock } = node
  for (;;) {
    const asked = [...partitionsByLeader(node, topicId)].map(([leader, partitions]) =>
      lookAt(node, {
        leader,
        partitions,
        topicId,
        timeoutMs: Math.min(LOOK_MS_MAX, deadlineMs - clock.monotonicMs()),
      }),
    )
    const looks = await Promise.all(asked)
    const notServing = looks.flatMap(look => look.notServing).sort((a, b) => a - b)
    const isFinal = looks.every(look => look.isFinal)
    if (isFinal || clock.monotonicMs() + LOOK_AGAIN_MS > deadlineMs) return notServing
    await delay(clock, LOOK_AGAIN_MS)
  }
}

interface Look {
  readonly notServing: readonly PartitionId[]
  /** Another look would bring nothing. */
  readonly isFinal: boolean
}

interface LeaderAsked {
  /** null: nobody leads them now. */
  readonly leader: NodeId | null
  readonly partitions: readonly PartitionId[]
  readonly topicId: Uuid
  readonly timeoutMs: number
}

async function lookAt(node: ServiceNode, asked: LeaderAsked): Promise<Look> {
  const { leader, partitions, topicId } = asked
  if (leader === null) return { notServing: partitions, isFinal: false }
  const timeoutMs = Math.max(1, asked.timeoutMs)
  if (leader !== node.nodeId) {
    const isServing = await isServingElsewhere(node, leader, timeoutMs)
    return { notServing: isServing ? [] : partitions, isFinal: isServing }
  }
  // What opening them has ended with here is known: a damaged log stays so.
  const isSettled = await settledWithin(node.clock, node.replicas.whenOpened(topicId), timeoutMs)
  const notServing = partitions.filter(one => node.replicas.leader(topicId, one) === undefined)
  return { notServing, isFinal: isSettled }
}

async function isServingElsewhere(node: ServiceNode, leader: NodeId, timeoutMs: number): Promise<boolean> {
  const { cluster, controller } = node
  if (cluster === undefined) return false
  try {
    await cluster.awaitServing(leader, controller.image.appliedEndIndex, timeoutMs)
    return true
  } catch (thrown) {
    if (!(thrown instanceof NaruError)) throw thrown
    return false
  }
}

function partitionsByLeader(node: ServiceNode, topicId: Uuid): Map<NodeId | null, PartitionId[]> {
  const byLeader = new Map<NodeId | null, PartitionId[]>()
  for (const [partition, { leader }] of node.controller.image.topics.byId(topicId)?.partitions() ?? []) {
    const partitions = byLeader.get(leader) ?? []
    byLeader.set(leader, partitions)
    partitions.push(partition)
  }
  return byLeader
}
