import type { Offset } from '../base/brands.ts'
import { NaruError } from '../base/errors.ts'
import { lastOffsetAt, maxTimestampAt } from '../records/batch-header.ts'
import { RecordCursor } from '../records/record-cursor.ts'

/** First record of the batch at or above `from` and below `upTo` whose timestamp is at least `timestamp`. */
export function firstRecordAtOrAfter(
  batch: { buffer: Buffer; at: number },
  target: { timestamp: number; from: Offset; upTo: Offset },
): { offset: Offset; timestamp: number } | undefined {
  try {
    const cursor = new RecordCursor(batch.buffer, batch.at)
    while (cursor.next()) {
      const { offset, timestamp } = cursor
      if (offset >= target.upTo) return undefined
      if (offset >= target.from && timestamp >= target.timestamp) return { offset, timestamp }
    }
    return undefined
  } catch (thrown) {
    if (!(thrown instanceof NaruError) || thrown.reason === 'INTERNAL') throw thrown
    // What a client packed so that nobody can unpack it: the batch as a whole is the closest answer.
    const offset = Math.max(target.from, lastOffsetAt(batch.buffer, batch.at))
    return offset < target.upTo ? { offset, timestamp: maxTimestampAt(batch.buffer, batch.at) } : undefined
  }
}
