import type { PartitionId, Uuid } from '../../base/brands.ts'
import type { PartitionLog } from '../../log/partition-log.ts'

/**
 * What a node keeps beside the log of a partition and makes from it, as that of groups (D2). It must not outlive what it
 * was made from: another log in its place, or one that was emptied and got holes, would never contradict it.
 */
export interface DerivedView {
  /** The log is open, and nothing has been appended to it in this life. What does not follow from it goes. */
  onOpened(of: ViewedPartition): Promise<void>
  /** Everything in the log is about to go, or it leaves this node. Once resolved, nothing of the view is left. */
  forget(): Promise<void>
  /** The log is about to be closed. */
  onClosed(): void
}

export interface ViewedPartition {
  readonly topicId: Uuid
  readonly partition: PartitionId
  readonly log: PartitionLog
  /**
   * What the log holds below its high watermark is what the cluster has committed: this node leads the partition, or the
   * leader has accepted it as a follower in this epoch.
   */
  readonly isInStep: () => boolean
}

/** The view of a partition; undefined: there is none of its topic. */
export type ViewOf = (of: {
  readonly topic: string
  readonly partition: PartitionId
}) => DerivedView | undefined
