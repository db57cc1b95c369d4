import { assert } from '../base/assert.ts'
import { NaruError } from '../base/errors.ts'
import type { Clock } from './clock.ts'
import { InProcessPipe } from './in-process-pipe.ts'
import type { MessageStream, StreamHandlers } from './transport.ts'

export interface InProcessStreamOptions {
  readonly clock: Clock
  readonly path: string
  readonly metadata: Readonly<Record<string, string>>
  readonly bytesMax: number
  /** Messages that the client accepts, and the server. */
  readonly clientMessageBytesMax: number
  readonly serverMessageBytesMax: number
  onFailure(thrown: unknown): NaruError
  onOver(): void
}

/**
 * Both ends of a stream within this process. It ends once, for both: well when the server ends it (the client
 * has got every message by then), or with an error: at once when the client fails or cancels, in order after
 * the messages when the server does.
 */
export class InProcessStream {
  readonly client: InProcessEnd
  readonly server: InProcessEnd
  readonly #options: InProcessStreamOptions
  readonly #toServer: InProcessPipe
  readonly #toClient: InProcessPipe
  readonly #cancelled: Array<() => void> = []
  #serverError: NaruError | undefined
  #isOver = false

  constructor(options: InProcessStreamOptions) {
    this.#options = options
    const { clock, bytesMax, path } = options
    this.#toServer = new InProcessPipe({
      clock,
      bytesMax,
      reader: { onMessage: message => this.server.deliver(message), onEnd: () => this.server.deliverEnd() },
      onDrain: () => this.client.drain(),
      isHeld: true,
    })
    this.#toClient = new InProcessPipe({
      clock,
      bytesMax,
      reader: { onMessage: message => this.client.deliver(message), onEnd: () => this.#endInOrder() },
      onDrain: () => this.server.drain(),
    })
    this.client = new InProcessEnd(path, {
      metadata: {},
      inbound: this.#toServer,
      incoming: this.#toClient,
      messageBytesMax: options.serverMessageBytesMax,
      end: () => this.#toServer.end(),
      fail: error => this.abort(asCancellation(error), cancelledByClient(path)),
      onThrow: error => this.#clientThrew(error),
      onTooLarge: error => this.abort(error, error),
    })
    this.server = new InProcessEnd(path, {
      metadata: options.metadata,
      inbound: this.#toClient,
      incoming: this.#toServer,
      messageBytesMax: options.clientMessageBytesMax,
      end: () => this.#toClient.end(),
      fail: error => this.#failByServer(error),
      onThrow: error => this.#failByServer(error),
      onTooLarge: error => this.abort(tooLargeForClient(error), cancelledByClient(path)),
    })
  }

  /** The handler has got its end: delivery to it begins. */
  open(): void {
    this.#toServer.release()
  }

  onCancel(callback: () => void): void {
    if (this.#isOver) callback()
    else this.#cancelled.push(callback)
  }

  /** Breaks both directions; the ends learn of it in a later turn. */
  abort(clientError: NaruError, serverError: NaruError): void {
    if (this.#isOver) return
    this.#finish()
    this.#options.clock.afterTurn(() => {
      for (const callback of this.#cancelled.splice(0)) callback()
      this.server.close(serverError)
      this.client.close(clientError)
    })
  }

  #failByServer(error: unknown): void {
    this.#serverError ??= error instanceof NaruError ? error : this.#options.onFailure(error)
    this.#toClient.end()
  }

  #clientThrew(error: unknown): void {
    const failure = error instanceof NaruError ? error : this.#options.onFailure(error)
    this.abort(failure, cancelledByClient(this.#options.path))
  }

  #endInOrder(): void {
    if (this.#isOver) return
    this.#finish()
    if (!this.#serverError) this.client.deliverEnd()
    this.client.close(this.#serverError)
    this.server.close(this.#serverError)
  }

  #finish(): void {
    this.#isOver = true
    this.#toServer.break()
    this.#toClient.break()
    this.#options.onOver()
  }
}

interface EndOptions {
  readonly metadata: Readonly<Record<string, string>>
  readonly inbound: InProcessPipe
  readonly incoming: InProcessPipe
  readonly messageBytesMax: number
  end(): void
  fail(error: Error): void
  onThrow(error: unknown): void
  onTooLarge(error: NaruError): void
}

class InProcessEnd implements MessageStream {
  readonly metadata: Readonly<Record<string, string>>
  readonly #path: string
  readonly #options: EndOptions
  #handlers: StreamHandlers | undefined
  #isClosed = false

  constructor(path: string, options: EndOptions) {
    this.metadata = options.metadata
    this.#path = path
    this.#options = options
  }

  write(message: Uint8Array): boolean {
    const { messageBytesMax } = this.#options
    if (message.length <= messageBytesMax) return this.#options.inbound.write(message)
    this.#options.onTooLarge(
      new NaruError(
        'REQUEST_TOO_LARGE',
        `${this.#path}: ${message.length} bytes, at most ${messageBytesMax}`,
      ),
    )
    return true
  }

  end(): void {
    this.#options.end()
  }

  fail(error: Error): void {
    this.#options.fail(error)
  }

  pause(): void {
    this.#options.incoming.pause()
  }

  resume(): void {
    this.#options.incoming.resume()
  }

  setHandlers(handlers: StreamHandlers): void {
    assert(!this.#handlers, `the handlers of a stream (${this.#path}) are set once`)
    this.#handlers = handlers
  }

  deliver(message: Buffer): void {
    this.#guard(() => {
      assert(this.#handlers, `the handlers of a stream (${this.#path}) are set in the turn that brought it`)
      this.#handlers.onMessage(message)
    })
  }

  deliverEnd(): void {
    this.#guard(() => this.#handlers?.onEnd?.())
  }

  drain(): void {
    this.#guard(() => this.#handlers?.onDrain?.())
  }

  close(error: NaruError | undefined): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#guard(() => this.#handlers?.onClose?.(error))
  }

  #guard(callback: () => void): void {
    try {
      callback()
    } catch (thrown) {
      this.#options.onThrow(thrown)
    }
  }
}

function asCancellation(error: Error): NaruError {
  return error instanceof NaruError ? error : new NaruError('CANCELLED', error.message, { cause: error })
}

function cancelledByClient(path: string): NaruError {
  return new NaruError('CANCELLED', `the client ended ${path}`)
}

function tooLargeForClient(error: NaruError): NaruError {
  return new NaruError('RECORD_TOO_LARGE_FOR_CLIENT', error.message)
}
