import type { PartitionId, Uuid } from '../base/brands.ts'
import { NaruError } from '../base/errors.ts'
import { didYouMean } from '../base/suggest.ts'
import type { PartitionLeader } from '../drivers/replicas/partition-leader.ts'
import type { MetadataImage } from '../metadata/metadata-image.ts'
import type { PartitionState } from '../metadata/metadata-record.ts'
import type { TopicView } from '../metadata/topic-image.ts'
import { TOPIC_NAME_LENGTH_MAX } from '../metadata/topic-name.ts'
import { invalidRequest } from './request-checks.ts'
import type { ServiceNode } from './service-node.ts'
import { settledWithin } from './settled-within.ts'

/** A did-you-mean compares with every name: with more topics than this the answer does without. */
const SUGGESTION_TOPICS_MAX = 1_000

/** How long a call waits for a partition whose log is being opened here (start of the node, new topic). */
const LEADER_WAIT_MS = 10_000

/** The topic of this name, and of this id if one is given. Throws UNKNOWN_TOPIC with the way out. */
export function requireTopic(image: MetadataImage, name: string, id: Uuid | undefined): TopicView {
  const topic = image.topics.byName(name)
  if (topic === undefined) throw unknownTopic(image, name)
  if (id !== undefined && topic.id !== id)
    throw new NaruError(
      'UNKNOWN_TOPIC',
      `topic "${name}" with the id ${JSON.stringify(id.slice(0, 40))} does not exist: ` +
        `the one of this name has the id ${topic.id} (it was deleted and made again)`,
      { details: { topic: name, topic_id: topic.id } },
    )
  return topic
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
  requirePartition(topic, partition)
  const leader = node.replicas.leader(topic.id, partition)
  if (leader !== undefined) return leader
  if (isLedHere(node, topic, partition)) {
    const timeoutMs = Math.min(of.timeoutMs ?? LEADER_WAIT_MS, LEADER_WAIT_MS)
    await settledWithin(node.clock, node.replicas.whenOpened(topic.id), timeoutMs)
  }
  // The topic may be gone by now, which is what its replica says then.
  return node.replicas.requireLeader(topic, partition)
}

/** The controller says only that the topic is not there; this node may know what was meant. */
export function withSuggestion(
  image: MetadataImage,
  result: { readonly name: string; readonly error: NaruError },
): NaruError {
  const { name, error } = result
  const isMissing = error.reason === 'UNKNOWN_TOPIC' && image.topics.byName(name) === undefined
  return isMissing ? unknownTopic(image, name) : error
}

function unknownTopic(image: MetadataImage, name: string): NaruError {
  if (name === '') return invalidRequest('topic is empty: name the topic')
  const shown = name.length > TOPIC_NAME_LENGTH_MAX ? `${name.slice(0, TOPIC_NAME_LENGTH_MAX)}...` : name
  const near = image.topics.count > SUGGESTION_TOPICS_MAX ? '' : didYouMean(name, image.topics.names())
  return new NaruError(
    'UNKNOWN_TOPIC',
    `topic "${shown}" does not exist${near} (create it: naru topics create ${shown})`,
    { details: { topic: shown } },
  )
}
