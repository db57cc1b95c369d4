import { assert } from '../base/assert.ts'
import type { Epoch } from '../base/brands.ts'
import { NaruError } from '../base/errors.ts'
import type { Logger } from '../base/logger.ts'
import type { ControllerDriver } from '../drivers/controller/controller-driver.ts'
import { ProducerIds } from '../drivers/controller/producer-ids.ts'
import { formatRaft } from '../drivers/raft/open-raft-storage.ts'
import { ReplicaSet } from '../drivers/replicas/replica-set.ts'
import { type NodeIdentity, writeNodeFile } from '../log/node-file.ts'
import { Controller } from '../metadata/controller.ts'
import type { ControllerOptions } from '../metadata/controller-options.ts'
import type { Clock } from '../ports/clock.ts'
import type { Disk } from '../ports/disk.ts'
import type { KeyValueStore } from '../ports/key-value-store.ts'
import { type Prng, randomUuid } from '../ports/prng.ts'
import type { ServiceHandlers, Transport } from '../ports/transport.ts'
import { memberId } from '../raft/membership.ts'
import { RateLimit } from '../service/rate-limit.ts'
import { serviceHandlers } from '../service/service-handlers.ts'
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
  #nodeEpoch: Epoch | undefined

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
      opened.close(this.#nodeEpoch === undefined ? {} : { nodeEpoch: this.#nodeEpoch }),
    )
    const quorum = await this.#joinQuorum(storage)
    await this.#life.open(storage.reserve.start())
    await this.#serve(addresses, { storage, quorum })
  }

  async #joinQuorum(storage: NodeStorage): Promise<ControllerDriver> {
    const { disk, clock, prng, transport, logger } = this.#options
    const resources = storage.directory.resources
    const identity = storage.identity ?? (await this.#life.open(this.#formAlone(storage)))
    this.#identity = identity
    const opening = openQuorum({
      identity,
      campaignAtOnce: storage.identity === undefined,
      directory: storage.paths.raft,
      resources,
      addressOf: () => undefined,
      disk,
      clock,
      prng,
      transport,
      logger,
      faults: this.#faults,
    })
    const quorum = await this.#life.open(opening, opened => opened.close())
    this.#peers.install(quorum.handlers)
    return quorum
  }

  async #formAlone(storage: NodeStorage): Promise<NodeIdentity> {
    const { disk, prng, settings } = this.#options
    const { nodeId, directoryId, paths, directory } = storage
    const self = memberId(nodeId, directoryId)
    const membership = { voters: [self], learners: [] }
    await formatRaft({ resources: directory.resources, directory: paths.raft }, { self, membership })
    const identity = { clusterId: randomUuid(prng), nodeId, directoryId }
    await writeNodeFile(disk, settings['data.dir'], identity)
    return identity
  }

  /** Registers this process, opens its partitions, and lets clients in. */
  async #serve(
    addresses: BrokerAddresses,
    { storage, quorum }: { storage: NodeStorage; quorum: ControllerDriver },
  ): Promise<void> {
    const { settings, prng, logger, clock } = this.#options
    const startedMs = clock.monotonicMs()
    await this.#life.awaitOthers(
      new Promise<void>(resolve => quorum.onLeadership({ onLeading: () => resolve(), onResigned() {} })),
    )
    const { clusterId, nodeId, directoryId } = this.#identity as NodeIdentity
    const options = controllerOptions(settings)
    const registration = {
      clusterId,
      nodeId,
      directoryId,
      incarnation: randomUuid(prng),
      rack: settings.rack,
      release: VERSION,
      clientAddress: addresses.client,
      peerAddress: addresses.peer,
    }
    const { nodeEpoch } = await this.#life.awaitOthers(
      quorum.submit(newest =>
        new Controller(newest, options).nodes.register(registration, {
          isSessionAlive: false,
          wallMs: clock.wallMs(),
        }),
      ),
    )
    this.#nodeEpoch = nodeEpoch
    // Epochs of a node rise by one: the one before is that of the life that may have left the mark.
    storage.directory.checkCleanStop({ nodeEpoch: nodeEpoch - 1 })
    const replicas = this.#makeReplicas(storage)
    quorum.subscribe((delta, image) => replicas.onMetadata(delta, image))
    await this.#life.open(replicas.open(quorum.image))
    await this.#life.awaitOthers(
      quorum.submit(newest => new Controller(newest, options).nodes.unfence({ nodeId, nodeEpoch })),
    )
    this.#clients.install(this.#makeServices({ quorum, replicas, options }))
    reportRecovery(logger, storage.directory, clock.monotonicMs() - startedMs)
    this.#isServing = true
  }

  #makeReplicas({ nodeId, directory, reserve }: NodeStorage): ReplicaSet {
    const { settings, clock, logger } = this.#options
    const replicas = new ReplicaSet({
      nodeId,
      directory,
      clock,
      reserve,
      settingDefaults: topicDefaults(settings),
      onEvent: event => this.#faults.onLogEvent(event),
      onError: error => logger.error({ reason: error.reason }, error.message),
    })
    this.#life.onClose(() => replicas.close(draining()))
    return replicas
  }

  #makeServices(parts: {
    quorum: ControllerDriver
    replicas: ReplicaSet
    options: ControllerOptions
  }): ServiceHandlers {
    const { settings, clock, prng, logger } = this.#options
    const { quorum, replicas, options } = parts
    return serviceHandlers({
      nodeId: quorum.nodeId,
      version: VERSION,
      clock,
      prng,
      logger,
      controller: quorum,
      controllerOptions: options,
      replicas,
      producerIds: new ProducerIds({ allocate: () => this.#allocateProducerIds(quorum, options) }),
      suggestions: new RateLimit(clock, { max: SUGGESTIONS_MAX, windowMs: 100 }),
      autoCreateTopics: settings['auto.create.topics.enable'],
      produceBytesInFlightMax: settings['request.bytes.in.flight.max'],
    })
  }

  async #allocateProducerIds(quorum: ControllerDriver, options: ControllerOptions) {
    const { nodeId } = quorum
    const nodeEpoch = this.#nodeEpoch
    assert(nodeEpoch !== undefined, 'producer ids are handed out by a registered node')
    const block = await quorum.submit(newest =>
      new Controller(newest, options).allocateProducerIds({ nodeId, nodeEpoch }),
    )
    return { first: block.firstProducerId, count: block.count }
  }
}

function controllerOptions(settings: Settings): ControllerOptions {
  return {
    nodesListed: 1,
    defaultPartitions: settings['num.partitions'],
    defaultReplicationFactor: Math.min(settings['default.replication.factor'], 1),
    topicDefaults: topicDefaults(settings),
  }
}

function starting(): NaruError {
  return new NaruError('NODE_STARTING', 'this node is starting: try again')
}

function draining(): NaruError {
  return new NaruError('NODE_DRAINING', 'this node is stopping: use another one, or try again')
}
