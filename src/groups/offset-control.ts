import type { Epoch, Offset, PartitionId, Uuid } from '../base/brands.ts'
import { NaruError } from '../base/errors.ts'
import { checkName, requireGroup } from './group-checks.ts'
import { GroupDraft } from './group-draft.ts'
import { groupNotEmpty, unknownMember } from './group-errors.ts'
import type { GroupImage } from './group-image.ts'
import type { GroupLifecycle } from './group-lifecycle.ts'
import type { CommittedOffset, GroupRecord, OwnedPartition } from './group-record.ts'
import { type GroupResult, readOnly } from './group-result.ts'
import type { GroupsImage } from './groups-image.ts'
import { type NamedPartition, refusal } from './member-control.ts'
import { keyOf } from './partition-index.ts'

/**
 * Handlers for committed offsets, keyed by topic id: a topic that is made anew under its name has none (D5).
 * Offsets may go back; only who owns a partition may say so, or anybody while the group has no members.
 */
export class OffsetControl {
  readonly #image: GroupsImage
  readonly #lifecycle: GroupLifecycle

  constructor(image: GroupsImage, lifecycle: GroupLifecycle) {
    this.#image = image
    this.#lifecycle = lifecycle
  }

  /**
   * One result per offset, in order. D3: a member may commit what it has, also while it is asked to release it,
   * quoting any member epoch since it was given to it. Older ones are of an earlier ownership; newer ones are
   * not asked for, because the answers that tell them may still be on their way.
   */
  commit(request: CommitRequest, nowMs: number): GroupResult<CommitOutcome[]> {
    this.#checkCount(request.offsets.length)
    return request.member === undefined
      ? this.#commitByHand(request, nowMs)
      : this.#commitByMember(request, { ...request.member, nowMs })
  }

  /** Only while the group has no members. A dry run tells the same and writes nothing. */
  reset(request: ResetRequest, nowMs: number): GroupResult<ResetOutcome[]> {
    const { group, offsets } = request
    this.#checkCount(offsets.length)
    const base = this.#requireIdle(group, 'a reset of offsets')
    const draft = this.#draftByHand({ group, base, nowMs })
    const outcomes = offsets.map((offset): ResetOutcome => {
      const before = base?.offset(offset.topicId, offset.partition)?.nextOffset
      const error = this.#problemOf(offset)
      if (error !== undefined) return { before, error }
      draft.setOffset(offset.topicId, offset.partition, committed(offset, nowMs))
      return { before }
    })
    const isVain = request.isDryRun || outcomes.every(({ error }) => error !== undefined)
    return isVain ? readOnly(outcomes) : this.#lifecycle.finish(draft, outcomes)
  }

  /** A page of the group's offsets, by topic name and partition. */
  fetch(request: FetchOffsetsRequest): GroupResult<GroupOffsetView[]> {
    this.#checkCount(request.limit)
    const group = requireGroup(this.#image, request.group)
    const { after } = request
    const isAfter = (view: GroupOffsetView) =>
      after === undefined ||
      (view.topic === after.topic ? view.partition > after.partition : view.topic > after.topic)
    return readOnly(this.offsetViews(group, request.partitions).filter(isAfter).slice(0, request.limit))
  }

  /** By topic name and partition. Without a selection: what has an offset, and what a member has. */
  offsetViews(group: GroupImage, selection?: readonly PartitionSelection[]): GroupOffsetView[] {
    const selected = selection ?? this.#known(group)
    const views = new Map<string, GroupOffsetView>()
    for (const { topicId, partition } of selected) {
      const topic = this.#lifecycle.catalog.byId(topicId)
      if (topic === undefined) continue
      const partitions = partition === undefined ? range(topic.partitionCount) : [partition]
      for (const one of partitions) {
        const key = keyOf({ topicId, partition: one })
        views.set(key, {
          topic: topic.name,
          topicId,
          partition: one,
          committed: group.offset(topicId, one),
          member: group.owners.get(key),
        })
      }
    }
    return [...views.values()].sort((a, b) =>
      a.topic === b.topic ? a.partition - b.partition : a.topic < b.topic ? -1 : 1,
    )
  }

  #commitByMember(
    request: CommitRequest,
    by: { member: string; memberEpoch: Epoch; nowMs: number },
  ): GroupResult<CommitOutcome[]> {
    const group = this.#image.get(request.group)
    const assignment = group?.assignments.get(by.member)
    if (group === undefined || assignment === undefined) throw unknownMember(request.group, by.member)
    const owned = new Map(assignment.partitions.map(partition => [keyOf(partition), partition]))
    const records: GroupRecord[] = []
    const outcomes = request.offsets.map((offset): CommitOutcome => {
      if (!mayCommit(owned.get(keyOf(offset)), by.memberEpoch))
        return { error: refusal(group, { ...offset, member: by.member }) }
      const error = this.#problemOf(offset)
      if (error !== undefined) return { error }
      const { topicId, partition } = offset
      const value = committed(offset, by.nowMs)
      records.push({ type: 'offset', version: 0, group: request.group, topicId, partition, value })
      return {}
    })
    return { records, response: outcomes, timers: [], changed: [] }
  }

  #commitByHand({ group, offsets }: CommitRequest, nowMs: number): GroupResult<CommitOutcome[]> {
    const base = this.#requireIdle(group, 'a commit by hand')
    const draft = this.#draftByHand({ group, base, nowMs })
    const outcomes = offsets.map((offset): CommitOutcome => {
      const error = this.#problemOf(offset)
      if (error !== undefined) return { error }
      draft.setOffset(offset.topicId, offset.partition, committed(offset, nowMs))
      return {}
    })
    const isVain = outcomes.every(({ error }) => error !== undefined)
    return isVain ? readOnly(outcomes) : this.#lifecycle.finish(draft, outcomes)
  }

  /** The retention of a group without members counts from its last change. */
  #draftByHand(of: { group: string; base: GroupImage | undefined; nowMs: number }): GroupDraft {
    const draft = new GroupDraft(of.group, of)
    draft.setHeader({ idleSinceMs: of.nowMs })
    return draft
  }

  /** undefined: the group does not exist, and may be made. */
  #requireIdle(name: string, what: string): GroupImage | undefined {
    const { limits } = this.#lifecycle
    checkName('group', name, limits)
    const group = this.#image.get(name)
    if (group === undefined && this.#image.count >= limits.groupsMax)
      throw new NaruError(
        'OVERLOADED',
        `the coordinator of group "${name}" has ${limits.groupsMax} groups already (delete some: naru groups delete NAME)`,
      )
    if (group !== undefined && group.members.size > 0) throw groupNotEmpty(name, what, group.members.size)
    return group
  }

  #checkCount(count: number): void {
    const { offsetsPerRequestMax } = this.#lifecycle.limits
    if (count > offsetsPerRequestMax)
      throw new NaruError(
        'REQUEST_TOO_LARGE',
        `${count} offsets are too many at a time, at most ${offsetsPerRequestMax} are allowed (split the request)`,
      )
  }

  #problemOf({ topic, topicId, partition, nextOffset, metadata }: OffsetToCommit): NaruError | undefined {
    const { metadataBytesMax } = this.#lifecycle.limits
    const what = `of partition ${partition} of topic "${topic}"`
    if (!Number.isSafeInteger(nextOffset) || nextOffset < 0)
      return new NaruError(
        'INVALID_REQUEST',
        `next_offset ${nextOffset} ${what} is not an offset: use 0 or more`,
      )
    const metadataBytes = Buffer.byteLength(metadata)
    if (metadataBytes > metadataBytesMax)
      return new NaruError(
        'INVALID_REQUEST',
        `metadata ${what} has ${metadataBytes} bytes, at most ${metadataBytesMax} are allowed`,
      )
    const found = this.#lifecycle.catalog.byId(topicId)
    if (found === undefined)
      return new NaruError(
        'UNKNOWN_TOPIC',
        `topic "${topic}" does not exist (any more), its id was ${topicId}`,
        {
          details: { topic },
        },
      )
    if (partition >= 0 && partition < found.partitionCount) return undefined
    return new NaruError(
      'UNKNOWN_PARTITION',
      `topic "${topic}" has no partition ${partition}, it has ${found.partitionCount}`,
      { details: { topic, partition: String(partition) } },
    )
  }

  #known(group: GroupImage): PartitionSelection[] {
    const known: PartitionSelection[] = []
    for (const topicId of group.offsetTopics.keys())
      for (const [partition] of group.offsetsOf(topicId)) known.push({ topicId, partition })
    for (const { partitions } of group.assignments.values()) known.push(...partitions)
    return known
  }
}

export interface CommitRequest {
  readonly group: string
  /** undefined: by hand. */
  readonly member?: { readonly member: string; readonly memberEpoch: Epoch } | undefined
  readonly offsets: readonly OffsetToCommit[]
}

export interface OffsetToCommit extends NamedPartition {
  readonly nextOffset: Offset
  readonly leaderEpoch: Epoch | null
  readonly metadata: string
}

export interface CommitOutcome {
  /** Absent: stored. */
  readonly error?: NaruError
}

export interface ResetRequest {
  readonly group: string
  /** The new places, resolved by the caller. */
  readonly offsets: readonly OffsetToCommit[]
  readonly isDryRun: boolean
}

export interface ResetOutcome extends CommitOutcome {
  readonly before: Offset | undefined
}

export interface FetchOffsetsRequest {
  readonly group: string
  /** undefined: all that are known. */
  readonly partitions?: readonly PartitionSelection[] | undefined
  /** The last one of the page before. */
  readonly after?: { readonly topic: string; readonly partition: PartitionId } | undefined
  readonly limit: number
}

export interface PartitionSelection {
  readonly topicId: Uuid
  /** undefined: all of the topic. */
  readonly partition?: PartitionId | undefined
}

/** The caller adds what the partition's leader knows: the ends of the log, so the lag. */
export interface GroupOffsetView {
  readonly topic: string
  readonly topicId: Uuid
  readonly partition: PartitionId
  /** undefined: nothing yet. */
  readonly committed: CommittedOffset | undefined
  /** Who has the partition now. */
  readonly member: string | undefined
}

function mayCommit(owned: OwnedPartition | undefined, memberEpoch: Epoch): boolean {
  return owned !== undefined && memberEpoch >= owned.assignedEpoch
}

function committed({ nextOffset, leaderEpoch, metadata }: OffsetToCommit, nowMs: number): CommittedOffset {
  return { nextOffset, leaderEpoch, metadata, committedAtMs: nowMs }
}

function range(count: number): number[] {
  return Array.from({ length: count }, (_, index) => index)
}
