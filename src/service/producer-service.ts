import type { TopicView } from '../metadata/topic-image.ts'
import { checkProduceSize } from '../wire/limits.ts'
import type { MessageInit, ProduceEntry, ProduceRequest, ProduceResponse } from '../wire/messages.ts'
import { Producer } from '../wire/methods.ts'
import { BoundedFailures } from './failures.ts'
import { type HandlerEntry, streaming, unary, unaryBytes } from './handlers.ts'
import { checkEntry, type EntryResult, encodeResult, ProduceEntries } from './produce-entries.ts'
import { ProduceStream } from './produce-stream.ts'
import { ProduceTopics } from './produce-topics.ts'
import { countWithin, invalidRequest, timeoutMsOf } from './request-checks.ts'
import type { ServiceNode } from './service-node.ts'
import { awaitLeader } from './topic-lookup.ts'

/** As many as entries of a frame. */
const BATCHES_PER_REQUEST_MAX = 10_000

/** naru.v1.Producer */
export function producerService(node: ServiceNode): HandlerEntry[] {
  const topics = new ProduceTopics(node)
  return [
    unary(Producer.initProducer, async () => ({
      producerId: await node.producerIds.next(),
      // An id is handed out once; a newer epoch of one comes with transactions only.
      producerEpoch: 0,
    })),
    unaryBytes(Producer.produce, async message => {
      const shed = topics.admit(message.length)
      if (shed !== undefined) throw shed
      try {
        return Producer.produce.response.encode(await produce(node, topics, message))
      } finally {
        topics.release(message.length)
      }
    }),
    streaming(Producer.produceStream, stream => {
      new ProduceStream(node, topics, stream)
    }),
  ]
}

async function produce(
  node: ServiceNode,
  topics: ProduceTopics,
  message: Buffer,
): Promise<MessageInit<ProduceResponse>> {
  checkProduceSize('ProduceRequest', message)
  const request = Producer.produce.request.decode(message)
  const timeoutMs = timeoutMsOf(request.timeoutMs)
  const entries = entriesOf(request)
  for (const entry of entries) checkEntry(entry)
  const { topic, warnings } = await findOrCreate(topics, { request, entries, timeoutMs })
  // The partition that the whole call names: without it nothing can be written, which the status then says.
  if (request.partition !== undefined)
    await awaitLeader(node, { topic, partition: request.partition, timeoutMs })
  const results = await writeAll(node, entries, {
    topic,
    acks: request.acks,
    timeoutMs,
    messageBytes: message.length,
  })
  const failures = new BoundedFailures()
  return {
    results: results.flat().map(result => encodeResult(result, error => failures.write(error))),
    warnings,
  }
}

function entriesOf(request: ProduceRequest): ProduceEntry[] {
  const { topic, topicId, partition, records, batches, producer } = request
  const common = { topic, ...(topicId !== undefined && { topicId }) }
  if (batches.length === 0) {
    // Asks for the topic alone: a client must know the partitions before it can pick one.
    if (records.length === 0 && partition === undefined && producer === undefined) return []
    return [
      { ...common, records, ...(partition !== undefined && { partition }), ...(producer && { producer }) },
    ]
  }
  countWithin(batches.length, { name: 'batches', min: 1, max: BATCHES_PER_REQUEST_MAX })
  if (records.length > 0) throw invalidRequest('give either records or batches, this request has both')
  if (producer !== undefined)
    throw invalidRequest('producer is for records: ready batches carry their own producer id and sequence')
  if (partition !== undefined)
    throw invalidRequest('partition is for records: each ready batch names its own partition')
  return batches.map(({ partition, batch }) => ({ ...common, partition, batch, records: [] }))
}

async function findOrCreate(
  topics: ProduceTopics,
  of: { request: ProduceRequest; entries: readonly ProduceEntry[]; timeoutMs: number },
): Promise<{ topic: TopicView; warnings: string[] }> {
  const wanted = of.entries.length > 0 ? of.entries : [of.request]
  const found = wanted.map(entry => ({ entry, topic: topics.find(entry) }))
  const missing = found.find(({ topic }) => topic === undefined)
  const warning = missing && (await topics.settle(missing.entry, of.timeoutMs))
  // It may be deleted again by now.
  const topic = topics.find(of.request, true)
  if (topic === undefined) return findOrCreate(topics, of)
  return { topic, warnings: warning === undefined ? [] : [warning] }
}

function writeAll(
  node: ServiceNode,
  entries: readonly ProduceEntry[],
  options: { topic: TopicView; acks: ProduceRequest['acks']; timeoutMs: number; messageBytes: number },
): Promise<EntryResult[][]> {
  const writer = new ProduceEntries(node)
  return Promise.all(
    entries.map(entry => new Promise<EntryResult[]>(answer => writer.write({ ...options, entry, answer }))),
  )
}
