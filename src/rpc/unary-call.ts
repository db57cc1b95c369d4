import { NaruError } from '../base/errors.ts'
import type { CallContext } from '../ports/transport.ts'
import type { ServerCall, ServerCallEvents } from './server-call.ts'

export interface UnaryCallOptions {
  handle(request: Buffer, context: CallContext): Promise<Uint8Array>
  onFailure(thrown: unknown): NaruError
}

/** One request, one answer: the handler starts when the client has sent the request and half-closed. */
export class UnaryCall implements ServerCallEvents {
  readonly #call: ServerCall
  readonly #options: UnaryCallOptions
  #request: Buffer | undefined
  #isHandled = false

  constructor(call: ServerCall, options: UnaryCallOptions) {
    this.#call = call
    this.#options = options
  }

  onMessage(message: Buffer): void {
    if (this.#request) {
      this.#call.end(
        new NaruError('INVALID_REQUEST', `${this.#call.path} takes one request message, a second one came`),
      )
      return
    }
    this.#request = message
  }

  onHalfClose(): void {
    if (!this.#request) {
      this.#call.end(
        new NaruError('INVALID_REQUEST', `${this.#call.path} takes one request message, none came`),
      )
      return
    }
    this.#isHandled = true
    this.#answer(this.#request).catch(thrown => {
      this.#call.end(thrown instanceof NaruError ? thrown : this.#options.onFailure(thrown))
    })
  }

  async #answer(request: Buffer): Promise<void> {
    this.#call.send(await this.#options.handle(request, this.#call.context))
    this.#call.end()
  }

  /** A request that is not here yet was not accepted; what runs is answered. */
  onNodeDraining(error: NaruError): void {
    if (this.#isHandled) this.#call.hurry()
    else this.#call.end(error)
  }

  onDrain(): void {}

  onOver(): void {}
}
