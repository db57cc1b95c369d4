import type { Offset, PartitionId } from '../base/brands.ts'
import type { Disk } from '../ports/disk.ts'
import { CheckpointFile, type CheckpointFormat, wholeNumber } from './checkpoint-file.ts'

export interface OffsetEntry {
  readonly topic: string
  readonly partition: PartitionId
  readonly offset: Offset
}

/**
 * One offset per partition of a data directory: `topic partition offset`, as in Kafka's files of this kind, with a
 * checksum. They are named in `data/` as the design names them:
 * - `recovery-point`: everything below was synced and checked; a start checks from there on. That a partition stands
 *   in it also says that it was in use (A1, B3): a partition named here whose directory is gone is a loss;
 * - `high-watermark`: lower bound of the high watermark;
 * - `log-start-offset`: where it is above the first segment's base offset.
 */
export type OffsetCheckpointName = 'recovery-point' | 'high-watermark' | 'log-start-offset'

export const OFFSET_FORMAT: CheckpointFormat<OffsetEntry> = {
  version: 1,
  encode: entry => `${entry.topic} ${entry.partition} ${entry.offset}`,
  decode(line) {
    const [topic, partitionText, offsetText, ...rest] = line.split(' ')
    const partition = wholeNumber(partitionText)
    const offset = wholeNumber(offsetText)
    if (!topic || partition === undefined || offset === undefined || rest.length > 0) return undefined
    return { topic, partition, offset }
  },
}

export function offsetCheckpoint(
  disk: Disk,
  dataDirectory: string,
  name: OffsetCheckpointName,
): CheckpointFile<OffsetEntry> {
  return new CheckpointFile(disk, `${dataDirectory}/${name}`, OFFSET_FORMAT)
}
