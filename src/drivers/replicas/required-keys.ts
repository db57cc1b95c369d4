import { NaruError } from '../../base/errors.ts'
import { RecordCursor } from '../../records/record-cursor.ts'

/** In a compacted topic a record without a key could never become obsolete, nor be kept for its key. */
export function requireKeys(batch: Buffer, topic: string): void {
  for (const cursor = new RecordCursor(batch); cursor.next(); ) {
    if (cursor.hasKey) continue
    throw new NaruError(
      'INVALID_RECORD',
      `record ${cursor.offsetDelta} of the batch has no key, and "${topic}" is compacted (cleanup.policy): ` +
        'nothing of the batch was written; give each record a key',
      { details: { topic, record: String(cursor.offsetDelta) } },
    )
  }
}
