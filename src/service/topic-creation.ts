import { NaruError } from '../base/errors.ts'
import type { MetadataImage } from '../metadata/metadata-image.ts'
import { TopicControl } from '../metadata/topic-control.ts'
import { randomUuid } from '../ports/prng.ts'
import type { ServiceNode } from './service-node.ts'
import { settledWithin } from './settled-within.ts'

/** Topics that are being made because somebody produces to them; beyond, produces to new topics are shed. */
const AUTO_CREATIONS_MAX = 1_000

/**
 * Makes topics that do not exist when somebody produces to them (`auto.create.topics.enable`). One creation
 * per name at a time, which all who ask meanwhile share.
 */
export class TopicCreation {
  readonly #node: ServiceNode
  readonly #pending = new Map<string, Promise<string | undefined>>()

  constructor(node: ServiceNode) {
    this.#node = node
  }

  get isEnabled(): boolean {
    return this.#node.autoCreateTopics
  }

  /** Partitions that a topic made here would have. */
  get partitionCount(): number {
    return this.#node.controllerOptions.defaultPartitions
  }

  /** Resolves once the topic exists and its leaders serve; with a warning for the answer if it was made here. */
  async create(topic: string, timeoutMs: number): Promise<string | undefined> {
    let creation = this.#pending.get(topic)
    if (creation === undefined) {
      if (this.#pending.size >= AUTO_CREATIONS_MAX)
        throw new NaruError(
          'OVERLOADED',
          `topic "${topic}" does not exist, and ${AUTO_CREATIONS_MAX} others are being created: try again`,
          { retryAfterMs: 1_000 },
        )
      creation = this.#create(topic).finally(() => this.#pending.delete(topic))
      this.#pending.set(topic, creation)
    }
    if (await settledWithin(this.#node.clock, creation, timeoutMs)) return creation
    throw new NaruError(
      'LEADER_NOT_AVAILABLE',
      `topic "${topic}" did not exist, and its creation took longer than ${timeoutMs} ms: try again`,
      { details: { topic } },
    )
  }

  async #create(name: string): Promise<string | undefined> {
    const { controller, controllerOptions, prng, replicas, logger } = this.#node
    const [result] = await controller.submit((newest: MetadataImage) =>
      new TopicControl(newest, controllerOptions).autoCreate([name], () => randomUuid(prng)),
    )
    if (result === undefined) throw new NaruError('INTERNAL', `no result of creating topic "${name}"`)
    if (!result.ok) throw result.error
    await replicas.whenOpened(result.topicId)
    if (!result.isNew) return undefined
    const topic = controller.image.topics.byId(result.topicId)
    const warning =
      `topic "${name}" did not exist and was created with ${topic?.partitionCount ?? 0} partitions and ` +
      `replication factor ${topic?.replicationFactor ?? 0} (create topics yourself to choose: naru topics create; ` +
      'auto.create.topics.enable=false turns this off)'
    logger.warn({ topic: name, topicId: result.topicId }, warning)
    return warning
  }
}
