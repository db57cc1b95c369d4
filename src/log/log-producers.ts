import type { Offset } from '../base/brands.ts'
import { DamagedLog } from './damaged-log.ts'
import type { LogCore } from './log-core.ts'
import type { ProducerTracker } from './producer-tracker.ts'

/**
 * Makes the producer state of the log's batches below `endOffset`: the newest snapshot that can be read, then the
 * batches behind it. Returns how many bytes of log that took; none after a clean stop.
 */
export async function replayProducers(
  core: LogCore,
  endOffset: Offset,
  {
    producers = core.producers,
    snapshots,
    isLocked = false,
  }: { producers?: ProducerTracker; snapshots?: readonly Offset[]; isLocked?: boolean } = {},
): Promise<number> {
  const from = Math.max(await producers.loadNewestSnapshot(endOffset, snapshots), core.logStartOffset)
  let scannedBytes = 0
  for (const segment of [...core.segments.all]) {
    const limit = core.segments.limitOf(segment) ?? endOffset
    if (limit <= from || segment.baseOffset >= endOffset || from >= endOffset) continue
    const result = await core.scanFrom(segment, from, {
      isLocked,
      onBatch: batch => {
        scannedBytes += batch.sizeBytes
        if (batch.baseOffset >= endOffset) return false
        if (batch.lastOffset >= from) producers.note(batch.buffer, batch.at)
        return true
      },
    })
    if (result.defect) throw new DamagedLog(result.defect)
  }
  producers.dropBelow(core.logStartOffset)
  return scannedBytes
}
