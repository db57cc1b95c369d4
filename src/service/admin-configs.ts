import { NaruError } from '../base/errors.ts'
import type { TopicView } from '../metadata/topic-image.ts'
import {
  defaultSetting,
  resolveTopicSettings,
  TOPIC_SETTING_KEYS,
  TOPIC_SETTINGS,
  type TopicSettings,
} from '../metadata/topic-settings.ts'
import { errorToFailure } from '../wire/failure.ts'
import type {
  AlterConfigsRequest,
  ConfigDescription,
  ConfigResult,
  DescribeConfigsRequest,
  Setting,
  SettingSource,
} from '../wire/messages.ts'
import { changeMetadata } from './metadata-changes.ts'
import { countWithin } from './request-checks.ts'
import type { ServiceNode } from './service-node.ts'
import { doubtAbout, findTopic, isDenial } from './topic-lookup.ts'

const TOPICS_MAX = 100

/** The calls of naru.v1.Admin that show and change settings of topics. */
export class AdminConfigs {
  readonly #node: ServiceNode

  constructor(node: ServiceNode) {
    this.#node = node
  }

  async describe(request: DescribeConfigsRequest): Promise<{ configs: ConfigDescription[] }> {
    countWithin(request.topics.length, { name: 'topics', max: TOPICS_MAX })
    if (request.topics.length === 0) throw noClusterSettings('topics is empty')
    const doubt = await doubtAbout(this.#node, request.topics)
    return { configs: request.topics.map(name => this.#describe(name, doubt)) }
  }

  /** On the controller. */
  async alter(request: AlterConfigsRequest): Promise<{ results: ConfigResult[] }> {
    const { changes, validateOnly } = request
    countWithin(changes.length, { name: 'changes', min: 1, max: TOPICS_MAX })
    const topicChanges = changes.map(({ topic, set, unset }) => {
      if (topic === undefined) throw noClusterSettings('a change names no topic')
      return { name: topic, set, remove: unset }
    })
    const results = await changeMetadata(this.#node, controller =>
      controller.settings.alter({ changes: topicChanges, validateOnly }),
    )
    return {
      results: results.map(result => ({
        topic: result.name,
        warnings: [],
        ...(!result.ok && { failure: errorToFailure(result.error) }),
      })),
    }
  }

  #describe(name: string, doubt: NaruError | undefined): ConfigDescription {
    try {
      const topic = findTopic(this.#node, name, undefined)
      const settings = describeTopicSettings(topic, this.#node.controllerOptions.topicDefaults ?? {})
      return { topic: name, settings }
    } catch (thrown) {
      if (!(thrown instanceof NaruError)) throw thrown
      const error = isDenial(thrown) ? (doubt ?? thrown) : thrown
      return { topic: name, settings: [], failure: errorToFailure(error) }
    }
  }
}

/** Every setting of a topic, with where its value comes from. */
export function describeTopicSettings(topic: TopicView, defaults: Partial<TopicSettings>): Setting[] {
  const { replicationFactor } = topic
  const resolved = resolveTopicSettings(topic.settings, { replicationFactor, defaults })
  return TOPIC_SETTING_KEYS.map(name => {
    const isSet = Object.hasOwn(topic.settings, name)
    // A node hands down all of its settings; those that say what is built in anyway are no choice of anybody.
    const isOfNode = defaults[name] !== undefined && defaults[name] !== TOPIC_SETTINGS[name].default
    const source: SettingSource = isSet ? 'TOPIC' : isOfNode ? 'NODE' : 'DEFAULT'
    return {
      name,
      value: String(resolved[name]),
      source,
      defaultValue: String(defaultSetting(name, { replicationFactor, defaults })),
      description: TOPIC_SETTINGS[name].doc,
      readOnly: false,
    }
  })
}

function noClusterSettings(what: string): NaruError {
  return new NaruError(
    'NOT_IMPLEMENTED',
    `${what}: this release of Naru has no settings of the cluster (name a topic, or set it in the file of each node)`,
  )
}
