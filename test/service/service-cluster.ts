import { NaruError } from '../../src/base/errors.ts'
import type { ProducerIds } from '../../src/drivers/controller/producer-ids.ts'
import type { GroupCoordinators } from '../../src/drivers/groups/coordination.ts'
import type { ReplicaContents } from '../../src/drivers/replicas/hosted-partition.ts'
import type { ReplicaSet } from '../../src/drivers/replicas/replica-set.ts'
import { Controller } from '../../src/metadata/controller.ts'
import type { ControllerOptions } from '../../src/metadata/controller-options.ts'
import type { CallOptions, Channel, ServiceHandler } from '../../src/ports/transport.ts'
import { type NodeServices, nodeServices } from '../../src/service/node-services.ts'
import { RateLimit } from '../../src/service/rate-limit.ts'
import type { ServiceCluster } from '../../src/service/service-cluster.ts'
import type { MessageInit } from '../../src/wire/messages.ts'
import type { Method } from '../../src/wire/method.ts'
import { EventScheduler } from '../harness/event-scheduler.ts'
import { failureOf } from '../harness/recorded-stream.ts'
import { SeededPrng } from '../harness/seeded-prng.ts'
import type { SimClock } from '../harness/sim-clock.ts'
import { SimMachine } from '../harness/sim-machine.ts'
import { SimNetwork } from '../harness/sim-network.ts'
import { SimTransport, serveSimulated } from '../harness/sim-transport.ts'
import { registration, WALL_MS } from '../metadata/metadata-context.ts'
import { CLUSTER_ID, FakeMetadataLog, FakeQuorum } from './fake-quorum.ts'

const CONTROLLER_OPTIONS: ControllerOptions = { nodesListed: 3, defaultPartitions: 2 }

export interface TestNode {
  readonly nodeId: number
  readonly machine: SimMachine
  readonly quorum: FakeQuorum
  readonly services: NodeServices
  /** From a client to this node's port. */
  readonly channel: Channel
}

/** Of nodes that coordinate nothing. */
const NO_GROUPS: GroupCoordinators = {
  partitionOf: () => undefined,
  of: () => {
    throw new NaruError('LEADER_NOT_AVAILABLE', 'no groups here')
  },
  led: () => [],
}

export interface TestClusterOptions {
  readonly autoCreateTopics?: boolean
  /** All partitions are led by every node, or none by any. */
  readonly leads?: boolean
  /** What each node leads, instead of that. */
  readonly replicas?: (nodeId: number) => ReplicaSet
  readonly awaitServing?: ServiceCluster['awaitServing']
  /** What each node coordinates. */
  readonly groups?: (of: { nodeId: number; quorum: FakeQuorum; clock: SimClock }) => GroupCoordinators
  /** What a node's copy of a partition holds. */
  readonly contents?: (nodeId: number, partition: number) => ReplicaContents | undefined
  /** What happens to a call that reaches a node's peers' port; it goes on to the handler that is given. */
  readonly onForwarded?: (to: number, pass: () => Promise<Uint8Array>) => Promise<Uint8Array>
  readonly seed?: string
}

/** The services of three nodes over a simulated network, above metadata that move as the test says. */
export class TestServiceCluster {
  readonly scheduler: EventScheduler
  readonly network: SimNetwork
  readonly log = new FakeMetadataLog()
  readonly nodes = new Map<number, TestNode>()
  /** Of every node. */
  unreachable: readonly number[] = []
  /** Calls that reached the peers' port of a node, greetings included. */
  readonly forwarded: { readonly to: number; readonly request: Buffer }[] = []
  readonly #prng: SeededPrng
  readonly #client: SimTransport
  readonly #options: TestClusterOptions

  constructor(options: TestClusterOptions = {}) {
    this.#options = options
    this.#prng = new SeededPrng(options.seed ?? 'service cluster')
    this.scheduler = new EventScheduler(this.#prng.fork('scheduler'))
    this.network = new SimNetwork({ scheduler: this.scheduler, prng: this.#prng.fork('network') })
    const { scheduler } = this
    const client = new SimMachine(99, { name: 'client', scheduler, prng: this.#prng.fork('client') })
    this.#client = new SimTransport(this.network, client.incarnation, 'client')
    for (const nodeId of [1, 2, 3]) this.start(nodeId)
    for (const nodeId of [1, 2, 3]) this.#register(nodeId)
  }

  /** Also again, after a kill. */
  start(nodeId: number): void {
    const name = `host-${nodeId}`
    const machine = new SimMachine(nodeId, {
      name,
      scheduler: this.scheduler,
      prng: this.#prng.fork(`${name}`),
    })
    const { incarnation, clock } = machine
    const quorum = new FakeQuorum(nodeId, { log: this.log, clock })
    const groups = this.#options.groups?.({ nodeId, quorum, clock })
    const services = nodeServices({
      nodeId,
      clock,
      groups: groups ?? NO_GROUPS,
      prng: this.#prng.fork(`prng ${nodeId}`),
      logger: { debug() {}, info() {}, warn() {}, error() {} },
      controller: quorum,
      cluster: this.#access(nodeId, new SimTransport(this.network, incarnation, name)),
      controllerOptions: CONTROLLER_OPTIONS,
      replicas: this.#options.replicas?.(nodeId) ?? fakeReplicas(nodeId, this.#options),
      producerIds: {} as ProducerIds,
      suggestions: new RateLimit(clock, { max: 20, windowMs: 100 }),
      autoCreateTopics: this.#options.autoCreateTopics ?? false,
    })
    const { network } = this
    const peerHandlers = new Map(
      [...services.peerHandlers].map(([path, handler]) => [path, this.#watched(nodeId, handler)]),
    )
    serveSimulated({ network, incarnation, address: `${name}:7450`, handlers: services.handlers })
    serveSimulated({ network, incarnation, address: `${name}:7452`, handlers: peerHandlers })
    const channel = this.#client.connect(`${name}:7450`)
    this.nodes.set(nodeId, { nodeId, machine, quorum, services, channel })
  }

  node(nodeId: number): TestNode {
    const node = this.nodes.get(nodeId)
    if (node === undefined) throw new Error(`no node ${nodeId}`)
    return node
  }

  get nowMs(): number {
    return this.scheduler.nowMs
  }

  /** From another process to a node's peers' port. */
  peerChannel(nodeId: number): Channel {
    return this.#client.connect(`host-${nodeId}:7452`)
  }

  /** A client calls a node; runs until it has its answer. */
  async call<Q, A>(
    nodeId: number,
    method: Method<Q, A>,
    request: MessageInit<Q>,
    options?: CallOptions,
  ): Promise<A> {
    return method.response.decode(await this.run(this.send(nodeId, method, request, options)))
  }

  send<Q, A>(
    nodeId: number,
    method: Method<Q, A>,
    request: MessageInit<Q>,
    options?: CallOptions,
  ): Promise<Buffer> {
    return this.node(nodeId).channel.unary(method.path, method.request.encode(request), options)
  }

  refusal<Q, A>(
    nodeId: number,
    method: Method<Q, A>,
    request: MessageInit<Q>,
    options?: CallOptions,
  ): Promise<NaruError> {
    return this.run(failureOf(this.send(nodeId, method, request, options)))
  }

  /** All frames that a stream of one request answers. */
  async frames<Q, A>(nodeId: number, method: Method<Q, A>, request: MessageInit<Q>): Promise<A[]> {
    const stream = this.node(nodeId).channel.stream(method.path)
    const frames: A[] = []
    const closed = new Promise<void>((resolve, reject) => {
      stream.setHandlers({
        onMessage: message => frames.push(method.response.decode(message)),
        onClose: error => (error ? reject(error) : resolve()),
      })
    })
    stream.write(method.request.encode(request))
    stream.end()
    await this.run(closed)
    return frames
  }

  run<T>(promise: Promise<T>): Promise<T> {
    return this.scheduler.finish(promise, { timeMsMax: 120_000 })
  }

  /** A topic that is there, made by nobody's call. */
  makeTopic(name: string): void {
    const results = this.log.write(image =>
      new Controller(image, CONTROLLER_OPTIONS).topics.create({ topics: [{ name }] }, () => `id-of-${name}`),
    )
    if (results[0]?.ok !== true) throw new Error(`topic ${name} was not made`)
  }

  addPartitions(name: string, partitionCount: number): void {
    this.log.write(image =>
      new Controller(image, CONTROLLER_OPTIONS).topics.addPartitions({ name, partitionCount }),
    )
  }

  hasTopic(name: string): boolean {
    return this.log.write(image => ({ records: [], response: image.topics.byName(name) !== undefined }))
  }

  #register(nodeId: number): void {
    const nodes = (image: ConstructorParameters<typeof Controller>[0]) =>
      new Controller(image, CONTROLLER_OPTIONS).nodes
    const of = { ...registration(nodeId), clusterId: CLUSTER_ID }
    const facts = { isSessionAlive: false, wallMs: WALL_MS }
    const { nodeEpoch } = this.log.write(image => nodes(image).register(of, facts))
    this.log.write(image => nodes(image).unfence({ nodeId, nodeEpoch }))
  }

  #access(nodeId: number, transport: SimTransport): ServiceCluster {
    return {
      transport,
      addressOfNode: other => `host-${other}:7452`,
      unreachableNodes: () => this.unreachable,
      awaitServing: this.#options.awaitServing ?? (async () => {}),
      addVoter: async () => {},
      removeVoter: async () => {},
      handOver: async () => {},
      isSessionAlive: other => other !== nodeId,
    }
  }

  #watched(nodeId: number, handler: ServiceHandler): ServiceHandler {
    if (handler.kind === 'stream') return handler
    return {
      kind: 'unary',
      handle: (request, context) => {
        this.forwarded.push({ to: nodeId, request })
        const pass = () => handler.handle(request, context)
        return this.#options.onForwarded?.(nodeId, pass) ?? pass()
      },
    }
  }
}

function fakeReplicas(nodeId: number, { leads = true, contents }: TestClusterOptions): ReplicaSet {
  return {
    describe: (_topicId: string, partition: number) => contents?.(nodeId, partition),
    leader: () => (leads ? {} : undefined),
    whenOpened: async () => {},
    requireLeader: () => {
      throw new NaruError('LEADER_NOT_AVAILABLE', 'nothing is led in these tests')
    },
  } as unknown as ReplicaSet
}
