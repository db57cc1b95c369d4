import type { Clock } from '../../ports/clock.ts'
import type { RecordInput } from '../../records/batch-builder.ts'
import { BATCH_OVERHEAD } from '../../records/batch-header.ts'
import { shown } from '../option-check.ts'
import type { ProducerRecord } from './types.ts'

/** One per topic, filled anew for each record: its bytes are copied into the batch before the next one comes. */
export type MutableRecordInput = { -readonly [Name in keyof RecordInput]: RecordInput[Name] }

/** Wrong types are the caller's mistake: a TypeError that names the field, and nothing is taken. */
export function encodedRecord(record: ProducerRecord, into: MutableRecordInput, clock: Clock): RecordInput {
  const { key, value, headers, timestampMs } = record
  into.key = key instanceof Uint8Array ? key : bytesOf(key, 'key')
  into.value = value instanceof Uint8Array ? value : bytesOf(value, 'value')
  into.timestamp = timestampMs === undefined ? clock.wallMs() : checkedTimestamp(timestampMs)
  into.headers = headers === undefined ? undefined : headersOf(headers)
  return into
}

/** Of the record in a batch of its own, without compression; at most by some bytes too many. */
export function recordBytesMax({ key, value, headers }: RecordInput): number {
  let bytes = RECORD_OVERHEAD + (key == null ? 0 : key.length) + (value == null ? 0 : value.length)
  if (headers !== undefined)
    for (const header of headers)
      bytes += HEADER_OVERHEAD + Buffer.byteLength(header.key) + (header.value?.length ?? 0)
  return bytes
}

/** The batch header; lengths of record, key and value, two deltas, header count, each as long as it can be here. */
const RECORD_OVERHEAD = BATCH_OVERHEAD + 4 + 1 + 6 + 3 + 4 + 4 + 2
const HEADER_OVERHEAD = 8

function bytesOf(value: unknown, name: string): Uint8Array | null {
  if (value === undefined || value === null) return null
  if (typeof value === 'string') return Buffer.from(value)
  if (value instanceof Uint8Array) return value
  throw new TypeError(`record: ${name} must be a Uint8Array, a string or null, not ${shown(value)}`)
}

function checkedTimestamp(value: unknown): number {
  if (Number.isSafeInteger(value) && (value as number) >= 0) return value as number
  throw new TypeError(`record: timestampMs must be whole milliseconds since 1970, not ${shown(value)}`)
}

function headersOf(headers: unknown): { key: string; value: Uint8Array | null }[] {
  if (!Array.isArray(headers))
    throw new TypeError(`record: headers must be an array of { key, value }, not ${shown(headers)}`)
  return headers.map(header => {
    if (typeof header?.key !== 'string')
      throw new TypeError(`record: the key of a header must be a string, not ${shown(header?.key)}`)
    return { key: header.key, value: bytesOf(header.value, `header ${header.key}`) }
  })
}
