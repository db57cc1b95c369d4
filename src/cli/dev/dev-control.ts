import { timingSafeEqual } from 'node:crypto'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { explain } from '../errors.ts'
import type { DevNodeStatus } from './dev-node.ts'

const DEV_ACTIONS = ['kill', 'pause', 'resume', 'restart', 'stop'] as const
export type DevAction = (typeof DEV_ACTIONS)[number]

/** What other terminals may ask of a running `naru dev`. */
export interface DevControlled {
  status(): DevNodeStatus[]
  /** Of one node; a stop without a node is of all. Resolves with what to tell. */
  act(action: DevAction, nodeId: number | undefined): Promise<string>
}

export interface ControlAnswer {
  readonly told?: string
  readonly nodes?: readonly DevNodeStatus[]
  readonly failed?: { readonly message: string; readonly exitCode: number }
}

/** `POST /kill?node=2` with the token of the control file, from this machine: the other end of DevControlClient. */
export class DevControlServer {
  readonly #token: string
  readonly #controlled: DevControlled
  readonly #server: Server

  constructor(options: { token: string; controlled: DevControlled }) {
    this.#token = options.token
    this.#controlled = options.controlled
    this.#server = createServer((request, response) => void this.#answer(request, response))
    this.#server.maxConnections = CONNECTIONS_MAX
  }

  /** Resolves with the port. */
  listen(): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject)
      this.#server.listen({ host: '127.0.0.1', port: 0 }, () => {
        const bound = this.#server.address()
        resolve(typeof bound === 'object' && bound ? bound.port : 0)
      })
    })
  }

  close(): Promise<void> {
    return new Promise(resolve => {
      this.#server.close(() => resolve())
      this.#server.closeIdleConnections()
    })
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    request.resume()
    const isAllowed = request.method === 'POST' && this.#hasToken(request)
    const answer = isAllowed ? await this.#run(request.url ?? '') : undefined
    response.writeHead(answer ? 200 : 403, { 'content-type': 'application/json', connection: 'close' })
    response.end(JSON.stringify(answer ?? {}))
  }

  async #run(path: string): Promise<ControlAnswer> {
    const { pathname, searchParams } = new URL(path, 'http://127.0.0.1')
    const name = pathname.slice(1)
    const node = searchParams.get('node')
    try {
      if (name === 'status') return { nodes: this.#controlled.status() }
      const action = DEV_ACTIONS.find(one => one === name)
      if (!action) throw new Error(`unknown action ${name}`)
      return { told: await this.#controlled.act(action, node === null ? undefined : Number(node)) }
    } catch (thrown) {
      const { message = 'failed', exitCode } = explain(thrown)
      return { failed: { message, exitCode } }
    }
  }

  #hasToken(request: IncomingMessage): boolean {
    const given = Buffer.from(request.headers.authorization ?? '')
    const expected = Buffer.from(`Bearer ${this.#token}`)
    return given.length === expected.length && timingSafeEqual(given, expected)
  }
}

/** Terminals of one person. */
const CONNECTIONS_MAX = 64
