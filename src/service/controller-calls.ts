import { NaruError } from '../base/errors.ts'
import type { CallContext, MethodPath } from '../ports/transport.ts'
import type { MessageInit } from '../wire/codec.ts'
import type { Method } from '../wire/methods.ts'
import type { ControllerCall, Forwarder } from './forwarder.ts'
import { type HandlerEntry, unaryBytes } from './handlers.ts'

/** For calls whose client gave no deadline. */
const TIMEOUT_MS_DEFAULT = 10_000
/** On top of the time that a request itself gives its work: a new controller may have to be elected first. */
const ELECTION_MS = 5_000

/** Serves a call of the controller, on the controller, within `leftMs`. */
export type ControllerHandler = (request: Buffer, leftMs: number) => Promise<Uint8Array>

/** The calls that only the controller can serve: what serves them there, and how any node takes them there. */
export class ControllerCalls {
  readonly #forwarder: Forwarder
  readonly #handlers = new Map<MethodPath, ControllerHandler>()

  constructor(forwarder: Forwarder) {
    this.#forwarder = forwarder
  }

  /** What is served here for another node, if this one is the controller. */
  get handlers(): ReadonlyMap<MethodPath, ControllerHandler> {
    return this.#handlers
  }

  /**
   * Declares a call of the API and how the controller serves it; the entry is what any node does with it.
   * `timeoutMs`: what the request itself asks for; throws INVALID_REQUEST.
   */
  entry<Request, Response>(
    method: Method<Request, Response>,
    serve: (request: Request, leftMs: number) => Promise<MessageInit<Response>>,
    options: { readonly timeoutMs?: (request: Request) => number } = {},
  ): HandlerEntry {
    this.#handlers.set(method.path, async (request, leftMs) =>
      method.response.encode(await serve(method.request.decode(request), leftMs)),
    )
    return unaryBytes(method, (request, context) => {
      const asked = options.timeoutMs?.(method.request.decode(request))
      const timeoutMs = asked === undefined ? TIMEOUT_MS_DEFAULT : asked + ELECTION_MS
      return this.#forward(method, request, { repeatable: false, ...within(timeoutMs, context) })
    })
  }

  /** A call that changes nothing: where no controller answers it in time, this node does, by what it knows. */
  readEntry<Request, Response>(
    method: Method<Request, Response>,
    serve: (request: Request) => MessageInit<Response>,
    options: { readonly withinMs: number },
  ): HandlerEntry {
    const answer = (request: Buffer) => method.response.encode(serve(method.request.decode(request)))
    this.#handlers.set(method.path, async request => answer(request))
    return unaryBytes(method, async (request, context) => {
      const times = within(options.withinMs, context)
      try {
        return await this.#forward(method, request, {
          repeatable: true,
          attemptMsMax: options.withinMs / 2,
          ...times,
        })
      } catch (thrown) {
        if (!(thrown instanceof NaruError) || !thrown.retriable) throw thrown
        return answer(request)
      }
    })
  }

  /** A call that this node makes itself. `repeatable`: doing it twice is the same as once. */
  async call<Request, Response>(
    method: Method<Request, Response>,
    request: MessageInit<Request>,
    options: { timeoutMs: number; repeatable: boolean },
  ): Promise<Response> {
    return method.response.decode(await this.#forward(method, method.request.encode(request), options))
  }

  #forward(
    method: { readonly path: MethodPath },
    request: Uint8Array,
    options: Omit<ControllerCall, 'method' | 'request' | 'serve'>,
  ): Promise<Uint8Array> {
    const serve = this.#handlers.get(method.path) as ControllerHandler
    return this.#forwarder.call({ method: method.path, request, serve, ...options })
  }
}

function within(neededMs: number, context: CallContext): { timeoutMs: number; isCancelled: () => boolean } {
  let isCancelled = false
  context.onCancel(() => {
    isCancelled = true
  })
  return { timeoutMs: Math.min(context.timeoutMs ?? neededMs, neededMs), isCancelled: () => isCancelled }
}
