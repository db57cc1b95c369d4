import { NaruError } from '../../src/base/errors.ts'
import { Admin } from '../../src/wire/methods.ts'
import type { SeededPrng } from '../harness/seeded-prng.ts'
import type { SimBroker } from '../harness/sim-broker.ts'
import { PartitionOracle } from './partition-oracle.ts'

/** Sends batches to one partition, one at a time, each again under its own sequence until its outcome is known. */
interface SimProducer {
  readonly label: string
  /** Undefined: without an identity, so what it sent with unknown outcome is not sent again. */
  producerId: number | undefined
  nextSequence: number
  nextValue: number
  open: { values: string[]; baseSequence: number; isInFlight: boolean; mayBeStored: boolean } | undefined
  last: { values: string[]; baseSequence: number; offset: number } | undefined
}

export interface SimTopic {
  readonly name: string
  readonly oracles: readonly PartitionOracle[]
  readonly producers: readonly SimProducer[]
  isGone: boolean
}

const PRODUCERS_PER_PARTITION = 2

/**
 * The clients of a simulated broker: what they do next is drawn from the prng, what they learn goes to the oracles.
 * Calls are not waited for, except where the next step depends on them; a crash settles them as "unknown".
 */
export class BrokerWorkload {
  readonly topics = new Map<string, SimTopic>()
  readonly #prng: SeededPrng
  #nextProducerId = 1000
  #incarnations = 0
  /** The first thing found wrong in an answer. */
  failure: unknown
  counts = { acknowledged: 0, unknown: 0, refused: 0, repeated: 0 }

  constructor(prng: SeededPrng) {
    this.#prng = prng
  }

  /** The topic may exist from the call on; its oracle knows nothing of earlier ones of the name. */
  newTopic(name: string, partitions: number, isCached: boolean): SimTopic {
    const incarnation = this.#incarnations++
    const oracles = Array.from({ length: partitions }, (_, partition) => {
      const oracle = new PartitionOracle(`${name}-${partition} (${incarnation})`)
      oracle.isCached = isCached
      return oracle
    })
    const producers = oracles.flatMap((_, partition) =>
      Array.from({ length: PRODUCERS_PER_PARTITION + 1 }, (_, at) => ({
        label: `${incarnation}/${partition}/${at}`,
        producerId: at < PRODUCERS_PER_PARTITION ? this.#nextProducerId++ : undefined,
        nextSequence: 0,
        nextValue: 0,
        open: undefined,
        last: undefined,
      })),
    )
    return { name, oracles, producers, isGone: false }
  }

  send(node: SimBroker, topic: SimTopic): void {
    const producer = this.#prng.pick(topic.producers)
    const partition = Math.floor(topic.producers.indexOf(producer) / (PRODUCERS_PER_PARTITION + 1))
    const oracle = topic.oracles[partition] as PartitionOracle
    if (producer.open?.isInFlight) return
    const { last } = producer
    if (!producer.open && last && producer.producerId !== undefined && this.#prng.chance(0.1)) {
      // Once more, although it was answered: as a proxy would that lost the answer.
      if (last.offset >= oracle.logStartMax) this.#repeat(node, { topic, producer, partition, last, oracle })
      return
    }
    producer.open ??= { ...this.#newBatch(producer), isInFlight: false, mayBeStored: false }
    const { open } = producer
    open.isInFlight = true
    oracle.sent(open.values)
    this.#produce(node, { topic, producer, partition, ...open }).then(
      result => {
        if (producer.open !== open) return
        this.#guarded(() => oracle.acknowledged(open.values, result))
        this.counts.acknowledged++
        producer.last = { values: open.values, baseSequence: open.baseSequence, offset: result }
        this.#settle(producer)
      },
      error => {
        if (producer.open !== open) return
        this.#guarded(() => this.#onError({ producer, oracle, open }, error))
      },
    )
  }

  /** The process is gone: what was under way may have been stored. */
  crashed(powerCut: boolean): void {
    for (const topic of this.topics.values()) {
      for (const oracle of topic.oracles) if (powerCut) oracle.powerCut()
      for (const producer of topic.producers) {
        // What the cache held may be gone, so the same batch is a new one.
        if (powerCut && topic.oracles.some(oracle => oracle.isCached)) producer.last = undefined
        const { open } = producer
        if (!open?.isInFlight) continue
        producer.open = { ...open, isInFlight: false, mayBeStored: true }
        if (producer.producerId === undefined) this.#settle(producer)
      }
    }
  }

  async deleteRecords(node: SimBroker, topic: SimTopic): Promise<void> {
    const partition = Math.floor(this.#prng.fraction() * topic.oracles.length)
    const oracle = topic.oracles[partition] as PartitionOracle
    const offset = Math.floor(this.#prng.fraction() * (oracle.knownEnd + 1))
    if (offset > oracle.knownEnd) return
    oracle.deleting(offset)
    const { results } = await node.call(Admin.deleteRecords, {
      partitions: [{ topic: topic.name, partition, before: { offset } }],
    })
    const [result] = results
    if (result && !result.failure) oracle.deleted(result.logStartOffset)
  }

  #newBatch(producer: SimProducer): { values: string[]; baseSequence: number } {
    const count = 1 + Math.floor(this.#prng.fraction() * 4)
    const big = this.#prng.chance(0.05) ? 400_000 : this.#prng.chance(0.3) ? 5_000 : 0
    const values = Array.from(
      { length: count },
      (_, at) => `${producer.label}#${producer.nextValue + at} ${'x'.repeat(at === 0 ? big : 0)}`,
    )
    producer.nextValue += count
    return { values, baseSequence: producer.nextSequence }
  }

  async #produce(
    node: SimBroker,
    of: {
      topic: SimTopic
      producer: SimProducer
      partition: number
      values: string[]
      baseSequence: number
    },
  ): Promise<number> {
    const { producerId } = of.producer
    const { offset } = await node.produce(
      {
        topic: of.topic.name,
        partition: of.partition,
        ...(producerId !== undefined && {
          producer: { producerId, producerEpoch: 0, baseSequence: of.baseSequence },
        }),
      },
      of.values,
    )
    if (offset === undefined) throw new Error('acknowledged without an offset')
    return offset
  }

  #repeat(
    node: SimBroker,
    of: {
      topic: SimTopic
      producer: SimProducer
      partition: number
      oracle: PartitionOracle
      last: { values: string[]; baseSequence: number; offset: number }
    },
  ): void {
    const { last, oracle } = of
    this.counts.repeated++
    this.#produce(node, { ...of, ...last }).then(
      offset => {
        if (offset === last.offset || last.offset < oracle.logStartMax) return
        this.failure ??= new Error(`${oracle.name}: ${last.values[0]} at ${last.offset}, then at ${offset}`)
      },
      () => {},
    )
  }

  #onError(
    of: { producer: SimProducer; oracle: PartitionOracle; open: NonNullable<SimProducer['open']> },
    error: unknown,
  ): void {
    if (!(error instanceof NaruError) || error.reason === 'INTERNAL') throw error
    const { producer, oracle, open } = of
    const mayBeStored = open.mayBeStored || error.outcome === 'unknown'
    const isLost = error.reason === 'UNKNOWN_PRODUCER_ID' || error.reason === 'OUT_OF_ORDER_SEQUENCE'
    if (mayBeStored) this.counts.unknown++
    else {
      this.counts.refused++
      oracle.refused(open.values)
    }
    producer.open = { ...open, isInFlight: false, mayBeStored }
    if (isLost) {
      producer.producerId = this.#nextProducerId++
      producer.nextSequence = 0
      producer.open = undefined
      producer.last = undefined
    } else if (!mayBeStored) producer.open = undefined
    else if (producer.producerId === undefined) this.#settle(producer)
  }

  #settle(producer: SimProducer): void {
    if (producer.open) producer.nextSequence += producer.open.values.length
    producer.open = undefined
  }

  #guarded(work: () => void): void {
    try {
      work()
    } catch (thrown) {
      this.failure ??= thrown
    }
  }
}
