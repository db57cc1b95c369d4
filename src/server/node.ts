import { readFileSync } from 'node:fs'
import { assert } from '../base/assert.ts'
import type { NaruError } from '../base/errors.ts'
import type { Logger } from '../base/logger.ts'
import { LevelStore } from '../ports/level-store.ts'
import { NodeDisk } from '../ports/node-disk.ts'
import { SystemClock } from '../ports/system-clock.ts'
import { SystemPrng } from '../ports/system-prng.ts'
import type { ServiceHandlers } from '../ports/transport.ts'
import { initCompression } from '../records/compression.ts'
import { GrpcServer } from '../rpc/grpc-server.ts'
import { GrpcTransport } from '../rpc/grpc-transport.ts'
import { healthHandlers } from '../rpc/health-service.ts'
import { HttpServer, statusRoutes } from '../rpc/http-server.ts'
import { reflectionHandlers } from '../rpc/reflection-service.ts'
import type { GrpcServerLimits } from '../rpc/server-limits.ts'
import { Broker } from './broker.ts'
import { NodeHealth } from './node-health.ts'
import type { Settings } from './settings.ts'

/** Written by the build; the same relative place from `src` and from `dist`. */
const DESCRIPTOR_SET = new URL('../../dist/proto/naru.binpb', import.meta.url)

/** As `host:port`, with the ports that were really bound. */
export interface NodeAddresses {
  readonly client: string
  readonly http: string
  readonly peer: string
}

/**
 * A whole node on this machine's own ports: the broker, and the servers that make it reachable.
 * Life: `start` -> `stop`, which may come at any moment; `onFailed` in between if only a restart can help.
 */
export class Node {
  readonly #options: NodeOptions
  readonly #clock = new SystemClock()
  readonly #broker: Broker
  readonly #clients: GrpcServer
  readonly #peers: GrpcServer
  readonly #http: HttpServer
  readonly #health: NodeHealth
  #addresses: NodeAddresses | undefined
  #stopping: Promise<void> | undefined

  constructor(options: NodeOptions) {
    const { settings, logger } = options
    this.#options = options
    this.#broker = new Broker({
      ...options,
      clock: this.#clock,
      disk: new NodeDisk(),
      prng: new SystemPrng(),
      transport: new GrpcTransport(),
      openStore: openLevelStore,
    })
    this.#health = new NodeHealth(this.#broker)
    const { handlers, peerHandlers } = this.#broker
    this.#clients = new GrpcServer({
      handlers: this.#withStatus(handlers),
      logger,
      limits: clientLimits(settings),
    })
    this.#peers = new GrpcServer({ handlers: this.#withStatus(peerHandlers), logger, limits: PEER_LIMITS })
    this.#http = new HttpServer({ routes: statusRoutes(this.#health) })
  }

  /** As `host:port`, with the ports that were really bound. */
  get addresses(): NodeAddresses {
    assert(this.#addresses !== undefined, 'the addresses of a node are known once it has started')
    return this.#addresses
  }

  /** Resolves when the node serves; with `cluster.peers` that takes as long as they do. Fails if `stop` comes first. */
  async start(): Promise<void> {
    try {
      await initCompression()
      this.#addresses = await this.#listen()
      await this.#broker.start(this.#addresses)
      this.#health.changed()
    } catch (thrown) {
      await this.stop()
      throw thrown
    }
  }

  /** Orderly: calls under way are answered, all is synced, and the next start needs no recovery. Idempotent. */
  stop(): Promise<void> {
    this.#stopping ??= this.#stop()
    return this.#stopping
  }

  async #stop(): Promise<void> {
    const startMs = this.#clock.monotonicMs()
    await this.#broker.drain()
    this.#broker.startDraining()
    this.#health.changed()
    const leftMs = this.#options.settings['drain.timeout.ms'] - (this.#clock.monotonicMs() - startMs)
    await this.#clients.drain({ timeoutMs: Math.max(CALLS_DRAIN_MS_MIN, leftMs) })
    await this.#http.close()
    // The peers' port is needed to the end: leaderships are handed over.
    await this.#broker.close()
    this.#peers.close()
    this.#clock.close()
  }

  /** Before the broker starts: others may be waiting for this node as it does for them. */
  async #listen(): Promise<NodeAddresses> {
    const { settings } = this.#options
    const host = settings['listen.address']
    const client = await this.#clients.listen({ host, port: settings['client.port'] })
    const http = await this.#http.listen({ host, port: settings['http.port'] })
    const peer = await this.#peers.listen({ host, port: settings['peer.port'] })
    const advertised = settings['advertised.address'] || host
    return {
      client: joinAddress(advertised, client),
      http: joinAddress(host, http),
      peer: joinAddress(advertised, peer),
    }
  }

  #withStatus(handlers: ServiceHandlers): ServiceHandlers {
    const called = new Map([...handlers, ...healthHandlers(this.#health)])
    const services = new Set([...serviceNames(called.keys()), 'grpc.reflection.v1.ServerReflection'])
    return new Map([
      ...called,
      ...reflectionHandlers({ descriptorSet: readFileSync(DESCRIPTOR_SET), services }),
    ])
  }
}

export interface NodeOptions {
  readonly settings: Settings
  readonly logger: Logger
  /** The disk failed or the cluster refuses this node: it serves nothing any more. Called once. */
  readonly onFailed: (error: NaruError) => void
}

/** For calls under way, also where the handover of partitions took all of `drain.timeout.ms`. */
const CALLS_DRAIN_MS_MIN = 2_000

const MIB = 1024 * 1024

/** Few connections, each for a long time, with much on its way. */
const PEER_LIMITS: Partial<GrpcServerLimits> = {
  receiveMessageBytesMax: 32 * MIB,
  streamWindowBytes: 8 * MIB,
  connectionWindowBytes: 32 * MIB,
  requestBytesPerConnectionMax: 256 * MIB,
  requestBytesMax: 1024 * MIB,
  streamsPerConnectionMax: 10_000,
  // All nodes of a cluster may be behind one address.
  connectionsPerAddressMax: 5_000,
  connectionAgeMs: undefined,
  // The node at the other end asks by itself, and comes anew over another connection: this is for what nobody holds any more.
  keepaliveTimeMs: 60_000,
}

function clientLimits(settings: Settings): Partial<GrpcServerLimits> {
  return {
    connectionsMax: settings['connections.max'],
    connectionsPerAddressMax: settings['connections.per.address.max'],
    streamsPerConnectionMax: settings['streams.per.connection.max'],
    requestBytesMax: settings['request.bytes.in.flight.max'],
    requestBytesPerConnectionMax: settings['connection.request.bytes.in.flight.max'],
    readerStallTimeoutMs: settings['reader.stall.timeout.ms'],
  }
}

function serviceNames(paths: Iterable<string>): string[] {
  return [...new Set([...paths].map(path => path.split('/')[1] as string))]
}

function joinAddress(host: string, port: number): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}

async function openLevelStore(directory: string, { anew }: { readonly anew: boolean }): Promise<LevelStore> {
  if (anew) await LevelStore.destroy(directory)
  return LevelStore.open(directory)
}
