export interface PartitionPlace {
  readonly topic: string
  readonly partition: number
}

/** A partition and the nodes that shall hold it, preferred leader first. */
export interface ReplicaAssignment extends PartitionPlace {
  readonly replicas: readonly number[]
}

export interface ReassignmentProgress extends ReplicaAssignment {
  readonly addingReplicas: readonly number[]
  readonly removingReplicas: readonly number[]
}

export interface RebalanceOptions {
  /** Only plans. Default false. */
  readonly dryRun?: boolean
  /** 1 to 1,000, default 10. */
  readonly concurrentMovesMax?: number
  /** Of copying, for each node. Default: what live traffic leaves. */
  readonly throttleBytesPerSecond?: number
  /** Move everything off these nodes. */
  readonly evacuateNodeIds?: readonly number[]
}

export interface PlannedMove extends PartitionPlace {
  readonly from: readonly number[]
  readonly to: readonly number[]
  /** It is under way now; the others are for later calls. */
  readonly started: boolean
}

/** A partition without a leader, and what its replicas have. */
export interface Recovery extends PartitionPlace {
  /** Who is elected, or would be; undefined: no replica is alive. */
  readonly nodeId: number | undefined
  /** It has all that was committed: nothing is lost. */
  readonly clean: boolean
  readonly replicas: readonly ReplicaReport[]
}

export interface ReplicaReport {
  readonly nodeId: number
  readonly alive: boolean
  /** Of a replica that is alive. */
  readonly logEndOffset: number | undefined
  /** What it knows to be committed. */
  readonly highWatermark: number | undefined
  readonly damaged: boolean
}

/** Moves of partitions between nodes, and of leaderships between replicas. */
export interface MovesAdmin {
  /** Starts moves; they end by themselves. Does all it can, then rejects with the first error. */
  reassignPartitions(
    assignments: readonly ReplicaAssignment[],
    options?: { readonly throttleBytesPerSecond?: number },
  ): Promise<void>
  /** Moves under way, by topic and partition; all pages. */
  listReassignments(): Promise<ReassignmentProgress[]>
  /** Back to the replicas before. Without places: all. Resolves with those that were cancelled. */
  cancelReassignments(places?: readonly PartitionPlace[]): Promise<PartitionPlace[]>
  /** Resolves with the number of moves that were started for it. */
  changeReplicationFactor(name: string, replicationFactor: number): Promise<number>
  /** Plans what evens out the cluster, and starts the first moves of it; call it again until no move is left. */
  rebalance(options?: RebalanceOptions): Promise<PlannedMove[]>
  /**
   * Waits until the leaders have handed over to the first replicas where these are in sync, for 10 s at most. Without
   * places: everywhere. Resolves with those that lead now.
   */
  electPreferredLeaders(places?: readonly PartitionPlace[]): Promise<PartitionPlace[]>
  /**
   * For partitions without a leader: takes the replica that has most, or the one named. Committed records may be LOST;
   * with `dryRun` nobody is elected, and the answer tells what the replicas have.
   */
  recoverPartitions(
    name: string,
    options?: { readonly partition?: number; readonly nodeId?: number; readonly dryRun?: boolean },
  ): Promise<Recovery[]>
}
