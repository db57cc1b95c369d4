import { NaruError } from '../base/errors.ts'
import { isInternalTopic } from '../metadata/topic-name.ts'
import type { DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsResult } from '../wire/messages.ts'
import type { ConcurrencyLimit } from './concurrency-limit.ts'
import { BoundedFailures } from './failures.ts'
import { checkPosition, findPosition } from './positions.ts'
import { countWithin, invalidRequest, timeoutMsOf } from './request-checks.ts'
import type { ServiceNode } from './service-node.ts'
import { settledWithin } from './settled-within.ts'
import { awaitLeader, findTopic, lookTwice } from './topic-lookup.ts'

const PARTITIONS_MAX = 1_000

/** Admin.DeleteRecords: partitions succeed and fail each for itself. */
export async function deleteRecords(
  node: ServiceNode,
  deletions: ConcurrencyLimit,
  request: DeleteRecordsRequest,
): Promise<{ results: DeleteRecordsResult[] }> {
  countWithin(request.partitions.length, { name: 'partitions', min: 1, max: PARTITIONS_MAX })
  const timeoutMs = timeoutMsOf(request.timeoutMs)
  const failures = new BoundedFailures()
  const results = request.partitions.map(async (asked): Promise<DeleteRecordsResult> => {
    const { topic, partition } = asked
    try {
      const deletion = deletions.run(() => deleteBefore(node, asked))
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

async function deleteBefore(node: ServiceNode, asked: DeleteRecordsPartition): Promise<number> {
  const { before } = asked
  checkPosition(before, 'before')
  const isSet = [before?.at, before?.offset, before?.timestampMs, before?.last].some(one => one !== undefined)
  // Forgetting a field must not delete anything.
  if (!isSet) throw invalidRequest('before is not set: say before which offset, time or place the records go')
  if (isInternalTopic(asked.topic))
    throw invalidRequest(`topic "${asked.topic}" is kept by Naru itself: its records cannot be deleted`)
  const topic = await lookTwice(node, isLast => findTopic(node, asked.topic, asked.topicId, isLast))
  const leader = await awaitLeader(node, { topic, partition: asked.partition })
  const { offset } = await findPosition(leader, before, 'EARLIEST')
  return leader.deleteRecordsBefore(offset)
}
