import { assert, InvariantViolation } from '../../src/base/assert.ts'
import { NaruError } from '../../src/base/errors.ts'
import type { MessageStream, StreamHandlers } from '../../src/ports/transport.ts'
import type { SimIncarnation } from './sim-incarnation.ts'

/** What one end of a stream sends to the other. Bytes are copied: nothing is shared between two nodes (rule F2). */
export type Packet =
  | { readonly kind: 'message'; readonly bytes: Buffer }
  /** The reader has taken so many bytes: the writer's window opens again. */
  | { readonly kind: 'taken'; readonly count: number }
  | { readonly kind: 'end' }
  /** From the server: the call is over. From the client: it was cancelled. */
  | { readonly kind: 'over'; readonly error: NaruError | undefined }

export interface SimStreamOptions {
  readonly side: 'client' | 'server'
  readonly incarnation: SimIncarnation
  readonly messageBytesMax: number
  readonly metadata: Readonly<Record<string, string>>
  readonly send: (packet: Packet) => void
  readonly onOver: (error: NaruError | undefined) => void
}

const WINDOW_BYTES = 8 * 1024 * 1024
/** What was taken is told in pieces, as HTTP/2 stacks do; an event for each message would be half of all. */
const WINDOW_UPDATE_BYTES = WINDOW_BYTES / 8

/** One end of a simulated stream. */
export class SimStreamEnd implements MessageStream {
  readonly metadata: Readonly<Record<string, string>>
  readonly #options: SimStreamOptions
  #handlers: StreamHandlers | undefined
  #inbox: Packet[] = []
  #untakenBytes = 0
  #takenBytes = 0
  #isFull = false
  #isPaused = false
  #isEnding = false
  #isOver = false
  #isDelivering = false

  constructor(options: SimStreamOptions) {
    this.#options = options
    this.metadata = options.metadata
  }

  setHandlers(handlers: StreamHandlers): void {
    assert(!this.#handlers, 'the handlers of a stream are set once')
    this.#handlers = handlers
  }

  write(message: Uint8Array): boolean {
    if (this.#isOver || this.#isEnding) return true
    this.#untakenBytes += message.length
    this.#options.send({ kind: 'message', bytes: Buffer.from(message) })
    this.#isFull = this.#untakenBytes > WINDOW_BYTES
    return !this.#isFull
  }

  end(): void {
    if (this.#isOver || this.#isEnding) return
    this.#isEnding = true
    if (this.#options.side === 'client') this.#options.send({ kind: 'end' })
    else {
      this.#options.send({ kind: 'over', error: undefined })
      this.#later(() => this.finish(undefined))
    }
  }

  fail(error: Error): void {
    if (this.#isOver) return
    const { side, send } = this.#options
    const own = error instanceof NaruError ? error : accident(side, error)
    const isTold = side === 'server' ? own : new NaruError('CANCELLED', 'the caller has cancelled')
    send({ kind: 'over', error: copyOf(isTold) })
    this.#isOver = true
    this.#inbox = []
    this.#options.onOver(own)
    this.#later(() => this.#handlers?.onClose?.(own))
  }

  pause(): void {
    this.#isPaused = true
  }

  resume(): void {
    if (!this.#isPaused) return
    this.#isPaused = false
    this.#later(() => this.#deliver())
  }

  receive(packet: Packet): void {
    if (this.#isOver) return
    if (packet.kind === 'taken') {
      this.#untakenBytes -= packet.count
      if (!this.#isFull || this.#untakenBytes > WINDOW_BYTES / 2) return
      this.#isFull = false
      if (!this.#isEnding) this.guard(() => this.#handlers?.onDrain?.())
      return
    }
    if (packet.kind === 'over' && packet.error) {
      this.finish(packet.error)
      return
    }
    this.#inbox.push(packet)
    this.#deliver()
  }

  /** Over, for whatever reason; the owner is told. */
  finish(error: NaruError | undefined): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#inbox = []
    this.#options.onOver(error)
    if (!error && this.#options.side === 'client') this.#handlers?.onEnd?.()
    this.#handlers?.onClose?.(error)
  }

  /** Runs code of the owner; an accident in it ends this stream, as gRPC's server does. */
  guard(run: () => void): void {
    try {
      run()
    } catch (thrown) {
      if (thrown instanceof InvariantViolation) throw thrown
      this.fail(thrown as Error)
    }
  }

  #deliver(): void {
    if (this.#isDelivering) return
    this.#isDelivering = true
    for (; !this.#isPaused && !this.#isOver; ) {
      const packet = this.#inbox.shift()
      if (!packet) break
      if (packet.kind === 'message') this.#take(packet.bytes)
      else if (packet.kind === 'end') this.guard(() => this.#handlers?.onEnd?.())
      else this.finish(undefined)
    }
    this.#isDelivering = false
  }

  #take(bytes: Buffer): void {
    const { send, messageBytesMax, side } = this.#options
    if (bytes.length > messageBytesMax) {
      const reason = side === 'server' ? 'REQUEST_TOO_LARGE' : 'RECORD_TOO_LARGE_FOR_CLIENT'
      this.fail(new NaruError(reason, `a message of ${bytes.length} bytes, at most ${messageBytesMax}`))
      return
    }
    this.#takenBytes += bytes.length
    if (this.#takenBytes >= WINDOW_UPDATE_BYTES) {
      send({ kind: 'taken', count: this.#takenBytes })
      this.#takenBytes = 0
    }
    this.guard(() => this.#handlers?.onMessage(bytes))
  }

  #later(run: () => void): void {
    this.#options.incarnation.schedule(0, run, { label: 'stream' })
  }
}

function accident(side: 'client' | 'server', error: Error): NaruError {
  return side === 'client'
    ? new NaruError('CANCELLED', error.message, { cause: error })
    : new NaruError('INTERNAL', 'an accident in the handler', { cause: error })
}

/** As it comes over the wire: without its cause. */
function copyOf({ reason, message, details, retryAfterMs, outcome }: NaruError): NaruError {
  return new NaruError(reason, message, {
    details: { ...details },
    outcome,
    ...(retryAfterMs !== undefined && { retryAfterMs }),
  })
}
