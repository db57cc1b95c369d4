import type { Offset } from '../../base/brands.ts'
import { NaruError } from '../../base/errors.ts'
import type { GroupRecord } from '../../groups/group-record.ts'
import type { LogSlice } from '../../log/log-tail.ts'
import { BatchBuilder } from '../../records/batch-builder.ts'
import { BATCH_BYTES_MAX, lastOffsetAt, sizeInBytesAt } from '../../records/batch-header.ts'
import { RecordCursor } from '../../records/record-cursor.ts'
import { encodeGroupRecord } from './group-record-codec.ts'

/** The records of one write as one batch: they are in the log whole or not at all. */
export function encodeGroupBatch(records: readonly GroupRecord[], timestamp: number): Buffer {
  const builder = new BatchBuilder()
  for (const record of records) builder.append({ ...encodeGroupRecord(record), timestamp })
  if (builder.sizeInBytes <= BATCH_BYTES_MAX) return builder.build()
  throw new NaruError(
    'REQUEST_TOO_LARGE',
    `a change of group "${records[0]?.group}" takes ${builder.sizeInBytes} bytes, more than the ${BATCH_BYTES_MAX} that are written whole or not at all (split the request; shorten metadata and names)`,
  )
}

/** One batch of the log of `__groups`. Records that compaction has removed are missing. */
export interface StoredBatch {
  readonly endOffset: Offset
  /** Views of the bytes of the log. */
  readonly records: readonly StoredRecord[]
}

export interface StoredRecord {
  readonly key: Buffer
  readonly value: Buffer | null
}

export function* storedBatches({ buffers }: LogSlice): Generator<StoredBatch, void, void> {
  for (const buffer of buffers)
    for (let at = 0; at < buffer.length; at += sizeInBytesAt(buffer, at))
      yield { endOffset: lastOffsetAt(buffer, at) + 1, records: storedRecords(buffer, at) }
}

function storedRecords(buffer: Buffer, at: number): StoredRecord[] {
  const records: StoredRecord[] = []
  for (const cursor = new RecordCursor(buffer, at); cursor.next(); ) {
    const key = cursor.key()
    // Only Naru writes here, and it always gives one.
    if (key !== null) records.push({ key, value: cursor.value() })
  }
  return records
}
