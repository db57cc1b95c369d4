import type { TopicSettings } from '../metadata/topic-settings.ts'
import type { Settings } from './settings.ts'

/** What holds for topics that do not set it: settings of the node under their names as settings of a topic. */
export function topicDefaults(settings: Settings): Partial<TopicSettings> {
  return {
    'retention.ms': settings['log.retention.ms'],
    'retention.bytes': settings['log.retention.bytes'],
    'segment.bytes': settings['log.segment.bytes'],
    'segment.ms': settings['log.roll.ms'],
    'max.message.bytes': settings['message.max.bytes'],
  }
}
