import { checkedInteger, INT64_MAX } from './field-values.ts'
import type { FetchResponse, PartitionEnd, ReadResponse } from './generated/consumer.ts'
import type { PartitionFailure, PartitionStatus, Skipped } from './generated/partitions.ts'
import type { PartitionRecords } from './generated/records.ts'
import {
  coldMessage,
  type Draft,
  HotCodec,
  type HotMessage,
  readNested,
  writeInt32,
  writeInt64,
  writeNested,
  writeText,
} from './hot-codec.ts'
import { readStoredRecord, writeStoredRecord } from './record-codec.ts'

/** What consumers get: the frames of Read and the answers of Fetch. */
const storedRecord = { read: readStoredRecord, write: writeStoredRecord }
const status = coldMessage<PartitionStatus>('naru.v1.PartitionStatus')
const skipped = coldMessage<Skipped>('naru.v1.Skipped')
const failure = coldMessage<PartitionFailure>('naru.v1.PartitionFailure')
const ended = coldMessage<PartitionEnd>('naru.v1.PartitionEnd')

const partitionRecords: HotMessage<PartitionRecords> = {
  read(reader, end) {
    const part: Draft<PartitionRecords> = {
      topic: '',
      partition: 0,
      batches: [],
      records: [],
      nextOffset: 0,
      highWatermark: 0,
      logStartOffset: 0,
      leaderEpoch: 0,
    }
    while (reader.hasMore(end)) {
      const tag = reader.tag()
      if (tag === 10) part.topic = reader.string('PartitionRecords.topic')
      else if (tag === 16) part.partition = reader.int32()
      else if (tag === 26) {
        reader.countPart('PartitionRecords.batches')
        part.batches.push(reader.bytes())
      } else if (tag === 34) part.records.push(readNested(reader, 'PartitionRecords.records', storedRecord))
      else if (tag === 40) part.nextOffset = reader.int64('PartitionRecords.nextOffset')
      else if (tag === 48) part.highWatermark = reader.int64('PartitionRecords.highWatermark')
      else if (tag === 56) part.logStartOffset = reader.int64('PartitionRecords.logStartOffset')
      else if (tag === 64) part.leaderEpoch = reader.int32()
      else reader.skip(tag, 'PartitionRecords', 8)
    }
    return part
  },
  write(writer, part) {
    writeText(writer, 10, { path: 'PartitionRecords.topic', value: part.topic })
    writeInt32(writer, 16, { path: 'PartitionRecords.partition', value: part.partition })
    for (const batch of part.batches ?? []) writer.uint32(26).bytes(batch)
    for (const value of part.records ?? []) writeNested(writer, 34, { message: storedRecord, value })
    writeInt64(writer, 40, { path: 'PartitionRecords.nextOffset', value: part.nextOffset })
    writeInt64(writer, 48, { path: 'PartitionRecords.highWatermark', value: part.highWatermark })
    writeInt64(writer, 56, { path: 'PartitionRecords.logStartOffset', value: part.logStartOffset })
    writeInt32(writer, 64, { path: 'PartitionRecords.leaderEpoch', value: part.leaderEpoch })
  },
}

export const readResponse = new HotCodec<ReadResponse>('naru.v1.ReadResponse', {
  read(reader, end) {
    const frame: Draft<ReadResponse> = { records: [], statuses: [], skipped: [], failures: [], ended: [] }
    while (reader.hasMore(end)) {
      const tag = reader.tag()
      if (tag === 10) frame.records.push(readNested(reader, 'ReadResponse.records', partitionRecords))
      else if (tag === 18) frame.statuses.push(readNested(reader, 'ReadResponse.statuses', status))
      else if (tag === 26) frame.skipped.push(readNested(reader, 'ReadResponse.skipped', skipped))
      else if (tag === 34) frame.failures.push(readNested(reader, 'ReadResponse.failures', failure))
      else if (tag === 42) frame.ended.push(readNested(reader, 'ReadResponse.ended', ended))
      else if (tag === 48) frame.metadataAgeMs = reader.int64('ReadResponse.metadataAgeMs')
      else reader.skip(tag, 'ReadResponse', 6)
    }
    return frame
  },
  write(writer, frame) {
    for (const value of frame.records ?? []) writeNested(writer, 10, { message: partitionRecords, value })
    for (const value of frame.statuses ?? []) writeNested(writer, 18, { message: status, value })
    for (const value of frame.skipped ?? []) writeNested(writer, 26, { message: skipped, value })
    for (const value of frame.failures ?? []) writeNested(writer, 34, { message: failure, value })
    for (const value of frame.ended ?? []) writeNested(writer, 42, { message: ended, value })
    if (frame.metadataAgeMs !== undefined)
      writer.uint32(48).int64(checkedInteger(frame.metadataAgeMs, 'ReadResponse.metadataAgeMs', INT64_MAX))
  },
})

export const fetchResponse = new HotCodec<FetchResponse>('naru.v1.FetchResponse', {
  read(reader, end) {
    const response: Draft<FetchResponse> = { partitions: [], failures: [] }
    while (reader.hasMore(end)) {
      const tag = reader.tag()
      if (tag === 10)
        response.partitions.push(readNested(reader, 'FetchResponse.partitions', partitionRecords))
      else if (tag === 18) response.failures.push(readNested(reader, 'FetchResponse.failures', failure))
      else reader.skip(tag, 'FetchResponse', 2)
    }
    return response
  },
  write(writer, response) {
    for (const value of response.partitions ?? [])
      writeNested(writer, 10, { message: partitionRecords, value })
    for (const value of response.failures ?? []) writeNested(writer, 18, { message: failure, value })
  },
})
