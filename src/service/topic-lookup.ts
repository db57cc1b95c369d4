import type { PartitionId, Uuid } from '../base/brands.ts'
import { NaruError } from '../base/errors.ts'
import type { PartitionLeader } from '../drivers/replicas/partition-leader.ts'
import type { PartitionState } from '../metadata/metadata-record.ts'
import { requireTopic } from '../metadata/topic-errors.ts'
import type { TopicView } from '../metadata/topic-image.ts'
import type { ServiceNode } from './service-node.ts'
import { settledWithin } from './settled-within.ts'

/** How long a call waits for a partition whose log is being opened here (start of the node, new topic). */
const LEADER_WAIT_MS = 10_000

/**
 * The topic of this name; with an id, only if it is the same topic still. Throws UNKNOWN_TOPIC with the way out, of
 * which nobody will hear if this is not the last look.
 */
export function findTopic(
  node: ServiceNode,
  name: string,
  id: Uuid | undefined,
  isLastLook = true,
): TopicView {
  return requireTopic(node.controller.image, name, id, () => isLastLook && node.suggestions.tryTake())
}

/**
 * Runs `look`. Where it finds that a topic or partition does not exist, it runs again once this node has all metadata
 * there are: only then that is an answer (rule A9). Throws CONTROLLER_NOT_AVAILABLE if that cannot be made sure of.
 */
export async function lookTwice<T>(node: ServiceNode, look: (isLastLook: boolean) => T): Promise<T> {
  try {
    return look(false)
  } catch (thrown) {
    if (!isDenial(thrown)) throw thrown
    await confirmDenial(node, thrown)
  }
  return look(true)
}

/** It says that a topic or partition does not exist. */
export function isDenial(thrown: unknown): thrown is NaruError {
  return (
    thrown instanceof NaruError &&
    (thrown.reason === 'UNKNOWN_TOPIC' || thrown.reason === 'UNKNOWN_PARTITION')
  )
}

/** Resolves when it is worth looking again, for the last time. */
export function confirmDenial(node: ServiceNode, { details }: NaruError): Promise<void> {
  const { topic, partition } = details
  const what = partition === undefined ? 'exists' : `has a partition ${partition}`
  return node.freshMetadata.confirm(`whether topic "${topic}" ${what}`)
}

/** As `confirmDenial` for an answer about many topics: undefined, or why those unknown here may exist all the same. */
export async function doubtAbout(
  node: ServiceNode,
  topics: readonly string[],
): Promise<NaruError | undefined> {
  const { image } = node.controller
  if (topics.every(topic => image.topics.byName(topic) !== undefined)) return undefined
  try {
    await node.freshMetadata.confirm('whether there are topics that this node does not know')
    return undefined
  } catch (thrown) {
    if (!(thrown instanceof NaruError)) throw thrown
    return thrown
  }
}

export function requirePartition(topic: TopicView, partition: PartitionId): PartitionState {
  const state = topic.partition(partition)
  if (state !== undefined) return state
  const { name, partitionCount } = topic
  throw unknownPartition({ topic: name, partition, partitionCount })
}

export function unknownPartition(of: {
  topic: string
  partition: PartitionId
  partitionCount: number
}): NaruError {
  const { topic, partition, partitionCount } = of
  return new NaruError(
    'UNKNOWN_PARTITION',
    `topic "${topic}" has no partition ${partition}: it has ${partitionCount}, numbered from 0`,
    {
      details: { topic, partition: String(partition), partition_count: String(partitionCount) },
    },
  )
}

/** False: another node leads the partition, or none; waiting for this one would be in vain. */
function isLedHere(node: ServiceNode, topic: TopicView, partition: PartitionId): boolean {
  return topic.partition(partition)?.leader === node.nodeId
}

/** The partition's leader on this node, after waiting for its log to open if need be. Throws why there is none. */
export async function awaitLeader(
  node: ServiceNode,
  of: { topic: TopicView; partition: PartitionId; timeoutMs?: number },
): Promise<PartitionLeader> {
  const { topic, partition } = of
  await lookTwice(node, () => requirePartition(topic, partition))
  const leader = node.replicas.leader(topic.id, partition)
  if (leader !== undefined) return leader
  if (isLedHere(node, topic, partition)) {
    const timeoutMs = Math.min(of.timeoutMs ?? LEADER_WAIT_MS, LEADER_WAIT_MS)
    await settledWithin(node.clock, node.replicas.whenOpened(topic.id), timeoutMs)
  }
  // The topic may be gone by now, which is what its replica says then.
  return node.replicas.requireLeader(topic, partition)
}
