import { NaruError } from '../../base/errors.ts'
import { BATCH_BYTES_MAX } from '../../records/batch-header.ts'
import { RecordCursor } from '../../records/record-cursor.ts'

/**
 * In a compacted topic a record without a key could never become obsolete, nor be kept for its key. And a batch is unpacked
 * whole at each cleaning: none unpacks to more than one without compression may hold.
 */
export function requireKeys(batch: Buffer, topic: string): void {
  for (
    const cursor = new RecordCursor(batch, 0, { decompressedBytesMax: BATCH_BYTES_MAX });
    cursor.next();
  ) {
    if (cursor.hasKey) continue
    throw new NaruError(
      'INVALID_RECORD',
      `record ${cursor.offsetDelta} of the batch has no key, and "${topic}" is compacted (cleanup.policy): ` +
        'nothing of the batch was written; give each record a key',
      { details: { topic, record: String(cursor.offsetDelta) } },
    )
  }
}
