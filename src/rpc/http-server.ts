import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { NaruError } from '../base/errors.ts'

export interface HttpAnswer {
  readonly status: number
  readonly contentType: string
  readonly body: string
}

/** A path that is read with GET or HEAD, and what it says now. */
export type HttpRoutes = ReadonlyMap<string, () => HttpAnswer | Promise<HttpAnswer>>

export interface NodeStatusSource {
  /** Undefined: this process works. Else what is broken so that only a restart helps; never asks the quorum. */
  unhealthyBecause(): string | undefined
  /** Undefined: send this node calls. Else what is still missing. */
  unreadyBecause(): string | undefined
}

/** /healthz and /readyz for Kubernetes and load balancers. */
export function statusRoutes(source: NodeStatusSource): HttpRoutes {
  return new Map([
    ['/healthz', () => statusAnswer(source.unhealthyBecause())],
    ['/readyz', () => statusAnswer(source.unreadyBecause())],
  ])
}

function statusAnswer(because: string | undefined): HttpAnswer {
  return because === undefined
    ? { status: 200, contentType: TEXT, body: 'ok\n' }
    : { status: 503, contentType: TEXT, body: `${because}\n` }
}

/** The HTTP port of a node: small answers for machines. Everything that is for users is gRPC. */
export class HttpServer {
  readonly #routes: HttpRoutes
  readonly #server: Server

  constructor(options: { routes: HttpRoutes }) {
    this.#routes = options.routes
    this.#server = createServer(
      {
        maxHeaderSize: HEADER_BYTES_MAX,
        headersTimeout: REQUEST_TIMEOUT_MS,
        requestTimeout: REQUEST_TIMEOUT_MS,
        keepAliveTimeout: KEEP_ALIVE_MS,
        connectionsCheckingInterval: REQUEST_TIMEOUT_MS,
      },
      (request, response) => void this.#answer(request, response),
    )
    this.#server.maxConnections = CONNECTIONS_MAX
    this.#server.on('clientError', (_error, socket) => socket.destroy())
  }

  /** Resolves with the port once it listens (of use with port 0). */
  listen(address: { host: string; port: number }): Promise<number> {
    const { host, port } = address
    return new Promise((resolve, reject) => {
      this.#server.on('error', cause =>
        reject(
          new NaruError('INVALID_CONFIG', `cannot listen on ${host}:${port}: ${cause.message}`, { cause }),
        ),
      )
      this.#server.listen({ host, port }, () => {
        const bound = this.#server.address()
        resolve(typeof bound === 'object' && bound ? bound.port : port)
      })
    })
  }

  close(): Promise<void> {
    return new Promise(resolve => {
      this.#server.close(() => resolve())
      this.#server.closeAllConnections()
    })
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = request.url?.split('?')[0] ?? ''
    const route = this.#routes.get(path)
    // A body would only be read to be thrown away.
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      send(
        response,
        { status: 405, contentType: TEXT, body: 'use GET\n' },
        { allow: 'GET, HEAD', connection: 'close' },
      )
      return
    }
    if (!route) {
      const known = [...this.#routes.keys()].join(' ')
      send(response, { status: 404, contentType: TEXT, body: `there is: ${known}\n` })
      return
    }
    try {
      send(response, await route())
    } catch {
      send(response, { status: 500, contentType: TEXT, body: 'failed\n' })
    }
  }
}

function send(response: ServerResponse, answer: HttpAnswer, headers: Record<string, string> = {}): void {
  if (response.headersSent || response.destroyed) return
  response.writeHead(answer.status, {
    'content-type': answer.contentType,
    'content-length': Buffer.byteLength(answer.body),
    'cache-control': 'no-store',
    ...headers,
  })
  // Node leaves the body out for HEAD by itself.
  response.end(answer.body)
}

const TEXT = 'text/plain; charset=utf-8'
const HEADER_BYTES_MAX = 8 * 1024
const REQUEST_TIMEOUT_MS = 5_000
const KEEP_ALIVE_MS = 5_000
const CONNECTIONS_MAX = 256
