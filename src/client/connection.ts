import type { NodeId } from '../base/brands.ts'
import { NaruError } from '../base/errors.ts'
import { type Clock, delay } from '../ports/clock.ts'
import type { Prng } from '../ports/prng.ts'
import type { MessageInit } from '../wire/codec.ts'
import type { Method } from '../wire/methods.ts'
import { Backoff } from './backoff.ts'
import type { ClusterNodes } from './cluster-nodes.ts'

export interface ConnectionOptions {
  readonly clock: Clock
  readonly prng: Prng
  readonly nodes: ClusterNodes
  readonly requestTimeoutMs: number
  readonly retryBackoffMs: number
  readonly retryBackoffMaxMs: number
}

export interface CallOptions {
  /** Default: that of the connection. */
  readonly timeoutMs?: number
  /** Doing it twice is the same as once: it is tried again also when its outcome is unknown. */
  readonly repeatable?: boolean
}

export interface CallOptionsOf<Response> extends CallOptions {
  /** Throws for an answer that another try, or another node, may better. */
  readonly check?: (response: Response) => void
}

/** What all parts of a client share: time, the nodes, and calls that any node can take, tried until they succeed. */
export class Connection {
  readonly clock: Clock
  readonly prng: Prng
  readonly nodes: ClusterNodes
  readonly #options: ConnectionOptions
  #isClosed = false

  constructor(options: ConnectionOptions) {
    this.clock = options.clock
    this.prng = options.prng
    this.nodes = options.nodes
    this.#options = options
  }

  get isClosed(): boolean {
    return this.#isClosed
  }

  backoff(): Backoff {
    const { prng, retryBackoffMs, retryBackoffMaxMs } = this.#options
    return new Backoff({ prng, firstMs: retryBackoffMs, maxMs: retryBackoffMaxMs })
  }

  async call<Request, Response>(
    method: Method<Request, Response>,
    request: MessageInit<Request>,
    options: CallOptionsOf<Response> = {},
  ): Promise<Response> {
    const { clock, nodes } = this
    const timeoutMs = options.timeoutMs ?? this.#options.requestTimeoutMs
    const deadlineMs = clock.monotonicMs() + timeoutMs
    const backoff = this.backoff()
    const bytes = method.request.encode(request)
    for (;;) {
      if (this.#isClosed) throw clientClosed()
      const leftMs = Math.max(1, deadlineMs - clock.monotonicMs())
      // A node that hangs must leave time to ask another.
      const attemptMs = options.repeatable
        ? Math.min(leftMs, Math.max(ATTEMPT_MS_MIN, timeoutMs / 3))
        : leftMs
      const channel = nodes.entry()
      try {
        const answer = await channel.unary(method.path, bytes, { timeoutMs: Math.ceil(attemptMs) })
        const response = method.response.decode(answer)
        options.check?.(response)
        return response
      } catch (thrown) {
        const error = NaruError.from(thrown)
        if (!mayTryAgain(error, options.repeatable === true) || this.#isClosed) throw error
        if (isOfThisNode(error)) nodes.avoidEntry(channel.address)
        const pauseMs = Math.max(backoff.nextMs(), error.retryAfterMs ?? 0)
        if (clock.monotonicMs() + pauseMs >= deadlineMs) throw error
        await delay(clock, pauseMs)
      }
    }
  }

  /** One attempt at that node; where it cannot be reached, the next one goes by way of another. */
  async callNode<Request, Response>(
    nodeId: NodeId,
    method: Method<Request, Response>,
    request: MessageInit<Request>,
    options: { readonly timeoutMs?: number } = {},
  ): Promise<Response> {
    if (this.#isClosed) throw clientClosed()
    const route = this.nodes.route(nodeId)
    const timeoutMs = Math.max(1, Math.ceil(options.timeoutMs ?? this.#options.requestTimeoutMs))
    try {
      const bytes = method.request.encode(request)
      const answer = await route.channel.unary(method.path, bytes, { timeoutMs, metadata: route.metadata })
      return method.response.decode(answer)
    } catch (thrown) {
      const error = NaruError.from(thrown)
      const isSilent = error.reason === 'CONNECTION_FAILED' || error.reason === 'DEADLINE_EXCEEDED'
      if (isSilent && !this.#isClosed) this.nodes.markUnreachable(route)
      throw error
    }
  }

  close(): void {
    this.#isClosed = true
    this.nodes.close()
  }
}

const ATTEMPT_MS_MIN = 1_000

/** Another try may succeed, and does no harm. `repeatable`: doing it twice is the same as once. */
export function mayTryAgain(error: NaruError, repeatable: boolean): boolean {
  if (repeatable) return error.retriable || error.reason === 'UNKNOWN_OUTCOME'
  return error.retriable && error.outcome === 'none'
}

/** Another node may well do what this one did not. */
function isOfThisNode(error: NaruError): boolean {
  return (
    error.reason === 'CONNECTION_FAILED' ||
    error.reason === 'DEADLINE_EXCEEDED' ||
    // It may be cut off from the quorum, which others see.
    error.reason === 'CONTROLLER_NOT_AVAILABLE' ||
    error.reason === 'NODE_STARTING' ||
    error.reason === 'NODE_DRAINING' ||
    error.reason === 'STORAGE_OFFLINE' ||
    error.reason === 'OVERLOADED'
  )
}

export function clientClosed(): NaruError {
  return new NaruError('CLOSED', 'the client was closed (connect again)')
}
