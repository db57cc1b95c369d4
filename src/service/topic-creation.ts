import { NaruError } from '../base/errors.ts'
import { failureToError } from '../wire/failure.ts'
import { Admin } from '../wire/methods.ts'
import type { ServiceNode } from './service-node.ts'
import { settledWithin } from './settled-within.ts'

/** Topics that are being made because somebody produces to them; beyond, produces to new topics are shed. */
const AUTO_CREATIONS_MAX = 1_000
/** A creation goes on for those who ask again, longer than each of them may wait. */
const CREATION_TIMEOUT_MS = 30_000

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

  /** As anybody would make it, with the defaults; that it has been made meanwhile is as good. */
  async #create(name: string): Promise<string | undefined> {
    const { controllerCalls, logger } = this.#node
    const { results } = await controllerCalls
      .call(
        Admin.createTopics,
        { topics: [{ topic: name }], timeoutMs: CREATION_TIMEOUT_MS },
        { timeoutMs: CREATION_TIMEOUT_MS, repeatable: true },
      )
      .catch((thrown: unknown) => {
        throw notCreated(name, NaruError.from(thrown))
      })
    const [result] = results
    if (result === undefined) throw new NaruError('INTERNAL', `no result of creating topic "${name}"`)
    if (result.failure !== undefined) {
      const exists = this.#node.controller.image.topics.byName(name) !== undefined
      if (exists && result.failure.reason === 'TOPIC_ALREADY_EXISTS') return undefined
      throw failureToError(result.failure)
    }
    const { topicId, partitions, replicationFactor } = result
    const warning =
      `topic "${name}" did not exist and was created with ${partitions} partitions and ` +
      `replication factor ${replicationFactor} (create topics yourself to choose: naru topics create; ` +
      'auto.create.topics.enable=false turns this off)'
    logger.warn({ topic: name, topicId }, warning)
    return warning
  }
}

/** Whatever became of the topic, nothing was written to it. */
function notCreated(topic: string, cause: NaruError): NaruError {
  if (cause.outcome === 'none' || !cause.retriable) return cause
  return new NaruError(
    'LEADER_NOT_AVAILABLE',
    `topic "${topic}" did not exist, and whether it was created is not known: ${cause.message} (try again)`,
    { cause, details: { topic } },
  )
}
