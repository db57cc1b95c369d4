import type { NaruError } from '../../src/base/errors.ts'
import type { CallOptions, Channel, MessageStream } from '../../src/ports/transport.ts'
import { initCompression } from '../../src/records/compression.ts'
import type { MessageInit } from '../../src/wire/messages.ts'
import { Admin, type Method } from '../../src/wire/methods.ts'
import { failureOf } from '../harness/recorded-stream.ts'
import { SeededPrng } from '../harness/seeded-prng.ts'
import { SimBrokerCluster } from '../harness/sim-broker-cluster.ts'
import { SimMachine } from '../harness/sim-machine.ts'
import { SimTransport } from '../harness/sim-transport.ts'

/** Whole nodes, and a client that knows nothing of leaders: each of its calls goes to the node that it names. */
export class ThinClient {
  readonly cluster: SimBrokerCluster
  readonly #transport: SimTransport
  readonly #channels = new Map<number, Channel>()

  private constructor(cluster: SimBrokerCluster) {
    this.cluster = cluster
    const { scheduler } = cluster
    const machine = new SimMachine(0, { name: 'client', scheduler, prng: new SeededPrng('client') })
    this.#transport = new SimTransport(cluster.network, machine.incarnation, 'client')
  }

  static async start(options: { nodes?: number; seed?: number } = {}): Promise<ThinClient> {
    await initCompression()
    const { nodes = 3, seed = 7 } = options
    return new ThinClient(await SimBrokerCluster.start({ seed, nodes }))
  }

  async createTopic(
    topic: string,
    of: { partitions?: number; replicationFactor?: number; settings?: Record<string, string> } = {},
  ) {
    const { results } = await this.call(0, Admin.createTopics, { topics: [{ topic, partitions: 1, ...of }] })
    const [result] = results
    if (result === undefined || result.failure) throw new Error(`${topic}: ${result?.failure?.message}`)
    return result.topicId
  }

  /** Of a partition, as the nodes that run know it. */
  leaderOf(topic: string, partition = 0): number | null {
    return this.cluster.any.image.topics.byName(topic)?.partition(partition)?.leader ?? null
  }

  /** A node that runs and does not lead the partition. */
  otherThan(leader: number | null): number {
    const [other] = this.cluster.running.filter(({ nodeId }) => nodeId !== leader)
    if (other === undefined) throw new Error('no other node runs')
    return other.nodeId
  }

  async call<Q, A>(
    node: number,
    method: Method<Q, A>,
    request: MessageInit<Q>,
    options?: CallOptions,
  ): Promise<A> {
    return method.response.decode(await this.cluster.run(this.send(node, method, request, options)))
  }

  send<Q, A>(
    node: number,
    method: Method<Q, A>,
    request: MessageInit<Q>,
    options?: CallOptions,
  ): Promise<Buffer> {
    return this.#channel(node).unary(method.path, method.request.encode(request), options)
  }

  refusal<Q, A>(
    node: number,
    method: Method<Q, A>,
    request: MessageInit<Q>,
    options?: CallOptions,
  ): Promise<NaruError> {
    return this.cluster.run(failureOf(this.send(node, method, request, options)))
  }

  stream<Q, A>(node: number, method: Method<Q, A>, options?: CallOptions): ThinStream<Q, A> {
    return new ThinStream(this.cluster, method, this.#channel(node).stream(method.path, options))
  }

  #channel(node: number): Channel {
    let channel = this.#channels.get(node)
    if (channel === undefined) {
      channel = this.#transport.connect(`n${node}:7450`, { receiveMessageBytesMax: 32 * 1024 * 1024 })
      this.#channels.set(node, channel)
    }
    return channel
  }
}

/** The client's end of a stream, with its messages decoded. */
export class ThinStream<Q, A> {
  readonly frames: A[] = []
  closed: { readonly error: NaruError | undefined } | undefined
  readonly stream: MessageStream
  readonly #cluster: SimBrokerCluster
  readonly #method: Method<Q, A>

  constructor(cluster: SimBrokerCluster, method: Method<Q, A>, stream: MessageStream) {
    this.#cluster = cluster
    this.#method = method
    this.stream = stream
    stream.setHandlers({
      onMessage: message => this.frames.push(method.response.decode(message)),
      onClose: error => {
        this.closed = { error }
      },
    })
  }

  send(request: MessageInit<Q>): boolean {
    return this.stream.write(this.#method.request.encode(request))
  }

  until(condition: (frames: readonly A[]) => boolean, timeMsMax?: number): Promise<void> {
    return this.#cluster.until(() => condition(this.frames) || this.closed !== undefined, timeMsMax)
  }
}
