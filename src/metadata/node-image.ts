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
  /** About to stop: takes no new leadership and enters no ISR. */
  readonly isDraining: boolean
}

/** May lead partitions and join ISRs. */
export function isActive(node: NodeImage | undefined): boolean {
  return node !== undefined && !node.isFenced && !node.isDraining
}
