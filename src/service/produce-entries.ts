import type { PartitionId } from '../base/brands.ts'
import { NaruError } from '../base/errors.ts'
import type { Acks } from '../drivers/replicas/partition-leader.ts'
import type { TopicView } from '../metadata/topic-image.ts'
import { isInternalTopic } from '../metadata/topic-name.ts'
import { resolveTopicSettings } from '../metadata/topic-settings.ts'
import { partitionForKey } from '../records/murmur2.ts'
import type { Failure, ProduceEntry, ProduceResult, Record } from '../wire/messages.ts'
import type { AppendOutcome } from './append-link.ts'
import { PartitionAppends } from './partition-appends.ts'
import { encodeRecords, encodeSequence, type RecordLimits } from './record-batches.ts'
import { invalidRequest } from './request-checks.ts'
import type { ServiceNode } from './service-node.ts'
import { requirePartition } from './topic-lookup.ts'

/** One entry of a frame, or a unary request; its topic is found already. */
export interface EntryToWrite {
  readonly topic: TopicView
  readonly entry: Omit<ProduceEntry, 'topic' | 'topicId'>
  readonly acks: Acks
  readonly timeoutMs: number
  /** Size of the message that the batch is a view of. */
  readonly messageBytes: number
  /** Called exactly once, perhaps at once; not after `close`. One result per record, or one for the batch. */
  readonly answer: (results: EntryResult[]) => void
}

/** Not encoded yet: who writes the answer knows which failures repeat. */
export type EntryResult =
  | {
      readonly ok: true
      readonly partition: PartitionId
      readonly offset?: number
      readonly logAppendTimeMs?: number
    }
  | { readonly ok: false; readonly partition: PartitionId; readonly error: NaruError }

/** The entries of one produce call on their way into partitions. */
export class ProduceEntries {
  readonly #node: ServiceNode
  readonly #appends: PartitionAppends

  constructor(node: ServiceNode, options: { readonly isEntry: boolean }) {
    this.#node = node
    this.#appends = new PartitionAppends(node, options)
  }

  write(entry: EntryToWrite): void {
    try {
      this.#write(entry)
    } catch (thrown) {
      if (!(thrown instanceof NaruError)) throw thrown
      entry.answer(failedResults(entry.entry, thrown))
    }
  }

  /** The caller is gone, or has all answers: nothing more is written or answered. */
  close(): void {
    this.#appends.close()
  }

  #write(toWrite: EntryToWrite): void {
    const { topic, entry } = toWrite
    if (isInternalTopic(topic.name))
      throw invalidRequest(`topic "${topic.name}" is kept by Naru itself: nobody else writes to it`)
    if (entry.partition !== undefined) requirePartition(topic, entry.partition)
    if (entry.batch !== undefined) this.#writeBatch(toWrite, entry.batch, entry.partition as PartitionId)
    else if (entry.producer === undefined) this.#writeRecords(toWrite)
    else this.#writeSequence(toWrite)
  }

  #writeBatch(toWrite: EntryToWrite, batch: Buffer, partition: PartitionId): void {
    this.#append(toWrite, { partition, batch: ownedBatch(batch, toWrite.messageBytes) }, outcome =>
      toWrite.answer([resultOf(outcome, { partition, place: 0, acks: toWrite.acks })]),
    )
  }

  #writeSequence(toWrite: EntryToWrite): void {
    const { topic, entry, acks } = toWrite
    const { producer } = entry
    const partition = entry.partition as PartitionId
    if (producer === undefined) return
    const batch = encodeSequence(entry.records, { partition, producer }, this.#limits(topic))
    this.#append(toWrite, { partition, batch }, outcome =>
      toWrite.answer(entry.records.map((_, place) => resultOf(outcome, { partition, place, acks }))),
    )
  }

  #writeRecords(toWrite: EntryToWrite): void {
    const { topic, entry, acks } = toWrite
    const picker = this.#partitionPicker(topic, entry.partition)
    const { batches, refused } = encodeRecords(entry.records, picker, this.#limits(topic))
    const results: EntryResult[] = new Array(entry.records.length)
    for (const [place, { partition, error }] of refused) results[place] = { ok: false, partition, error }
    let left = batches.length
    if (left === 0) toWrite.answer(results)
    for (const { partition, batch, places } of batches) {
      this.#append(toWrite, { partition, batch }, outcome => {
        for (const [index, place] of places.entries())
          results[place] = resultOf(outcome, { partition, place: index, acks })
        left--
        if (left === 0) toWrite.answer(results)
      })
    }
  }

  #append(
    toWrite: EntryToWrite,
    target: { partition: PartitionId; batch: Buffer },
    answer: (outcome: AppendOutcome) => void,
  ): void {
    const { topic, entry, acks, timeoutMs } = toWrite
    const leaderEpochMin = entry.leaderEpoch
    this.#appends.append({ topic, ...target, acks, timeoutMs, leaderEpochMin, answer })
  }

  #limits(topic: TopicView): RecordLimits {
    const settings = resolveTopicSettings(topic.settings, {
      replicationFactor: topic.replicationFactor,
      defaults: this.#node.controllerOptions.topicDefaults ?? {},
    })
    const nowMs = this.#node.clock.wallMs()
    return {
      maxMessageBytes: settings['max.message.bytes'],
      timestampMsMax: nowMs + settings['message.timestamp.after.max.ms'],
      nowMs,
    }
  }

  #partitionPicker(topic: TopicView, named: PartitionId | undefined): (record: Record) => PartitionId {
    if (named !== undefined) return () => named
    let sticky: PartitionId | undefined
    return record => {
      if (record.key !== undefined) return partitionForKey(record.key, topic.partitionCount)
      sticky ??= this.#anyPartition(topic)
      return sticky
    }
  }

  /** For records without a key: any partition with a leader, or any at all if none has one. */
  #anyPartition(topic: TopicView): PartitionId {
    const start = this.#node.prng.uint32() % topic.partitionCount
    for (let step = 0; step < topic.partitionCount; step++) {
      const partition = (start + step) % topic.partitionCount
      if (topic.partition(partition)?.leader !== null) return partition
    }
    return start
  }
}

/** What an entry must have whatever its topic is. Throws INVALID_REQUEST. */
export function checkEntry(entry: Pick<ProduceEntry, 'partition' | 'batch' | 'records' | 'producer'>): void {
  const { partition, batch, records, producer } = entry
  if (batch !== undefined) {
    if (records.length > 0)
      throw invalidRequest('an entry holds either a batch or records, this one has both')
    if (producer !== undefined)
      throw invalidRequest('producer is for records: a ready batch carries its own producer id and sequence')
    if (partition === undefined)
      throw invalidRequest('a ready batch needs a partition (only records are spread by key)')
  } else if (records.length === 0) throw invalidRequest('neither records nor a batch were given')
  if (producer === undefined) return
  if (partition === undefined)
    throw invalidRequest(
      'records with a producer sequence need a partition: a sequence counts within one partition',
    )
  const { producerId, producerEpoch, baseSequence } = producer
  if (producerId < 0 || producerEpoch < 0 || producerEpoch > 0x7fff || baseSequence < 0)
    throw invalidRequest(
      `producer: id ${producerId}, epoch ${producerEpoch} and sequence ${baseSequence} must be 0 or more, the epoch at most 32767 (InitProducer gives id and epoch)`,
    )
}

/** The same failure for each record, or for the batch. */
export function failedResults(
  entry: Pick<ProduceEntry, 'partition' | 'records'>,
  error: NaruError,
): EntryResult[] {
  const result = { ok: false as const, partition: entry.partition ?? 0, error }
  return new Array(Math.max(1, entry.records.length)).fill(result)
}

export function encodeResult(result: EntryResult, write: (error: NaruError) => Failure): ProduceResult {
  if (!result.ok) return { partition: result.partition, failure: write(result.error) }
  const { partition, offset, logAppendTimeMs } = result
  return {
    partition,
    ...(offset !== undefined && { offset }),
    ...(logAppendTimeMs !== undefined && { logAppendTimeMs }),
  }
}

function resultOf(
  outcome: AppendOutcome,
  of: { partition: PartitionId; place: number; acks: Acks },
): EntryResult {
  const { partition, place, acks } = of
  if (outcome.kind === 'failed') return { ok: false, partition, error: outcome.error }
  if (acks === 'NONE') return { ok: true, partition }
  const { baseOffset, logAppendTimeMs } = outcome
  return {
    ok: true,
    partition,
    offset: baseOffset + place,
    ...(logAppendTimeMs !== undefined && { logAppendTimeMs }),
  }
}

/**
 * A log keeps its last batches in memory for readers and counts only their own bytes. A batch that is a small
 * part of its message must not keep the rest of it alive, so it gets bytes of its own.
 */
function ownedBatch(batch: Buffer, messageBytes: number): Buffer {
  if (batch.length * MESSAGE_PARTS_MAX >= messageBytes) return batch
  const copy = Buffer.allocUnsafeSlow(batch.length)
  batch.copy(copy)
  return copy
}

/** The memory of a log's tail may exceed what it counts by this factor at most. */
const MESSAGE_PARTS_MAX = 4
