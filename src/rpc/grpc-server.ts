import { createServer, type Server, type Socket } from 'node:net'
import * as grpc from '@grpc/grpc-js'
import { NaruError } from '../base/errors.ts'
import type { ServiceHandlers } from '../ports/transport.ts'
import { Connections } from './connections.ts'
import type { RpcLogger } from './logger.ts'
import { OpenGrpcServer } from './open-grpc-server.ts'
import { RequestBytes } from './request-bytes.ts'
import { ServerCalls } from './server-calls.ts'
import { GRPC_SERVER_LIMITS, type GrpcServerLimits, libraryOptions } from './server-limits.ts'

export interface GrpcServerOptions {
  readonly handlers: ServiceHandlers
  readonly logger: RpcLogger
  readonly limits?: Partial<GrpcServerLimits>
  /** Plain text if absent: only for addresses that strangers do not reach. */
  readonly credentials?: grpc.ServerCredentials
}

export interface GrpcServerUsage {
  readonly connections: number
  readonly calls: number
  readonly requestBytes: number
  readonly sendBufferBytes: number
}

/**
 * Serves a map of handlers over gRPC. The handlers see the Transport port only; HTTP/2, limits and shutdown
 * stay here. TCP connections are accepted by this class (for the limits on them) and handed to grpc-js.
 *
 * Life: `listen` -> (`startDraining` ->) `drain` or `close`. A draining server refuses new calls with
 * NODE_DRAINING, tells its connections to go (GOAWAY) and waits for the calls that it has accepted: to their
 * handlers it looks as if the client had half-closed, and the client sees NODE_DRAINING after the last answer.
 */
export class GrpcServer {
  readonly #logger: RpcLogger
  readonly #limits: GrpcServerLimits
  readonly #requestBytes: RequestBytes
  readonly #connections: Connections
  readonly #calls: ServerCalls
  readonly #server: OpenGrpcServer
  readonly #injector: ReturnType<OpenGrpcServer['createConnectionInjector']>
  readonly #listener: Server
  readonly #sweepTimer: NodeJS.Timeout
  #isDraining = false
  #isClosed = false

  constructor(options: GrpcServerOptions) {
    this.#logger = options.logger
    const limits = { ...GRPC_SERVER_LIMITS, ...options.limits }
    this.#limits = limits
    this.#requestBytes = new RequestBytes(limits.requestBytesMax)
    this.#connections = new Connections(limits, this.#requestBytes)
    this.#calls = new ServerCalls({
      handlers: options.handlers,
      limits,
      logger: options.logger,
      connections: this.#connections,
    })
    const library = libraryOptions(limits)
    this.#server = new OpenGrpcServer({
      grpc: { ...library.grpc, interceptors: [(_method, call) => this.#calls.intercept(call)] },
      http2: library.http2,
      connectionWindowBytes: limits.connectionWindowBytes,
      onSession: session => this.#connections.join(session),
      onStream: (stream, headers) => this.#calls.arrive(stream, headers),
    })
    this.#injector = this.#server.createConnectionInjector(
      options.credentials ?? grpc.ServerCredentials.createInsecure(),
    )
    this.#listener = createServer({ noDelay: true }, socket => this.#accept(socket))
    this.#sweepTimer = setInterval(
      () => this.#sweep(),
      Math.min(SWEEP_MS_MAX, limits.readerStallTimeoutMs / 4, limits.requestTimeoutMs / 4),
    )
    this.#sweepTimer.unref()
  }

  /** Resolves with the port once it listens (of use with port 0). */
  listen(address: { host: string; port: number }): Promise<number> {
    const { host, port } = address
    return new Promise((resolve, reject) => {
      const onError = (cause: Error) => reject(cannotListen(host, port, cause))
      this.#listener.once('error', onError)
      this.#listener.listen({ host, port, backlog: LISTEN_BACKLOG_MAX }, () => {
        this.#listener.off('error', onError)
        this.#listener.on('error', err => this.#logger.error({ err }, 'accepting connections failed'))
        const bound = this.#listener.address()
        resolve(typeof bound === 'object' && bound ? bound.port : port)
      })
    })
  }

  /** What the server holds now, for metrics. */
  get usage(): GrpcServerUsage {
    return {
      connections: this.#connections.count,
      calls: this.#calls.count,
      requestBytes: this.#requestBytes.bytes,
      sendBufferBytes: this.#calls.sendBufferBytes,
    }
  }

  /** From now on new calls are refused; the accepted ones are asked to end. */
  startDraining(): void {
    if (this.#isDraining) return
    this.#isDraining = true
    this.#calls.startDraining()
    this.#listener.close()
    this.#connections.sendAway()
  }

  /** Waits for the accepted calls, ends what is left at the limit with NODE_DRAINING, and closes. */
  async drain(options: { timeoutMs: number }): Promise<void> {
    this.startDraining()
    await this.#calls.idle(options.timeoutMs)
    this.#calls.endAll()
    await this.#calls.idle(LAST_STATUS_TIMEOUT_MS)
    // A call is over when its last bytes are with HTTP/2; a connection, when they have left.
    await this.#connections.empty(LAST_STATUS_TIMEOUT_MS)
    this.close()
  }

  /** At once, whatever is under way. */
  close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.startDraining()
    clearInterval(this.#sweepTimer)
    this.#injector.destroy()
    this.#server.forceShutdown()
    this.#connections.destroyAll()
  }

  #accept(socket: Socket): void {
    const limit = this.#connections.admit(socket, performance.now())
    if (limit === undefined) {
      this.#injector.injectConnection(socket)
      return
    }
    this.#logger.warn(
      { address: socket.remoteAddress, [limit]: this.#limits[limit] },
      'refused a connection: too many are open',
    )
    socket.on('error', () => {})
    socket.destroy()
  }

  #sweep(): void {
    const nowMs = performance.now()
    this.#connections.sweep(nowMs)
    this.#calls.sweep(nowMs)
  }
}

function cannotListen(host: string, port: number, cause: Error): NaruError {
  return new NaruError(
    'INVALID_CONFIG',
    `cannot listen on ${host}:${port}: ${cause.message} (stop what uses it, or choose another address)`,
    { cause },
  )
}

const SWEEP_MS_MAX = 1_000
/** Connections that the kernel holds for us while this process is busy; Linux caps it at somaxconn. */
const LISTEN_BACKLOG_MAX = 1_024
/**
 * For the last statuses to reach clients that read, though their process is busy or their network slow: what is still on its
 * way when a connection is destroyed is lost, and with it what the client knows of its last calls.
 */
const LAST_STATUS_TIMEOUT_MS = 5_000
