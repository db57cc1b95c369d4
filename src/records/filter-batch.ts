import { BATCH_OVERHEAD, readBatchHeader, writeBatchHeader } from './batch-header.ts'
import { compress } from './compression.ts'
import { type DecodeOptions, RecordCursor } from './record-cursor.ts'
import { stampCrc } from './stamp-batch.ts'

/**
 * A batch without the records that `keep` turns down, for the cleaner of compacted topics. Offsets, epoch, producer
 * fields and last offset delta stay, so it covers the same offsets and still says what its producer sent last;
 * with no record left only the header stays. The same bytes (a view) come back if nothing was turned down.
 */
export function filterBatch(
  buffer: Buffer,
  at: number,
  keep: (cursor: RecordCursor) => boolean,
  options?: DecodeOptions,
): Buffer {
  const header = readBatchHeader(buffer, at)
  const cursor = new RecordCursor(buffer, at, options)
  const kept: Buffer[] = []
  let maxTimestamp = -1
  while (cursor.next()) {
    if (!keep(cursor)) continue
    kept.push(cursor.encoded())
    maxTimestamp = Math.max(maxTimestamp, cursor.timestamp)
  }
  if (kept.length === header.recordCount) return buffer.subarray(at, at + header.sizeInBytes)

  // Records hold deltas to the base of their batch, and the base stays: they move as they are.
  const records = kept.length === 0 ? Buffer.alloc(0) : compress(header.compression, Buffer.concat(kept))
  const batch = Buffer.allocUnsafeSlow(BATCH_OVERHEAD + records.length)
  batch.set(records, BATCH_OVERHEAD)
  writeBatchHeader(batch, 0, {
    ...header,
    sizeInBytes: batch.length,
    recordCount: kept.length,
    // An emptied batch keeps its time: retention and the time index still judge it by that.
    maxTimestamp: kept.length === 0 ? header.maxTimestamp : maxTimestamp,
  })
  stampCrc(batch, 0)
  return batch
}
