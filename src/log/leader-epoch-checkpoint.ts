import type { Epoch, Offset } from '../base/brands.ts'
import type { Disk } from '../ports/disk.ts'
import { CheckpointFile, type CheckpointFormat, wholeNumber } from './checkpoint-file.ts'

/** File name of it in a partition's directory. */
export const LEADER_EPOCH_CHECKPOINT = 'leader-epoch-checkpoint'

export interface LeaderEpochEntry {
  readonly epoch: Epoch
  /** First offset that this epoch wrote. */
  readonly startOffset: Offset
}

/**
 * Which epoch wrote from which offset on (`epoch start-offset`, both rising). It is derived (D6): where it is missing,
 * damaged or Kafka's own (version 0, without a checksum), the batches of the log say the same.
 */
export const LEADER_EPOCH_FORMAT: CheckpointFormat<LeaderEpochEntry> = {
  version: 1,
  encode: entry => `${entry.epoch} ${entry.startOffset}`,
  decode(line) {
    const [epochText, offsetText, ...rest] = line.split(' ')
    const epoch = wholeNumber(epochText)
    const startOffset = wholeNumber(offsetText)
    if (epoch === undefined || startOffset === undefined || rest.length > 0) return undefined
    return { epoch, startOffset }
  },
}

export function leaderEpochCheckpoint(disk: Disk, directory: string): CheckpointFile<LeaderEpochEntry> {
  return new CheckpointFile(disk, `${directory}/${LEADER_EPOCH_CHECKPOINT}`, LEADER_EPOCH_FORMAT)
}
