import type { Admin, Client, Producer } from '../../src/client/index.ts'
import type { SeededPrng } from '../harness/seeded-prng.ts'
import type { ClientProcess } from './client-process.ts'
import type { ClusterJournal } from './cluster-journal.ts'
import type { ClusterTopics, ExpectedTopic } from './cluster-topics.ts'
import type { PartitionOracle } from './replica-oracle.ts'

export interface ClusterClientOptions {
  readonly name: string
  readonly process: ClientProcess
  readonly prng: SeededPrng
  readonly journal: ClusterJournal
  readonly topics: ClusterTopics
  readonly oracle: Pick<PartitionOracle, 'isForfeit'>
  readonly replicationFactor: number
  readonly thinkMsMax: number
}

const TOPICS_MAX = 4
const PARTITIONS_MAX = 4
/** Of answers that a change may get although this client knows nothing against it: too few nodes live. */
const REFUSALS = /^(NOT_ENOUGH_REPLICAS|INVALID_REPLICATION_FACTOR)$/

/**
 * A client that makes, grows, alters and deletes its own topics, writes to them, and asks about everybody's. The next one on
 * its machine makes topics of other names.
 */
export class ClusterClient {
  readonly #options: ClusterClientOptions
  readonly #process: ClientProcess
  #own: ExpectedTopic[] = []
  #made = 0
  #values = 0

  constructor(options: ClusterClientOptions) {
    this.#options = options
    this.#process = options.process
  }

  start(): void {
    const works = [(client: Client) => this.#changeTopics(client), (client: Client) => this.#write(client)]
    this.#process.start(works, () => {
      this.#own = []
    })
  }

  async #changeTopics(client: Client): Promise<void> {
    const { prng, thinkMsMax } = this.#options
    const admin = client.admin()
    while (!this.#process.isStopping) {
      await this.#step(admin)
      await this.#process.pause(prng.fraction() * thinkMsMax)
    }
  }

  async #step(admin: Admin): Promise<void> {
    const { prng, topics } = this.#options
    const own = this.#own.filter(topic => !topic.isLost)
    const topic = prng.pick([...own, undefined])
    const roll = prng.fraction()
    if (roll < 0.25 && topics.all.size > 0) return this.#describe(admin, prng.pick([...topics.all.values()]))
    if (roll < 0.3) return this.#survey(admin)
    if (!topic) {
      if (own.length >= TOPICS_MAX) return
      const { name } = this.#options
      this.#made++
      const made = topics.add(`${name}-${this.#process.life}-${this.#made}`)
      this.#own.push(made)
      await this.#create(admin, made)
    } else if (topic.exists === false) await this.#create(admin, topic)
    else if (roll < 0.45) await this.#delete(admin, topic)
    else if (roll < 0.7) await this.#grow(admin, topic)
    else await this.#alter(admin, topic)
  }

  async #create(admin: Admin, topic: ExpectedTopic): Promise<void> {
    const { prng, topics, replicationFactor } = this.#options
    const partitions = 1 + Math.floor(prng.fraction() * 2)
    await topics.change(topic, {
      what: 'create',
      mayRefuse: REFUSALS,
      begin: () => {
        topic.exists = 'maybe'
        topic.partitions = new Set([partitions])
        topic.settings = new Set([undefined])
        topic.topicId = undefined
      },
      call: () =>
        admin.createTopics([{ name: topic.name, partitions, replicationFactor }], { timeoutMs: 3_000 }),
      done: ([created]) => {
        topic.exists = true
        topic.topicId = created?.topicId
      },
    })
  }

  async #delete(admin: Admin, topic: ExpectedTopic): Promise<void> {
    const { topics } = this.#options
    await topics.change(topic, {
      what: 'delete',
      mayRefuse: NOTHING,
      begin: () => {
        topic.exists = 'maybe'
        topic.deletions++
        topic.records.clear()
      },
      call: () => admin.deleteTopics([topic.name]),
      done: () => {
        topic.exists = false
      },
    })
  }

  async #grow(admin: Admin, topic: ExpectedTopic): Promise<void> {
    const { topics } = this.#options
    const count = Math.max(...topic.partitions) + 1
    if (count > PARTITIONS_MAX) return
    await topics.change(topic, {
      what: `grow to ${count}`,
      mayRefuse: REFUSALS,
      begin: () => topic.partitions.add(count),
      call: () => admin.createPartitions(topic.name, count),
      done: () => {
        topic.partitions = new Set([count])
      },
    })
  }

  async #alter(admin: Admin, topic: ExpectedTopic): Promise<void> {
    const { prng, topics } = this.#options
    const value = prng.chance(0.2) ? undefined : String(3_600_000 + Math.floor(prng.fraction() * 1e6))
    const name = 'retention.ms'
    await topics.change(topic, {
      what: `set ${name} ${value}`,
      mayRefuse: NOTHING,
      begin: () => topic.settings.add(value),
      call: () =>
        admin.alterTopicSettings(
          topic.name,
          value === undefined ? { remove: [name] } : { set: { [name]: value } },
        ),
      done: () => {
        topic.settings = new Set([value])
      },
    })
  }

  /** Whoever asks, and whichever node: what was acknowledged before is there (R13, A9: also where the answer is no). */
  async #describe(admin: Admin, topic: ExpectedTopic): Promise<void> {
    const { journal } = this.#options
    const { exists, deletions } = topic
    try {
      await admin.describeTopics([topic.name])
      journal.count('topics described')
    } catch (thrown) {
      const error = this.#process.mustBeKnown(thrown, `describe ${topic.name}`)
      if (error.reason !== 'UNKNOWN_TOPIC') return
      journal.count('topics denied')
      const wasThere = exists === true && deletions === topic.deletions
      journal.expect(
        !wasThere,
        () => `R13 ${topic.name} is denied to ${this.#options.name}: ${error.message}`,
      )
    }
  }

  async #survey(admin: Admin): Promise<void> {
    try {
      await admin.describeCluster()
      await admin.listTopics()
    } catch (thrown) {
      this.#process.mustBeKnown(thrown, 'a look at the cluster')
    }
  }

  async #write(client: Client): Promise<void> {
    const { prng, thinkMsMax } = this.#options
    const producer = client.producer({ deliveryTimeoutMs: 5_000, requestTimeoutMs: 2_000 })
    while (!this.#process.isStopping) {
      const topic = prng.pick([...this.#own.filter(one => one.exists === true), undefined])
      if (topic) await this.#produce(producer, topic)
      await this.#process.pause(prng.fraction() * thinkMsMax)
    }
    await producer.close().catch(thrown => this.#process.mustBeKnown(thrown, 'the end of a producer'))
  }

  async #produce(producer: Producer, topic: ExpectedTopic): Promise<void> {
    const { prng, journal, name, oracle } = this.#options
    const partition = Math.floor(prng.fraction() * Math.min(...topic.partitions))
    const value = `${name}/${this.#process.life}/${++this.#values}`
    const { deletions, topicId } = topic
    try {
      const { offset } = await producer.send({ topic: topic.name, partition, value })
      journal.count('records acknowledged')
      if (deletions !== topic.deletions || topicId !== topic.topicId) return
      const place = `${partition}/${offset}`
      journal.expect(
        !topic.records.has(place) || oracle.isForfeit(topic.name, partition),
        () => `${topic.name} ${place} was given twice`,
      )
      topic.records.set(place, value)
    } catch (thrown) {
      this.#process.mustBeKnown(thrown, `a record for ${topic.name}`)
      journal.count('records refused')
    }
  }
}

const NOTHING = /^$/
