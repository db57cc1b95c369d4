import { assert } from '../base/assert.ts'
import type { Epoch } from '../base/brands.ts'
import { NaruError } from '../base/errors.ts'
import type { Logger } from '../base/logger.ts'
import { ControllerDriver } from '../drivers/controller/controller-driver.ts'
import { ProducerIds } from '../drivers/controller/producer-ids.ts'
import { SingleVoterLog } from '../drivers/controller/single-voter-log.ts'
import { ReplicaSet } from '../drivers/replicas/replica-set.ts'
import { DiskReserve } from '../log/disk-reserve.ts'
import type { LogEvent } from '../log/log-core.ts'
import { LogDirectory } from '../log/log-directory.ts'
import type { LogDirectoryLimits } from '../log/log-directory-options.ts'
import type { NodeIdentity } from '../log/node-file.ts'
import { Controller } from '../metadata/controller.ts'
import type { ControllerOptions } from '../metadata/controller-options.ts'
import type { Clock } from '../ports/clock.ts'
import { type Disk, makeDirectoryDurably } from '../ports/disk.ts'
import type { KeyValueStore } from '../ports/key-value-store.ts'
import { type Prng, randomUuid } from '../ports/prng.ts'
import type { CallContext, MessageStream, ServiceHandler, ServiceHandlers } from '../ports/transport.ts'
import { RateLimit } from '../service/rate-limit.ts'
import { serviceHandlers } from '../service/service-handlers.ts'
import { claimDataDirectory, dataPaths, identifyDataDirectory } from './data-directory.ts'
import { reportLogEvent } from './log-events.ts'
import type { Settings } from './settings.ts'
import { topicDefaults } from './topic-defaults.ts'
import { VERSION } from './version.ts'

/** A millisecond each, of every hundred: a flood of wrong names must not keep the node busy. */
const SUGGESTIONS_MAX = 20

export interface BrokerPorts {
  readonly disk: Disk
  readonly clock: Clock
  readonly prng: Prng
  readonly openStore: (directory: string) => Promise<KeyValueStore>
}

/**
 * A node without its sockets: data directory, metadata, partitions, and the handlers of its API. The simulator runs
 * this very class on its own ports.
 *
 * Life: `open` (identity, metadata) -> `serve` (register, open partitions) -> `close`. Before `serve` is done, every
 * call is refused with NODE_STARTING; from the start of `close` on, with NODE_DRAINING.
 */
export class Broker {
  readonly handlers: ServiceHandlers
  readonly identity: NodeIdentity
  readonly #parts: BrokerParts
  readonly #controllerOptions: ControllerOptions
  readonly #faults: Faults
  #refusal: NaruError | undefined = new NaruError('NODE_STARTING', 'this node is starting: try again')
  #nodeEpoch: Epoch | undefined

  private constructor(identity: NodeIdentity, parts: BrokerParts) {
    this.identity = identity
    this.#parts = parts
    this.#faults = parts.faults
    const { settings, clock, prng, logger, controller, replicas } = parts
    this.#controllerOptions = controllerOptions(settings)
    const producerIds = new ProducerIds({ allocate: () => this.#allocateProducerIds() })
    const handlers = serviceHandlers({
      nodeId: identity.nodeId,
      version: VERSION,
      clock,
      prng,
      logger,
      controller,
      controllerOptions: this.#controllerOptions,
      replicas,
      producerIds,
      suggestions: new RateLimit(clock, { max: SUGGESTIONS_MAX, windowMs: 100 }),
      autoCreateTopics: settings['auto.create.topics.enable'],
      produceBytesInFlightMax: settings['request.bytes.in.flight.max'],
    })
    this.handlers = gated(handlers, () => this.refusal)
  }

  /** Opens or makes the data directory and loads the metadata. Refuses a directory that is used, foreign or damaged. */
  static async open(options: BrokerOptions): Promise<Broker> {
    const { settings, disk, clock, prng, logger } = options
    const dataDirectory = settings['data.dir']
    const paths = dataPaths(dataDirectory)
    await makeDirectoryDurably(disk, dataDirectory)
    const { identity, isNew } = await identifyDataDirectory(disk, dataDirectory, {
      nodeId: settings['node.id'],
      prng,
    })
    const store = await options.openStore(paths.state)
    const faults = new Faults(options)
    try {
      const onBackgroundError = (error: unknown) =>
        logger.error({ err: error }, 'a background task of the logs failed; it is tried again')
      let reserve: DiskReserve | undefined
      const directory = await LogDirectory.open({
        disk,
        clock,
        dataDirectory,
        limits: logLimits(settings),
        isSpaceLow: () => reserve?.isLow ?? false,
        onError: error =>
          logger.error({ err: error }, 'a background task of the logs failed; it is tried again'),
      })
      reserve = new DiskReserve({
        disk,
        clock,
        dataDirectory,
        freeBytesMin: settings['disk.free.min'],
        onChange: isLow => {
          reportReserve(logger, settings, isLow)
          if (isLow) directory.purgeDeleted().catch(onBackgroundError)
        },
        onError: error => logger.error({ err: error }, 'the free space of the disk cannot be told'),
      })
      const controller = await openMetadata(options, { directory, faults, raft: paths.raft })
      const cluster = await formCluster(controller, identity)
      if (isNew) await claimDataDirectory(disk, dataDirectory, cluster)
      directory.checkCleanStop({ nodeEpoch: controller.image.nodes.lastEpoch(identity.nodeId) })
      const replicas = new ReplicaSet({
        nodeId: identity.nodeId,
        directory,
        clock,
        reserve,
        settingDefaults: topicDefaults(settings),
        onEvent: event => faults.onLogEvent(event),
        onError: error => logger.error({ reason: error.reason }, error.message),
      })
      return new Broker(cluster, { ...options, faults, store, reserve, directory, controller, replicas })
    } catch (thrown) {
      await store.close()
      throw thrown
    }
  }

  /** Registers this process and opens its partitions; the API serves when it resolves. */
  async serve(addresses: { client: string; peer: string }): Promise<void> {
    const { settings, prng, controller, replicas, reserve, directory, logger, clock } = this.#parts
    const startedMs = clock.monotonicMs()
    await reserve.start()
    const { clusterId, nodeId, directoryId } = this.identity
    const registration = {
      clusterId,
      nodeId,
      directoryId,
      incarnation: randomUuid(prng),
      rack: settings.rack,
      clientAddress: addresses.client,
      peerAddress: addresses.peer,
    }
    const options = this.#controllerOptions
    // LevelDB's lock says that no other process of this node lives.
    const { nodeEpoch } = await controller.submit(newest =>
      new Controller(newest, options).nodes.register(registration, { isSessionAlive: false }),
    )
    this.#nodeEpoch = nodeEpoch
    await controller.submit(newest => new Controller(newest, options).nodes.unfence({ nodeId, nodeEpoch }))
    controller.subscribe((delta, image) => replicas.onMetadata(delta, image))
    await replicas.open(controller.image)
    reportRecovery(logger, directory, clock.monotonicMs() - startedMs)
    this.#refusal = undefined
  }

  /** The disk failed: only a restart can help. */
  get failure(): NaruError | undefined {
    return this.#faults.failure
  }

  /** Why calls are refused now; undefined: the node serves. */
  get refusal(): NaruError | undefined {
    return this.failure ?? this.#refusal
  }

  /** From now on new calls are refused; parked ones still get their answers. */
  startDraining(): void {
    this.#refusal = draining()
  }

  /** Orderly stop: everything appended is synced, and the next start needs no recovery. */
  async close(): Promise<void> {
    this.startDraining()
    const { replicas, reserve, directory, controller, store } = this.#parts
    reserve.stop()
    await replicas.close(draining())
    // The metadata log first: its sync is on the scheduler that the directory owns.
    await controller.close()
    await directory.close(this.#nodeEpoch === undefined ? {} : { nodeEpoch: this.#nodeEpoch })
    await store.close()
  }

  async #allocateProducerIds(): Promise<{ first: number; count: number }> {
    const { nodeId } = this.identity
    const nodeEpoch = this.#nodeEpoch
    assert(nodeEpoch !== undefined, 'producer ids are handed out by a registered node')
    const options = this.#controllerOptions
    const block = await this.#parts.controller.submit(newest =>
      new Controller(newest, options).allocateProducerIds({ nodeId, nodeEpoch }),
    )
    return { first: block.firstProducerId, count: block.count }
  }
}

export interface BrokerOptions extends BrokerPorts {
  readonly settings: Settings
  readonly logger: Logger
  /** A write or sync failed: the data directory is offline until a restart. Called once. */
  readonly onFailed: (error: NaruError) => void
}

interface BrokerParts extends BrokerOptions {
  readonly faults: Faults
  readonly store: KeyValueStore
  readonly reserve: DiskReserve
  readonly directory: LogDirectory
  readonly controller: ControllerDriver
  readonly replicas: ReplicaSet
}

/** Loads the metadata log; from then on this node, the only voter, is the controller. */
async function openMetadata(
  options: BrokerOptions,
  place: { directory: LogDirectory; faults: Faults; raft: string },
): Promise<ControllerDriver> {
  const { disk, clock } = options
  await makeDirectoryDurably(disk, place.raft)
  const controller = new ControllerDriver()
  const log = await SingleVoterLog.open({
    clock,
    listener: controller,
    onEntry: entry => controller.load(entry),
    onEvent: event => place.faults.onLogEvent(event),
    resources: place.directory.resources,
    directory: place.raft,
  })
  controller.lead(log)
  return controller
}

function logLimits(settings: Settings): Partial<LogDirectoryLimits> {
  return {
    syncsInFlightMax: settings['syncs.in.flight.max'],
    openFilesMax: settings['open.files.max'],
    tailsTotalBytesMax: settings['tail.bytes.max'],
    appendPendingBytesMax: settings['append.pending.bytes.max'],
    retentionIntervalMs: settings['log.retention.check.interval.ms'],
    producerIdExpirationMs: settings['producer.id.expiration.ms'],
    scrubBytesPerSecond: settings['scrub.bytes.per.second'],
  }
}

/** The identity with the cluster's id: the one in the log, or the drawn one that the log now holds. */
async function formCluster(controller: ControllerDriver, identity: NodeIdentity): Promise<NodeIdentity> {
  const { clusterId } = await controller.submit(newest =>
    new Controller(newest, { nodesListed: 1, defaultPartitions: 1 }).formCluster(identity.clusterId),
  )
  return { ...identity, clusterId }
}

function controllerOptions(settings: Settings): ControllerOptions {
  return {
    nodesListed: 1,
    defaultPartitions: settings['num.partitions'],
    defaultReplicationFactor: Math.min(settings['default.replication.factor'], 1),
    topicDefaults: topicDefaults(settings),
  }
}

/** Watches what the logs tell. The first failed write or sync anywhere is the end of this life (docs/operating.md). */
class Faults {
  readonly #logger: Logger
  readonly #onFailed: (error: NaruError) => void
  failure: NaruError | undefined

  constructor(options: { logger: Logger; onFailed: (error: NaruError) => void }) {
    this.#logger = options.logger
    this.#onFailed = options.onFailed
  }

  onLogEvent(event: LogEvent): void {
    reportLogEvent(this.#logger, event)
    if (event.kind !== 'offline' || this.failure !== undefined) return
    this.failure = event.error
    this.#onFailed(event.error)
  }
}

/** Every call is refused while `refusal` gives an error. */
function gated(handlers: ServiceHandlers, refusal: () => NaruError | undefined): ServiceHandlers {
  return new Map([...handlers].map(([path, handler]) => [path, gatedHandler(handler, refusal)]))
}

function gatedHandler(handler: ServiceHandler, refusal: () => NaruError | undefined): ServiceHandler {
  if (handler.kind === 'unary') {
    return {
      kind: 'unary',
      handle: (request, context) => {
        const error = refusal()
        return error ? Promise.reject(error) : handler.handle(request, context)
      },
    }
  }
  return {
    ...handler,
    handle: (stream: MessageStream, context: CallContext) => {
      const error = refusal()
      if (!error) return handler.handle(stream, context)
      stream.setHandlers({ onMessage() {} })
      stream.fail(error)
    },
  }
}

/** What opening the partitions took, and what it found. */
function reportRecovery(logger: Logger, directory: LogDirectory, tookMs: number): void {
  const sum = { partitions: 0, bytes: 0, scannedBytes: 0, cutBytes: 0 }
  for (const log of directory.logs) {
    const { sizeBytes, scannedBytes, cutBytes, rebuilt } = log.openReport
    sum.partitions++
    sum.bytes += sizeBytes
    sum.scannedBytes += scannedBytes
    sum.cutBytes += cutBytes
    if (cutBytes > 0)
      logger.warn({ log: log.name, cutBytes }, 'a torn end of the log was cut: it was never acknowledged')
    if (rebuilt.length > 0) logger.info({ log: log.name, rebuilt }, 'derived files were rebuilt from the log')
  }
  const cleanStop = directory.cleanStopNodeEpoch !== undefined
  const facts = { ...sum, cleanStop, tookMs: Math.round(tookMs) }
  logger.info(
    facts,
    cleanStop || sum.partitions === 0
      ? 'the partitions are open'
      : 'the partitions are recovered after a stop that was not orderly',
  )
}

function draining(): NaruError {
  return new NaruError('NODE_DRAINING', 'this node is stopping: use another one, or try again')
}

function reportReserve(logger: Logger, settings: Settings, isLow: boolean): void {
  const facts = { dataDirectory: settings['data.dir'], freeBytesMin: settings['disk.free.min'] }
  if (isLow)
    logger.warn(facts, 'free disk space is below disk.free.min: records are refused until there is room')
  else logger.info(facts, 'there is room on the disk again: records are accepted')
}
