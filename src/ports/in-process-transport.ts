import { NaruError } from '../base/errors.ts'
import type { Clock, Timer } from './clock.ts'
import { InProcessStream } from './in-process-stream.ts'
import type {
  CallContext,
  CallOptions,
  Channel,
  ChannelOptions,
  MessageStream,
  MethodPath,
  ServiceHandler,
  ServiceHandlers,
  Transport,
} from './transport.ts'

export interface InProcessTransportOptions {
  readonly handlers: ServiceHandlers
  readonly clock: Clock
  /** A handler threw what is no NaruError: reported here, and INTERNAL to the caller. */
  onFailure(path: MethodPath, thrown: unknown): void
  readonly receiveMessageBytesMax?: number
  /** Bytes that wait in each direction of a stream before its writer must stop. */
  readonly streamBytesMax?: number
}

/**
 * The Transport port straight to a map of handlers, for a node's own clients and for tests. Bytes are copied at
 * each hop and everything is delivered in a later turn, as a network would, so that no side can come to rely
 * on sharing a buffer or a stack with the other.
 */
export class InProcessTransport implements Transport {
  readonly #options: InProcessTransportOptions

  constructor(options: InProcessTransportOptions) {
    this.#options = options
  }

  /** Whatever the address: there is only this node. */
  connect(address: string, options: ChannelOptions = {}): Channel {
    return new InProcessChannel(address, this.#options, options.receiveMessageBytesMax ?? 4 * MIB)
  }
}

class InProcessChannel implements Channel {
  readonly address: string
  readonly #options: InProcessTransportOptions
  readonly #clientMessageBytesMax: number
  readonly #serverMessageBytesMax: number
  /** Ends each open call with an error. */
  readonly #open = new Set<(error: NaruError) => void>()
  #isClosed = false

  constructor(address: string, options: InProcessTransportOptions, clientMessageBytesMax: number) {
    this.address = address
    this.#options = options
    this.#clientMessageBytesMax = clientMessageBytesMax
    this.#serverMessageBytesMax = options.receiveMessageBytesMax ?? 16 * MIB
  }

  unary(path: MethodPath, request: Uint8Array, options: CallOptions = {}): Promise<Buffer> {
    const refusal = this.#refusal(path, request)
    if (refusal) return Promise.reject(refusal)
    const handler = this.#options.handlers.get(path)
    if (handler?.kind !== 'unary') return Promise.reject(notServed(path))
    const copy = Buffer.from(request)
    return new Promise((resolve, reject) => {
      const cancelled: Array<() => void> = []
      let deadline: Timer | undefined
      const settle = (): boolean => {
        deadline?.cancel()
        return this.#open.delete(abort)
      }
      const abort = (error: NaruError) => {
        if (!settle()) return
        for (const callback of cancelled) callback()
        reject(error)
      }
      this.#open.add(abort)
      deadline = this.#deadline(path, options, abort)
      const context = this.#context(options, callback => {
        if (this.#open.has(abort)) cancelled.push(callback)
        else callback()
      })
      this.#options.clock.afterTurn(() => {
        if (!this.#open.has(abort)) return
        this.#answer(handler, path, copy, context).then(
          answer => settle() && resolve(answer),
          error => settle() && reject(error),
        )
      })
    })
  }

  async #answer(
    handler: ServiceHandler & { kind: 'unary' },
    path: MethodPath,
    request: Buffer,
    context: CallContext,
  ): Promise<Buffer> {
    let answer: Uint8Array
    try {
      answer = await handler.handle(request, context)
    } catch (thrown) {
      throw this.#failure(path, thrown)
    }
    if (answer.length > this.#clientMessageBytesMax) {
      throw new NaruError(
        'RECORD_TOO_LARGE_FOR_CLIENT',
        `the answer of ${path} has ${answer.length} bytes, at most ${this.#clientMessageBytesMax}`,
      )
    }
    return Buffer.from(answer)
  }

  stream(path: MethodPath, options: CallOptions = {}): MessageStream {
    const refusal = this.#refusal(path)
    const handler = this.#options.handlers.get(path)
    const stream = new InProcessStream({
      clock: this.#options.clock,
      path,
      metadata: { ...options.metadata },
      bytesMax: this.#options.streamBytesMax ?? MIB,
      clientMessageBytesMax: this.#clientMessageBytesMax,
      serverMessageBytesMax: this.#serverMessageBytesMax,
      onFailure: thrown => this.#failure(path, thrown),
      onOver: () => {
        this.#open.delete(abort)
        deadline?.cancel()
      },
    })
    const abort = (error: NaruError) =>
      stream.abort(error, error.reason === 'DEADLINE_EXCEEDED' ? error : cancelled(path))
    this.#open.add(abort)
    const deadline = this.#deadline(path, options, abort)
    if (refusal || handler?.kind !== 'stream') {
      stream.abort(refusal ?? notServed(path), cancelled(path))
      return stream.client
    }
    const context = this.#context(options, callback => stream.onCancel(callback))
    this.#options.clock.afterTurn(() => {
      try {
        handler.handle(stream.server, context)
        stream.open()
      } catch (thrown) {
        stream.server.fail(this.#failure(path, thrown))
      }
    })
    return stream.client
  }

  close(): void {
    this.#isClosed = true
    for (const abort of [...this.#open]) abort(this.#closed('unknown'))
  }

  #refusal(path: MethodPath, request?: Uint8Array): NaruError | undefined {
    if (this.#isClosed) return this.#closed('none')
    if (request && request.length > this.#serverMessageBytesMax) {
      return new NaruError(
        'REQUEST_TOO_LARGE',
        `${path}: ${request.length} bytes, at most ${this.#serverMessageBytesMax}`,
      )
    }
    return undefined
  }

  #context(options: CallOptions, onCancel: (callback: () => void) => void): CallContext {
    return {
      metadata: { ...options.metadata },
      timeoutMs: options.timeoutMs,
      peer: IN_PROCESS,
      onCancel,
      ping: onAnswer => this.#options.clock.afterTurn(onAnswer),
    }
  }

  #deadline(path: MethodPath, options: CallOptions, abort: (error: NaruError) => void): Timer | undefined {
    const { timeoutMs } = options
    if (timeoutMs === undefined) return undefined
    return this.#options.clock.setTimer(timeoutMs, () =>
      abort(new NaruError('DEADLINE_EXCEEDED', `${path} got no answer within ${timeoutMs} ms`)),
    )
  }

  #failure(path: MethodPath, thrown: unknown): NaruError {
    if (thrown instanceof NaruError) return thrown
    this.#options.onFailure(path, thrown)
    return new NaruError('INTERNAL', `${path} failed unexpectedly: the log of the node says why`)
  }

  #closed(outcome: 'none' | 'unknown'): NaruError {
    return new NaruError('CLOSED', `the channel to ${this.address} was closed`, { outcome })
  }
}

function notServed(path: MethodPath): NaruError {
  return new NaruError('NOT_IMPLEMENTED', `this node does not serve ${path}`, { details: { method: path } })
}

function cancelled(path: MethodPath): NaruError {
  return new NaruError('CANCELLED', `the client ended ${path}`)
}

const MIB = 1024 * 1024
const IN_PROCESS = 'in-process'
