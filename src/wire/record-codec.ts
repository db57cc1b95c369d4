import type protobuf from 'protobufjs/minimal.js'
import type { DecodedRecord } from '../records/decode-batch.ts'
import type { MessageInit } from './codec.ts'
import { checkedInteger, checkedText, INT64_MAX } from './field-values.ts'
import type { Header, Record, StoredRecord } from './generated/records.ts'
import { writeInt64 } from './hot-codec.ts'
import type { StrictReader } from './strict-reader.ts'

/**
 * `Record` and `StoredRecord` by hand: they come by the ten thousand. Keys and values are views of the message that
 * brought them. A record in protobuf and one in a batch differ in how they say "absent": undefined here, null there.
 */
export function readRecord(reader: StrictReader, end: number): Record {
  const record: Mutable<Record> = { headers: [] }
  while (reader.hasMore(end)) {
    const tag = reader.tag()
    if (!readContent(reader, tag, record)) reader.skip(tag, 'Record', 4)
  }
  return record
}

export function readStoredRecord(reader: StrictReader, end: number): StoredRecord {
  const record: Mutable<StoredRecord> = { headers: [], timestampMs: 0, offset: 0 }
  while (reader.hasMore(end)) {
    const tag = reader.tag()
    if (tag === OFFSET) record.offset = reader.int64('StoredRecord.offset')
    else if (!readContent(reader, tag, record)) reader.skip(tag, 'StoredRecord', 5)
  }
  return record
}

export function writeRecord(writer: protobuf.Writer, record: MessageInit<Record>): void {
  writeContent(writer, record)
  if (record.timestampMs !== undefined)
    writer.uint32(TIMESTAMP).int64(checkedInteger(record.timestampMs, 'Record.timestampMs', INT64_MAX))
}

export function writeStoredRecord(writer: protobuf.Writer, record: MessageInit<StoredRecord>): void {
  writeContent(writer, record)
  writeInt64(writer, TIMESTAMP, { path: 'StoredRecord.timestampMs', value: record.timestampMs })
  writeInt64(writer, OFFSET, { path: 'StoredRecord.offset', value: record.offset })
}

/** What a batch builder takes. */
export function batchRecord(record: Record, nowMs: number): RecordForBatch {
  return {
    key: record.key ?? null,
    value: record.value ?? null,
    timestamp: record.timestampMs ?? nowMs,
    headers: record.headers.map(header => ({ key: header.key, value: header.value ?? null })),
  }
}

export interface RecordForBatch {
  readonly key: Buffer | null
  readonly value: Buffer | null
  readonly timestamp: number
  readonly headers: readonly { readonly key: string; readonly value: Buffer | null }[]
}

/** A record of a batch as thin clients get it. */
export function storedRecord(record: DecodedRecord): StoredRecord {
  const { key, value } = record
  return {
    ...(key && { key }),
    ...(value && { value }),
    headers: record.headers.map(header => ({
      key: header.key,
      ...(header.value && { value: header.value }),
    })),
    timestampMs: record.timestamp,
    offset: record.offset,
  }
}

const KEY = (1 << 3) | 2
const VALUE = (2 << 3) | 2
const HEADERS = (3 << 3) | 2
const TIMESTAMP = 4 << 3
const OFFSET = 5 << 3

type Mutable<T> = { -readonly [K in keyof T]: K extends 'headers' ? Header[] : T[K] }

/** Fields 1-4, which both kinds of record share. False: the tag is none of them. */
function readContent(reader: StrictReader, tag: number, record: Mutable<Record>): boolean {
  if (tag === KEY) record.key = reader.bytes()
  else if (tag === VALUE) record.value = reader.bytes()
  else if (tag === HEADERS) record.headers.push(readHeader(reader))
  else if (tag === TIMESTAMP) record.timestampMs = reader.int64('Record.timestampMs')
  else return false
  return true
}

function readHeader(reader: StrictReader): Header {
  let key = ''
  let value: Buffer | undefined
  const end = reader.enter('Record.headers')
  while (reader.hasMore(end)) {
    const tag = reader.tag()
    if (tag === KEY) key = reader.string('Header.key')
    else if (tag === VALUE) value = reader.bytes()
    else reader.skip(tag, 'Header', 2)
  }
  reader.leave()
  return value ? { key, value } : { key }
}

function writeContent(
  writer: protobuf.Writer,
  record: MessageInit<Pick<Record, 'key' | 'value' | 'headers'>>,
): void {
  if (record.key !== undefined) writer.uint32(KEY).bytes(record.key)
  if (record.value !== undefined) writer.uint32(VALUE).bytes(record.value)
  for (const header of record.headers ?? []) {
    writer.uint32(HEADERS).fork()
    if (header.key) writer.uint32(KEY).string(checkedText(header.key, 'Header.key'))
    if (header.value !== undefined) writer.uint32(VALUE).bytes(header.value)
    writer.ldelim()
  }
}
