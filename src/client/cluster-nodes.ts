import type { NodeId } from '../base/brands.ts'
import type { Clock } from '../ports/clock.ts'
import type { Channel, Transport } from '../ports/transport.ts'
import type { NodeEndpoint } from '../wire/messages.ts'

/** Where a call goes, and the metadata it goes with. */
export interface Route {
  readonly channel: Channel
  readonly metadata: Readonly<Record<string, string>>
  /** Otherwise through another node. */
  readonly isDirect: boolean
}

/** Batches have up to 8 MiB; the rest is for what surrounds them and for answers of many small things. */
const RECEIVE_BYTES_MAX = 18 * 1024 * 1024
/** How long a leader whose own address did not answer is reached through another node. */
const UNREACHABLE_MS = 30_000
/** "I know where leaders are": the node answers NOT_LEADER instead of forwarding. */
const DIRECT = { 'naru-direct': '1' } as const
const INDIRECT = {} as const

/**
 * The nodes of the cluster and the channels to them. One of them, the entry, takes what any node can answer; what
 * fails there moves the entry on. Leaders are called directly; where that fails (an address that is only known inside
 * the cluster's network), through the entry, which forwards.
 */
export class ClusterNodes {
  readonly #transport: Transport
  readonly #clock: Clock
  readonly #bootstrap: readonly string[]
  readonly #addresses = new Map<NodeId, string>()
  readonly #channels = new Map<string, Channel>()
  readonly #unreachableUntilMs = new Map<string, number>()
  readonly #isEntryOnly: boolean
  readonly #silenceListeners = new Set<(address: string) => void>()
  #entry: string

  /** `isEntryOnly`: everything goes through the entry, which forwards (a node's own client has no other). */
  constructor(options: {
    transport: Transport
    clock: Clock
    bootstrap: readonly string[]
    isEntryOnly?: boolean
  }) {
    this.#transport = options.transport
    this.#clock = options.clock
    this.#bootstrap = options.bootstrap
    this.#isEntryOnly = options.isEntryOnly ?? false
    this.#entry = options.bootstrap[0] as string
  }

  get bootstrap(): readonly string[] {
    return this.#bootstrap
  }

  entry(): Channel {
    return this.#channel(this.#entry)
  }

  /** A call to that address failed in a way that another node may not fail in. */
  avoidEntry(address: string): void {
    if (address !== this.#entry || this.#isEntryOnly) return
    const candidates = [...new Set([...this.#bootstrap, ...this.#addresses.values()])]
    this.#entry = candidates[(candidates.indexOf(address) + 1) % candidates.length] as string
  }

  /** To that node itself, or to another one that passes the call on. */
  route(nodeId: NodeId): Route {
    const address = this.#isEntryOnly ? undefined : this.#addresses.get(nodeId)
    const untilMs = address === undefined ? undefined : this.#unreachableUntilMs.get(address)
    if (address === undefined || (untilMs !== undefined && this.#clock.monotonicMs() < untilMs))
      return { channel: this.entry(), metadata: INDIRECT, isDirect: false }
    return { channel: this.#channel(address), metadata: DIRECT, isDirect: true }
  }

  markUnreachable(route: Route): void {
    const { address } = route.channel
    if (route.isDirect) this.#unreachableUntilMs.set(address, this.#clock.monotonicMs() + UNREACHABLE_MS)
    else this.avoidEntry(address)
  }

  /** The node has just taken over a partition, so it lives: its address may answer again. */
  mayBeReachable(nodeId: NodeId): void {
    const address = this.#addresses.get(nodeId)
    if (address !== undefined) this.#unreachableUntilMs.delete(address)
  }

  /** That node holds its connections and says nothing: what goes through it must go through another. */
  markSilent(address: string): void {
    this.avoidEntry(address)
    for (const listener of [...this.#silenceListeners]) listener(address)
  }

  /** Returns how to stop that. */
  onSilent(listener: (address: string) => void): () => void {
    this.#silenceListeners.add(listener)
    return () => this.#silenceListeners.delete(listener)
  }

  update(
    endpoints: readonly Pick<NodeEndpoint, 'nodeId' | 'address'>[],
    removed: readonly NodeId[] = [],
  ): void {
    for (const nodeId of removed) this.#addresses.delete(nodeId)
    for (const { nodeId, address } of endpoints) if (address !== '') this.#addresses.set(nodeId, address)
    const known = new Set([...this.#bootstrap, ...this.#addresses.values(), this.#entry])
    for (const [address, channel] of this.#channels) {
      if (known.has(address)) continue
      channel.close()
      this.#channels.delete(address)
      this.#unreachableUntilMs.delete(address)
    }
  }

  close(): void {
    for (const channel of this.#channels.values()) channel.close()
  }

  #channel(address: string): Channel {
    let channel = this.#channels.get(address)
    if (channel === undefined) {
      channel = this.#transport.connect(address, {
        purpose: 'client',
        receiveMessageBytesMax: RECEIVE_BYTES_MAX,
      })
      this.#channels.set(address, channel)
    }
    return channel
  }
}
