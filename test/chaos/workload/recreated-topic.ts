import { NaruError } from '../../../src/base/errors.ts'
import type { Client } from '../../../src/client/index.ts'
import { until } from '../../harness/node-cluster.ts'
import type { HistoryRecorder } from './history-recorder.ts'
import { NumberedProducers, pause } from './numbered-producers.ts'
import { drainPartition } from './readers.ts'
import type { ThinClient } from './thin-client.ts'

export interface RecreatedTopicOptions {
  readonly client: Client
  readonly history: HistoryRecorder
  readonly topic: string
  /** To a node each, for this topic. */
  readonly thinClients: readonly ThinClient[]
}

const WRITTEN_MS = 1_500
const PATIENCE_MS = 300_000

/**
 * Creates a topic, writes to it, reads it to its end and deletes it, then all again under the same name: nothing of an
 * earlier one may be in a later one. In the history each of them is a partition of its own.
 */
export class RecreatedTopic {
  lives = 0
  readonly #options: RecreatedTopicOptions
  readonly #running: Promise<void>
  #isStopped = false

  constructor(options: RecreatedTopicOptions) {
    this.#options = options
    this.#running = this.#run()
  }

  async stop(): Promise<void> {
    this.#isStopped = true
    await this.#running
  }

  async #run(): Promise<void> {
    while (!this.#isStopped) {
      await this.#live(`life-${++this.lives}`)
    }
  }

  async #live(life: string): Promise<void> {
    const { client, history, topic, thinClients } = this.#options
    const admin = client.admin()
    const settings = { 'min.insync.replicas': '2' }
    await insist('TOPIC_ALREADY_EXISTS', async () => {
      await admin.createTopics([{ name: topic, partitions: 1, replicationFactor: 3, settings }])
      return true
    })
    const partitionName = (partition: number) => `${topic}#${life}-${partition}`
    const writers = new NumberedProducers({
      client,
      history,
      topic,
      partitions: 1,
      partitionName,
      prefix: `${life}-`,
      slowness: 5,
    })
    await pause(WRITTEN_MS)
    await writers.stop()
    // By way of two of the nodes, so that they can be compared; a fault may last for a while.
    for (const thin of thinClients.slice(0, 2))
      await insist(undefined, () => drainPartition(thin, { history, name: partitionName(0), partition: 0 }))
    await insist('UNKNOWN_TOPIC', async () => {
      await admin.deleteTopics([topic])
      return true
    })
  }
}

/** Until it works, or is refused because an earlier attempt did. */
async function insist(doneReason: string | undefined, attempt: () => Promise<boolean>): Promise<void> {
  const tried = async () => {
    try {
      return await attempt()
    } catch (thrown) {
      if (thrown instanceof NaruError && thrown.reason === doneReason) return true
      throw thrown
    }
  }
  await until(async () => ((await tried()) ? true : undefined), { timeoutMs: PATIENCE_MS })
}
