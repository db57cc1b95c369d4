import type { NaruError } from '../base/errors.ts'
import type { CallContext, MessageStream, ServiceHandler, ServiceHandlers } from '../ports/transport.ts'
import { METHODS } from '../wire/methods.ts'

/**
 * The handlers of all methods of an API, there before anything is behind them: a port must be open while the node
 * still starts. What is behind comes with `install`; every call is refused while `refusal` gives an error for it.
 */
export class HandlerGate {
  readonly handlers: ServiceHandlers
  readonly #installed = new Map<string, ServiceHandler>()
  readonly #refusal: (isInstalled: boolean) => NaruError | undefined

  constructor(options: {
    /** `naru.v1` */
    readonly packageName: string
    /** Must give an error where nothing is installed. */
    readonly refusal: (isInstalled: boolean) => NaruError | undefined
  }) {
    this.#refusal = options.refusal
    const methods = [...METHODS.values()].filter(({ path }) => path.startsWith(`/${options.packageName}.`))
    this.handlers = new Map(
      methods.map(({ path, requestStream, responseStream }) => [
        path,
        requestStream || responseStream ? this.#streamGate(path) : this.#unaryGate(path),
      ]),
    )
  }

  install(handlers: ServiceHandlers): void {
    for (const [path, handler] of handlers) this.#installed.set(path, handler)
  }

  #unaryGate(path: string): ServiceHandler {
    return {
      kind: 'unary',
      handle: (request, context) => {
        const handler = this.#installed.get(path)
        const error = this.#refusal(handler !== undefined)
        if (handler?.kind !== 'unary' || error) return Promise.reject(error)
        return handler.handle(request, context)
      },
    }
  }

  #streamGate(path: string): ServiceHandler {
    const installed = this.#installed
    return {
      kind: 'stream',
      // Asked at each call.
      get endsAtDrain() {
        const handler = installed.get(path)
        return handler?.kind === 'stream' && handler.endsAtDrain === true
      },
      handle: (stream: MessageStream, context: CallContext) => {
        const handler = installed.get(path)
        const error = this.#refusal(handler !== undefined)
        if (handler?.kind === 'stream' && !error) return handler.handle(stream, context)
        stream.setHandlers({ onMessage() {} })
        stream.fail(error as NaruError)
      },
    }
  }
}
