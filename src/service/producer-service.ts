import type { NaruError } from '../base/errors.ts'
import type { TopicView } from '../metadata/topic-image.ts'
import type { CallContext } from '../ports/transport.ts'
import { Forward } from '../wire/generated/internal-services.ts'
import { checkProduceSize } from '../wire/limits.ts'
import type { MessageInit, ProduceEntry, ProduceRequest, ProduceResponse } from '../wire/messages.ts'
import { Producer } from '../wire/methods.ts'
import { BoundedFailures } from './failures.ts'
import { type HandlerEntry, refuse, streaming, unary, unaryBytes } from './handlers.ts'
import { isDirect, isOfTheLeader } from './leader-attempts.ts'
import { wrongNode } from './leader-forwarding.ts'
import { checkEntry, type EntryResult, encodeResult, ProduceEntries } from './produce-entries.ts'
import { ProduceStream } from './produce-stream.ts'
import type { ProduceTopics } from './produce-topics.ts'
import { countWithin, invalidRequest, timeoutMsOf } from './request-checks.ts'
import type { ServiceNode } from './service-node.ts'
import { lookTwice, requirePartition } from './topic-lookup.ts'

/** As many as entries of a frame. */
const BATCHES_PER_REQUEST_MAX = 10_000

/** naru.v1.Producer */
export function producerService(node: ServiceNode, topics: ProduceTopics): HandlerEntry[] {
  return [
    unary(Producer.initProducer, async () => ({
      producerId: await node.producerIds.next(),
      // An id is handed out once; a newer epoch of one comes with transactions only.
      producerEpoch: 0,
    })),
    unaryBytes(Producer.produce, async (message, context) => {
      const shed = topics.admit(message.length)
      if (shed !== undefined) throw shed
      try {
        return Producer.produce.response.encode(await produce(node, topics, { message, context }))
      } finally {
        topics.release(message.length)
      }
    }),
    streaming(Producer.produceStream, stream => {
      new ProduceStream(node, topics, { stream })
    }),
  ]
}

/** The batches of other nodes' clients, for partitions that this node leads; on the peers' port. */
export function forwardedProduce(node: ServiceNode, topics: ProduceTopics): HandlerEntry {
  return streaming(Forward.produce, stream => {
    const error = wrongNode(node.controller, stream)
    if (error === undefined) new ProduceStream(node, topics, { stream, isForwarded: true })
    else refuse(stream, error)
  })
}

async function produce(
  node: ServiceNode,
  topics: ProduceTopics,
  { message, context }: { readonly message: Buffer; readonly context: CallContext },
): Promise<MessageInit<ProduceResponse>> {
  checkProduceSize('ProduceRequest', message)
  const request = Producer.produce.request.decode(message)
  const timeoutMs = Math.min(timeoutMsOf(request.timeoutMs), context.timeoutMs ?? Number.POSITIVE_INFINITY)
  const entries = entriesOf(request)
  for (const entry of entries) checkEntry(entry)
  const { topic, warnings } = await findOrCreate(topics, { request, entries, timeoutMs })
  const { partition } = request
  if (partition !== undefined) await lookTwice(node, () => requirePartition(topic, partition))
  const results = await writeAll(node, entries, {
    topic,
    acks: request.acks,
    timeoutMs,
    messageBytes: message.length,
    isEntry: !isDirect(context.metadata),
  })
  // The partition that the whole call names: where nobody leads it nothing is written, which the status then says.
  const refusal = partition === undefined ? undefined : commonRefusal(results.flat())
  if (refusal !== undefined) throw refusal
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

async function writeAll(
  node: ServiceNode,
  entries: readonly ProduceEntry[],
  options: {
    topic: TopicView
    acks: ProduceRequest['acks']
    timeoutMs: number
    messageBytes: number
    isEntry: boolean
  },
): Promise<EntryResult[][]> {
  const writer = new ProduceEntries(node, options)
  const written = entries.map(
    entry => new Promise<EntryResult[]>(answer => writer.write({ ...options, entry, answer })),
  )
  const results = await Promise.all(written)
  writer.close()
  return results
}

/** That there is no leader, if that is what became of all of it. */
function commonRefusal(results: readonly EntryResult[]): NaruError | undefined {
  const [first] = results
  if (first === undefined || first.ok) return undefined
  const isCommon = results.every(
    result => !result.ok && isOfTheLeader(result.error) && result.error.outcome === 'none',
  )
  return isCommon ? first.error : undefined
}
