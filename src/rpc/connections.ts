import type { Http2Session, ServerHttp2Session } from 'node:http2'
import type { Socket } from 'node:net'
import type { ConnectionRequestBytes, RequestBytes } from './request-bytes.ts'

export interface ConnectionLimits {
  readonly connectionsMax: number
  /** Generous: behind a NAT or a load balancer many clients share one address. */
  readonly connectionsPerAddressMax: number
  /** From the accepted connection to HTTP/2 settings (with TLS, the TLS handshake included). */
  readonly handshakeTimeoutMs: number
  readonly requestBytesPerConnectionMax: number
}

export interface Connection {
  readonly address: string
  readonly requestBytes: ConnectionRequestBytes
  /** See `CallContext`. */
  ping(onAnswer: () => void): void
}

interface OpenConnection extends Connection {
  readonly socket: Socket
  readonly acceptedAtMs: number
  session: ServerHttp2Session | undefined
  isEstablished: boolean
}

/**
 * The accepted TCP connections of one server, and who may have another one. gRPC has no such limit, so the
 * server accepts by itself and hands over only what `admit` let in.
 *
 * A session is joined to its connection by the remote end (address and port), which is unique among the open
 * connections of one listening port; HTTP/2 gives no other way to the socket below a session.
 */
export class Connections {
  readonly #limits: ConnectionLimits
  readonly #requestBytes: RequestBytes
  readonly #byRemote = new Map<string, OpenConnection>()
  readonly #countByAddress = new Map<string, number>()
  #onEmpty: () => void = () => {}

  constructor(limits: ConnectionLimits, requestBytes: RequestBytes) {
    this.#limits = limits
    this.#requestBytes = requestBytes
  }

  get count(): number {
    return this.#byRemote.size
  }

  /** Registers the connection until it closes, or answers which limit it would break. */
  admit(socket: Socket, nowMs: number): 'connectionsMax' | 'connectionsPerAddressMax' | undefined {
    const remote = remoteOf(socket)
    const address = addressOf(socket.remoteAddress)
    const ofAddress = this.#countByAddress.get(address) ?? 0
    if (this.#byRemote.size >= this.#limits.connectionsMax) return 'connectionsMax'
    if (ofAddress >= this.#limits.connectionsPerAddressMax) return 'connectionsPerAddressMax'
    this.#countByAddress.set(address, ofAddress + 1)
    const pings = new Pings(() => this.#byRemote.get(remote)?.session)
    this.#byRemote.set(remote, {
      address,
      socket,
      acceptedAtMs: nowMs,
      session: undefined,
      isEstablished: false,
      requestBytes: this.#requestBytes.ofConnection(this.#limits.requestBytesPerConnectionMax),
      ping: onAnswer => pings.ask(onAnswer),
    })
    socket.once('close', () => this.#forget(socket, remote, address))
    return undefined
  }

  #forget(socket: Socket, remote: string, address: string): void {
    // Its end may be told after another connection has begun from the same port.
    if (this.#byRemote.get(remote)?.socket === socket) this.#byRemote.delete(remote)
    const left = (this.#countByAddress.get(address) ?? 1) - 1
    if (left > 0) this.#countByAddress.set(address, left)
    else this.#countByAddress.delete(address)
    if (this.#byRemote.size === 0) this.#onEmpty()
  }

  of(session: Http2Session): Connection | undefined {
    return this.#byRemote.get(remoteOf(session.socket))
  }

  /** Joins a session to its connection; established once the client's settings are here. */
  join(session: ServerHttp2Session): void {
    const connection = this.#byRemote.get(remoteOf(session.socket))
    if (!connection) return
    connection.session = session
    session.once('remoteSettings', () => {
      connection.isEstablished = true
    })
  }

  /** GOAWAY: no new streams on any connection; each closes when its streams are done. */
  sendAway(): void {
    for (const { session, socket } of this.#byRemote.values()) {
      if (!session) socket.destroy()
      else if (!session.closed) session.close()
    }
  }

  /** Closes what has not finished its handshake in time. */
  sweep(nowMs: number): void {
    for (const { socket, isEstablished, acceptedAtMs } of this.#byRemote.values()) {
      if (!isEstablished && nowMs - acceptedAtMs > this.#limits.handshakeTimeoutMs) socket.destroy()
    }
  }

  /** Resolves when no connection is open, or at the limit. */
  empty(timeoutMs: number): Promise<void> {
    if (this.#byRemote.size === 0) return Promise.resolve()
    return new Promise(resolve => {
      const timer = setTimeout(resolve, timeoutMs)
      this.#onEmpty = () => {
        clearTimeout(timer)
        resolve()
      }
    })
  }

  destroyAll(): void {
    for (const { socket } of this.#byRemote.values()) socket.destroy()
  }
}

/** The PINGs of one connection, one at a time: HTTP/2 stacks bound those that are under way. */
class Pings {
  readonly #session: () => ServerHttp2Session | undefined
  #asking: (() => void)[] = []

  constructor(session: () => ServerHttp2Session | undefined) {
    this.#session = session
  }

  ask(onAnswer: () => void): void {
    this.#asking.push(onAnswer)
    if (this.#asking.length > 1) return
    const session = this.#session()
    const isSent =
      session !== undefined && !session.destroyed && session.ping(error => this.#settle(error === null))
    if (!isSent) this.#settle(false)
  }

  #settle(isAnswered: boolean): void {
    const asking = this.#asking
    this.#asking = []
    if (isAnswered) for (const onAnswer of asking) onAnswer()
  }
}

function remoteOf(socket: { remoteAddress?: string | undefined; remotePort?: number | undefined }): string {
  return `${socket.remoteAddress}|${socket.remotePort}`
}

/** An IPv4 address as such, also where a dual-stack socket reports it mapped into IPv6. */
function addressOf(remoteAddress: string | undefined): string {
  if (remoteAddress === undefined) return 'unknown'
  return remoteAddress.startsWith('::ffff:') ? remoteAddress.slice(7) : remoteAddress
}
