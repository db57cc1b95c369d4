import type { Offset } from '../base/brands.ts'
import { NaruError } from '../base/errors.ts'
import type { TopicView } from '../metadata/topic-image.ts'
import { isInternalTopic } from '../metadata/topic-name.ts'
import { failureToError } from '../wire/failure.ts'
import type { DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsResult } from '../wire/messages.ts'
import { Admin } from '../wire/methods.ts'
import type { ConcurrencyLimit } from './concurrency-limit.ts'
import { BoundedFailures } from './failures.ts'
import { atLeader, GatheredCalls } from './leader-calls.ts'
import { type AskedLeader, checkPosition, findPosition } from './positions.ts'
import { countWithin, invalidRequest, timeoutMsOf } from './request-checks.ts'
import type { ServiceNode } from './service-node.ts'
import { settledWithin } from './settled-within.ts'
import { findTopic, lookTwice } from './topic-lookup.ts'

const PARTITIONS_MAX = 1_000

/** Admin.DeleteRecords: partitions succeed and fail each for itself. */
export async function deleteRecords(
  node: ServiceNode,
  deletions: ConcurrencyLimit,
  { request, isEntry }: { readonly request: DeleteRecordsRequest; readonly isEntry: boolean },
): Promise<{ results: DeleteRecordsResult[] }> {
  countWithin(request.partitions.length, { name: 'partitions', min: 1, max: PARTITIONS_MAX })
  const timeoutMs = timeoutMsOf(request.timeoutMs)
  const failures = new BoundedFailures()
  const deleteAt = deleter(node, deletions, { isEntry, timeoutMs })
  const results = request.partitions.map(async (asked): Promise<DeleteRecordsResult> => {
    const { topic, partition } = asked
    try {
      const deletion = deleteAt(asked)
      if (!(await settledWithin(node.clock, deletion, timeoutMs)))
        throw new NaruError(
          'DEADLINE_EXCEEDED',
          `deleting records of "${topic}" partition ${partition} took longer than ${timeoutMs} ms and goes on`,
        )
      return { topic, partition, logStartOffset: await deletion }
    } catch (thrown) {
      if (!(thrown instanceof NaruError)) throw thrown
      return { topic, partition, logStartOffset: 0, failure: failures.write(thrown) }
    }
  })
  return { results: await Promise.all(results) }
}

/** Returns what deletes before a place, and resolves with the offset of the first record that is left. */
function deleter(
  node: ServiceNode,
  deletions: ConcurrencyLimit,
  { isEntry, timeoutMs }: { readonly isEntry: boolean; readonly timeoutMs: number },
): (asked: DeleteRecordsPartition) => Promise<Offset> {
  const elsewhere = new GatheredCalls<DeleteRecordsPartition, DeleteRecordsResult>(
    node,
    async (leaders, to, partitions) => {
      const call = { request: { partitions, timeoutMs }, timeoutMs }
      return (await leaders.call(to, Admin.deleteRecords, call)).results
    },
  )
  return async asked => {
    const topic = await checkDeletion(node, asked)
    return atLeader<Offset>(node, {
      topic,
      partition: asked.partition,
      isEntry,
      // "The last 5" or "the end" may be other places the next time.
      repeatable: false,
      timeoutMs,
      here: leader => deletions.run(() => deleteHere({ leader, node: node }, asked)),
      there: async leaderId => {
        const { logStartOffset, failure } = await elsewhere.ask(leaderId, { ...asked, topicId: topic.id })
        if (failure) throw failureToError(failure)
        return logStartOffset
      },
    })
  }
}

async function checkDeletion(node: ServiceNode, asked: DeleteRecordsPartition): Promise<TopicView> {
  const { before } = asked
  checkPosition(before, 'before')
  const isSet = [before?.at, before?.offset, before?.timestampMs, before?.last].some(one => one !== undefined)
  // Forgetting a field must not delete anything.
  if (!isSet) throw invalidRequest('before is not set: say before which offset, time or place the records go')
  if (isInternalTopic(asked.topic))
    throw invalidRequest(`topic "${asked.topic}" is kept by Naru itself: its records cannot be deleted`)
  return lookTwice(node, isLast => findTopic(node, asked.topic, asked.topicId, isLast))
}

async function deleteHere(
  { leader, node }: AskedLeader,
  { before }: DeleteRecordsPartition,
): Promise<Offset> {
  const { offset } = await findPosition({ leader, node }, before, 'EARLIEST')
  return leader.deleteRecordsBefore(offset)
}
