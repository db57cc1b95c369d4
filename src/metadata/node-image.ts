import type { Epoch, NodeId, Uuid } from '../base/brands.ts'

/** A registered node. Immutable: replay puts a new one in its place. */
export interface NodeImage {
  readonly nodeId: NodeId
  readonly nodeEpoch: Epoch
  readonly incarnation: Uuid
  readonly directoryId: Uuid
  readonly rack: string
  readonly clientAddress: string
  readonly peerAddress: string
  /** Of Naru, as the node runs it. */
  readonly release: string
  /** Wall time of the controller that accepted the registration. */
  readonly registeredAtMs: number
  /** The last epoch under which its directory took part, this one included. See `NodeRegisteredRecord`. */
  readonly directoryEpoch?: Epoch | undefined
  /** Without a session: leads nothing, is in no ISR. */
  readonly isFenced: boolean
  /** About to stop: enters no ISR, and takes a leadership only where the partition would have no leader. */
  readonly isDraining: boolean
}

/** May lead partitions and join ISRs. */
export function isActive(node: NodeImage | undefined): boolean {
  return isUp(node) && !node.isDraining
}

/** Has a session. It may be draining: then it leads only what nobody else can without a loss. */
export function isUp(node: NodeImage | undefined): node is NodeImage {
  return node !== undefined && !node.isFenced
}
