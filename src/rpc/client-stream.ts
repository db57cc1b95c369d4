import type * as grpc from '@grpc/grpc-js'
import { assert } from '../base/assert.ts'
import { NaruError } from '../base/errors.ts'
import type { MessageStream, StreamHandlers } from '../ports/transport.ts'
import { cancel, type LibraryCall } from './client-call.ts'
import { OK, type PartialStatusObject, plainMetadata, toBuffer } from './grpc-status.ts'
import { WriteWindow } from './write-window.ts'

export interface ClientStreamOptions {
  readonly path: string
  readonly writeBufferBytesMax: number
  errorOf(status: PartialStatusObject): NaruError
  onOver(): void
}

/**
 * The client's end of a stream. grpc-js takes the next message only after its callback for the one before
 * (else it loses or reorders them), so they queue here, counted in bytes. An end of the call that is an error
 * may overtake the last messages: grpc-js drops what the reader has not taken when such a status arrives.
 */
export class ClientStream implements MessageStream {
  readonly #call: LibraryCall
  readonly #options: ClientStreamOptions
  readonly #queue: Buffer[] = []
  readonly #window: WriteWindow
  #metadata: Readonly<Record<string, string>> = {}
  #handlers: StreamHandlers | undefined
  #isSending = false
  #isEnding = false
  #isOver = false
  #isPaused = false
  #isReading = false
  #isDelivering = false
  #held: Buffer | undefined
  #end: PartialStatusObject | undefined
  #failure: NaruError | undefined

  constructor(call: LibraryCall, options: ClientStreamOptions) {
    this.#call = call
    this.#options = options
    this.#window = new WriteWindow(options.writeBufferBytesMax)
  }

  start(metadata: grpc.Metadata): void {
    this.#call.start(metadata, {
      onReceiveMetadata: received => {
        this.#metadata = plainMetadata(received)
      },
      onReceiveMessage: message => this.#receive(message),
      onReceiveStatus: status => this.#finish(status),
    })
    setImmediate(() => {
      assert(this.#isOver || this.#handlers, `the opener of ${this.#options.path} set no stream handlers`)
      this.#isDelivering = true
      this.#deliver()
    })
    this.#read()
  }

  get metadata(): Readonly<Record<string, string>> {
    return this.#metadata
  }

  setHandlers(handlers: StreamHandlers): void {
    assert(!this.#handlers, `the handlers of a stream (${this.#options.path}) are set once`)
    this.#handlers = handlers
  }

  write(message: Uint8Array): boolean {
    if (this.#isOver || this.#isEnding || this.#end) return true
    const hasRoom = this.#window.add(message.length)
    this.#queue.push(toBuffer(message))
    this.#send()
    return hasRoom
  }

  #send(): void {
    if (this.#isSending || this.#isOver) return
    const message = this.#queue.shift()
    if (!message) return
    this.#isSending = true
    this.#call.sendMessageWithContext({ callback: () => this.#sent(message.length) }, message)
    if (this.#isEnding && this.#queue.length === 0) this.#call.halfClose()
  }

  #sent(bytes: number): void {
    this.#isSending = false
    if (this.#isOver) return
    this.#send()
    if (this.#window.remove(bytes) && !this.#isEnding) this.#handlers?.onDrain?.()
  }

  end(): void {
    if (this.#isOver || this.#isEnding) return
    this.#isEnding = true
    if (this.#queue.length === 0) this.#call.halfClose()
  }

  fail(error: Error): void {
    if (this.#isOver || this.#failure) return
    this.#failure =
      error instanceof NaruError ? error : new NaruError('CANCELLED', error.message, { cause: error })
    if (this.#end) this.#finish(this.#end)
    else cancel(this.#call, this.#failure.message)
  }

  pause(): void {
    this.#isPaused = true
  }

  resume(): void {
    this.#isPaused = false
    this.#deliver()
  }

  /**
   * Reads one message ahead also while paused: until it has handed over a first message, grpc-js lets HTTP/2
   * flow and keeps what comes, without a limit.
   */
  #read(): void {
    if (this.#isReading || this.#held || this.#isOver) return
    this.#isReading = true
    this.#call.startRead()
  }

  #receive(message: Buffer): void {
    this.#isReading = false
    this.#held = message
    this.#deliver()
  }

  #deliver(): void {
    if (!this.#isDelivering || this.#isPaused) return
    const message = this.#held
    this.#held = undefined
    if (message && !this.#failure) this.#handlers?.onMessage(message)
    if (this.#end && !this.#held) this.#finish(this.#end)
    else if (!this.#isPaused) this.#read()
  }

  #finish(status: PartialStatusObject): void {
    if (this.#isOver) return
    if (this.#held && !this.#failure && status.code === OK) {
      // The last message waits for the reader, and so does the end that follows it.
      this.#end = status
      return
    }
    this.#isOver = true
    this.#queue.length = 0
    this.#options.onOver()
    const error = this.#failure ?? (status.code === OK ? undefined : this.#options.errorOf(status))
    if (!error) this.#handlers?.onEnd?.()
    this.#handlers?.onClose?.(error)
  }
}
