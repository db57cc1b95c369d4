import type { NodeId } from '../../base/brands.ts'
import type { NaruError } from '../../base/errors.ts'
import type { Clock } from '../../ports/clock.ts'
import type { Channel, ServiceHandlers, Transport } from '../../ports/transport.ts'
import { nodeIdOf } from '../../raft/membership.ts'
import { LoopbackChannel } from './loopback-channel.ts'
import type { MetadataQuorum } from './metadata-quorum.ts'

export interface ControllerChannelsOptions {
  readonly quorum: MetadataQuorum
  readonly transport: Transport
  readonly clock: Clock
  readonly addressOfNode: (nodeId: NodeId) => string | undefined
  readonly controllerHandlers: ServiceHandlers
}

/**
 * Where the controller is: the node that Raft names as the leader, the one that another node has just named, or, as long
 * as nobody is named, each node in turn. One channel at a time; to this node itself a loopback.
 */
export class ControllerChannels {
  readonly #options: ControllerChannelsOptions
  readonly #loopback: LoopbackChannel
  #channel: Channel | undefined
  #named: NodeId | undefined
  #asked = 0

  constructor(options: ControllerChannelsOptions) {
    this.#options = options
    this.#loopback = new LoopbackChannel({ handlers: options.controllerHandlers, clock: options.clock })
  }

  /** Whom to dial now; undefined: nobody is known, or no address. */
  next(): { readonly nodeId: NodeId; readonly channel: Channel } | undefined {
    const nodeId = this.#named ?? this.#options.quorum.leaderId ?? this.#another()
    this.#named = undefined
    const channel = nodeId === undefined ? undefined : this.#channelTo(nodeId)
    return nodeId === undefined || channel === undefined ? undefined : { nodeId, channel }
  }

  /** The dial of a node, or the session with it, ended: it may have said who leads. */
  onFailed(nodeId: NodeId, error: NaruError): void {
    const named = Number(error.details['leader_id'] ?? Number.NaN)
    if (error.reason === 'NOT_CONTROLLER' && Number.isSafeInteger(named) && named !== nodeId)
      this.#named = named
  }

  close(): void {
    this.#channel?.close()
    this.#channel = undefined
  }

  #another(): NodeId | undefined {
    const { image, status, nodeId: self } = this.#options.quorum
    const { voters, learners } = status.membership
    const known = new Set([
      ...[...voters, ...learners].map(nodeIdOf),
      ...image.nodes.all().map(one => one.nodeId),
    ])
    known.delete(self)
    return [...known].sort((a, b) => a - b)[this.#asked++ % Math.max(1, known.size)]
  }

  #channelTo(nodeId: NodeId): Channel | undefined {
    if (nodeId === this.#options.quorum.nodeId) return this.#loopback
    const address = this.#options.addressOfNode(nodeId)
    if (address === undefined) return undefined
    if (this.#channel?.address !== address) {
      this.#channel?.close()
      this.#channel = this.#options.transport.connect(address, { purpose: 'raft' })
    }
    return this.#channel
  }
}
