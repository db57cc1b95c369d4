import type { Acks, Admin, Client, Producer } from '../../src/client/index.ts'
import type { HistoryRecorder } from '../chaos/workload/history-recorder.ts'
import type { SeededPrng } from '../harness/seeded-prng.ts'
import type { ClientProcess } from './client-process.ts'
import type { ClusterJournal } from './cluster-journal.ts'
import type { PartitionOracle } from './replica-oracle.ts'
import type { SimLogs } from './sim-logs.ts'

export interface LogClientOptions {
  readonly name: string
  readonly process: ClientProcess
  readonly prng: SeededPrng
  readonly journal: ClusterJournal
  readonly logs: SimLogs
  readonly history: HistoryRecorder
  readonly oracle: Pick<PartitionOracle, 'acknowledged' | 'committedEnd' | 'isForfeit'>
  readonly thinkMsMax: number
  readonly deliveryMs: number
}

const BURST_MAX = 14
/** So small that a burst is more batches than the five that may be in flight. */
const BATCH_BYTES_MAX = 220

/** One writer of a process; retired when nobody knows what became of a record of it, as nobody can say what comes after what. */
interface Writer {
  readonly acks: Acks
  readonly idempotent: boolean
  name: string
  retired: number
  values: number
}

/** A client that writes to the logs of a run, follows them, and asks where they end. All of it goes into the history. */
export class LogClient {
  readonly #options: LogClientOptions
  readonly #process: ClientProcess
  readonly #writers: readonly Pick<Writer, 'acks' | 'idempotent'>[]

  constructor(options: LogClientOptions) {
    this.#options = options
    this.#process = options.process
    const { prng } = options
    this.#writers = Array.from({ length: prng.pick([1, 2]) }, () => ({
      acks: prng.pick<Acks>(['all', 'all', 'all', 'all', 'leader', 'none']),
      idempotent: prng.chance(0.85),
    }))
  }

  start(): void {
    const works = [
      ...this.#writers.map((writer, at) => (client: Client) => this.#write(client, writer, at)),
      (client: Client) => this.#read(client),
      (client: Client) => this.#ask(client.admin()),
    ]
    this.#process.start(works)
  }

  async #write(client: Client, kind: Pick<Writer, 'acks' | 'idempotent'>, at: number): Promise<void> {
    const { name, prng, logs, thinkMsMax, deliveryMs } = this.#options
    const producer = client.producer({
      acks: kind.acks,
      idempotent: kind.idempotent,
      batchBytesMax: BATCH_BYTES_MAX,
      deliveryTimeoutMs: deliveryMs,
      requestTimeoutMs: 2_000,
    })
    // A connection that failed may have left records behind, so a writer's name is of one connection.
    const writer = {
      ...kind,
      name: `${name}/${this.#process.life}/${at}/${logs.nextWriter()}`,
      retired: 0,
      values: 0,
    }
    while (!this.#process.isStopping) {
      const place = logs.pick(prng)
      if (place) {
        const count = 1 + Math.floor(prng.fraction() ** 2 * BURST_MAX)
        const sends = Array.from({ length: count }, () => this.#send(producer, writer, place))
        await Promise.all(sends)
      }
      await this.#process.pause(prng.fraction() * thinkMsMax)
    }
    await producer.close().catch(thrown => this.#process.mustBeKnown(thrown, 'the end of a producer'))
  }

  async #send(
    producer: Producer,
    writer: Writer,
    place: { topic: string; partition: number },
  ): Promise<void> {
    const { journal, history, oracle } = this.#options
    const { topic, partition } = place
    const value = `${writer.name}.${writer.retired}#${writer.values++}`
    const process = `${writer.name}.${writer.retired}`
    const end = history.begin({ op: 'send', process, partition: `${topic}-${partition}`, values: [value] })
    try {
      const { offset } = await producer.send({ topic, partition, value })
      journal.count(`records acknowledged, acks ${writer.acks}`)
      if (writer.acks === 'all') {
        oracle.acknowledged({ topic, partition, offset, value })
        end({ type: 'ok', offsets: [offset] })
      } else end({ type: 'info' })
    } catch (thrown) {
      const error = this.#process.mustBeKnown(thrown, `a record for ${topic}`)
      journal.count(`records not stored by ${error.reason}`)
      // A leader alone may take records that are given up when it is deposed: they are not refused, and may be seen.
      const isCertain = error.outcome === 'none'
      if (!isCertain) writer.retired++
      end({ type: isCertain ? 'fail' : 'info', error: `${error.reason}: ${error.message}` })
    }
  }

  async #read(client: Client): Promise<void> {
    const { prng, logs } = this.#options
    const topic = logs.pick(prng)?.topic
    if (topic === undefined) {
      await this.#process.pause(100)
      return
    }
    const reader = client.reader({
      topic,
      retryTimeoutMs: 20_000,
      onSkipped: ({ partition, from, to }) => this.#onSkipped(topic, { partition, from, to }),
    })
    const forget = this.#process.onStop(() => void reader.close())
    try {
      await this.#follow(topic, reader.batches())
    } catch (thrown) {
      this.#process.mustBeKnown(thrown, `a reader of ${topic}`)
      this.#options.journal.count('readers that gave up')
      await this.#process.pause(100)
    } finally {
      forget()
    }
    await reader.close()
  }

  async #follow(topic: string, batches: ReturnType<ReturnType<Client['reader']>['batches']>): Promise<void> {
    const { name, history, logs, journal, prng } = this.#options
    const process = `r-${name}/${this.#process.life}/${logs.nextWriter()}`
    for (let partition = 0; partition < logs.partitionsOf(topic); partition++)
      history.begin({ op: 'assign', process, partition: `${topic}-${partition}`, startOffset: 0 })({
        type: 'ok',
      })
    for await (const { partition, records } of batches) {
      const end = history.begin({ op: 'poll', process, partition: `${topic}-${partition}` })
      end({
        type: 'ok',
        values: records.map(one => String(one.value)),
        offsets: records.map(one => one.offset),
      })
      journal.count('records followed', records.length)
      if (this.#process.isStopping) return
      // Slow enough to fall behind at times.
      if (prng.chance(0.1)) await this.#process.pause(prng.fraction() * 300)
    }
  }

  #onSkipped(topic: string, { partition, from, to }: { partition: number; from: number; to: number }): void {
    const { journal, oracle } = this.#options
    journal.expect(
      oracle.isForfeit(topic, partition),
      () =>
        `P11 a reader of ${topic}-${partition} was told that ${from} to ${to} are gone, and nothing was deleted`,
    )
  }

  /** P15: the end never lies behind what is committed, nor does it go back by more than a deposed leader may not know. */
  async #ask(admin: Admin): Promise<void> {
    const { prng, logs, oracle, journal, thinkMsMax } = this.#options
    while (!this.#process.isStopping) {
      const place = logs.pick(prng)
      if (place) {
        const { topic, partition } = place
        const known = oracle.committedEnd(topic, partition, STALE_MS_MAX)
        try {
          const [found] = await admin.listOffsets(topic, 'latest', { partitions: [partition] })
          if (found) {
            const { offset } = found
            journal.count('ends told')
            const now = oracle.committedEnd(topic, partition, 0)
            const isFine = oracle.isForfeit(topic, partition) || (offset >= known && offset <= now)
            journal.expect(
              isFine,
              () =>
                `P15 the end of ${topic}-${partition} was told as ${offset}; it was ${known}, and is ${now}`,
            )
          }
        } catch (thrown) {
          const { reason } = this.#process.mustBeKnown(thrown, `the end of ${topic}`)
          journal.count(`ends not told by ${reason}`)
        }
      }
      await this.#process.pause(prng.fraction() * 2 * thinkMsMax)
    }
  }
}

/**
 * C12: a leader that has not heard of the controller for a session (2 s) says nothing of the end. What it said just before,
 * or what waits in a process that stands still (5 s at most), arrives later.
 */
const STALE_MS_MAX = 10_000
