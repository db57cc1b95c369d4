/**
 * Calls and streams between clients and nodes, and between nodes, as a port. Messages are encoded protobuf
 * bytes: whoever sends encodes, whoever receives decodes, whoever forwards passes them on untouched. The real
 * form is gRPC (`src/rpc`); tests bring an in-process one, the simulator its own.
 *
 * Every failure of a call is a `NaruError` (`base/errors.ts`).
 */
export interface Transport {
  /** A channel to `host:port`. It dials lazily and redials by itself; making one never fails. */
  connect(address: string, options?: ChannelOptions): Channel
}

export interface ChannelOptions {
  /** Channels of different purposes to one address share no connection (heartbeats never wait for data). */
  readonly purpose?: 'client' | 'raft' | 'replication' | 'forward'
  /** Largest message accepted. Default 4 MiB for clients, as generated stubs have it. */
  readonly receiveMessageBytesMax?: number
}

export interface Channel {
  readonly address: string
  unary(path: MethodPath, request: Uint8Array, options?: CallOptions): Promise<Buffer>
  /** Opens a stream of the given method; bidirectional, server-streaming and client-streaming alike. */
  stream(path: MethodPath, options?: CallOptions): MessageStream
  close(): void
}

const REFUSED = 'ECONNREFUSED'

/** For the error of a call whose dial was refused, as its cause. */
export function refusal(message: string): Error {
  return Object.assign(new Error(message), { code: REFUSED })
}

/**
 * The machine at the address has said that nobody listens there: the process that did is gone. (Unless it is a firewall
 * that says so, or the address belongs to another machine by now.)
 */
export function isRefused(error: Error | undefined): boolean {
  const cause = error?.cause as { readonly code?: unknown } | undefined
  return cause?.code === REFUSED
}

/** `/naru.v1.Producer/Produce` */
export type MethodPath = string

export interface CallOptions {
  /** From now, in milliseconds. None: no deadline. */
  readonly timeoutMs?: number
  /** Names are lower case; values are ASCII. */
  readonly metadata?: Readonly<Record<string, string>>
}

/**
 * One end of an open stream, the same on both sides. Not an event emitter: one owner sets the handlers once,
 * in the turn in which it got the stream (nothing is delivered before the end of that turn).
 *
 * Flow control: `write` returns false when the buffer is full; write again only after `onDrain`. `pause`
 * stops delivery (and, once windows are full, the sender); what was already on its way may still arrive.
 */
export interface MessageStream {
  /** False: full, wait for `onDrain`. After the stream ended or failed, writes are dropped and return true. */
  write(message: Uint8Array): boolean
  /** No more writes from this side. On a server: ends the call with OK. */
  end(): void
  /** Ends the call with an error: on a server the status of the call, on a client a cancellation. */
  fail(error: Error): void
  pause(): void
  resume(): void
  /** Metadata that the other side sent with the call (on a server) or at its start (on a client). */
  readonly metadata: Readonly<Record<string, string>>
  setHandlers(handlers: StreamHandlers): void
}

export interface StreamHandlers {
  onMessage(message: Buffer): void
  /** The other side sends no more (half-close on a server; the end of an OK call on a client). */
  onEnd?(): void
  /** `write` may be used again after it had returned false. */
  onDrain?(): void
  /**
   * Called exactly once, last: the stream is over. Without an error it ended well on both sides; with one it
   * was cancelled, broke, or was ended by the other side with that error.
   */
  onClose?(error: NaruErrorLike | undefined): void
}

type NaruErrorLike = import('../base/errors.ts').NaruError

/** What a node (or a test) serves: the handler of each method by its path. */
export type ServiceHandlers = ReadonlyMap<MethodPath, ServiceHandler>

export type ServiceHandler =
  | { readonly kind: 'unary'; handle(request: Buffer, context: CallContext): Promise<Uint8Array> }
  | {
      readonly kind: 'stream'
      /**
       * The stream owes its client nothing that a new one would not bring as well: it ends as soon as the node stops.
       * Others are half-closed then (`onEnd`), and end when they have answered all that they took.
       */
      readonly endsAtDrain?: boolean
      handle(stream: MessageStream, context: CallContext): void
    }

export interface CallContext {
  readonly metadata: Readonly<Record<string, string>>
  /** Milliseconds left when the call arrived, if the caller set a deadline. */
  readonly timeoutMs: number | undefined
  /** Network address of the caller, without its port: limits are counted by it. */
  readonly peer: string
  /** Called when the caller went away, its deadline passed, or the node stops: who waits should wait no longer. */
  onCancel(callback: () => void): void
  /**
   * Asks the process at the other end of the caller's connection for a sign of life, below its code: `onAnswer` is
   * called once when there is one, and never if there is none. Gathered: calls while one is under way share its answer.
   */
  ping(onAnswer: () => void): void
}
