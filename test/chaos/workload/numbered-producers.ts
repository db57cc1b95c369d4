import { NaruError } from '../../../src/base/errors.ts'
import type { Client, Producer } from '../../../src/client/index.ts'
import type { HistoryRecorder } from './history-recorder.ts'

export interface FailedSend {
  readonly value: string
  readonly atMs: number
  readonly error: NaruError
}

/**
 * - `heavy`: two writers for each partition, as fast as they can.
 * - `light`: two writers in all, for measurements that must not be of a machine at its limit.
 */
export type Load = 'heavy' | 'light'

export interface NumberedProducersOptions {
  readonly client: Client
  readonly history: HistoryRecorder
  readonly topic: string
  readonly partitions: number
  /** Default `heavy`. */
  readonly load?: Load
  /** Before the names of processes, and so of values: each is written once in a history. Default: nothing. */
  readonly prefix?: string
  /** As the history calls a partition. Default: topic-number. */
  readonly partitionName?: (partition: number) => string
  /** How many times longer the pauses between sends are. Default 1. */
  readonly slowness?: number
}

/** Between an acknowledgement and the next send of those that wait for each. */
const SINGLE_PAUSE_MS = 4
const BURST_RECORDS = 60
const BURST_PAUSE_MS = 40
/** 2,000 records a second. */
const LIGHT_BURST_PAUSE_MS = 30
/** So small that a burst is more batches than the five that may be in flight. */
const BATCH_BYTES_MAX = 1_024
const VALUE_BYTES = 100

/**
 * Idempotent writers in pairs: one awaits each record, the other sends bursts of several batches, so that five frames are
 * in flight. Each pair has a partition of its own, or, under the light load, the only one goes through all in turn. Every
 * value is written once; what fails is not sent again.
 */
export class NumberedProducers {
  /** Of those that await each record, by partition, in ms of performance.now(). */
  readonly acknowledgedAtMs: readonly number[][]
  /** The partitions of each of those. */
  readonly awaiting: readonly (readonly number[])[]
  readonly failures: FailedSend[] = []
  readonly #options: NumberedProducersOptions
  readonly #producers: Producer[]
  readonly #running: Promise<unknown>
  #isStopped = false

  constructor(options: NumberedProducersOptions) {
    this.#options = options
    const single = options.client.producer()
    const bursts = options.client.producer({ batchBytesMax: BATCH_BYTES_MAX })
    this.#producers = [single, bursts]
    const partitions = Array.from({ length: options.partitions }, (_, partition) => partition)
    this.acknowledgedAtMs = partitions.map(() => [])
    this.awaiting = options.load === 'light' ? [partitions] : partitions.map(partition => [partition])
    this.#running = Promise.all(
      this.awaiting.flatMap(own => [this.#sendSingly(single, own), this.#sendBursts(bursts, own)]),
    )
  }

  /** Resolves when everything that was sent is answered. */
  async stop(): Promise<void> {
    this.#isStopped = true
    await this.#running
    await Promise.all(this.#producers.map(one => one.close()))
  }

  async #sendSingly(producer: Producer, partitions: readonly number[]): Promise<void> {
    for (let number = 0; !this.#isStopped; number++) {
      const partition = partitions[number % partitions.length] as number
      if (await this.#send(producer, partition, { process: `single-${partitions[0]}`, number }))
        this.acknowledgedAtMs[partition]?.push(performance.now())
      await pause(SINGLE_PAUSE_MS * (this.#options.slowness ?? 1))
    }
  }

  async #sendBursts(producer: Producer, partitions: readonly number[]): Promise<void> {
    const pauseMs = this.#options.load === 'light' ? LIGHT_BURST_PAUSE_MS : BURST_PAUSE_MS
    for (let number = 0; !this.#isStopped; number += BURST_RECORDS) {
      const partition = partitions[(number / BURST_RECORDS) % partitions.length] as number
      const burst = Array.from({ length: BURST_RECORDS }, (_, at) =>
        this.#send(producer, partition, { process: `burst-${partitions[0]}`, number: number + at }),
      )
      await Promise.all(burst)
      await pause(pauseMs * (this.#options.slowness ?? 1))
    }
  }

  /** Returns whether it was acknowledged. */
  async #send(
    producer: Producer,
    partition: number,
    { process, number }: { process: string; number: number },
  ): Promise<boolean> {
    const { history, topic, prefix = '', partitionName } = this.#options
    const place = partitionName?.(partition) ?? `${topic}-${partition}`
    const value = `${prefix}${process}-${number}`
    const end = history.begin({
      op: 'send',
      process: `${prefix}${process}`,
      partition: place,
      values: [value],
    })
    try {
      const { offset } = await producer.send({ topic, partition, value: value.padEnd(VALUE_BYTES) })
      end({ type: 'ok', offsets: [offset] })
      return true
    } catch (thrown) {
      const error = NaruError.from(thrown)
      this.failures.push({ value, atMs: performance.now(), error })
      end({ type: error.outcome === 'none' ? 'fail' : 'info', error: `${error.reason}: ${error.message}` })
      return false
    }
  }
}

export function pause(ms: number): Promise<void> {
  return new Promise(resolve => setTimeout(resolve, ms))
}
