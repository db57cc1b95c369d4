import type { Epoch, Offset, PartitionId } from '../base/brands.ts'
import type { NaruError } from '../base/errors.ts'
import type { LogSlice } from '../log/log-tail.ts'

/** What reading needs of the leader of a partition, here (`PartitionLeader`) or at another node (`RemotePartition`). */
export interface PartitionSource {
  readonly topic: string
  readonly partition: PartitionId
  readonly leaderEpoch: Epoch
  /** End of what may be read (exclusive). */
  readonly highWatermark: Offset
  readonly logStartOffset: Offset
  /** Why it serves no more; undefined while it does. */
  readonly ended: NaruError | undefined
  /** Whole batches from the one that holds `from` on; empty where there are none yet. */
  read(options: { from: Offset; maxBytes: number }): LogSlice | Promise<LogSlice>
  /** Calls back whenever there is more, or it ended. Returns how to stop that. */
  follow(callback: () => void): () => void
  /** Resolves when what is readable by the high watermark has arrived here, some of it; absent: it is here. */
  whenArrived?(): Promise<void>
  /** Nobody reads it any more. */
  release?(): void
}
