import type { LogConfig } from '../../log/log-config.ts'
import type { TopicView } from '../../metadata/topic-image.ts'
import { resolveTopicSettings, type TopicSettings } from '../../metadata/topic-settings.ts'
import type { TimestampType } from '../../records/batch-header.ts'

/** What the settings of a topic mean to one partition on this node. */
export interface PartitionSettings {
  readonly log: LogConfig
  /** `max.message.bytes` */
  readonly maxMessageBytes: number
  /** `message.timestamp.type` */
  readonly timestampType: TimestampType
  /** `message.timestamp.after.max.ms` */
  readonly timestampAfterMaxMs: number
  /** `min.insync.replicas` */
  readonly minInsyncReplicas: number
}

/** Kafka's way of saying "no limit". */
const UNLIMITED = -1

/** The settings of a topic as they hold on this node. */
export function partitionSettings(topic: TopicView, defaults: Partial<TopicSettings>): PartitionSettings {
  const { replicationFactor } = topic
  const settings = resolveTopicSettings(topic.settings, { replicationFactor, defaults })
  const policies = settings['cleanup.policy'].split(',')
  const isDeleted = policies.includes('delete')
  return {
    log: {
      segmentBytes: settings['segment.bytes'],
      segmentMs: settings['segment.ms'],
      retentionMs: isDeleted ? limit(settings['retention.ms']) : undefined,
      retentionBytes: isDeleted ? limit(settings['retention.bytes']) : undefined,
      indexIntervalBytes: settings['index.interval.bytes'],
      writeCaching: settings['write.caching'],
      compacted: policies.includes('compact'),
      deleteRetentionMs: settings['delete.retention.ms'],
      minCleanableDirtyRatio: settings['min.cleanable.dirty.ratio'],
      minCompactionLagMs: settings['min.compaction.lag.ms'],
    },
    maxMessageBytes: settings['max.message.bytes'],
    timestampType: settings['message.timestamp.type'] === 'LogAppendTime' ? 'LogAppendTime' : 'CreateTime',
    timestampAfterMaxMs: settings['message.timestamp.after.max.ms'],
    minInsyncReplicas: settings['min.insync.replicas'],
  }
}

function limit(value: number): number | undefined {
  return value === UNLIMITED ? undefined : value
}
