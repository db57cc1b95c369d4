import { checkedInteger, checkedText, INT32_MAX } from './field-values.ts'
import type { Acks, PartitionBatch, ProduceRequest, ProducerSequence } from './generated/producer.ts'
import {
  coldMessage,
  type Draft,
  HotCodec,
  type HotMessage,
  readNested,
  writeInt32,
  writeNested,
  writeText,
} from './hot-codec.ts'
import { readRecord, writeRecord } from './record-codec.ts'
import { enumSchema } from './schema.ts'

/** The unary Produce. */
const record = { read: readRecord, write: writeRecord }
const sequence = coldMessage<ProducerSequence>('naru.v1.ProducerSequence')

const partitionBatch: HotMessage<PartitionBatch> = {
  read(reader, end) {
    const batch: Draft<PartitionBatch> = { partition: 0, batch: NO_BYTES }
    while (reader.hasMore(end)) {
      const tag = reader.tag()
      if (tag === 8) batch.partition = reader.int32()
      else if (tag === 18) batch.batch = reader.bytes()
      else reader.skip(tag, 'PartitionBatch', 2)
    }
    return batch
  },
  write(writer, { partition, batch }) {
    writeInt32(writer, 8, { path: 'PartitionBatch.partition', value: partition })
    if (batch && batch.length > 0) writer.uint32(18).bytes(batch)
  },
}

export const produceRequest = new HotCodec<ProduceRequest>('naru.v1.ProduceRequest', {
  read(reader, end) {
    const request: Draft<ProduceRequest> = { topic: '', acks: 'ALL', records: [], batches: [] }
    while (reader.hasMore(end)) {
      const tag = reader.tag()
      if (tag === 10) request.topic = reader.string('ProduceRequest.topic')
      else if (tag === 18) request.topicId = reader.string('ProduceRequest.topicId')
      else if (tag === 24) request.partition = reader.int32()
      else if (tag === 32) request.acks = reader.enum('ProduceRequest.acks', acksNames())
      else if (tag === 40) request.timeoutMs = reader.int32()
      else if (tag === 50) request.records.push(readNested(reader, 'ProduceRequest.records', record))
      else if (tag === 58) request.batches.push(readNested(reader, 'ProduceRequest.batches', partitionBatch))
      else if (tag === 66)
        request.producer = readNested(reader, 'ProduceRequest.producer', sequence, request.producer)
      else reader.skip(tag, 'ProduceRequest', 8)
    }
    return request
  },
  write(writer, request) {
    writeText(writer, 10, { path: 'ProduceRequest.topic', value: request.topic })
    if (request.topicId !== undefined)
      writer.uint32(18).string(checkedText(request.topicId, 'ProduceRequest.topicId'))
    if (request.partition !== undefined)
      writer.uint32(24).int32(checkedInteger(request.partition, 'ProduceRequest.partition', INT32_MAX))
    writeInt32(writer, 32, { path: 'ProduceRequest.acks', value: acksNumber(request.acks) })
    if (request.timeoutMs !== undefined)
      writer.uint32(40).int32(checkedInteger(request.timeoutMs, 'ProduceRequest.timeoutMs', INT32_MAX))
    for (const value of request.records ?? []) writeNested(writer, 50, { message: record, value })
    for (const value of request.batches ?? []) writeNested(writer, 58, { message: partitionBatch, value })
    if (request.producer) writeNested(writer, 66, { message: sequence, value: request.producer })
  },
})

const NO_BYTES = Buffer.alloc(0)

function acksNames(): ReadonlyMap<number, Acks> {
  return enumSchema('naru.v1.Acks').byNumber as ReadonlyMap<number, Acks>
}

function acksNumber(acks: string | undefined): number | undefined {
  // An unknown name becomes NaN, which is refused with the field's name.
  return acks === undefined ? undefined : (enumSchema('naru.v1.Acks').byName.get(acks) ?? Number.NaN)
}
