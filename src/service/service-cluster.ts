import type { MetadataIndex, NodeId, Uuid } from '../base/brands.ts'
import type { Transport } from '../ports/transport.ts'

/** The other nodes of the cluster as the services of this one reach them; the composition root makes it. */
export interface ServiceCluster {
  /** For forwarded calls, with channels of the purpose 'forward'. */
  readonly transport: Transport
  /** `host:port` of its peers' port; undefined: not known now. */
  addressOfNode(nodeId: NodeId): string | undefined
  /** Other nodes that this one does not reach now. */
  unreachableNodes(): readonly NodeId[]
  /**
   * Resolves once that other node has applied the metadata up to `metadataIndex` and opened the partitions that it
   * then hosts; rejects when it cannot be asked or has not by then.
   */
  awaitServing(nodeId: NodeId, metadataIndex: MetadataIndex, timeoutMs: number): Promise<void>
  /** On the controller only, else NOT_CONTROLLER. Resolves when it is committed. */
  addVoter(nodeId: NodeId): Promise<void>
  /** As `addVoter`; the directory is needed only where the node has two voter identities. */
  removeVoter(nodeId: NodeId, directoryId?: Uuid): Promise<void>
  /** On the controller: gives the leadership of the quorum to another voter, if one can take it. */
  handOver(): Promise<void>
  /** The node has a session with this node, the controller. Where this node is not the controller: true. */
  isSessionAlive(nodeId: NodeId): boolean
}
