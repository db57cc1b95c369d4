import { type Client, connect } from '../../../src/server/client.ts'
import type { NodeCluster } from '../../harness/node-cluster.ts'
import { checkHistory, type Verdict } from '../checker/check-history.ts'
import { HistoryRecorder } from './history-recorder.ts'
import { type FailedSend, type Load, NumberedProducers } from './numbered-producers.ts'
import { AskingReader, drainPartition, FollowingReader } from './readers.ts'
import { ThinClient } from './thin-client.ts'

export interface LogWorkloadOptions {
  /** It exists. */
  readonly topic: string
  readonly partitions: number
  /** Default `heavy`. Under the light one, one reader follows and nobody asks. */
  readonly load?: Load
  /** How many times longer the pauses between sends are. Default 1. */
  readonly slowness?: number
}

interface Clients {
  readonly history: HistoryRecorder
  readonly client: Client
  readonly producers: NumberedProducers
  readonly followers: readonly FollowingReader[]
  readonly askers: readonly AskingReader[]
  readonly thinClients: readonly ThinClient[]
}

/**
 * Clients of one topic at work, all of them recorded: writers, a reader that follows and one that asks by way of each
 * node. `finish` ends them, reads everything once more through every node, and holds the history to what a log
 * promises.
 */
export class LogWorkload implements AsyncDisposable {
  readonly topic: string
  readonly partitions: number
  readonly #clients: Clients
  #stopped: Promise<void> | undefined

  private constructor({ topic, partitions }: LogWorkloadOptions, clients: Clients) {
    this.topic = topic
    this.partitions = partitions
    this.#clients = clients
  }

  static async start(cluster: NodeCluster, options: LogWorkloadOptions): Promise<LogWorkload> {
    const history = new HistoryRecorder()
    const { load = 'heavy' } = options
    const shared = { ...options, history, load }
    const nodes = [...cluster.nodes].map(([nodeId, { address }]) => ({ nodeId, address }))
    const readersMax = load === 'light' ? 1 : nodes.length
    const client = await connect(cluster.addresses)
    const followers = await Promise.all(
      nodes
        .slice(0, readersMax)
        .map(({ nodeId, address }) => FollowingReader.start(address, { ...shared, nodeId })),
    )
    const thinClients = nodes.map(node => new ThinClient(node, options.topic))
    const asking = load === 'light' ? [] : thinClients
    const askers = asking.map(one => new AskingReader({ ...shared, client: one }))
    const producers = new NumberedProducers({ ...shared, client })
    return new LogWorkload(options, { history, client, producers, followers, askers, thinClients })
  }

  get history(): HistoryRecorder {
    return this.#clients.history
  }

  /** Acknowledgements to the writer that awaits each, by partition, in ms of performance.now(). */
  get acknowledgedAtMs(): readonly (readonly number[])[] {
    return this.#clients.producers.acknowledgedAtMs
  }

  /** The partitions of each writer that awaits each acknowledgement. */
  get awaiting(): readonly (readonly number[])[] {
    return this.#clients.producers.awaiting
  }

  /** Sends whose promise was rejected. */
  get failures(): readonly FailedSend[] {
    return this.#clients.producers.failures
  }

  /** Every node runs, and everything that is in sync may be read. */
  async finish(): Promise<Verdict> {
    await this.stop()
    const { history, thinClients } = this.#clients
    for (const client of thinClients)
      for (let partition = 0; partition < this.partitions; partition++)
        await drainPartition(client, { history, name: `${this.topic}-${partition}`, partition })
    return checkHistory(history.events)
  }

  /** Resolves when everything that was sent is answered, and nobody reads any more. */
  stop(): Promise<void> {
    const { producers, followers, askers } = this.#clients
    this.#stopped ??= producers.stop().then(async () => {
      await Promise.all([...followers, ...askers].map(one => one.stop()))
    })
    return this.#stopped
  }

  /** Readers that gave up. */
  get readerFailures(): Error[] {
    return this.#clients.followers.flatMap(one => one.failure ?? [])
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
    const { client, thinClients } = this.#clients
    for (const one of thinClients) one.close()
    await client.close()
  }
}
