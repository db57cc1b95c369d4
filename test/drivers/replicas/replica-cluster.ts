import { NaruError } from '../../../src/base/errors.ts'
import type { ViewOf } from '../../../src/drivers/replicas/derived-view.ts'
import type { Acks, PartitionLeader, ProduceOutcome } from '../../../src/drivers/replicas/partition-leader.ts'
import { ReplicaSet } from '../../../src/drivers/replicas/replica-set.ts'
import type { ReplicationLimits } from '../../../src/drivers/replicas/replication-options.ts'
import { DiskReserve } from '../../../src/log/disk-reserve.ts'
import type { LogEvent } from '../../../src/log/log-core.ts'
import { LogDirectory } from '../../../src/log/log-directory.ts'
import type { LogDirectoryLimits } from '../../../src/log/log-directory-options.ts'
import type { PartitionLog } from '../../../src/log/partition-log.ts'
import { MetadataImage } from '../../../src/metadata/metadata-image.ts'
import type { Disk } from '../../../src/ports/disk.ts'
import type { MessageStream, Transport } from '../../../src/ports/transport.ts'
import type { ReplicaTiming } from '../../../src/replication/replica-timing.ts'
import { EventScheduler } from '../../harness/event-scheduler.ts'
import { SeededPrng } from '../../harness/seeded-prng.ts'
import { SimMachine } from '../../harness/sim-machine.ts'
import { SimNetwork } from '../../harness/sim-network.ts'
import { SimTransport, serveSimulated } from '../../harness/sim-transport.ts'
import { makeBatch, readAll } from '../../log/log-harness.ts'
import { ScriptedController, TOPIC_ID } from './scripted-controller.ts'

const PORT = 7452

export interface ReplicaNode {
  readonly nodeId: number
  readonly host: string
  machine: SimMachine
  directoryId: string
  image: MetadataImage
  /** Entries of the metadata applied. */
  applied: number
  /** Metadata do not come while it is. */
  isDeaf: boolean
  replicas: ReplicaSet | undefined
  directory: LogDirectory | undefined
  reserve: DiskReserve | undefined
  /** Of files, on its disk. */
  syncs: number
  readonly events: LogEvent[]
  readonly errors: NaruError[]
}

export interface ReplicaClusterOptions {
  readonly seed?: number
  readonly limits?: Partial<ReplicationLimits>
  readonly logLimits?: Partial<LogDirectoryLimits>
  readonly timing?: Partial<ReplicaTiming>
  /** Of each life of a process. */
  readonly viewOf?: (node: ReplicaNode) => ViewOf
}

/** Three nodes' replica sets on simulated machines and network, with a controller that does what the test says. */
export class ReplicaCluster {
  readonly scheduler: EventScheduler
  readonly network: SimNetwork
  readonly controller = new ScriptedController()
  readonly nodes: ReplicaNode[]
  readonly #prng: SeededPrng
  readonly #options: ReplicaClusterOptions
  /** Replication streams, and their frames. */
  readonly frameCounts = { opens: 0, toLeaders: 0, toFollowers: 0 }
  /** Undefined answers: the controller cannot be reached. */
  isControllerAway = false
  /** What becomes of proposals, and of the answers to them, while the controller is heard otherwise. */
  proposals: 'answered' | 'lost' | 'done, and the answer lost' = 'answered'

  private constructor(options: ReplicaClusterOptions) {
    this.#options = options
    this.#prng = new SeededPrng(options.seed ?? 1)
    this.scheduler = new EventScheduler(this.#prng.fork('scheduler'))
    this.network = new SimNetwork({ scheduler: this.scheduler, prng: this.#prng.fork('network') })
    this.nodes = [1, 2, 3].map(nodeId => this.#makeNode(nodeId))
    this.controller.onCommit = () => {
      for (const node of this.nodes) this.applyLater(node)
    }
  }

  static async start(options: ReplicaClusterOptions = {}): Promise<ReplicaCluster> {
    const cluster = new ReplicaCluster(options)
    for (const node of cluster.nodes) await cluster.boot(node)
    return cluster
  }

  node(nodeId: number): ReplicaNode {
    return this.nodes[nodeId - 1] as ReplicaNode
  }

  leader(nodeId: number, partition = 0): PartitionLeader {
    const leader = this.node(nodeId).replicas?.leader(TOPIC_ID, partition)
    if (!leader) throw new Error(`node ${nodeId} leads nothing`)
    return leader
  }

  log(nodeId: number, partition = 0): PartitionLog {
    for (const log of this.node(nodeId).directory?.logs ?? [])
      if (log.name === `logs-${partition}`) return log
    throw new Error(`node ${nodeId} has no log`)
  }

  /** A process of the node starts: it registers, opens what it has, and is unfenced. */
  async boot(node: ReplicaNode): Promise<void> {
    const { clock, incarnation } = node.machine
    const disk = countingSyncs(node.machine.disk, node)
    this.network.powerOn(node.host)
    const peerAddress = `${node.host}:${PORT}`
    const { nodeId, directoryId } = node
    const nodeEpoch = this.controller.register({ nodeId, directoryId, peerAddress })
    node.image = new MetadataImage()
    node.applied = 0
    const transport = counted(new SimTransport(this.network, incarnation, node.host), this.frameCounts)
    await this.scheduler.finish(
      (async () => {
        await disk.makeDirectory('data')
        await disk.syncDirectory('.')
        const onError = (error: unknown) => void node.errors.push(NaruError.from(error))
        node.directory = await LogDirectory.open({
          disk,
          clock,
          dataDirectory: 'data',
          onError,
          limits: this.#options.logLimits ?? {},
        })
        const reserve = new DiskReserve({ disk, clock, dataDirectory: 'data', freeBytesMin: 0 })
        node.reserve = reserve
        const replicas = new ReplicaSet({
          nodeId,
          directory: node.directory,
          clock,
          reserve,
          settingDefaults: {},
          ...(this.#options.viewOf && { viewOf: this.#options.viewOf(node) }),
          onEvent: event => node.events.push(event),
          onError,
          replication: {
            clusterId: 'cluster',
            directoryId,
            transport,
            prng: this.#prng.fork(`${node.host} ${nodeEpoch}`),
            alterPartitions: async proposals => {
              await new Promise<void>(resolve => clock.setTimer(1, resolve))
              if (this.isControllerAway) throw new NaruError('NOT_CONTROLLER', 'away')
              if (this.proposals === 'lost') throw new NaruError('NOT_CONTROLLER', 'lost')
              const answers = this.controller.alter(nodeId, proposals)
              if (this.proposals !== 'answered') throw new NaruError('NOT_CONTROLLER', 'the answer is lost')
              return answers
            },
            reportDamage: async () => {
              await new Promise<void>(resolve => clock.setTimer(1, resolve))
              if (this.isControllerAway) throw new NaruError('NOT_CONTROLLER', 'away')
              this.controller.reportDamage(nodeId)
            },
            lastHeardControllerMs: () => (this.isControllerAway ? undefined : clock.monotonicMs()),
            sessionTimeoutMs: 2000,
            ...(this.#options.limits && { limits: this.#options.limits }),
            // Who leads is the test's matter.
            timing: { preferredReadyMs: Number.POSITIVE_INFINITY, ...this.#options.timing },
          },
        })
        this.#apply(node)
        const opened = replicas.open(node.image, { nodeEpoch })
        node.replicas = replicas
        await opened
      })(),
    )
    const handlers = node.replicas?.handlers ?? new Map()
    serveSimulated({ network: this.network, incarnation, address: peerAddress, handlers })
    this.controller.unfence(nodeId)
  }

  kill(node: ReplicaNode): void {
    node.machine.kill()
    node.replicas = undefined
    node.directory = undefined
  }

  /** What was not synced is lost. */
  powerCut(node: ReplicaNode): void {
    node.machine.powerCut()
    node.replicas = undefined
    node.directory = undefined
  }

  /** The node comes back with an empty disk. */
  replaceDisk(node: ReplicaNode): void {
    const { scheduler } = this
    node.machine = new SimMachine(99, {
      name: node.host,
      scheduler,
      prng: this.#prng.fork(`${node.host} new disk`),
    })
    node.directoryId = `${node.directoryId}x`
  }

  produce(leader: PartitionLeader, value: string, acks: Acks = 'ALL'): Promise<ProduceOutcome> {
    return this.produceBatch(leader, makeBatch({ value }), acks)
  }

  produceBatch(leader: PartitionLeader, batch: Buffer, acks: Acks = 'ALL'): Promise<ProduceOutcome> {
    return new Promise((resolve, reject) => {
      try {
        leader.produce(batch, { acks, done: resolve })
      } catch (thrown) {
        reject(thrown)
      }
    })
  }

  batch(value: string, producer: { producerId: number; baseSequence: number }): Buffer {
    return makeBatch({ value, ...producer })
  }

  run<T>(work: Promise<T>, timeMsMax = 20_000): Promise<T> {
    return this.scheduler.finish(work, { timeMsMax })
  }

  until(condition: () => boolean, timeMsMax = 20_000): Promise<void> {
    return this.scheduler.runUntil(condition, { timeMsMax })
  }

  /** All values of a node's log, committed or not. */
  async values(nodeId: number, partition = 0): Promise<string[]> {
    const records = await this.run(readAll(this.log(nodeId, partition), 100_000))
    return records.map(record => record.slice(record.indexOf(':') + 1))
  }

  applyLater(node: ReplicaNode): void {
    this.scheduler.schedule(1, () => this.#apply(node), { label: `metadata ${node.host}` })
  }

  #apply(node: ReplicaNode): void {
    if (node.isDeaf || !node.machine.incarnation.isAlive) return
    const entries = this.controller.entries.slice(node.applied)
    node.applied = this.controller.entries.length
    for (const entry of entries) {
      const delta = node.image.apply(entry)
      node.replicas?.onMetadata(delta, node.image)
    }
  }

  #makeNode(nodeId: number): ReplicaNode {
    const host = `node-${nodeId}`
    const { scheduler } = this
    return {
      nodeId,
      host,
      machine: new SimMachine(nodeId, { name: host, scheduler, prng: this.#prng.fork(host) }),
      directoryId: `directory-${nodeId}`,
      image: new MetadataImage(),
      applied: 0,
      isDeaf: false,
      replicas: undefined,
      directory: undefined,
      reserve: undefined,
      syncs: 0,
      events: [],
      errors: [],
    }
  }
}

/** Counts the messages on the streams of a transport. */
function counted(transport: Transport, counts: ReplicaCluster['frameCounts']): Transport {
  const countedStream = (stream: MessageStream): MessageStream => ({
    metadata: stream.metadata,
    write: bytes => {
      counts.toLeaders++
      return stream.write(bytes)
    },
    end: () => stream.end(),
    fail: error => stream.fail(error),
    pause: () => stream.pause(),
    resume: () => stream.resume(),
    setHandlers: handlers =>
      stream.setHandlers({
        ...handlers,
        onMessage: bytes => {
          counts.toFollowers++
          handlers.onMessage(bytes)
        },
      }),
  })
  return {
    connect: (address, options) => {
      const channel = transport.connect(address, options)
      return {
        address,
        unary: (path, request, callOptions) => channel.unary(path, request, callOptions),
        close: () => channel.close(),
        stream: (path, callOptions) => {
          counts.opens++
          return countedStream(channel.stream(path, callOptions))
        },
      }
    },
  }
}

function countingSyncs(disk: Disk, node: ReplicaNode): Disk {
  return new Proxy(disk, {
    get(target, key) {
      if (key !== 'open') {
        const value = Reflect.get(target, key)
        return typeof value === 'function' ? value.bind(target) : value
      }
      return async (...given: Parameters<Disk['open']>) => {
        const file = await target.open(...given)
        const { sync } = file
        file.sync = () => {
          node.syncs++
          return sync.call(file)
        }
        return file
      }
    },
  })
}
