import { constants, type ServerHttp2Stream } from 'node:http2'
import type { ServerInterceptingCallInterface } from '@grpc/grpc-js'
import { assert } from '../base/assert.ts'
import { NaruError } from '../base/errors.ts'
import type { CallContext } from '../ports/transport.ts'
import type { Connection } from './connections.ts'
import {
  deadlineTimeoutMs,
  errorOfLibrary,
  type PartialStatusObject,
  plainMetadata,
  statusOf,
  toBuffer,
} from './grpc-status.ts'
import { WriteWindow } from './write-window.ts'

export interface ServerCallOptions {
  readonly path: string
  readonly connection: Connection
  readonly nowMs: () => number
  /** Bytes of answers that one call may have waiting before its writer is told to stop. */
  readonly writeBufferBytesMax: number
  /** All answers that wait on this node: counted here, judged by the server. */
  readonly sendBuffer: SendBuffer
  /** One request and its end are due from the start on. */
  readonly owesRequest: boolean
  readonly onOver: (call: ServerCall) => void
}

/** Answer bytes that wait for their readers, over all calls of the server. */
export interface SendBuffer {
  hasRoom(): boolean
  add(bytes: number): void
}

export interface ServerCallEvents {
  onMessage(message: Buffer): void
  onHalfClose(): void
  onDrain(): void
  /** The node stops: whatever owes its client nothing should end with this error now, the rest soon. */
  onNodeDraining(error: NaruError): void
  onOver(error: NaruError | undefined): void
}

/**
 * One call on the server, between a grpc-js call (taken over from an interceptor, below the library's own
 * Node stream per call, whose object buffers count messages instead of bytes) and a handler.
 *
 * Reads one message at a time, only while asked to. Counts what it buffers: request bytes from their arrival
 * in this process until they are handled, answer bytes until HTTP/2 has taken them. `onOver` comes exactly
 * once; after it all counts of this call are back at zero, however it ended.
 */
export class ServerCall {
  readonly path: string
  readonly #call: ServerInterceptingCallInterface
  readonly #http2: ServerHttp2Stream
  readonly #options: ServerCallOptions
  readonly #window: WriteWindow
  readonly #sendStatus: (status: PartialStatusObject) => void
  #events: ServerCallEvents | undefined
  #context: CallContext | undefined
  readonly #cancelled: Array<() => void> = []
  #requestBytes = 0
  #refusal: NaruError | undefined
  #statusSent = false
  #statusDelivered = false
  #endError: NaruError | undefined
  #drainError: NaruError | undefined
  #isOver = false
  #isReading = false
  #isPumping = false
  #isHalfClosed = false
  #isPaused = true
  #lastProgressMs = 0
  #requestSinceMs: number | undefined

  constructor(call: ServerInterceptingCallInterface, http2: ServerHttp2Stream, options: ServerCallOptions) {
    this.path = options.path
    this.#call = call
    this.#http2 = http2
    this.#options = options
    this.#window = new WriteWindow(options.writeBufferBytesMax)
    this.#countArrivals()
    http2.once('wantTrailers', () => {
      this.#statusDelivered = true
    })
    this.#sendStatus = call.sendStatus.bind(call)
    call.sendStatus = status => this.#endedByLibrary(status)
  }

  /** What the library refuses by itself (too large, deadline, bad framing) leaves with a reason as well. */
  #endedByLibrary(status: PartialStatusObject): void {
    if (this.#isOver || this.#statusSent) return
    this.end(errorOfLibrary(status, this.path))
    this.hurry()
  }

  /** Takes the call from the library; `events` follow from the first `resume` on. */
  start(events: ServerCallEvents): void {
    this.#events = events
    if (this.#options.owesRequest) this.#requestSinceMs = this.#options.nowMs()
    this.#call.start({
      onReceiveMetadata: metadata => {
        this.#context = {
          metadata: plainMetadata(metadata),
          timeoutMs: deadlineTimeoutMs(this.#call.getDeadline()),
          peer: this.#options.connection.address,
          onCancel: callback => this.#onCancel(callback),
          ping: onAnswer => this.#options.connection.ping(() => this.#isOver || onAnswer()),
        }
      },
      onReceiveMessage: message => this.#receive(message),
      onReceiveHalfClose: () => {
        // Node ends what is read of a stream also where that was cancelled or its connection is gone; `onCancel` follows.
        if (this.#http2.closed) return
        this.#isReading = false
        this.#requestSinceMs = undefined
        if (this.#isHalfClosed) return
        this.#isHalfClosed = true
        if (!this.#statusSent) this.#events?.onHalfClose()
      },
      onCancel: () => this.#finish(),
    })
    if (!this.#context) this.#finish()
  }

  get context(): CallContext {
    assert(this.#context, 'a call has its context once started')
    return this.#context
  }

  get isOver(): boolean {
    return this.#isOver
  }

  pause(): void {
    this.#isPaused = true
  }

  /** A loop, not a recursion: thousands of small messages may be waiting behind a pause. */
  resume(): void {
    this.#isPaused = false
    if (this.#isPumping) return
    this.#isPumping = true
    while (!this.#isPaused && !this.#isReading && !this.#isHalfClosed && !this.#statusSent && !this.#isOver) {
      this.#isReading = true
      if (this.#requestBytes > 0) this.#requestSinceMs ??= this.#options.nowMs()
      this.#call.startRead()
    }
    this.#isPumping = false
  }

  #receive(message: Buffer): void {
    this.#isReading = false
    if (!this.#options.owesRequest) this.#requestSinceMs = undefined
    if (this.#statusSent || this.#isHalfClosed) return
    this.#events?.onMessage(message)
    if (!this.#isPaused) this.resume()
  }

  /** Request bytes count from here on as handled. Without a call of this they do when the call is over. */
  release(messageBytes: number): void {
    if (this.#isOver) return
    const bytes = Math.min(messageBytes + FRAME_HEADER_BYTES, this.#requestBytes)
    this.#requestBytes -= bytes
    this.#options.connection.requestBytes.remove(bytes)
  }

  /** False: full, wait for `onDrain`. */
  send(message: Uint8Array): boolean {
    if (this.#isOver || this.#statusSent) return true
    const bytes = message.length
    if (this.#window.bytes === 0) this.#lastProgressMs = this.#options.nowMs()
    this.#options.sendBuffer.add(bytes)
    const hasRoom = this.#window.add(bytes, this.#options.sendBuffer.hasRoom())
    this.#call.sendMessage(toBuffer(message), () => this.#sent(bytes))
    return hasRoom
  }

  #sent(bytes: number): void {
    if (this.#isOver) return
    this.#options.sendBuffer.add(-bytes)
    this.#lastProgressMs = this.#options.nowMs()
    if (this.#window.remove(bytes) && !this.#statusSent) this.#events?.onDrain()
  }

  drain(error: NaruError): void {
    if (!this.#isOver && !this.#statusSent) this.#events?.onNodeDraining(error)
  }

  /**
   * Nothing more is read, as if the client had half-closed; it has not, so the call will not end well but with this
   * error, once the handler has ended it.
   */
  halfClose(error: NaruError): void {
    if (this.#isHalfClosed) return
    this.#isHalfClosed = true
    this.#drainError = error
    this.#events?.onHalfClose()
  }

  /** Whoever waits for something to happen should answer with what there is. */
  hurry(): void {
    for (const callback of this.#cancelled.splice(0)) callback()
  }

  /** Ends the call, after what was sent: well, or with the status of an error. */
  end(cause?: NaruError): void {
    if (this.#isOver || this.#statusSent) return
    const error = cause ?? this.#drainError
    this.#statusSent = true
    this.#endError = error
    const status = statusOf(error)
    const headersSent = this.#http2.headersSent
    this.#sendStatus(status)
    if (!headersSent) this.#statusDelivered = true
    if (!this.#http2.readableEnded) this.#hangUp({ afterTrailers: headersSent })
  }

  /** A client that goes on sending after its status would fill windows that nobody empties. */
  #hangUp(options: { afterTrailers: boolean }): void {
    const http2 = this.#http2
    // In a later turn: behind the status, which the library hands over in this one.
    const close = () => setImmediate(() => http2.close(constants.NGHTTP2_NO_ERROR))
    if (options.afterTrailers) http2.once('wantTrailers', close)
    else close()
  }

  /**
   * Since when a request message is on its way, in part, to a handler that waits for it; that of a unary call from
   * the call's start to the half-close. Undefined if none is.
   */
  requestSinceMs(): number | undefined {
    return this.#requestSinceMs
  }

  /** Since when nothing of what waits has left, or undefined if nothing waits. */
  stalledSinceMs(): number | undefined {
    return this.#window.bytes > 0 ? this.#lastProgressMs : undefined
  }

  /**
   * Ends the call without waiting for what is queued (a status could only follow it). Clients see
   * RESOURCE_EXHAUSTED, which is what HTTP/2's ENHANCE_YOUR_CALM means to gRPC.
   */
  cut(error: NaruError): void {
    if (this.#isOver) return
    this.#endError ??= error
    this.#http2.close(constants.NGHTTP2_ENHANCE_YOUR_CALM)
    this.#finish()
  }

  /**
   * Counts request bytes as they come off the wire, in `push`, which is where Node hands them to the stream:
   * also those that nobody reads yet because the handler paused. This is the only place before they are in
   * memory; a listener for `data` would see them when the library reads them.
   */
  #countArrivals(): void {
    const http2 = this.#http2
    const push = http2.push
    http2.push = (chunk: Buffer | null, encoding?: BufferEncoding) => {
      if (chunk !== null && !this.#isOver && !this.#statusSent) this.#arrive(chunk.length)
      return push.call(http2, chunk, encoding)
    }
    if (http2.readableLength > 0) this.#arrive(http2.readableLength)
  }

  #arrive(bytes: number): void {
    this.#requestBytes += bytes
    if (this.#isReading) this.#requestSinceMs ??= this.#options.nowMs()
    const limit = this.#options.connection.requestBytes.add(bytes)
    if (limit === undefined || this.#refusal) return
    this.#refusal = new NaruError(
      'OVERLOADED',
      limit === 'node'
        ? 'the requests under way on this node hold all the memory for requests: slow down and try again'
        : 'the requests under way on this connection hold its share of memory: wait for answers before sending more',
      { retryAfterMs: RETRY_AFTER_MS },
    )
    const refusal = this.#refusal
    process.nextTick(() => this.end(refusal))
  }

  #onCancel(callback: () => void): void {
    if (this.#isOver) callback()
    else this.#cancelled.push(callback)
  }

  #finish(): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#options.connection.requestBytes.remove(this.#requestBytes)
    this.#options.sendBuffer.add(-this.#window.bytes)
    this.#requestBytes = 0
    const endedWell = this.#statusSent && this.#statusDelivered
    this.#options.onOver(this)
    const cancelled = this.#cancelled.splice(0)
    if (!endedWell) for (const callback of cancelled) callback()
    this.#events?.onOver(this.#endError ?? (endedWell ? undefined : this.#cancellation()))
  }

  #cancellation(): NaruError {
    const timeoutMs = deadlineTimeoutMs(this.#call.getDeadline())
    return timeoutMs !== undefined && timeoutMs <= 0
      ? new NaruError('DEADLINE_EXCEEDED', `the deadline of the call ${this.path} has passed`)
      : new NaruError('CANCELLED', `the client at ${this.#options.connection.address} ended ${this.path}`)
  }
}

/** Compression flag and length in front of each message. */
const FRAME_HEADER_BYTES = 5

const RETRY_AFTER_MS = 250
