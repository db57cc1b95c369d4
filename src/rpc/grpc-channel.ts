import * as grpc from '@grpc/grpc-js'
import { NaruError } from '../base/errors.ts'
import type { CallOptions, Channel, MessageStream, MethodPath } from '../ports/transport.ts'
import { cancel, errorOfCall, type LibraryCall, metadataOf } from './client-call.ts'
import { ClientStream } from './client-stream.ts'
import { FailedStream } from './failed-stream.ts'
import { OK, type PartialStatusObject, toBuffer } from './grpc-status.ts'

export interface GrpcChannelOptions {
  readonly address: string
  readonly credentials: grpc.ChannelCredentials
  readonly library: grpc.ChannelOptions
  readonly writeBufferBytesMax: number
}

/** `connected`: HTTP/2 is up. `disconnected`: it closed or was told to go. `unreachable`: (re)dialling failed. */
export type ConnectionState = 'connected' | 'disconnected' | 'unreachable'

/** One connection to one address, dialled by the first call, and again by the first call after it was lost. */
export class GrpcChannel implements Channel {
  readonly address: string
  readonly #options: GrpcChannelOptions
  readonly #channel: grpc.Channel
  readonly #listeners = new Set<(state: ConnectionState) => void>()
  #state: grpc.connectivityState
  /** How often the connection came up: a call that began without one and ends at the same count was never sent. */
  #connectedCount = 0
  readonly #calls = new Set<LibraryCall>()
  #isClosed = false

  constructor(options: GrpcChannelOptions) {
    this.address = options.address
    this.#options = options
    this.#channel = new grpc.Channel(options.address, options.credentials, options.library)
    this.#state = this.#channel.getConnectivityState(false)
    this.#watch()
  }

  unary(path: MethodPath, request: Uint8Array, options?: CallOptions): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      const refusal = this.#refusal(path, options)
      if (refusal) throw refusal
      const errorOf = this.#errorMaker(path, false)
      const call = this.#open(path, options)
      let answer: Buffer | undefined
      call.start(metadataOf(options), {
        onReceiveMetadata: () => {},
        onReceiveMessage: message => {
          answer = message
          call.startRead()
        },
        onReceiveStatus: status => {
          this.#calls.delete(call)
          if (status.code !== OK) reject(errorOf(status))
          else if (answer) resolve(answer)
          else reject(new NaruError('INTERNAL', `${path} at ${this.address} ended well without an answer`))
        },
      })
      call.sendMessageWithContext({}, toBuffer(request))
      call.halfClose()
      call.startRead()
    })
  }

  stream(path: MethodPath, options?: CallOptions): MessageStream {
    const refusal = this.#refusal(path, options)
    if (refusal) return new FailedStream(refusal)
    const call = this.#open(path, options)
    const stream = new ClientStream(call, {
      path,
      onOver: () => this.#calls.delete(call),
      writeBufferBytesMax: this.#options.writeBufferBytesMax,
      errorOf: this.#errorMaker(path, true),
    })
    stream.start(metadataOf(options))
    return stream
  }

  /** Ends the channel with its calls, which fail with CLOSED. */
  close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#listeners.clear()
    for (const call of this.#calls) cancel(call, 'the channel was closed')
    this.#channel.close()
  }

  /** Dials if there is no connection, without a call. */
  dial(): void {
    if (!this.#isClosed) this.#channel.getConnectivityState(true)
  }

  /** Tells of changes of the connection from now on; returns what stops it. */
  watchConnection(listener: (state: ConnectionState) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** A deadline that has passed already must not reach the library (see `cancel`). */
  #refusal(path: MethodPath, options: CallOptions | undefined): NaruError | undefined {
    if (this.#isClosed) return this.#closed()
    if (options?.timeoutMs === undefined || options.timeoutMs > 0) return undefined
    return new NaruError('DEADLINE_EXCEEDED', `${path} had no time left before it was sent`, {
      outcome: 'none',
    })
  }

  #open(path: MethodPath, options: CallOptions | undefined): LibraryCall {
    const deadlineMs =
      options?.timeoutMs === undefined ? Number.POSITIVE_INFINITY : Date.now() + options.timeoutMs
    const call = this.#channel.createCall(path, deadlineMs, null, null, undefined)
    this.#calls.add(call)
    return call
  }

  #errorMaker(path: MethodPath, isStream: boolean): (status: PartialStatusObject) => NaruError {
    const wasConnected = this.#state === grpc.connectivityState.READY
    const connectedCount = this.#connectedCount
    return status =>
      this.#isClosed
        ? this.#closed('unknown')
        : errorOfCall(status, {
            address: this.address,
            path,
            isStream,
            wasNeverConnected: !wasConnected && connectedCount === this.#connectedCount,
          })
  }

  #closed(outcome: 'none' | 'unknown' = 'none'): NaruError {
    return new NaruError('CLOSED', `the channel to ${this.address} was closed`, { outcome })
  }

  /** grpc-js calls a watcher once, within the change: watching again there misses nothing. */
  #watch(): void {
    this.#channel.watchConnectivityState(this.#state, Number.POSITIVE_INFINITY, () => {
      if (this.#isClosed) return
      const before = this.#state
      this.#state = this.#channel.getConnectivityState(false)
      this.#watch()
      this.#tell(before)
    })
  }

  #tell(before: grpc.connectivityState): void {
    const { READY, TRANSIENT_FAILURE } = grpc.connectivityState
    if (this.#state === READY) {
      this.#connectedCount++
      this.#emit('connected')
    } else if (before === READY) {
      this.#emit('disconnected')
    }
    if (this.#state === TRANSIENT_FAILURE) this.#emit('unreachable')
  }

  #emit(state: ConnectionState): void {
    for (const listener of [...this.#listeners]) listener(state)
  }
}
