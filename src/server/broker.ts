import { assert } from '../base/assert.ts'
import type { Epoch } from '../base/brands.ts'
import { NaruError } from '../base/errors.ts'
import type { Logger } from '../base/logger.ts'
import type { ControllerDriver } from '../drivers/controller/controller-driver.ts'
import { ControllerService } from '../drivers/controller/controller-service.ts'
import type { MetadataQuorum } from '../drivers/controller/metadata-quorum.ts'
import { NodeAgent } from '../drivers/controller/node-agent.ts'
import { ProducerIds } from '../drivers/controller/producer-ids.ts'
import { PeerNetwork } from '../drivers/raft/peer-network.ts'
import { ReplicaSet } from '../drivers/replicas/replica-set.ts'
import type { NodeIdentity } from '../log/node-file.ts'
import type { ControllerOptions } from '../metadata/controller-options.ts'
import { type Clock, delay } from '../ports/clock.ts'
import type { Disk } from '../ports/disk.ts'
import type { KeyValueStore } from '../ports/key-value-store.ts'
import { type Prng, randomUuid } from '../ports/prng.ts'
import type { ServiceHandlers, Transport } from '../ports/transport.ts'
import { nodeServices } from '../service/node-services.ts'
import { RateLimit } from '../service/rate-limit.ts'
import { ClusterAccess } from './cluster-access.ts'
import { Faults } from './faults.ts'
import { HandlerGate } from './handler-gate.ts'
import { Life } from './life.ts'
import { reportRecovery } from './log-events.ts'
import { NodeStorage } from './node-storage.ts'
import { openQuorum } from './open-quorum.ts'
import type { Settings } from './settings.ts'
import { topicDefaults } from './topic-defaults.ts'
import { VERSION } from './version.ts'

/** A millisecond each, of every hundred: a flood of wrong names must not keep the node busy. */
const SUGGESTIONS_MAX = 20
/** For the controller's answer; where there is none, others find out by themselves. */
const DRAIN_TIMEOUT_MS = 2000
const LEAVE_TIMEOUT_MS = 1000
const ORPHANS_READ_TIMEOUT_MS = 10_000
const ORPHANS_RETRY_MS = 5000

export interface BrokerPorts {
  readonly disk: Disk
  readonly clock: Clock
  readonly prng: Prng
  readonly transport: Transport
  readonly openStore: (directory: string) => Promise<KeyValueStore>
}

export interface BrokerOptions extends BrokerPorts {
  readonly settings: Settings
  readonly logger: Logger
  /** Only a restart can help this node: its disk failed, or the cluster refuses it. Called once. */
  readonly onFailed: (error: NaruError) => void
}

/** As `host:port`, where others reach this node. */
export interface BrokerAddresses {
  readonly client: string
  readonly peer: string
}

/**
 * A node without its sockets: data directory, quorum, partitions, and the handlers of its two ports. The simulator runs
 * this very class on its own ports.
 *
 * Life: the handlers are there at once, since a port must be open before others can be waited for. `start` resolves
 * when the node serves; until then a client's call is refused with NODE_STARTING, and from the start of `close` on with
 * NODE_DRAINING. `close` may come at any moment, also in the middle of `start`, which then fails.
 */
export class Broker {
  readonly #options: BrokerOptions
  readonly #faults: Faults
  readonly #life = new Life()
  readonly #clients: HandlerGate
  readonly #peers: HandlerGate
  #isServing = false
  #starting: Promise<void> | undefined
  #closing: Promise<void> | undefined
  #identity: NodeIdentity | undefined
  #quorum: ControllerDriver | undefined
  #agent: NodeAgent | undefined
  /** Of the registration under which the partitions were opened. */
  #openedEpoch: Epoch | undefined

  constructor(options: BrokerOptions) {
    this.#options = options
    this.#faults = new Faults(options)
    this.#clients = new HandlerGate({ packageName: 'naru.v1', refusal: () => this.refusal })
    this.#peers = new HandlerGate({
      packageName: 'naru.internal.v1',
      // Peers are part of the start: each of their services is there as soon as it can be.
      refusal: isInstalled => this.failure ?? this.#life.ended ?? (isInstalled ? undefined : starting()),
    })
  }

  /** Of the clients' port. */
  get handlers(): ServiceHandlers {
    return this.#clients.handlers
  }

  /** Of the peers' port. */
  get peerHandlers(): ServiceHandlers {
    return this.#peers.handlers
  }

  /** Whose data directory it is, once that is known. */
  get identity(): NodeIdentity | undefined {
    return this.#identity
  }

  /** The metadata, once they come. */
  get quorum(): MetadataQuorum | undefined {
    return this.#quorum
  }

  /** Only a restart can help. */
  get failure(): NaruError | undefined {
    return this.#faults.failure
  }

  /** Why calls are refused now; undefined: the node serves. */
  get refusal(): NaruError | undefined {
    return this.failure ?? this.#life.ended ?? (this.#isServing ? undefined : starting())
  }

  /** Whatever fails on the way is undone. */
  async start(addresses: BrokerAddresses): Promise<void> {
    assert(this.#starting === undefined, 'a broker starts once')
    this.#starting = this.#start(addresses)
    try {
      await this.#starting
    } catch (thrown) {
      await this.close()
      throw thrown
    }
  }

  /** Before a stop: leaderships of this node go to other nodes, as far as those can take them. */
  async drain(): Promise<void> {
    if (!this.#agent || this.refusal) return
    const { logger } = this.#options
    try {
      const { remaining } = await this.#agent.drain(DRAIN_TIMEOUT_MS)
      if (remaining.length > 0)
        logger.warn(
          { partitions: remaining.length, first: remaining[0] },
          'partitions have no leader while this node is down: no other replica of them is in sync',
        )
    } catch (thrown) {
      const { reason, message } = NaruError.from(thrown)
      logger.warn({ reason }, `the leaderships of this node could not be handed over: ${message}`)
    }
  }

  /** From now on new calls are refused; parked ones still get their answers. */
  startDraining(): void {
    this.#life.end(draining())
  }

  /** Orderly stop: everything appended is synced, and the next start needs no recovery. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    this.startDraining()
    await this.#starting?.catch(() => {})
    await this.#life.close()
  }

  async #start(addresses: BrokerAddresses): Promise<void> {
    const storage = await this.#life.open(NodeStorage.open(this.#options), opened =>
      opened.close(this.#openedEpoch === undefined ? {} : { nodeEpoch: this.#openedEpoch }),
    )
    await this.#life.open(storage.reserve.start())
    const peers = this.#makePeers(storage)
    const quorum = await this.#joinQuorum(storage, { peers, address: addresses.peer })
    const parts = this.#takePart({ storage, peers, quorum, addresses })
    await this.#life.awaitOthers(parts.agent.start())
    this.#serve({ ...parts, peers, quorum })
  }

  #makePeers({ nodeId, paths }: NodeStorage): PeerNetwork {
    const { settings, logger } = this.#options
    const peers = new PeerNetwork({
      ...this.#options,
      nodeId,
      dataDirectory: settings['data.dir'],
      raftDirectory: paths.raft,
      peers: settings['cluster.peers'],
      onEvent: ({ level, message, facts }) => logger[level](facts, message),
      onRefused: error => this.#faults.fail(error),
    })
    this.#life.onClose(() => peers.close())
    this.#peers.install(peers.handlers)
    return peers
  }

  /** Finds or makes the cluster, however long the others take; from then on the metadata come. */
  async #joinQuorum(
    { paths, directory }: NodeStorage,
    { peers, address }: { peers: PeerNetwork; address: string },
  ): Promise<ControllerDriver> {
    const { identity, campaignAtOnce } = await this.#life.awaitOthers(peers.formOrJoin(address))
    this.#identity = identity
    const opening = openQuorum({
      ...this.#options,
      identity,
      campaignAtOnce,
      directory: paths.raft,
      resources: directory.resources,
      addressOf: member => peers.addressOf(member),
      faults: this.#faults,
    })
    const quorum = await this.#life.open(opening, opened => opened.close())
    this.#quorum = quorum
    this.#peers.install(quorum.handlers)
    peers.attachQuorum(quorum)
    return quorum
  }

  /** What registers this process with the controller and opens its partitions; and what it is as the controller. */
  #takePart(of: {
    storage: NodeStorage
    peers: PeerNetwork
    quorum: ControllerDriver
    addresses: BrokerAddresses
  }): { agent: NodeAgent; controller: ControllerService; replicas: ReplicaSet } {
    const { storage, peers, quorum, addresses } = of
    const { settings, prng } = this.#options
    const incarnation = randomUuid(prng)
    const replicas = this.#makeReplicas(storage)
    const controller = new ControllerService({
      ...this.#options,
      quorum,
      controllerOptions: controllerOptions(settings),
      incarnation,
      whenPartitionsOpen: () => replicas.whenAllOpened(),
    })
    this.#life.onClose(() => controller.close())
    this.#peers.install(controller.handlers)
    const agent = new NodeAgent({
      ...this.#options,
      quorum,
      registration: {
        directoryId: (this.#identity as NodeIdentity).directoryId,
        incarnation,
        rack: settings.rack,
        clientAddress: addresses.client,
        peerAddress: addresses.peer,
        release: VERSION,
        cleanStopEpoch: storage.directory.cleanStopNodeEpoch,
      },
      addressOfNode: nodeId => peers.addressOfNode(nodeId),
      controllerHandlers: controller.handlers,
      openPartitions: nodeEpoch => this.#openPartitions(nodeEpoch, { storage, quorum, replicas }),
      onEnded: error => this.#faults.fail(error),
    })
    this.#agent = agent
    this.#life.onClose(() => this.#leave(agent))
    this.#life.onClose(() => replicas.close(draining()))
    return { agent, controller, replicas }
  }

  #makeReplicas({ nodeId, directory, reserve }: NodeStorage): ReplicaSet {
    const { settings, clock, logger } = this.#options
    return new ReplicaSet({
      nodeId,
      directory,
      clock,
      reserve,
      settingDefaults: topicDefaults(settings),
      onEvent: event => this.#faults.onLogEvent(event),
      onError: error => logger.error({ reason: error.reason }, error.message),
    })
  }

  async #openPartitions(
    nodeEpoch: Epoch,
    of: { storage: NodeStorage; quorum: ControllerDriver; replicas: ReplicaSet },
  ): Promise<void> {
    const { clock, logger } = this.#options
    const { storage, quorum, replicas } = of
    const startedMs = clock.monotonicMs()
    // Epochs of a node rise by one: the one before is that of the life that may have left the mark.
    storage.directory.checkCleanStop({ nodeEpoch: nodeEpoch - 1 })
    this.#openedEpoch = nodeEpoch
    quorum.subscribe((delta, image) => replicas.onMetadata(delta, image))
    await replicas.open(quorum.image)
    reportRecovery(logger, storage.directory, clock.monotonicMs() - startedMs)
  }

  #serve(parts: {
    agent: NodeAgent
    controller: ControllerService
    replicas: ReplicaSet
    peers: PeerNetwork
    quorum: ControllerDriver
  }): void {
    const { settings, clock, transport } = this.#options
    const { agent, replicas, quorum } = parts
    const cluster = new ClusterAccess({ ...parts, transport })
    const services = nodeServices({
      ...this.#options,
      nodeId: quorum.nodeId,
      version: VERSION,
      controller: quorum,
      cluster,
      controllerOptions: controllerOptions(settings),
      replicas,
      producerIds: new ProducerIds({ allocate: () => agent.allocateProducerIds() }),
      suggestions: new RateLimit(clock, { max: SUGGESTIONS_MAX, windowMs: 100 }),
      autoCreateTopics: settings['auto.create.topics.enable'],
      produceBytesInFlightMax: settings['request.bytes.in.flight.max'],
    })
    this.#life.onClose(() => services.close())
    this.#life.onClose(() => cluster.close())
    this.#peers.install(services.peerHandlers)
    this.#clients.install(services.handlers)
    this.#isServing = true
    void this.#removeOrphans(quorum, replicas)
  }

  /** Once it is certain that the metadata here are not older than this start (rule A10). */
  async #removeOrphans(quorum: ControllerDriver, replicas: ReplicaSet): Promise<void> {
    while (!this.#life.ended && !this.failure) {
      try {
        await quorum.readIndex(ORPHANS_READ_TIMEOUT_MS)
        await replicas.removeOrphans()
        return
      } catch (thrown) {
        if (!(thrown instanceof NaruError)) throw thrown
        await delay(this.#options.clock, ORPHANS_RETRY_MS)
      }
    }
  }

  /** Nobody waits for the end of this node's session then. Without a controller to tell, they do. */
  async #leave(agent: NodeAgent): Promise<void> {
    try {
      await agent.leave(LEAVE_TIMEOUT_MS)
    } catch (thrown) {
      const { reason, message } = NaruError.from(thrown)
      this.#options.logger.warn({ reason }, `the controller was not told of the stop: ${message}`)
    }
  }
}

function controllerOptions(settings: Settings): ControllerOptions {
  return {
    nodesListed: Math.max(1, settings['cluster.peers'].length),
    defaultPartitions: settings['num.partitions'],
    defaultReplicationFactorMax: settings['default.replication.factor'],
    topicDefaults: topicDefaults(settings),
  }
}

function starting(): NaruError {
  return new NaruError('NODE_STARTING', 'this node is starting: try again')
}

function draining(): NaruError {
  return new NaruError('NODE_DRAINING', 'this node is stopping: use another one, or try again')
}
