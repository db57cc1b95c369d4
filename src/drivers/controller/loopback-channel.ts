import { NaruError } from '../../base/errors.ts'
import type { Clock } from '../../ports/clock.ts'
import type {
  CallContext,
  CallOptions,
  Channel,
  MessageStream,
  MethodPath,
  ServiceHandlers,
  StreamHandlers,
} from '../../ports/transport.ts'

/**
 * A channel to the handlers of this very node: the node that is the controller takes the same way to it as the others,
 * without a network. For small frames that their users bound: `write` never says that it is full.
 */
export class LoopbackChannel implements Channel {
  readonly address = 'loopback'
  readonly #handlers: ServiceHandlers
  readonly #clock: Clock

  constructor(options: { handlers: ServiceHandlers; clock: Clock }) {
    this.#handlers = options.handlers
    this.#clock = options.clock
  }

  async unary(path: MethodPath, request: Uint8Array, options: CallOptions = {}): Promise<Buffer> {
    const handler = this.#handlers.get(path)
    if (handler?.kind !== 'unary') throw notServed(path)
    return Buffer.from(
      await handler.handle(
        Buffer.from(request),
        contextOf(options, () => {}),
      ),
    )
  }

  stream(path: MethodPath, options: CallOptions = {}): MessageStream {
    const cancelled: (() => void)[] = []
    const client = new LoopbackEnd(this.#clock)
    const server = new LoopbackEnd(this.#clock, () => {
      for (const callback of cancelled) callback()
    })
    client.join(server, { isServer: false })
    server.join(client, { isServer: true })
    const handler = this.#handlers.get(path)
    if (handler?.kind === 'stream')
      handler.handle(
        server,
        contextOf(options, callback => void cancelled.push(callback)),
      )
    else server.fail(notServed(path))
    return client
  }

  /** Streams end by themselves: nothing else is held here. */
  close(): void {}
}

type Delivery = (handlers: StreamHandlers) => void

class LoopbackEnd implements MessageStream {
  readonly metadata = {}
  readonly #clock: Clock
  readonly #onCancelled: () => void
  /** Itself until it is joined. */
  #other: LoopbackEnd = this
  #isServer = false
  #handlers: StreamHandlers | undefined
  #inbox: Delivery[] = []
  #isScheduled = false
  #isPaused = false
  #isEnded = false
  #isOver = false

  constructor(clock: Clock, onCancelled: () => void = () => {}) {
    this.#clock = clock
    this.#onCancelled = onCancelled
  }

  join(other: LoopbackEnd, { isServer }: { isServer: boolean }): void {
    this.#other = other
    this.#isServer = isServer
  }

  setHandlers(handlers: StreamHandlers): void {
    this.#handlers = handlers
  }

  write(message: Uint8Array): boolean {
    if (this.#isEnded || this.#isOver) return true
    const copy = Buffer.from(message)
    this.#other.#receive(handlers => handlers.onMessage(copy))
    return true
  }

  end(): void {
    if (this.#isEnded || this.#isOver) return
    this.#isEnded = true
    if (!this.#isServer) this.#other.#receive(handlers => handlers.onEnd?.())
    else {
      this.#other.#finish(undefined)
      this.#finish(undefined)
    }
  }

  fail(error: Error): void {
    if (this.#isOver) return
    const own = NaruError.from(error)
    this.#inbox = []
    this.#finish(own)
    const told = this.#isServer ? own : new NaruError('CANCELLED', 'the caller has cancelled')
    this.#other.#finish(told)
  }

  pause(): void {
    this.#isPaused = true
  }

  resume(): void {
    this.#isPaused = false
    this.#schedule()
  }

  /** What was sent before the end comes before it. */
  #finish(error: NaruError | undefined): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#inbox.push(handlers => {
      if (error) this.#onCancelled()
      if (!error && !this.#isServer) handlers.onEnd?.()
      handlers.onClose?.(error)
    })
    this.#schedule()
  }

  #receive(delivery: Delivery): void {
    if (this.#isOver) return
    this.#inbox.push(delivery)
    this.#schedule()
  }

  #schedule(): void {
    if (this.#isScheduled || this.#isPaused || this.#inbox.length === 0) return
    this.#isScheduled = true
    this.#clock.afterTurn(() => {
      this.#isScheduled = false
      while (!this.#isPaused) {
        const delivery = this.#inbox.shift()
        if (!delivery) return
        if (this.#handlers) delivery(this.#handlers)
      }
    })
  }
}

function contextOf(
  { timeoutMs, metadata = {} }: CallOptions,
  onCancel: CallContext['onCancel'],
): CallContext {
  return { metadata, timeoutMs, peer: 'loopback', onCancel, ping: onAnswer => onAnswer() }
}

function notServed(path: MethodPath): NaruError {
  return new NaruError('NOT_IMPLEMENTED', `this node does not serve ${path}`, { details: { method: path } })
}
