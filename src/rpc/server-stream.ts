import { assert } from '../base/assert.ts'
import { NaruError } from '../base/errors.ts'
import type { MessageStream, StreamHandlers } from '../ports/transport.ts'
import type { ServerCall, ServerCallEvents } from './server-call.ts'

export interface ServerStreamOptions {
  /** See `ServiceHandler`. */
  readonly endsAtDrain: boolean
  /** A handler threw something that is no NaruError: report it, and answer with what it returns. */
  onFailure(thrown: unknown): NaruError
}

/**
 * The server's end of a stream, as the Transport port describes it. Delivery starts after the turn in which
 * the handler got it. What a handler throws ends this call and no other.
 */
export class ServerStream implements MessageStream, ServerCallEvents {
  readonly #call: ServerCall
  readonly #options: ServerStreamOptions
  #handlers: StreamHandlers | undefined
  #isPaused = false
  #isDelivering = false

  constructor(call: ServerCall, options: ServerStreamOptions) {
    this.#call = call
    this.#options = options
  }

  write(message: Uint8Array): boolean {
    return this.#call.send(message)
  }

  end(): void {
    this.#call.end()
  }

  fail(error: Error): void {
    this.#call.end(error instanceof NaruError ? error : this.#options.onFailure(error))
  }

  pause(): void {
    this.#isPaused = true
    this.#call.pause()
  }

  resume(): void {
    this.#isPaused = false
    if (this.#isDelivering) this.#call.resume()
  }

  setHandlers(handlers: StreamHandlers): void {
    assert(!this.#handlers, `the handlers of a stream (${this.#call.path}) are set once`)
    this.#handlers = handlers
  }

  get metadata(): Readonly<Record<string, string>> {
    return this.#call.context.metadata
  }

  open(handle: () => void): void {
    this.#guard(handle)
    setImmediate(() => {
      if (this.#call.isOver) return
      this.#guard(() => assert(this.#handlers, `the handler of ${this.#call.path} set no stream handlers`))
      this.#isDelivering = true
      if (!this.#isPaused) this.#call.resume()
    })
  }

  onMessage(message: Buffer): void {
    this.#call.release(message.length)
    this.#guard(() => this.#handlers?.onMessage(message))
  }

  onHalfClose(): void {
    this.#guard(() => this.#handlers?.onEnd?.())
  }

  onNodeDraining(error: NaruError): void {
    if (this.#options.endsAtDrain) this.#call.end(error)
    else this.#call.halfClose(error)
  }

  onDrain(): void {
    this.#guard(() => this.#handlers?.onDrain?.())
  }

  onOver(error: NaruError | undefined): void {
    this.#guard(() => this.#handlers?.onClose?.(error))
  }

  #guard(callback: () => void): void {
    try {
      callback()
    } catch (thrown) {
      this.#call.end(thrown instanceof NaruError ? thrown : this.#options.onFailure(thrown))
    }
  }
}
