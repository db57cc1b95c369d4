import type { Epoch, Offset } from '../base/brands.ts'

/** What replication reads of a partition's log, as it is now; `PartitionLog` of src/log is one. */
export interface LogView {
  readonly logStartOffset: Offset
  /** Exclusive; moves with each append, before anything is written. */
  readonly logEndOffset: Offset
  /** End of what this replica knows to be committed; never above `logEndOffset`. */
  readonly highWatermark: Offset
  /**
   * Behind the last tombstone that compaction removed here; 0 where none was. Who has records from before then and ends
   * below it may keep for ever what that tombstone deleted.
   */
  readonly removedTombstonesEnd: Offset
  /** How often tombstones were removed since this log was opened. */
  readonly removals: number
  /** Epoch of the last record; also of records that retention took. Undefined in a log that never had one. */
  readonly latestEpoch: Epoch | undefined
  /** The largest epoch <= `epoch` here and where it ends; undefined where all epochs here are later. */
  endOffsetForEpoch(epoch: Epoch): EpochEnd | undefined
}

export interface EpochEnd {
  readonly epoch: Epoch
  readonly endOffset: Offset
}
