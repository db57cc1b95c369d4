import type { EventScheduler } from './event-scheduler.ts'
import type { SeededPrng } from './seeded-prng.ts'
import type { SimIncarnation } from './sim-incarnation.ts'

export interface SimNetworkOptions {
  readonly scheduler: EventScheduler
  readonly prng: SeededPrng
}

/**
 * The network between simulated machines, as TCP shows it: what is sent on a connection arrives in order, late, or not
 * at all because the connection broke. A link (one direction between two hosts) that is cut holds what is sent until
 * it heals, as retransmission does, or until the sender gives the connection up (`keepaliveMs`).
 *
 * A killed process resets its connections, so the others learn of it at once. A machine without power says nothing;
 * once it runs again, it resets what is still sent to its former life (half-open until then).
 */
export class SimNetwork {
  readonly scheduler: EventScheduler
  readonly prng: SeededPrng
  delayMs = { min: 0.1, max: 2 }
  /** A dial that nobody answers. */
  dialTimeoutMs = 5000
  /** Data or pings without an answer: the connection is given up. */
  keepaliveMs = 10_000
  readonly #listeners = new Map<string, SimListener>()
  readonly #cut = new Set<string>()
  readonly #slow = new Map<string, number>()
  readonly #off = new Set<string>()
  readonly #connections = new Set<SimConnection>()
  readonly #watched = new WeakSet<SimIncarnation>()

  constructor(options: SimNetworkOptions) {
    this.scheduler = options.scheduler
    this.prng = options.prng
  }

  listen(listener: SimListener): void {
    this.#listeners.set(listener.address, listener)
    this.watch(listener.incarnation)
  }

  listenerAt(address: string): SimListener | undefined {
    const listener = this.#listeners.get(address)
    return listener?.incarnation.isAlive ? listener : undefined
  }

  /** One direction; the other goes on. */
  cut(from: string, to: string): void {
    this.#cut.add(`${from}>${to}`)
  }

  isCut(from: string, to: string): boolean {
    return this.#cut.has(`${from}>${to}`)
  }

  heal(): void {
    this.#cut.clear()
    this.#slow.clear()
    for (const connection of this.#connections) connection.flush()
  }

  /** Adds to the delay of one direction. */
  slow(from: string, to: string, delayMs: number): void {
    this.#slow.set(`${from}>${to}`, delayMs)
  }

  /** Both ends of every connection between the two see it break. */
  reset(a: string, b: string): void {
    for (const connection of [...this.#connections]) {
      if (connection.joins(a, b)) connection.breakBoth()
    }
  }

  /** Its processes say no goodbye when they are killed from now on. */
  powerOff(host: string): void {
    this.#off.add(host)
  }

  powerOn(host: string): void {
    this.#off.delete(host)
  }

  isOn(host: string): boolean {
    return !this.#off.has(host)
  }

  drawDelayMs(from: string, to: string): number {
    const { min, max } = this.delayMs
    return min + this.prng.fraction() * (max - min) + (this.#slow.get(`${from}>${to}`) ?? 0)
  }

  add(connection: SimConnection): void {
    this.#connections.add(connection)
  }

  forget(connection: SimConnection): void {
    this.#connections.delete(connection)
  }

  watch(incarnation: SimIncarnation): void {
    if (this.#watched.has(incarnation)) return
    this.#watched.add(incarnation)
    incarnation.onKill(() => {
      for (const connection of [...this.#connections]) connection.onKilled(incarnation)
    })
  }
}

export interface SimListener {
  /** `host:port` */
  readonly address: string
  readonly incarnation: SimIncarnation
  accept(connection: SimConnection): void
}

interface Side {
  readonly host: string
  readonly incarnation: SimIncarnation
  /** The connection is over for this side. */
  isOver: boolean
  onBreak: () => void
}

/** One TCP connection: two wires, and what each side knows of its end. */
export class SimConnection {
  readonly client: Side
  #server: Side | undefined
  readonly #network: SimNetwork
  readonly #address: string
  readonly #toServer: Wire
  readonly #toClient: Wire
  onReceive: { server: (packet: unknown) => void; client: (packet: unknown) => void } = {
    server: () => {},
    client: () => {},
  }

  /** Nobody listened at the address. */
  isRefused = false

  constructor(
    network: SimNetwork,
    ends: { host: string; incarnation: SimIncarnation; address: string; onBreak: () => void },
  ) {
    this.#network = network
    this.#address = ends.address
    this.client = { host: ends.host, incarnation: ends.incarnation, isOver: false, onBreak: ends.onBreak }
    this.#toServer = new Wire(network)
    this.#toClient = new Wire(network)
    network.watch(ends.incarnation)
    network.add(this)
    this.#dial()
  }

  get serverHost(): string {
    return this.#address.slice(0, this.#address.lastIndexOf(':'))
  }

  get isEstablished(): boolean {
    return this.#server !== undefined
  }

  joins(a: string, b: string): boolean {
    const hosts = [this.client.host, this.serverHost]
    return hosts.includes(a) && hosts.includes(b) && (a === b || this.client.host !== this.serverHost)
  }

  /** The server's side, once there is one, breaks with this. */
  accepted(onBreak: () => void): void {
    if (this.#server) this.#server.onBreak = onBreak
  }

  sendToServer(packet: unknown): void {
    this.#send(this.#toServer, this.client, this.#server, () => this.onReceive.server(packet))
  }

  sendToClient(packet: unknown): void {
    if (this.#server)
      this.#send(this.#toClient, this.#server, this.client, () => this.onReceive.client(packet))
  }

  flush(): void {
    this.#toServer.flush()
    this.#toClient.flush()
  }

  breakBoth(): void {
    this.#break(this.client)
    if (this.#server) this.#break(this.#server)
    else this.#network.forget(this)
  }

  /** The client closes it in order: what was sent arrives before. */
  closeByClient(): void {
    if (this.client.isOver) return
    const server = this.#server
    if (server) this.#send(this.#toServer, this.client, server, () => this.#break(server))
    else this.#network.forget(this)
    this.client.isOver = true
  }

  onKilled(incarnation: SimIncarnation): void {
    for (const [dead, wire, other] of [
      [this.client, this.#toServer, this.#server],
      [this.#server, this.#toClient, this.client],
    ] as const) {
      if (dead?.incarnation !== incarnation || dead.isOver) continue
      dead.isOver = true
      if (!other) this.#network.forget(this)
      else if (this.#network.isOn(dead.host)) this.#resetFrom(dead, wire, other)
    }
  }

  #dial(): void {
    const { host, incarnation } = this.client
    const network = this.#network
    const isReachable =
      network.isOn(this.serverHost) &&
      !network.isCut(host, this.serverHost) &&
      !network.isCut(this.serverHost, host)
    if (!isReachable) {
      incarnation.schedule(network.dialTimeoutMs, () => this.#break(this.client), { label: 'dial timeout' })
      return
    }
    const delayMs = network.drawDelayMs(host, this.serverHost) + network.drawDelayMs(this.serverHost, host)
    incarnation.schedule(delayMs, () => this.#established(), { label: 'dialled' })
  }

  #established(): void {
    if (this.client.isOver) return
    const listener = this.#network.listenerAt(this.#address)
    if (!listener) {
      // The machine says so; one that is off or cut off by now says nothing, and the dial ends somehow.
      this.isRefused =
        this.#network.isOn(this.serverHost) && !this.#network.isCut(this.serverHost, this.client.host)
      this.#break(this.client)
      return
    }
    const { incarnation } = listener
    const server = { host: this.serverHost, incarnation, isOver: false, onBreak: () => {} }
    this.#server = server
    this.#toServer.open({ from: this.client.host, to: server.host, target: incarnation })
    this.#toClient.open({ from: server.host, to: this.client.host, target: this.client.incarnation })
    listener.accept(this)
    this.#toServer.flush()
  }

  #send(wire: Wire, sender: Side, receiver: Side | undefined, deliver: () => void): void {
    if (sender.isOver || !sender.incarnation.isAlive) return
    const isMet = receiver === undefined || (receiver.incarnation.isAlive && !receiver.isOver)
    if (!isMet) {
      const isAnswered = this.#network.isOn(receiver.host) && !this.#network.isCut(receiver.host, sender.host)
      const delayMs = isAnswered
        ? this.#network.drawDelayMs(receiver.host, sender.host)
        : this.#network.keepaliveMs
      sender.incarnation.schedule(delayMs, () => this.#break(sender), { label: 'reset' })
      return
    }
    const isHeld = wire.send(() => {
      if (!receiver?.isOver) deliver()
    })
    if (isHeld && receiver) {
      const giveUp = () => wire.isBlocked && this.#break(sender)
      sender.incarnation.schedule(this.#network.keepaliveMs, giveUp, { label: 'keepalive' })
    }
  }

  #resetFrom(dead: Side, wire: Wire, other: Side): void {
    if (this.#network.isCut(dead.host, other.host)) {
      // Lost: the other notices by its keepalive, or when it sends to the process that is there by then.
      other.incarnation.schedule(this.#network.keepaliveMs, () => this.#break(other), { label: 'keepalive' })
      return
    }
    wire.send(() => this.#break(other))
  }

  #break(side: Side): void {
    if (side.isOver) return
    side.isOver = true
    const other = side === this.client ? this.#server : this.client
    if (other && !other.isOver && other.incarnation.isAlive) {
      // Half-open: nothing told the other side. Its own pings get no answer, or a reset.
      const giveUp = () => this.#break(other)
      other.incarnation.schedule(this.#network.keepaliveMs, giveUp, { label: 'keepalive' })
    }
    if (this.client.isOver && (!this.#server || this.#server.isOver)) this.#network.forget(this)
    if (side.incarnation.isAlive) side.onBreak()
  }
}

interface WireEnds {
  readonly from: string
  readonly to: string
  readonly target: SimIncarnation
}

/** One direction of a connection. */
class Wire {
  readonly #network: SimNetwork
  #ends: WireEnds | undefined
  #held: (() => void)[] = []
  #lastAtMs = 0

  constructor(network: SimNetwork) {
    this.#network = network
  }

  get isBlocked(): boolean {
    return this.#held.length > 0
  }

  open(ends: WireEnds): void {
    this.#ends = ends
  }

  /** True: it waits for the link to heal, or the dial to succeed. */
  send(deliver: () => void): boolean {
    const isHeld = this.isBlocked || !this.#ends || this.#network.isCut(this.#ends.from, this.#ends.to)
    if (isHeld) this.#held.push(deliver)
    else this.#dispatch(deliver)
    return isHeld
  }

  flush(): void {
    if (!this.#ends || this.#network.isCut(this.#ends.from, this.#ends.to)) return
    for (const deliver of this.#held.splice(0)) this.#dispatch(deliver)
  }

  #dispatch(deliver: () => void): void {
    const { from, to, target } = this.#ends as WireEnds
    const { nowMs } = this.#network.scheduler
    // Strictly later than what went before: the scheduler may swap what is due at the same moment.
    this.#lastAtMs = Math.max(this.#lastAtMs + 0.0001, nowMs + this.#network.drawDelayMs(from, to))
    target.schedule(this.#lastAtMs - nowMs, deliver, { label: `from ${from}` })
  }
}
