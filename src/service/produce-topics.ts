import { NaruError } from '../base/errors.ts'
import type { TopicView } from '../metadata/topic-image.ts'
import { BATCH_BYTES_MAX } from '../records/batch-header.ts'
import { validateClientBatch } from '../records/validate-batch.ts'
import type { ProduceEntry } from '../wire/messages.ts'
import { ByteBudget } from './byte-budget.ts'
import type { ServiceNode } from './service-node.ts'
import { TopicCreation } from './topic-creation.ts'
import { findTopic, unknownPartition } from './topic-lookup.ts'

/** Produce requests of the whole node that are not answered yet; beyond, they are shed with OVERLOADED. */
const PRODUCE_BYTES_IN_FLIGHT_MAX = 256 * 1024 * 1024
const RETRY_AFTER_MS = 250

/** What all produce calls of a node share: its memory for requests, and the topics that they bring about. */
export class ProduceTopics {
  readonly #node: ServiceNode
  readonly #creation: TopicCreation
  readonly #inFlight: ByteBudget

  constructor(node: ServiceNode) {
    this.#node = node
    this.#creation = new TopicCreation(node)
    this.#inFlight = new ByteBudget(node.produceBytesInFlightMax ?? PRODUCE_BYTES_IN_FLIGHT_MAX)
  }

  /** Counts a request until `release`; or the error to shed it with, and then it is not counted. */
  admit(bytes: number): NaruError | undefined {
    if (this.#inFlight.tryTake(bytes)) return undefined
    return new NaruError(
      'OVERLOADED',
      `produce requests that are not answered yet hold ${this.#inFlight.takenBytes} bytes on this node, ` +
        `at most ${this.#inFlight.bytesMax}: slow down and try again`,
      { retryAfterMs: RETRY_AFTER_MS },
    )
  }

  release(bytes: number): void {
    this.#inFlight.giveBack(bytes)
  }

  /** undefined: it does not exist and `create` may make it. Throws UNKNOWN_TOPIC where that is not so. */
  find(entry: Pick<ProduceEntry, 'topic' | 'topicId'>): TopicView | undefined {
    const { image } = this.#node.controller
    const { topic, topicId } = entry
    const isMissing = image.topics.byName(topic) === undefined
    if (isMissing && topicId === undefined && topic !== '' && this.#creation.isEnabled) return undefined
    return findTopic(this.#node, topic, topicId)
  }

  /** Throws if the entry would be refused even by a topic that was made for it: bad input changes nothing. */
  checkForNewTopic({ topic, partition, batch }: Pick<ProduceEntry, 'topic' | 'partition' | 'batch'>): void {
    const { partitionCount } = this.#creation
    if (partition !== undefined && (partition < 0 || partition >= partitionCount))
      throw unknownPartition({ topic, partition, partitionCount })
    if (batch !== undefined) validateClientBatch(batch, 0, { maxMessageBytes: BATCH_BYTES_MAX })
  }

  /** Resolves with a warning for the answer if the topic was made by this. */
  create(topic: string, timeoutMs: number): Promise<string | undefined> {
    return this.#creation.create(topic, timeoutMs)
  }
}
