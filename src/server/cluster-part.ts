import type { Epoch, NodeId } from '../base/brands.ts'
import { NaruError } from '../base/errors.ts'
import type { ControllerDriver } from '../drivers/controller/controller-driver.ts'
import { ControllerService } from '../drivers/controller/controller-service.ts'
import { NodeAgent } from '../drivers/controller/node-agent.ts'
import { PeerReach } from '../drivers/controller/peer-reach.ts'
import { ProducerIds } from '../drivers/controller/producer-ids.ts'
import { Coordinators } from '../drivers/groups/coordinators.ts'
import { GroupViews } from '../drivers/groups/group-views.ts'
import type { PeerNetwork } from '../drivers/raft/peer-network.ts'
import { ReplicaSet } from '../drivers/replicas/replica-set.ts'
import type { GroupLimits, GroupSettings } from '../groups/group-options.ts'
import type { NodeIdentity } from '../log/node-file.ts'
import type { ControllerOptions } from '../metadata/controller-options.ts'
import { isReplaceable } from '../metadata/node-control.ts'
import { SESSION_TIMING } from '../metadata/node-sessions.ts'
import { delay } from '../ports/clock.ts'
import { randomUuid } from '../ports/prng.ts'
import type { ServiceHandlers } from '../ports/transport.ts'
import { type NodeServices, nodeServices } from '../service/node-services.ts'
import { RateLimit } from '../service/rate-limit.ts'
import type { BrokerAddresses, BrokerOptions } from './broker-options.ts'
import { ClusterAccess } from './cluster-access.ts'
import { DiskWatch } from './disk-watch.ts'
import type { Faults } from './faults.ts'
import { reportRecovery } from './log-events.ts'
import type { NodeStorage } from './node-storage.ts'
import { drainPartitions } from './partition-drain.ts'
import type { Settings } from './settings.ts'
import { topicDefaults } from './topic-defaults.ts'
import { VERSION } from './version.ts'

/** A millisecond each, of every hundred: a flood of wrong names must not keep the node busy. */
const SUGGESTIONS_MAX = 20
/** For the controller's answer; where there is none, nothing can be handed over. */
const DRAIN_TIMEOUT_MS = 2000
const LEAVE_TIMEOUT_MS = 1000
/** One try; it is repeated until the controller has heard it. */
const REPORT_DAMAGE_TIMEOUT_MS = 10_000
/** One try to tell the controller of a disk that hangs. */
const ASIDE_TIMEOUT_MS = 5000
const ORPHANS_READ_TIMEOUT_MS = 10_000
const ORPHANS_RETRY_MS = 5000

export interface ClusterPartOptions extends BrokerOptions {
  readonly storage: NodeStorage
  readonly identity: NodeIdentity
  readonly addresses: BrokerAddresses
  readonly peers: PeerNetwork
  readonly quorum: ControllerDriver
  readonly faults: Faults
}

/**
 * What this process is in its cluster, once the metadata come: a registered node with partitions and services, and the
 * controller while it leads the quorum.
 *
 * Life: `start` (registered, partitions open, unfenced) -> `serve` -> (`drain` ->) `close`, which may come at any moment.
 */
export class ClusterPart {
  readonly #options: ClusterPartOptions
  readonly #views: GroupViews
  readonly #replicas: ReplicaSet
  readonly #groups: Coordinators
  readonly #controller: ControllerService
  readonly #agent: NodeAgent
  readonly #watch: DiskWatch
  readonly #reach: PeerReach
  readonly #access: ClusterAccess
  readonly #services: NodeServices
  #openedEpoch: Epoch | undefined
  #isClosed = false

  constructor(options: ClusterPartOptions) {
    const { storage, peers, quorum, settings, prng, faults } = options
    this.#options = options
    const incarnation = randomUuid(prng)
    this.#watch = new DiskWatch({
      ...options,
      directory: storage.directory,
      mayStepAside: () => !this.#agent.isFenced && isReplaceable(quorum.image, quorum.nodeId),
      stepAside: () => this.#agent.stepAside(ASIDE_TIMEOUT_MS),
      comeBack: () => this.#agent.comeBack(ASIDE_TIMEOUT_MS),
    })
    const addressOfNode = (nodeId: NodeId) => peers.addressOfNode(nodeId)
    this.#views = this.#makeViews()
    this.#replicas = this.#makeReplicas()
    const isHeard = (nodeId: NodeId) => this.#replicas.hears(nodeId)
    this.#reach = new PeerReach({ ...options, quorum, addressOfNode, isHeard })
    this.#groups = new Coordinators({
      ...options,
      views: this.#views,
      requireLeader: (topic, partition) => this.#replicas.requireLeader(topic, partition),
      ...groupOptions(settings),
    })
    this.#controller = new ControllerService({
      ...options,
      controllerOptions: controllerOptions(settings),
      incarnation,
      whenPartitionsOpen: () => this.#replicas.whenAllOpened(),
      unreachableNodes: () => this.#reach.unreachable,
    })
    this.#agent = new NodeAgent({
      ...options,
      quorum,
      registration: registrationOf(options, incarnation),
      addressOfNode,
      controllerHandlers: this.#controller.handlers,
      openPartitions: nodeEpoch => this.#openPartitions(nodeEpoch),
      directoryEpoch: () => options.storage.registeredEpoch,
      unreachableNodes: () => this.#reach.unreachable,
      onEnded: error => faults.fail(error),
    })
    this.#access = new ClusterAccess({
      ...options,
      controller: this.#controller,
      unreachableNodes: () => this.#reach.unreachable,
    })
    this.#services = this.#makeServices()
  }

  /** For the peers' port, from now on: a controller need not have its own partitions open to be one. */
  get peerHandlers(): ServiceHandlers {
    return new Map([...this.#controller.handlers, ...this.#services.peerHandlers, ...this.#replicas.handlers])
  }

  /** Of the registration under which the partitions were opened. */
  get openedEpoch(): Epoch | undefined {
    return this.#openedEpoch
  }

  /** Waits for a controller, and rejects if the cluster will never have this node. */
  async start(): Promise<void> {
    await this.#agent.start()
  }

  /** For the clients' port. */
  serve(): ServiceHandlers {
    void this.#removeOrphans()
    return this.#services.handlers
  }

  #makeServices(): NodeServices {
    const { quorum, settings, clock } = this.#options
    return nodeServices({
      ...this.#options,
      nodeId: quorum.nodeId,
      controller: quorum,
      cluster: this.#access,
      controllerOptions: controllerOptions(settings),
      replicas: this.#replicas,
      groups: this.#groups,
      producerIds: new ProducerIds({ allocate: () => this.#agent.allocateProducerIds() }),
      suggestions: new RateLimit(clock, { max: SUGGESTIONS_MAX, windowMs: 100 }),
      autoCreateTopics: settings['auto.create.topics.enable'],
      produceBytesInFlightMax: settings['request.bytes.in.flight.max'],
    })
  }

  #makeViews(): GroupViews {
    const { storage, logger } = this.#options
    const onError = ({ reason, message }: NaruError) => logger.error({ reason }, message)
    const { store } = storage
    return new GroupViews({ ...this.#options, store, onError, outdateStore: () => storage.outdateStore() })
  }

  #makeReplicas(): ReplicaSet {
    const { storage, identity, settings, clock, prng, transport, logger, faults } = this.#options
    const { nodeId, directory, reserve } = storage
    return new ReplicaSet({
      nodeId,
      directory,
      clock,
      reserve,
      settingDefaults: topicDefaults(settings),
      onEvent: event => faults.onLogEvent(event),
      viewOf: this.#views.viewOf,
      onLeading: leader => this.#groups.onLeading(leader),
      onError: error => logger.error({ reason: error.reason }, error.message),
      replication: {
        clusterId: identity.clusterId,
        directoryId: identity.directoryId,
        transport,
        prng,
        alterPartitions: changes => this.#agent.alterPartitions(changes),
        reportDamage: replicas => this.#agent.reportDamage(replicas, REPORT_DAMAGE_TIMEOUT_MS),
        lastHeardControllerMs: () => this.#agent.lastHeardControllerMs,
        sessionTimeoutMs: SESSION_TIMING.sessionTimeoutMs,
      },
    })
  }

  /** Before a stop: leaderships of this node go to other nodes, as far as those can take them. */
  async drain(): Promise<void> {
    const { quorum, clock, logger, settings, faults } = this.#options
    try {
      await this.#agent.drain(DRAIN_TIMEOUT_MS)
    } catch (thrown) {
      const { reason, message } = NaruError.from(thrown)
      logger.warn({ reason }, `the leaderships of this node could not be handed over: ${message}`)
      return
    }
    const timeoutMs = settings['drain.timeout.ms']
    const isOver = () => this.#isClosed || faults.failure !== undefined
    const remaining = await drainPartitions({ quorum, clock, timeoutMs, isOver })
    if (remaining.length > 0)
      logger.warn(
        { partitions: remaining.length, first: remaining[0] },
        'partitions have no leader while this node is down: no other replica of them is in sync',
      )
    // Only now: the controller is needed for the handovers.
    await quorum.handOver()
  }

  /**
   * Calls that are parked get their answers. The node leaves the cluster while its replicas still follow: a leader elsewhere
   * that has it in sync commits nothing between the last acknowledgement from here and the word that it is gone.
   */
  async close(because: NaruError): Promise<void> {
    this.#isClosed = true
    this.#access.close()
    this.#services.close()
    this.#groups.close(because)
    await this.#leave()
    await this.#replicas.close(because)
    await this.#views.close()
    this.#controller.close()
    this.#watch.close()
    this.#reach.close()
  }

  async #openPartitions(nodeEpoch: Epoch): Promise<void> {
    const { clock, logger, quorum, storage } = this.#options
    const startedMs = clock.monotonicMs()
    await storage.noteRegistered(nodeEpoch)
    // Epochs of a node rise by one: the one before is that of the life that may have left the mark.
    storage.directory.checkCleanStop({ nodeEpoch: nodeEpoch - 1 })
    this.#openedEpoch = nodeEpoch
    quorum.subscribe((delta, image) => this.#replicas.onMetadata(delta, image))
    await this.#replicas.open(quorum.image, { nodeEpoch })
    reportRecovery(logger, storage.directory, clock.monotonicMs() - startedMs)
  }

  /** Once it is certain that the metadata here are not older than this start (rule A10). */
  async #removeOrphans(): Promise<void> {
    const { quorum, clock, faults } = this.#options
    while (!this.#isClosed && !faults.failure) {
      try {
        await quorum.readIndex(ORPHANS_READ_TIMEOUT_MS)
        await this.#replicas.removeOrphans()
        return
      } catch (thrown) {
        if (!(thrown instanceof NaruError)) throw thrown
        await delay(clock, ORPHANS_RETRY_MS)
      }
    }
  }

  /** Nobody waits for the end of this node's session then. Without a controller to tell, they do. */
  async #leave(): Promise<void> {
    try {
      await this.#agent.leave(LEAVE_TIMEOUT_MS)
    } catch (thrown) {
      const { reason, message } = NaruError.from(thrown)
      this.#options.logger.warn({ reason }, `the controller was not told of the stop: ${message}`)
    }
  }
}

function registrationOf({ identity, settings, addresses, storage }: ClusterPartOptions, incarnation: string) {
  return {
    directoryId: identity.directoryId,
    incarnation,
    rack: settings.rack,
    clientAddress: addresses.client,
    peerAddress: addresses.peer,
    release: VERSION,
    cleanStopEpoch: storage.directory.cleanStopNodeEpoch,
    directoryEpoch: storage.registeredEpoch,
  }
}

function groupOptions(settings: Settings): {
  settings: Partial<GroupSettings>
  limits: Partial<GroupLimits>
} {
  return {
    settings: {
      releaseTimeoutMs: settings['group.release.timeout.ms'],
      offsetsRetentionMs: settings['offsets.retention.ms'],
    },
    limits: {
      sessionTimeoutMinMs: settings['group.min.session.timeout.ms'],
      sessionTimeoutMaxMs: settings['group.max.session.timeout.ms'],
    },
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
