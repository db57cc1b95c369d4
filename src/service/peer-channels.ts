import type { Channel, Transport } from '../ports/transport.ts'

interface PeerChannel {
  readonly channel: Channel
  callCount: number
  /** It has answered since its connection last failed. */
  isProven: boolean
}

/** The channels to nodes that calls are forwarded to: as many as are in use, and the last one. */
export class PeerChannels {
  readonly #transport: Transport
  readonly #channels = new Map<string, PeerChannel>()

  constructor(transport: Transport) {
    this.#transport = transport
  }

  /**
   * Runs calls on the channel to an address. Before the first of them `greet` must succeed, a call that does nothing:
   * what fails before the address has answered at all has then certainly not happened.
   */
  async use<T>(
    address: string,
    calls: { greet: (channel: Channel) => Promise<unknown>; run: (channel: Channel) => Promise<T> },
  ): Promise<T> {
    const peer = this.#open(address)
    peer.callCount++
    try {
      if (!peer.isProven) await calls.greet(peer.channel)
      peer.isProven = true
      return await calls.run(peer.channel)
    } finally {
      peer.callCount--
    }
  }

  /** A call on it failed: the next one greets again. */
  doubt(address: string): void {
    const peer = this.#channels.get(address)
    if (peer !== undefined) peer.isProven = false
  }

  close(): void {
    for (const { channel } of this.#channels.values()) channel.close()
    this.#channels.clear()
  }

  #open(address: string): PeerChannel {
    const known = this.#channels.get(address)
    if (known !== undefined) return known
    for (const [other, { channel, callCount }] of this.#channels) {
      if (callCount > 0) continue
      channel.close()
      this.#channels.delete(other)
    }
    const channel = this.#transport.connect(address, { purpose: 'forward' })
    const peer = { channel, callCount: 0, isProven: false }
    this.#channels.set(address, peer)
    return peer
  }
}
