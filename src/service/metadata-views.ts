import type { NodeImage } from '../metadata/node-image.ts'
import type { TopicView } from '../metadata/topic-image.ts'
import { isInternalTopic } from '../metadata/topic-name.ts'
import { resolveTopicSettings } from '../metadata/topic-settings.ts'
import type { NodeEndpoint, TopicMetadata } from '../wire/messages.ts'
import type { ServiceNode } from './service-node.ts'

/** Topics and nodes as clients that go straight to leaders need them. */
export function nodeEndpoint(node: NodeImage): NodeEndpoint {
  const { nodeId, clientAddress: address, rack, isFenced: fenced, isDraining: draining } = node
  return { nodeId, address, rack, fenced, draining }
}

export function topicMetadata(node: ServiceNode, topic: TopicView): TopicMetadata {
  const settings = resolveTopicSettings(topic.settings, {
    replicationFactor: topic.replicationFactor,
    defaults: node.controllerOptions.topicDefaults ?? {},
  })
  return {
    topic: topic.name,
    topicId: topic.id,
    internal: isInternalTopic(topic.name),
    partitions: Array.from(topic.partitions(), ([partition, { leader, leaderEpoch }]) => ({
      partition,
      ...(leader !== null && { leaderId: leader }),
      leaderEpoch,
    })),
    maxMessageBytes: settings['max.message.bytes'],
  }
}

/** What stands in every answer and frame. */
export function clusterFacts({ controller }: ServiceNode): {
  clusterId: string
  metadataIndex: number
  controllerId?: number
  ageMs?: number
} {
  const { clusterId, image, leaderId, metadataAgeMs } = controller
  return {
    clusterId,
    metadataIndex: image.appliedEndIndex,
    ...(leaderId !== undefined && { controllerId: leaderId }),
    ...(metadataAgeMs !== undefined && { ageMs: Math.round(metadataAgeMs) }),
  }
}
