import { NaruError } from '../../src/base/errors.ts'
import {
  type CallContext,
  type CallOptions,
  type Channel,
  type ChannelOptions,
  type MessageStream,
  refusal,
  type ServiceHandlers,
  type Transport,
} from '../../src/ports/transport.ts'
import type { SimIncarnation } from './sim-incarnation.ts'
import { SimConnection, type SimNetwork } from './sim-network.ts'
import { type Packet, SimStreamEnd } from './sim-transport-stream.ts'

const CLIENT_MESSAGE_BYTES_MAX = 4 * 1024 * 1024
const PEER_MESSAGE_BYTES_MAX = 32 * 1024 * 1024

/**
 * The Transport port of one process on a simulated machine, as gRPC behaves: a channel has one connection, dialled by
 * its first stream and again by the first after it broke; streams on it end together with it.
 */
export class SimTransport implements Transport {
  readonly #network: SimNetwork
  readonly #incarnation: SimIncarnation
  readonly #host: string

  constructor(network: SimNetwork, incarnation: SimIncarnation, host: string) {
    this.#network = network
    this.#incarnation = incarnation
    this.#host = host
  }

  connect(address: string, options: ChannelOptions = {}): Channel {
    const { purpose, receiveMessageBytesMax } = options
    const isPeer = purpose !== undefined && purpose !== 'client'
    return new SimChannel({
      network: this.#network,
      incarnation: this.#incarnation,
      host: this.#host,
      address,
      messageBytesMax: receiveMessageBytesMax ?? (isPeer ? PEER_MESSAGE_BYTES_MAX : CLIENT_MESSAGE_BYTES_MAX),
    })
  }
}

interface SimChannelOptions {
  readonly network: SimNetwork
  readonly incarnation: SimIncarnation
  readonly host: string
  readonly address: string
  readonly messageBytesMax: number
}

class SimChannel implements Channel {
  readonly #options: SimChannelOptions
  #connection: SimConnection | undefined
  readonly #streams = new Map<number, SimStreamEnd>()
  #lastStream = 0
  #isClosed = false

  constructor(options: SimChannelOptions) {
    this.#options = options
  }

  get address(): string {
    return this.#options.address
  }

  unary(path: string, request: Uint8Array, options?: CallOptions): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      let answer: Buffer | undefined
      const stream = this.stream(path, options)
      stream.setHandlers({
        onMessage: message => {
          answer = message
        },
        onClose: error => {
          if (error) reject(error)
          else if (answer) resolve(answer)
          else reject(new NaruError('INTERNAL', `${path} ended well without an answer`))
        },
      })
      stream.write(request)
      stream.end()
    })
  }

  stream(path: string, options: CallOptions = {}): MessageStream {
    const { incarnation, messageBytesMax, address } = this.#options
    const id = ++this.#lastStream
    const connection = this.#isClosed ? undefined : (this.#connection ?? this.#dial())
    const end = new SimStreamEnd({
      side: 'client',
      incarnation,
      messageBytesMax,
      metadata: {},
      send: packet => connection?.sendToServer({ ...packet, id }),
      onOver: () => this.#streams.delete(id),
    })
    this.#streams.set(id, end)
    if (!connection) {
      incarnation.schedule(0, () =>
        end.finish(new NaruError('CLOSED', `the channel to ${address} was closed`)),
      )
      return end
    }
    const { timeoutMs, metadata = {} } = options
    connection.sendToServer({ kind: 'open', id, path, metadata, timeoutMs } satisfies OpenPacket)
    if (timeoutMs !== undefined) {
      const late = new NaruError(
        'DEADLINE_EXCEEDED',
        `${path} at ${address} got no answer before its deadline`,
      )
      incarnation.schedule(timeoutMs, () => end.fail(late), { label: 'deadline' })
    }
    return end
  }

  close(): void {
    this.#isClosed = true
    // Their requests are on the way, or further.
    const because = new NaruError('CLOSED', `the channel to ${this.address} was closed`, {
      outcome: 'unknown',
    })
    for (const end of [...this.#streams.values()]) end.fail(because)
    this.#connection?.closeByClient()
    this.#connection = undefined
  }

  #dial(): SimConnection {
    const { network, incarnation, host, address } = this.#options
    const connection = new SimConnection(network, {
      host,
      incarnation,
      address,
      onBreak: () => {
        if (this.#connection === connection) this.#connection = undefined
        // What was sent on a connection that was up may have been done, whether anything came back or not.
        const outcome = connection.isEstablished ? 'unknown' : 'none'
        const message = `the connection to ${address} failed`
        const refused = connection.isRefused ? { cause: refusal(message) } : {}
        const error = new NaruError('CONNECTION_FAILED', message, { outcome, ...refused })
        for (const end of [...this.#streams.values()]) end.finish(error)
      },
    })
    connection.onReceive.client = packet => {
      const { id, ...rest } = packet as (Packet | Ping) & { id: number }
      if (rest.kind === 'ping') connection.sendToServer({ kind: 'ping', id } satisfies Ping & { id: number })
      else this.#streams.get(id)?.receive(rest as Packet)
    }
    this.#connection = connection
    return connection
  }
}

interface OpenPacket {
  readonly kind: 'open'
  readonly id: number
  readonly path: string
  readonly metadata: Readonly<Record<string, string>>
  readonly timeoutMs: number | undefined
}

/** Asked by the server, answered by the client's end of the connection. */
interface Ping {
  readonly kind: 'ping'
}

export interface SimServerOptions {
  readonly network: SimNetwork
  readonly incarnation: SimIncarnation
  /** `host:port` */
  readonly address: string
  readonly handlers: ServiceHandlers
  readonly receiveMessageBytesMax?: number
}

/** Serves a map of handlers at an address, until the process is killed. */
export function serveSimulated(options: SimServerOptions): void {
  const { network, incarnation, address } = options
  network.listen({
    address,
    incarnation,
    accept: connection => {
      const streams = new Map<number, SimStreamEnd>()
      const pings = new SimPings(connection)
      connection.onReceive.server = packet => {
        const { id, ...rest } = packet as (Packet | Ping | OpenPacket) & { id: number }
        if (rest.kind === 'ping') pings.onAnswer(id)
        else if (rest.kind === 'open')
          acceptStream(options, { connection, pings, streams }, packet as OpenPacket)
        else streams.get(id)?.receive(rest as Packet)
      }
      connection.accepted(() => {
        const error = new NaruError('CANCELLED', 'the connection of the caller broke')
        for (const end of [...streams.values()]) end.finish(error)
      })
    },
  })
}

class SimPings {
  readonly #connection: SimConnection
  readonly #asking = new Map<number, () => void>()
  #last = 0

  constructor(connection: SimConnection) {
    this.#connection = connection
  }

  ask(onAnswer: () => void): void {
    this.#asking.set(++this.#last, onAnswer)
    this.#connection.sendToClient({ kind: 'ping', id: this.#last })
  }

  onAnswer(id: number): void {
    this.#asking.get(id)?.()
    this.#asking.delete(id)
  }
}

interface SimServerConnection {
  readonly connection: SimConnection
  readonly pings: SimPings
  readonly streams: Map<number, SimStreamEnd>
}

function acceptStream(
  options: SimServerOptions,
  { connection, pings, streams }: SimServerConnection,
  { id, path, metadata, timeoutMs }: OpenPacket,
): void {
  const { handlers, incarnation, receiveMessageBytesMax = PEER_MESSAGE_BYTES_MAX } = options
  const cancelled: (() => void)[] = []
  const end = new SimStreamEnd({
    side: 'server',
    incarnation,
    messageBytesMax: receiveMessageBytesMax,
    metadata,
    send: packet => connection.sendToClient({ ...packet, id }),
    onOver: error => {
      streams.delete(id)
      if (error) for (const callback of cancelled) callback()
    },
  })
  streams.set(id, end)
  const context: CallContext = {
    metadata,
    timeoutMs,
    peer: connection.client.host,
    onCancel: callback => void cancelled.push(callback),
    ping: onAnswer => pings.ask(() => streams.has(id) && onAnswer()),
  }
  const handler = handlers.get(path)
  if (!handler) {
    end.setHandlers({ onMessage() {} })
    end.fail(new NaruError('NOT_IMPLEMENTED', `${path} is not served here`))
  } else if (handler.kind === 'stream') end.guard(() => handler.handle(end, context))
  else serveUnary(end, request => handler.handle(request, context))
}

function serveUnary(end: SimStreamEnd, handle: (request: Buffer) => Promise<Uint8Array>): void {
  end.setHandlers({
    onMessage: request => {
      handle(request).then(
        answer => {
          end.write(answer)
          end.end()
        },
        thrown => end.fail(thrown as Error),
      )
    },
  })
}
