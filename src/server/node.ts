import { readFileSync } from 'node:fs'
import type { NaruError } from '../base/errors.ts'
import type { Logger } from '../base/logger.ts'
import { LevelStore } from '../ports/level-store.ts'
import { NodeDisk } from '../ports/node-disk.ts'
import { SystemClock } from '../ports/system-clock.ts'
import { SystemPrng } from '../ports/system-prng.ts'
import { initCompression } from '../records/compression.ts'
import { GrpcServer } from '../rpc/grpc-server.ts'
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
}

/**
 * A whole node on this machine's own ports: the broker, and the servers that make it reachable.
 * Life: `start` -> `stop`; `onFailed` in between if its disk fails.
 */
export class Node {
  readonly addresses: NodeAddresses
  readonly #settings: Settings
  readonly #clock: SystemClock
  readonly #broker: Broker
  readonly #grpc: GrpcServer
  readonly #http: HttpServer
  readonly #health: NodeHealth
  #stopping: Promise<void> | undefined

  private constructor(addresses: NodeAddresses, parts: NodeParts) {
    this.addresses = addresses
    this.#settings = parts.settings
    this.#clock = parts.clock
    this.#broker = parts.broker
    this.#grpc = parts.grpc
    this.#http = parts.http
    this.#health = parts.health
  }

  /** Resolves when the node serves. Whatever fails on the way is undone. */
  static async start(options: NodeOptions): Promise<Node> {
    const { settings, logger, onFailed } = options
    await initCompression()
    const clock = new SystemClock()
    const disk = new NodeDisk()
    const prng = new SystemPrng()
    const openStore = (directory: string) => LevelStore.open(directory)
    const broker = await Broker.open({ settings, logger, clock, disk, prng, openStore, onFailed })
    const health = new NodeHealth(broker)
    const called = new Map([...broker.handlers, ...healthHandlers(health)])
    const services = new Set([...serviceNames(called.keys()), 'grpc.reflection.v1.ServerReflection'])
    const reflection = reflectionHandlers({ descriptorSet: readFileSync(DESCRIPTOR_SET), services })
    const handlers = new Map([...called, ...reflection])
    const grpc = new GrpcServer({ handlers, logger, limits: grpcLimits(settings) })
    const http = new HttpServer({ routes: statusRoutes(health) })
    try {
      const host = settings['listen.address']
      const clientPort = await grpc.listen({ host, port: settings['client.port'] })
      const httpPort = await http.listen({ host, port: settings['http.port'] })
      const advertised = settings['advertised.address'] || host
      const addresses = { client: joinAddress(advertised, clientPort), http: joinAddress(host, httpPort) }
      await broker.serve({ client: addresses.client, peer: addresses.client })
      health.changed()
      return new Node(addresses, { settings, clock, broker, grpc, http, health })
    } catch (thrown) {
      grpc.close()
      await http.close()
      await broker.close()
      clock.close()
      throw thrown
    }
  }

  /** Orderly: calls under way are answered, all is synced, and the next start needs no recovery. Idempotent. */
  stop(): Promise<void> {
    this.#stopping ??= this.#stop()
    return this.#stopping
  }

  async #stop(): Promise<void> {
    this.#broker.startDraining()
    this.#health.changed()
    await this.#grpc.drain({ timeoutMs: this.#settings['drain.timeout.ms'] })
    await this.#http.close()
    await this.#broker.close()
    this.#clock.close()
  }
}

export interface NodeOptions {
  readonly settings: Settings
  readonly logger: Logger
  /** The disk failed: the node serves nothing any more, and only a restart can tell what is left. Called once. */
  readonly onFailed: (error: NaruError) => void
}

interface NodeParts {
  readonly settings: Settings
  readonly clock: SystemClock
  readonly broker: Broker
  readonly grpc: GrpcServer
  readonly http: HttpServer
  readonly health: NodeHealth
}

function grpcLimits(settings: Settings): Partial<GrpcServerLimits> {
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
