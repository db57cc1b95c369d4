import type { Offset, PartitionId, Uuid } from '../base/brands.ts'
import { NaruError } from '../base/errors.ts'
import type { ListedOffset, ListOffsetsPartition, ListOffsetsRequest, Position } from '../wire/messages.ts'
import { BoundedFailures } from './failures.ts'
import type { CommittedPlaces } from './groups/committed-places.ts'
import { LEADER_RETRY_MS_MAX } from './leader-attempts.ts'
import { atLeader } from './leader-calls.ts'
import { type AskedLeader, checkPosition, findPosition, requireReadable } from './positions.ts'
import type { ReadMemory } from './read-memory.ts'
import { RemotePositions } from './remote-positions.ts'
import { countWithin, invalidRequest } from './request-checks.ts'
import type { ServiceNode } from './service-node.ts'
import { doubtAbout, findTopic, lookTwice, requirePartition } from './topic-lookup.ts'

const ENTRIES_MAX = 1_000
const PARTITIONS_MAX = 10_000

/** Consumer.ListOffsets: what is wrong with one partition is the failure of that partition. */
export async function listOffsets(
  node: ServiceNode,
  memory: ReadMemory,
  of: {
    readonly request: ListOffsetsRequest
    readonly isEntry: boolean
    readonly committed?: CommittedPlaces
  },
): Promise<{ offsets: ListedOffset[] }> {
  const { request, isEntry, committed } = of
  countWithin(request.partitions.length, { name: 'partitions', min: 1, max: ENTRIES_MAX })
  const failures = new BoundedFailures()
  // Before the partitions of a topic are counted; whoever is in doubt still says so of each topic.
  await doubtAbout(
    node,
    request.partitions.map(entry => entry.topic),
  )
  const count = request.partitions.reduce((sum, entry) => sum + countOf(node, entry), 0)
  if (count > PARTITIONS_MAX)
    throw invalidRequest(`partitions: ${count} in all, at most ${PARTITIONS_MAX}: split the request`)
  const asked = request.partitions.flatMap(entry => partitionsOf(node, entry))
  const find = positionFinder(node, memory, { isEntry })
  const offsets = await Promise.all(
    asked.map(async ({ entry, partition }): Promise<ListedOffset> => {
      const place = { topic: entry.topic, partition }
      try {
        const isCommitted = entry.position?.at === 'COMMITTED' && committed !== undefined
        if (!isCommitted) return { ...place, ...(await find(entry, partition)) }
        const offset = await committedOffset(node, committed, { ...entry, partition, group: request.group })
        return { ...place, leaderEpoch: 0, ...(offset !== undefined && { offset }) }
      } catch (thrown) {
        if (!(thrown instanceof NaruError)) throw thrown
        return { ...place, leaderEpoch: 0, failure: failures.write(thrown) }
      }
    }),
  )
  return { offsets }
}

async function committedOffset(
  node: ServiceNode,
  committed: CommittedPlaces,
  of: { topic: string; topicId?: Uuid; partition: PartitionId; group: string | undefined },
): Promise<Offset | undefined> {
  const { partition, group } = of
  const { name, id } = await lookTwice(node, isLast => {
    const topic = findTopic(node, of.topic, of.topicId, isLast)
    requirePartition(topic, partition)
    return topic
  })
  return committed.offsetOf({ group, topic: name, topicId: id, partition })
}

function partitionsOf(
  node: ServiceNode,
  entry: ListOffsetsPartition,
): { entry: ListOffsetsPartition; partition: PartitionId }[] {
  if (entry.partition !== undefined) return [{ entry, partition: entry.partition }]
  return Array.from({ length: countOf(node, entry) }, (_, partition) => ({ entry, partition }))
}

/** A topic that is not there fails as its first partition. */
function countOf(node: ServiceNode, { topic, partition }: ListOffsetsPartition): number {
  return partition === undefined ? (node.controller.image.topics.byName(topic)?.partitionCount ?? 1) : 1
}

export type Found = Pick<ListedOffset, 'offset' | 'timestampMs' | 'leaderEpoch'>

/** Looks for places in partitions, wherever their leaders are. */
export function positionFinder(
  node: ServiceNode,
  memory: ReadMemory,
  { isEntry, timeoutMs = LEADER_RETRY_MS_MAX }: { readonly isEntry: boolean; readonly timeoutMs?: number },
): (
  entry: Pick<ListOffsetsPartition, 'topic' | 'topicId' | 'position'>,
  partition: PartitionId,
) => Promise<Found> {
  const elsewhere = new RemotePositions(node)
  return async (entry, partition) => {
    const { position } = entry
    checkPosition(position, 'position')
    const topic = await lookTwice(node, isLast => findTopic(node, entry.topic, entry.topicId, isLast))
    const place = { topic: topic.name, topicId: topic.id, partition }
    return atLeader<Found>(node, {
      topic,
      partition,
      isEntry,
      repeatable: true,
      timeoutMs,
      here: leader => memory.lookups.run(() => findHere({ leader, node }, position)),
      there: async leaderId => {
        const found = await elsewhere.find(leaderId, { ...place, ...(position && { position }) })
        const { offset, timestampMs, leaderEpoch } = found
        return {
          leaderEpoch,
          ...(offset !== undefined && { offset }),
          ...(timestampMs !== undefined && { timestampMs }),
        }
      },
    })
  }
}

async function findHere(asked: AskedLeader, position: Position | undefined): Promise<Found> {
  const found = await findPosition(asked, position, 'LATEST')
  if (position?.offset !== undefined) requireReadable(asked.leader, found.offset)
  const { leaderEpoch } = asked.leader
  return { ...found, leaderEpoch }
}
