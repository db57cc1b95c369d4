import type { NodeId } from '../../base/brands.ts'
import { NaruError } from '../../base/errors.ts'
import type { Clock, Timer } from '../../ports/clock.ts'
import type { Channel, Transport } from '../../ports/transport.ts'
import { Controller } from '../../wire/generated/internal-services.ts'
import type { MetadataQuorum } from './metadata-quorum.ts'

export interface PeerReachOptions {
  readonly quorum: MetadataQuorum
  readonly transport: Transport
  readonly clock: Clock
  /** `host:port` of a node's peers' port; undefined: not known now. */
  readonly addressOfNode: (nodeId: NodeId) => string | undefined
  /** It has just sent to this node over a stream that this one has opened to it: no ping could tell more. */
  readonly isHeard?: (nodeId: NodeId) => boolean
  readonly limits?: Partial<PeerReachLimits>
}

export interface PeerReachLimits {
  /** Between two pings of one node. */
  readonly intervalMs: number
  /** A node that takes longer is not reached. */
  readonly answerMs: number
  /** Nodes in one round; in larger clusters the rounds take turns, so each is asked less often. */
  readonly pingsMax: number
}

const LIMITS: PeerReachLimits = { intervalMs: 1000, answerMs: 1000, pingsMax: 64 }

/**
 * Which of the other nodes this one reaches (rule C8). Nodes that follow the same leader have no connection between
 * them, so each one pings those others that it does not hear anyway. Who was not reached yet counts as not reached: nobody is vouched for unseen.
 * Fenced nodes are not asked, and not told of.
 */
export class PeerReach {
  readonly #options: PeerReachOptions
  readonly #limits: PeerReachLimits
  readonly #channels = new Map<string, Channel>()
  readonly #reached = new Set<NodeId>()
  readonly #asking = new Set<NodeId>()
  #timer: Timer | undefined
  #round = 0
  #isClosed = false

  constructor(options: PeerReachOptions) {
    this.#options = options
    this.#limits = { ...LIMITS, ...options.limits }
    this.#look()
  }

  get unreachable(): readonly NodeId[] {
    return this.#others().filter(nodeId => !this.#reached.has(nodeId))
  }

  close(): void {
    this.#isClosed = true
    this.#timer?.cancel()
    for (const channel of this.#channels.values()) channel.close()
    this.#channels.clear()
  }

  #look(): void {
    const { clock, addressOfNode, isHeard } = this.#options
    const { intervalMs, pingsMax } = this.#limits
    const others = this.#others()
    const from = (this.#round++ * pingsMax) % Math.max(1, others.length)
    const some = [...others.slice(from), ...others.slice(0, from)].slice(0, pingsMax)
    for (const nodeId of some)
      if (isHeard?.(nodeId)) this.#reached.add(nodeId)
      else if (!this.#asking.has(nodeId)) void this.#ping(nodeId)
    this.#closeUnused(new Set(others.map(addressOfNode)))
    for (const nodeId of this.#reached) if (!others.includes(nodeId)) this.#reached.delete(nodeId)
    this.#timer = clock.setTick(intervalMs, () => this.#look())
  }

  async #ping(nodeId: NodeId): Promise<void> {
    const address = this.#options.addressOfNode(nodeId)
    if (address === undefined) {
      this.#reached.delete(nodeId)
      return
    }
    this.#asking.add(nodeId)
    try {
      const request = Controller.ping.request.encode({})
      const answer = await this.#channel(address).unary(Controller.ping.path, request, {
        timeoutMs: this.#limits.answerMs,
      })
      if (this.#isClosed) return
      // Another node may have the address by now.
      if (Controller.ping.response.decode(answer).nodeId === nodeId) this.#reached.add(nodeId)
      else this.#reached.delete(nodeId)
    } catch (thrown) {
      if (!(thrown instanceof NaruError)) throw thrown
      this.#reached.delete(nodeId)
    } finally {
      this.#asking.delete(nodeId)
    }
  }

  #others(): NodeId[] {
    const { quorum } = this.#options
    return quorum.image.nodes
      .all()
      .filter(node => !node.isFenced && node.nodeId !== quorum.nodeId)
      .map(node => node.nodeId)
  }

  #channel(address: string): Channel {
    const known = this.#channels.get(address)
    if (known) return known
    const channel = this.#options.transport.connect(address, { purpose: 'forward' })
    this.#channels.set(address, channel)
    return channel
  }

  #closeUnused(used: ReadonlySet<string | undefined>): void {
    for (const [address, channel] of this.#channels) {
      if (used.has(address)) continue
      channel.close()
      this.#channels.delete(address)
    }
  }
}
