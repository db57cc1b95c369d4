import { type DecodeOptions, RecordCursor, type RecordHeader } from './record-cursor.ts'

/** Key, value and header values are views: whoever keeps one keeps all bytes of its batch. */
export interface DecodedRecord {
  readonly offset: number
  /** Milliseconds since 1970. */
  readonly timestamp: number
  readonly key: Buffer | null
  /** Null: a tombstone. */
  readonly value: Buffer | null
  readonly headers: readonly RecordHeader[]
}

/** All records of the batch at `at`, which has passed `checkBatch`. */
export function decodeBatch(buffer: Buffer, at = 0, options?: DecodeOptions): DecodedRecord[] {
  const records: DecodedRecord[] = []
  const cursor = new RecordCursor(buffer, at, options)
  while (cursor.next()) records.push(currentRecord(cursor))
  return records
}

/** The same one by one; a caller that stops early saves the rest. */
export function* decodeRecords(
  buffer: Buffer,
  at = 0,
  options?: DecodeOptions,
): Generator<DecodedRecord, void, void> {
  const cursor = new RecordCursor(buffer, at, options)
  while (cursor.next()) yield currentRecord(cursor)
}

function currentRecord(cursor: RecordCursor): DecodedRecord {
  return {
    offset: cursor.offset,
    timestamp: cursor.timestamp,
    key: cursor.key(),
    value: cursor.value(),
    headers: cursor.headers(),
  }
}
