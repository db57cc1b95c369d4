import { NaruError } from '../base/errors.ts'
import type { NewTopic } from './creation-plan.ts'
import type { SettingOverrides } from './metadata-record.ts'
import { checkTopicName } from './topic-name.ts'

/** Where the groups are kept: who coordinates a group leads partition hash(group) of it. */
export const GROUPS_TOPIC = '__groups'

/** A topic that Naru keeps for itself: made by its name alone, by whoever needs it first, and always the same. */
interface InternalTopic {
  readonly partitions: number
  /** Whatever the defaults of the nodes are. */
  readonly settings: SettingOverrides
}

const INTERNAL_TOPICS: ReadonlyMap<string, InternalTopic> = new Map([
  [
    GROUPS_TOPIC,
    {
      // For good: another number would give groups to coordinators that know nothing of them.
      partitions: 16,
      settings: {
        'cleanup.policy': 'compact',
        // The newest segment is not cleaned: small ones keep what has to be replayed short.
        'segment.bytes': String(16 * 1024 * 1024),
        'max.message.bytes': String(8 * 1024 * 1024),
        // An answer to a group must not be lost with the power, nor given by a replica that lacks the last one.
        'write.caching': 'false',
        'unclean.leader.election.enable': 'false',
      },
    },
  ],
])

/**
 * What is to be made of a wish for a topic: it, if it is a user's, else the one that Naru keeps under that name. Throws
 * INVALID_TOPIC_NAME for other names, INVALID_REQUEST if the topic was wished for in any other form.
 */
export function topicToMake(wanted: NewTopic): NewTopic {
  const { name } = wanted
  const internal = INTERNAL_TOPICS.get(name)
  if (internal === undefined) {
    checkTopicName(name)
    return wanted
  }
  const isPlain =
    wanted.partitions === undefined &&
    wanted.replicationFactor === undefined &&
    wanted.assignments === undefined &&
    Object.keys(wanted.settings ?? {}).length === 0
  if (isPlain) return { name, ...internal }
  throw new NaruError(
    'INVALID_REQUEST',
    `topic "${name}" is kept by Naru itself, which decides on its partitions, replicas and settings (it is made at the first use of a group)`,
  )
}
