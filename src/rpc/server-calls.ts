import type { ServerHttp2Stream } from 'node:http2'
import * as grpc from '@grpc/grpc-js'
import { InvariantViolation } from '../base/assert.ts'
import { NaruError } from '../base/errors.ts'
import type { ServiceHandlers } from '../ports/transport.ts'
import type { Connections } from './connections.ts'
import { compressionRefused, statusOf } from './grpc-status.ts'
import type { RpcLogger } from './logger.ts'
import { type SendBuffer, ServerCall } from './server-call.ts'
import type { GrpcServerLimits } from './server-limits.ts'
import { ServerStream } from './server-stream.ts'
import { UnaryCall } from './unary-call.ts'

export interface ServerCallsOptions {
  readonly handlers: ServiceHandlers
  readonly limits: GrpcServerLimits
  readonly logger: RpcLogger
  readonly connections: Connections
}

interface Arrival {
  readonly stream: ServerHttp2Stream
  readonly headers: Record<string, unknown>
}

/**
 * The calls of one server: takes each over from grpc-js as it arrives, refuses it or hands it to its handler,
 * and knows what is open until it is over.
 */
export class ServerCalls implements SendBuffer {
  readonly #options: ServerCallsOptions
  readonly #open = new Set<ServerCall>()
  #arrival: Arrival | undefined
  #sendBufferBytes = 0
  #isShedding = false
  #isDraining = false
  #onIdle: () => void = () => {}

  constructor(options: ServerCallsOptions) {
    this.#options = options
  }

  get count(): number {
    return this.#open.size
  }

  get sendBufferBytes(): number {
    return this.#sendBufferBytes
  }

  hasRoom(): boolean {
    return this.#sendBufferBytes < this.#options.limits.sendBufferBytesMax
  }

  add(bytes: number): void {
    this.#sendBufferBytes += bytes
    if (this.#isShedding || !this.#isOverfull) return
    this.#isShedding = true
    // Not within the writing of an answer, which may be the one to go.
    process.nextTick(() => this.#shed())
  }

  get #isOverfull(): boolean {
    return this.#sendBufferBytes > this.#options.limits.sendBufferBytesHardMax
  }

  #shed(): void {
    const stalled = [...this.#open]
      .map(call => ({ call, sinceMs: call.stalledSinceMs() ?? Number.POSITIVE_INFINITY }))
      .sort((a, b) => a.sinceMs - b.sinceMs)
    for (const { call } of stalled) {
      if (!this.#isOverfull) break
      this.#cut(call, 'this node holds more answers than it has memory for, and the client took them slowest')
    }
    this.#isShedding = false
  }

  #cut(call: ServerCall, because: string): void {
    const { path } = call
    this.#options.logger.warn({ path, sendBufferBytes: this.#sendBufferBytes }, 'cut a reader that stalled')
    call.cut(new NaruError('READER_TOO_SLOW', `${path}: ${because}`))
  }

  /** grpc-js makes the call of a stream in the same turn, right after this. */
  arrive(stream: ServerHttp2Stream, headers: Record<string, unknown>): void {
    this.#arrival = { stream, headers }
  }

  /** A call is ours from the moment the library starts the handler that it knows of, which never runs. */
  intercept(call: grpc.ServerInterceptingCallInterface): grpc.ServerInterceptingCall {
    const arrival = this.#arrival
    this.#arrival = undefined
    return new grpc.ServerInterceptingCall(call, {
      start: () => {
        if (arrival) this.#serve(call, arrival)
      },
    })
  }

  #serve(libraryCall: grpc.ServerInterceptingCallInterface, { stream, headers }: Arrival): void {
    const path = String(headers[':path'])
    const connection = stream.session && this.#options.connections.of(stream.session)
    if (!connection) {
      stream.close()
      return
    }
    const handler = this.#options.handlers.get(path)
    const refusal = this.#refusal()
    if (!handler || refusal) {
      libraryCall.sendStatus(statusOf(refusal ?? unknownMethod(path)))
      return
    }
    if (isCompressed(headers)) {
      libraryCall.sendStatus(compressionRefused(path))
      return
    }
    const call = new ServerCall(libraryCall, stream, {
      path,
      connection,
      nowMs: () => performance.now(),
      writeBufferBytesMax: this.#options.limits.writeBufferBytesMax,
      sendBuffer: this,
      owesRequest: handler.kind === 'unary',
      onOver: over => this.#forget(over),
    })
    this.#open.add(call)
    const onFailure = (thrown: unknown) => this.#failure(path, thrown)
    if (handler.kind === 'unary') {
      call.start(
        new UnaryCall(call, { handle: (request, context) => handler.handle(request, context), onFailure }),
      )
      call.resume()
      return
    }
    const end = new ServerStream(call, { onFailure, endsAtDrain: handler.endsAtDrain === true })
    call.start(end)
    if (!call.isOver) end.open(() => handler.handle(end, call.context))
  }

  #refusal(): NaruError | undefined {
    if (this.#isDraining) return draining()
    const { callsMax } = this.#options.limits
    if (this.#open.size < callsMax) return undefined
    return new NaruError('OVERLOADED', `this node has ${callsMax} calls open, as many as it takes`, {
      retryAfterMs: RETRY_AFTER_MS,
    })
  }

  #forget(call: ServerCall): void {
    this.#open.delete(call)
    if (this.#open.size === 0) this.#onIdle()
  }

  /** What a handler threw without meaning to: the log has it all, the client only that it happened. */
  #failure(path: string, thrown: unknown): NaruError {
    this.#options.logger.error({ err: thrown, path }, 'a call failed for a reason that is a bug')
    if (thrown instanceof InvariantViolation) {
      // Wrong state must not go on: as an uncaught exception it reaches whoever ends the process.
      setImmediate(() => {
        throw thrown
      })
    }
    return new NaruError('INTERNAL', `${path} failed unexpectedly: the log of the node says why`)
  }

  /**
   * Cuts the calls whose reader has taken nothing for too long; while memory is short, that is sooner. Ends those
   * whose request trickles in: it holds memory and a place among the calls.
   */
  sweep(nowMs: number): void {
    const { readerStallTimeoutMs, requestTimeoutMs } = this.#options.limits
    const limitMs = this.hasRoom() ? readerStallTimeoutMs : Math.min(readerStallTimeoutMs, SHORT_STALL_MS)
    for (const call of this.#open) {
      const sinceMs = call.stalledSinceMs()
      if (sinceMs !== undefined && nowMs - sinceMs >= limitMs)
        this.#cut(call, `the client took nothing for ${limitMs} ms`)
      const requestSinceMs = call.requestSinceMs()
      if (requestSinceMs !== undefined && nowMs - requestSinceMs >= requestTimeoutMs) this.#endUnsent(call)
    }
  }

  #endUnsent(call: ServerCall): void {
    const { requestTimeoutMs } = this.#options.limits
    const message = `${call.path}: a request message was not here whole within ${requestTimeoutMs} ms: send it faster, or in smaller parts`
    call.end(new NaruError('DEADLINE_EXCEEDED', message, { outcome: 'none' }))
  }

  /** New calls are refused; those under way are told, and end as soon as they have answered what they accepted. */
  startDraining(): void {
    this.#isDraining = true
    for (const call of [...this.#open]) call.drain(draining())
  }

  endAll(): void {
    for (const call of this.#open) call.end(draining())
  }

  /** Resolves when no call is open, or at the limit. */
  idle(timeoutMs: number): Promise<void> {
    if (this.#open.size === 0) return Promise.resolve()
    return new Promise(resolve => {
      const timer = setTimeout(resolve, timeoutMs)
      this.#onIdle = () => {
        clearTimeout(timer)
        resolve()
      }
    })
  }
}

/** Batches are compressed already; per-message compression would let 64 KiB of input become gigabytes. */
function isCompressed(headers: Record<string, unknown>): boolean {
  const encoding = headers['grpc-encoding']
  return encoding !== undefined && encoding !== 'identity'
}

function unknownMethod(path: string): NaruError {
  return new NaruError('NOT_IMPLEMENTED', `this node does not serve ${path}`, { details: { method: path } })
}

function draining(): NaruError {
  return new NaruError('NODE_DRAINING', 'the node is stopping: use another one')
}

const RETRY_AFTER_MS = 250
/** Others wait for the memory that a stalled reader holds. */
const SHORT_STALL_MS = 5_000
