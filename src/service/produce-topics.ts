import { NaruError } from '../base/errors.ts'
import type { TopicView } from '../metadata/topic-image.ts'
import { checkTopicName } from '../metadata/topic-name.ts'
import { BATCH_BYTES_MAX } from '../records/batch-header.ts'
import { validateClientBatch } from '../records/validate-batch.ts'
import type { ProduceEntry } from '../wire/messages.ts'
import { ByteBudget } from './byte-budget.ts'
import type { ServiceNode } from './service-node.ts'
import { TopicCreation } from './topic-creation.ts'
import { findTopic, isDenial, unknownPartition } from './topic-lookup.ts'

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

  /**
   * undefined: it, or the partition, is not known here; look again, with `isSettled`, after `settle`. Throws where that
   * would bring nothing: the topic does not exist, or not even one that is made for the entry would take it.
   */
  find(entry: WantedTopic, isSettled = false): TopicView | undefined {
    if (this.#mayCreate(entry)) {
      this.#checkForNewTopic(entry)
      return undefined
    }
    const { topic, topicId, partition } = entry
    try {
      const found = findTopic(this.#node, topic, topicId, isSettled)
      // That a partition does not exist is for whoever writes to it to say.
      if (isSettled || partition === undefined || found.partition(partition) !== undefined) return found
    } catch (thrown) {
      if (isSettled || !isDenial(thrown)) throw thrown
    }
    return undefined
  }

  /**
   * Makes the topic if it may be made, else makes sure that this node knows all there are (rule A9). Resolves with a
   * warning for the answer if the topic was made by this.
   */
  async settle(entry: WantedTopic, timeoutMs: number): Promise<string | undefined> {
    if (this.#mayCreate(entry)) return this.#creation.create(entry.topic, timeoutMs)
    const place = entry.partition === undefined ? '' : ` or its partition ${entry.partition}`
    await this.#node.freshMetadata.confirm(`whether topic "${entry.topic}"${place} exists`, timeoutMs)
    return undefined
  }

  #mayCreate({ topic, topicId }: WantedTopic): boolean {
    if (topicId !== undefined || topic === '' || !this.#creation.isEnabled) return false
    return this.#node.controller.image.topics.byName(topic) === undefined
  }

  /** Bad input changes nothing. */
  #checkForNewTopic({ topic, partition, batch }: WantedTopic): void {
    checkTopicName(topic)
    const { partitionCount } = this.#creation
    if (partition !== undefined && (partition < 0 || partition >= partitionCount))
      throw unknownPartition({ topic, partition, partitionCount })
    if (batch !== undefined) validateClientBatch(batch, 0, { maxMessageBytes: BATCH_BYTES_MAX })
  }
}

type WantedTopic = Pick<ProduceEntry, 'topic' | 'topicId' | 'partition' | 'batch'>
