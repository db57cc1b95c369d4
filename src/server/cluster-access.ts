import type { MetadataIndex, NodeId } from '../base/brands.ts'
import { NaruError } from '../base/errors.ts'
import type { ControllerDriver } from '../drivers/controller/controller-driver.ts'
import type { ControllerService } from '../drivers/controller/controller-service.ts'
import type { PeerNetwork } from '../drivers/raft/peer-network.ts'
import type { Channel, Transport } from '../ports/transport.ts'
import type { ServiceCluster } from '../service/service-cluster.ts'
import { Controller } from '../wire/generated/internal-services.ts'

export interface ClusterAccessOptions {
  readonly transport: Transport
  readonly peers: PeerNetwork
  readonly quorum: ControllerDriver
  readonly controller: ControllerService
  readonly unreachableNodes: () => readonly NodeId[]
}

/** The other nodes, and the quorum's membership, as the services of this node reach them. */
export class ClusterAccess implements ServiceCluster {
  readonly transport: Transport
  readonly #peers: PeerNetwork
  readonly #quorum: ControllerDriver
  readonly #controller: ControllerService
  readonly #unreachableNodes: () => readonly NodeId[]
  /** One for each node that was asked, at its address of then. */
  readonly #channels = new Map<NodeId, Channel>()

  constructor(options: ClusterAccessOptions) {
    this.transport = options.transport
    this.#peers = options.peers
    this.#quorum = options.quorum
    this.#controller = options.controller
    this.#unreachableNodes = options.unreachableNodes
  }

  addressOfNode(nodeId: NodeId): string | undefined {
    return this.#peers.addressOfNode(nodeId)
  }

  unreachableNodes(): readonly NodeId[] {
    return this.#unreachableNodes()
  }

  async awaitServing(nodeId: NodeId, metadataIndex: MetadataIndex, timeoutMs: number): Promise<void> {
    if (nodeId === this.#quorum.nodeId) return this.#controller.awaitServing(metadataIndex, timeoutMs)
    const request = Controller.awaitApplied.request.encode({ metadataIndex })
    await this.#channelTo(nodeId).unary(Controller.awaitApplied.path, request, { timeoutMs })
  }

  addVoter(nodeId: NodeId): Promise<void> {
    return this.#peers.addVoter(nodeId)
  }

  removeVoter(nodeId: NodeId, directoryId?: string): Promise<void> {
    return this.#peers.removeVoter(nodeId, directoryId)
  }

  handOver(): Promise<void> {
    return this.#quorum.handOver()
  }

  isSessionAlive(nodeId: NodeId): boolean {
    return this.#controller.isSessionAlive(nodeId)
  }

  close(): void {
    for (const channel of this.#channels.values()) channel.close()
    this.#channels.clear()
  }

  #channelTo(nodeId: NodeId): Channel {
    const address = this.addressOfNode(nodeId)
    if (address === undefined)
      throw new NaruError('CONNECTION_FAILED', `the address of node ${nodeId} is not known now: try again`)
    const known = this.#channels.get(nodeId)
    if (known?.address === address) return known
    known?.close()
    const channel = this.transport.connect(address, { purpose: 'forward' })
    this.#channels.set(nodeId, channel)
    return channel
  }
}
