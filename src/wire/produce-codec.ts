import { checkedInteger, checkedText, INT32_MAX, INT64_MAX } from './field-values.ts'
import type { Failure } from './generated/errors.ts'
import type {
  ProduceAnswer,
  ProduceEntry,
  ProduceResult,
  ProducerSequence,
  ProduceStreamOptions,
  ProduceStreamRequest,
  ProduceStreamResponse,
} from './generated/producer.ts'
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
import { readRecord, writeRecord } from './record-codec.ts'

/** The frames of ProduceStream and their answers. */
const record = { read: readRecord, write: writeRecord }
const sequence = coldMessage<ProducerSequence>('naru.v1.ProducerSequence')
const options = coldMessage<ProduceStreamOptions>('naru.v1.ProduceStreamOptions')
const failure = coldMessage<Failure>('naru.v1.Failure')

const produceEntry: HotMessage<ProduceEntry> = {
  read(reader, end) {
    const entry: Draft<ProduceEntry> = { topic: '', records: [] }
    while (reader.hasMore(end)) {
      const tag = reader.tag()
      if (tag === 10) entry.topic = reader.string('ProduceEntry.topic')
      else if (tag === 18) entry.topicId = reader.string('ProduceEntry.topicId')
      else if (tag === 24) entry.partition = reader.int32()
      else if (tag === 34) entry.batch = reader.bytes()
      else if (tag === 42) entry.records.push(readNested(reader, 'ProduceEntry.records', record))
      else if (tag === 50)
        entry.producer = readNested(reader, 'ProduceEntry.producer', sequence, entry.producer)
      else if (tag === 56) entry.leaderEpoch = reader.int32()
      else reader.skip(tag, 'ProduceEntry', 7)
    }
    return entry
  },
  write(writer, entry) {
    writeText(writer, 10, { path: 'ProduceEntry.topic', value: entry.topic })
    if (entry.topicId !== undefined)
      writer.uint32(18).string(checkedText(entry.topicId, 'ProduceEntry.topicId'))
    if (entry.partition !== undefined)
      writer.uint32(24).int32(checkedInteger(entry.partition, 'ProduceEntry.partition', INT32_MAX))
    if (entry.batch !== undefined) writer.uint32(34).bytes(entry.batch)
    for (const value of entry.records ?? []) writeNested(writer, 42, { message: record, value })
    if (entry.producer) writeNested(writer, 50, { message: sequence, value: entry.producer })
    if (entry.leaderEpoch !== undefined)
      writer.uint32(56).int32(checkedInteger(entry.leaderEpoch, 'ProduceEntry.leaderEpoch', INT32_MAX))
  },
}

export const produceStreamRequest = new HotCodec<ProduceStreamRequest>('naru.v1.ProduceStreamRequest', {
  read(reader, end) {
    const frame: Draft<ProduceStreamRequest> = { seq: 0, entries: [] }
    while (reader.hasMore(end)) {
      const tag = reader.tag()
      if (tag === 8) frame.seq = reader.int64('ProduceStreamRequest.seq')
      else if (tag === 18)
        frame.options = readNested(reader, 'ProduceStreamRequest.options', options, frame.options)
      else if (tag === 26)
        frame.entries.push(readNested(reader, 'ProduceStreamRequest.entries', produceEntry))
      else reader.skip(tag, 'ProduceStreamRequest', 3)
    }
    return frame
  },
  write(writer, frame) {
    writeInt64(writer, 8, { path: 'ProduceStreamRequest.seq', value: frame.seq })
    if (frame.options) writeNested(writer, 18, { message: options, value: frame.options })
    for (const value of frame.entries ?? []) writeNested(writer, 26, { message: produceEntry, value })
  },
})

const produceResult: HotMessage<ProduceResult> = {
  read(reader, end) {
    const result: Draft<ProduceResult> = { partition: 0 }
    while (reader.hasMore(end)) {
      const tag = reader.tag()
      if (tag === 8) result.partition = reader.int32()
      else if (tag === 16) result.offset = reader.int64('ProduceResult.offset')
      else if (tag === 26)
        result.failure = readNested(reader, 'ProduceResult.failure', failure, result.failure)
      else if (tag === 32) result.logAppendTimeMs = reader.int64('ProduceResult.logAppendTimeMs')
      else reader.skip(tag, 'ProduceResult', 4)
    }
    return result
  },
  write(writer, result) {
    writeInt32(writer, 8, { path: 'ProduceResult.partition', value: result.partition })
    if (result.offset !== undefined)
      writer.uint32(16).int64(checkedInteger(result.offset, 'ProduceResult.offset', INT64_MAX))
    if (result.failure) writeNested(writer, 26, { message: failure, value: result.failure })
    if (result.logAppendTimeMs !== undefined)
      writer
        .uint32(32)
        .int64(checkedInteger(result.logAppendTimeMs, 'ProduceResult.logAppendTimeMs', INT64_MAX))
  },
}

const produceAnswer: HotMessage<ProduceAnswer> = {
  read(reader, end) {
    const answer: Draft<ProduceAnswer> = { seq: 0, entry: 0, results: [] }
    while (reader.hasMore(end)) {
      const tag = reader.tag()
      if (tag === 8) answer.seq = reader.int64('ProduceAnswer.seq')
      else if (tag === 16) answer.entry = reader.int32()
      else if (tag === 26) answer.results.push(readNested(reader, 'ProduceAnswer.results', produceResult))
      else reader.skip(tag, 'ProduceAnswer', 3)
    }
    return answer
  },
  write(writer, answer) {
    writeInt64(writer, 8, { path: 'ProduceAnswer.seq', value: answer.seq })
    writeInt32(writer, 16, { path: 'ProduceAnswer.entry', value: answer.entry })
    for (const value of answer.results ?? []) writeNested(writer, 26, { message: produceResult, value })
  },
}

export const produceStreamResponse = new HotCodec<ProduceStreamResponse>('naru.v1.ProduceStreamResponse', {
  read(reader, end) {
    const response: Draft<ProduceStreamResponse> = { answers: [], warnings: [] }
    while (reader.hasMore(end)) {
      const tag = reader.tag()
      if (tag === 10)
        response.answers.push(readNested(reader, 'ProduceStreamResponse.answers', produceAnswer))
      else if (tag === 18) {
        reader.countPart('ProduceStreamResponse.warnings')
        response.warnings.push(reader.string('ProduceStreamResponse.warnings'))
      } else reader.skip(tag, 'ProduceStreamResponse', 2)
    }
    return response
  },
  write(writer, response) {
    for (const value of response.answers ?? []) writeNested(writer, 10, { message: produceAnswer, value })
    for (const text of response.warnings ?? [])
      writer.uint32(18).string(checkedText(text, 'ProduceStreamResponse.warnings'))
  },
})
