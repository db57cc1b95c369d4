import type { Epoch, NodeId, Uuid } from '../base/brands.ts'

/** What the committed metadata say of one partition; the `PartitionState` of src/metadata is one. */
export interface PartitionMetadata {
  readonly replicas: readonly NodeId[]
  readonly isr: readonly NodeId[]
  readonly elr: readonly NodeId[]
  readonly leader: NodeId | null
  readonly leaderEpoch: Epoch
  readonly partitionEpoch: Epoch
  /** Leader epoch that the last unclean election began: committed records may end there (C6). */
  readonly lastUncleanEpoch: Epoch | null
  /** It is on its way to other replicas: who is preferred changes soon. */
  readonly reassignment?: PartitionMove
}

export interface PartitionMove {
  readonly original: readonly NodeId[]
  readonly target: readonly NodeId[]
  /** Bytes per second that each node may copy for moves; absent: what live traffic leaves. */
  readonly throttleBytesPerSecond?: number
}

/** Bytes per second of copying to this replica: it is being added by a move that names them. */
export function moveThrottle({ reassignment }: PartitionMetadata, replica: NodeId): number | undefined {
  const { original, target, throttleBytesPerSecond } = reassignment ?? {}
  const isAdded = target?.includes(replica) === true && original?.includes(replica) === false
  return isAdded ? throttleBytesPerSecond : undefined
}

/** A process of a node with its storage: what ISR membership and acknowledgements belong to (A1, A5). */
export interface ReplicaIdentity {
  readonly nodeId: NodeId
  readonly directoryId: Uuid
  readonly nodeEpoch: Epoch
}
