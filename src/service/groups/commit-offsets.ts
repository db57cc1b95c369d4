import { NaruError } from '../../base/errors.ts'
import type { OffsetToCommit } from '../../groups/offset-control.ts'
import type { CommitOffset, CommitOffsetsRequest, CommitResult } from '../../wire/messages.ts'
import { BoundedFailures } from '../failures.ts'
import { countWithin, invalidRequest } from '../request-checks.ts'
import type { ServiceNode } from '../service-node.ts'
import { doubtAbout, findTopic } from '../topic-lookup.ts'
import type { GroupParts } from './group-parts.ts'

const OFFSETS_MAX = 10_000

/**
 * Groups.CommitOffsets at the coordinator: what is wrong with one offset is the failure of that offset; what is wrong
 * with the group or the member is that of the call.
 */
export async function commitOffsets(
  { node, leaders }: GroupParts,
  request: CommitOffsetsRequest,
): Promise<{ results: CommitResult[] }> {
  const { group, offsets } = request
  countWithin(offsets.length, { name: 'offsets', min: 1, max: OFFSETS_MAX })
  const member = memberOf(request)
  const entries = await identified(node, offsets)
  const known = entries.filter(isGood)
  for (const [index, error] of await leaders.beyondEnd(known.map(({ offset }) => offset)))
    (known[index] as Entry).error = error
  const good = known.filter(isGood)
  const outcomes = await node.groups.of(group).run(({ offsets: control }, nowMs) => {
    const toCommit = good.map(({ offset }) => offset)
    return control.commit({ group, member, offsets: toCommit }, nowMs)
  })
  for (const [index, { error }] of outcomes.entries()) (good[index] as Entry).error = error
  const failures = new BoundedFailures()
  return {
    results: entries.map(({ offset: { topic, partition, nextOffset }, error }) => ({
      topic,
      partition,
      nextOffset,
      ...(error && { failure: failures.write(error) }),
    })),
  }
}

interface Entry {
  readonly offset: OffsetToCommit
  error: NaruError | undefined
}

function isGood({ error }: Entry): boolean {
  return error === undefined
}

function memberOf({ member, memberEpoch }: CommitOffsetsRequest) {
  if (member === undefined && memberEpoch === undefined) return undefined
  if (member === undefined || memberEpoch === undefined)
    throw invalidRequest('member and member_epoch: give both, or neither to commit by hand')
  return { member, memberEpoch }
}

/** Commits are decided by the ids of topics: those that the client knows, or that the names have now. */
async function identified(node: ServiceNode, offsets: readonly CommitOffset[]): Promise<Entry[]> {
  const names = [...new Set(offsets.map(({ topic }) => topic))]
  const doubt = await doubtAbout(node, names)
  return offsets.map(({ topic, topicId, partition, nextOffset, leaderEpoch, metadata }): Entry => {
    const offset = { topic, partition, nextOffset, leaderEpoch: leaderEpoch ?? null, metadata }
    try {
      const { id } = findTopic(node, topic, topicId)
      return { offset: { ...offset, topicId: id }, error: undefined }
    } catch (thrown) {
      if (!(thrown instanceof NaruError)) throw thrown
      return { offset: { ...offset, topicId: topicId ?? '' }, error: doubt ?? thrown }
    }
  })
}
