import type { Offset, PartitionId } from '../../base/brands.ts'
import { NaruError } from '../../base/errors.ts'
import type { GroupOffsetView, OffsetToCommit, PartitionSelection } from '../../groups/offset-control.ts'
import type { Position, ResetOffset, ResetOffsetsRequest } from '../../wire/messages.ts'
import { BoundedFailures } from '../failures.ts'
import { positionFinder } from '../list-offsets.ts'
import { checkPosition } from '../positions.ts'
import { countWithin, invalidRequest } from '../request-checks.ts'
import type { ServiceNode } from '../service-node.ts'
import type { GroupParts } from './group-parts.ts'
import { selectPartitions } from './selected-partitions.ts'

const SELECTORS_MAX = 1_000
/** One reset is one write of the coordinator. */
const PARTITIONS_MAX = 10_000
/** So long a leader that is not there is looked for: the others' offsets are moved without it. */
const LOOK_MS_MAX = 3_000

/**
 * Groups.ResetOffsets at the coordinator: looks up the new places at the leaders, then moves all that were found in one
 * write. What is wrong with one partition is the failure of that partition.
 */
export async function resetOffsets(
  parts: GroupParts,
  request: ResetOffsetsRequest,
): Promise<{ offsets: ResetOffset[] }> {
  const { node } = parts
  const { group, dryRun } = request
  const target = targetOf(request)
  const selectors = 'offsets' in target ? request.offsets : request.partitions
  countWithin(selectors.length, {
    name: 'partitions',
    max: 'offsets' in target ? PARTITIONS_MAX : SELECTORS_MAX,
  })
  const selection = await selectPartitions(node, selectors)
  const views = await viewsOf(node, { group, selection })
  if (views.length > PARTITIONS_MAX)
    throw invalidRequest(`more than ${PARTITIONS_MAX} partitions are meant: reset topic by topic`)
  const find = placeFinder(parts, target)
  const entries = await Promise.all(
    views.map(async (view): Promise<Entry> => {
      try {
        return { view, nextOffset: await find(view), error: undefined }
      } catch (thrown) {
        if (!(thrown instanceof NaruError)) throw thrown
        return { view, nextOffset: undefined, error: thrown }
      }
    }),
  )
  const found = entries.filter(isFound)
  const offsets = found.map(({ view, nextOffset }) => toCommit(view, nextOffset))
  // Also without any: whether the group may be reset at all is the answer to a dry run.
  const outcomes = await node.groups
    .of(group)
    .run((groups, nowMs) => groups.offsets.reset({ group, offsets, isDryRun: dryRun }, nowMs))
  for (const [index, { error, before }] of outcomes.entries()) {
    const entry = found[index] as Entry
    entry.error = error
    entry.before = before
  }
  const failures = new BoundedFailures()
  return { offsets: entries.map(entry => resultOf(entry, failures)) }
}

interface Entry {
  readonly view: GroupOffsetView
  readonly nextOffset: Offset | undefined
  error: NaruError | undefined
  before?: Offset | undefined
}

function isFound(entry: Entry): entry is Entry & { readonly nextOffset: Offset } {
  return entry.nextOffset !== undefined
}

type Target =
  | { readonly to: Position }
  | { readonly shiftBy: number }
  /** By topic and partition. */
  | { readonly offsets: ReadonlyMap<string, Offset> }

function targetOf({ to, shiftBy, offsets, partitions }: ResetOffsetsRequest): Target {
  if (offsets.length > 0) {
    if (to !== undefined || shiftBy !== undefined || partitions.length > 0)
      throw invalidRequest('offsets: give them alone, without partitions, to or shift_by')
    for (const { nextOffset } of offsets) checkPosition({ offset: nextOffset }, 'next_offset')
    return { offsets: new Map(offsets.map(one => [keyOf(one), one.nextOffset])) }
  }
  if (shiftBy !== undefined) return { shiftBy }
  if (to === undefined) throw invalidRequest('to or shift_by is missing: say where the offsets shall go')
  checkPosition(to, 'to')
  return { to }
}

/** By topic name and partition. A group that does not exist yet may be given offsets where partitions are named. */
async function viewsOf(
  node: ServiceNode,
  of: { group: string; selection: readonly PartitionSelection[] | undefined },
): Promise<GroupOffsetView[]> {
  const { group, selection } = of
  try {
    const request = { group, partitions: selection, limit: PARTITIONS_MAX }
    const views = await node.groups.of(group).run(({ offsets }) => offsets.fetch(request))
    if (views.length < PARTITIONS_MAX) return views
    const last = views.at(-1) as GroupOffsetView
    const next = { ...request, after: last, limit: 1 }
    return [...views, ...(await node.groups.of(group).run(({ offsets }) => offsets.fetch(next)))]
  } catch (thrown) {
    const isNew = thrown instanceof NaruError && thrown.reason === 'UNKNOWN_GROUP' && selection !== undefined
    if (!isNew) throw thrown
    return selection.flatMap(one => viewsWithout(node, one))
  }
}

function viewsWithout(node: ServiceNode, { topicId, partition }: PartitionSelection): GroupOffsetView[] {
  const topic = node.controller.image.topics.byId(topicId)
  if (topic === undefined) return []
  const all =
    partition === undefined ? Array.from({ length: topic.partitionCount }, (_, p) => p) : [partition]
  return all.map(one => ({
    topic: topic.name,
    topicId,
    partition: one,
    committed: undefined,
    member: undefined,
  }))
}

/** Where a partition's offset shall go; throws why it cannot. */
function placeFinder(
  { node, memory }: GroupParts,
  target: Target,
): (view: GroupOffsetView) => Promise<Offset> {
  const find = positionFinder(node, memory, { isEntry: true, timeoutMs: LOOK_MS_MAX })
  const offsetAt = async (view: GroupOffsetView, position: Position) => {
    const { topic, topicId, partition } = view
    return (await find({ topic, topicId, position }, partition)).offset ?? 0
  }
  if ('to' in target) {
    const { to } = target
    return view => {
      const isAsCommitted = to.at === 'COMMITTED'
      if (isAsCommitted && view.committed !== undefined) return Promise.resolve(view.committed.nextOffset)
      return offsetAt(view, isAsCommitted ? { at: 'EARLIEST' } : to)
    }
  }
  if ('offsets' in target) return view => offsetAt(view, { offset: target.offsets.get(keyOf(view)) ?? 0 })
  const { shiftBy } = target
  return async view => {
    if (view.committed === undefined) throw nothingToShift(view)
    const [earliest, end] = await Promise.all([
      offsetAt(view, { at: 'EARLIEST' }),
      offsetAt(view, { at: 'LATEST' }),
    ])
    return Math.min(Math.max(view.committed.nextOffset + shiftBy, earliest), end)
  }
}

function keyOf({ topic, partition }: { readonly topic: string; readonly partition: PartitionId }): string {
  return `${topic}/${partition}`
}

function nothingToShift({ topic, partition }: { topic: string; partition: PartitionId }): NaruError {
  return invalidRequest(
    `the group has no offset for partition ${partition} of topic "${topic}" that could be shifted (reset it to a place)`,
  )
}

function toCommit({ topic, topicId, partition }: GroupOffsetView, nextOffset: Offset): OffsetToCommit {
  return { topic, topicId, partition, nextOffset, leaderEpoch: null, metadata: '' }
}

function resultOf(entry: Entry, failures: BoundedFailures): ResetOffset {
  const { view, nextOffset, error } = entry
  const before = entry.before ?? view.committed?.nextOffset
  return {
    topic: view.topic,
    partition: view.partition,
    ...(before !== undefined && { oldNextOffset: before }),
    ...(error === undefined && nextOffset !== undefined && { newNextOffset: nextOffset }),
    ...(error && { failure: failures.write(error) }),
  }
}
