import type { Epoch, Offset, PartitionId, Uuid } from '../base/brands.ts'
import { NaruError } from '../base/errors.ts'
import { assignorNamed, checkName, checkSubscription, requireMember } from './group-checks.ts'
import { ASSIGNOR_DEFAULT, GroupDraft } from './group-draft.ts'
import { notOwned } from './group-errors.ts'
import type { GroupImage } from './group-image.ts'
import { brokenStreamDelayMs, type GroupLifecycle } from './group-lifecycle.ts'
import type { MemberInfo, MemberInstance, OwnedPartition, Subscription } from './group-record.ts'
import { type GroupResult, type MemberStream, readOnly } from './group-result.ts'
import type { GroupsImage } from './groups-image.ts'
import { succeed } from './member-succession.ts'
import { keyOf } from './partition-index.ts'
import { takeFrom } from './reconciliation.ts'
import { subscriptionKey, subscriptionOf } from './subscription.ts'
import { noticeTopics } from './target-assignment.ts'

/**
 * Handlers for the streams of members. A member is known by its name alone; a stream that attends under a name
 * that is there takes the member over with all it has, at new epochs: whatever the stream before it still says
 * or commits is refused. It must be the later one of the two, whichever came first (`succeed`).
 */
export class MemberControl {
  readonly #image: GroupsImage
  readonly #lifecycle: GroupLifecycle

  constructor(image: GroupsImage, lifecycle: GroupLifecycle) {
    this.#image = image
    this.#lifecycle = lifecycle
  }

  /** A stream speaks for a member from now on: a new one, or one that is back. */
  attend(request: AttendRequest, nowMs: number): GroupResult<Attended> {
    const { group, member } = request
    const subscription = subscriptionOf(request)
    this.#checkAttend(request, subscription)
    const base = this.#image.get(group)
    const before = base?.members.get(member)
    const { instance } = request
    const replaced = succeed(before, { group, member, instance })
    this.#checkRoom(base, { group, isNewMember: before === undefined, subscription })
    const draft = new GroupDraft(group, { base, nowMs })
    const warnings = this.#chooseAssignor(draft, request)
    this.#noticeAwaited(draft)
    const info: MemberInfo = {
      attachEpoch: draft.epoch,
      subscription,
      clientId: request.clientId,
      address: request.address,
      ...this.#timeouts(request.sessionTimeoutMs),
      disconnected: false,
      instance,
      replaced,
    }
    draft.members.set(member, info)
    draft.setHeader({ idleSinceMs: null })
    // Also what it was asked for: nobody knows whether it has heard of that, and it reads on until it has.
    const kept = draft.partitionsOf(member).map(owned => ({ ...owned, assignedEpoch: draft.epoch }))
    draft.setPartitions(member, kept)
    if (before === undefined || subscriptionKey(before.subscription) !== subscriptionKey(subscription))
      this.#noticeWanted(draft)
    this.#lifecycle.settle(draft)
    const stream = { group, member, attachEpoch: draft.epoch }
    const response: Attended = {
      stream,
      memberEpoch: draft.epoch,
      sessionTimeoutMs: info.sessionTimeoutMs,
      warnings,
    }
    return this.#lifecycle.finish(draft, response, [
      this.#lifecycle.sessionTimer(stream, info.sessionTimeoutMs),
    ])
  }

  /** The member wants other topics. */
  subscribe(
    stream: MemberStream,
    wanted: { topics: readonly string[]; topicPattern?: string | null | undefined },
    nowMs: number,
  ): GroupResult<undefined> {
    const { group, info } = requireMember(this.#image, stream)
    const subscription = subscriptionOf(wanted)
    checkSubscription(subscription, this.#lifecycle.limits)
    if (subscriptionKey(subscription) === subscriptionKey(info.subscription)) return readOnly(undefined)
    this.#checkRoom(group, { group: stream.group, isNewMember: false, subscription })
    const draft = new GroupDraft(stream.group, { base: group, nowMs })
    this.#noticeAwaited(draft)
    draft.members.set(stream.member, { ...info, subscription })
    this.#noticeWanted(draft)
    this.#lifecycle.settle(draft)
    return this.#lifecycle.finish(draft, undefined)
  }

  /** The member was heard: its session begins anew. The answer proves that it was a member when it was heard. */
  heartbeat(stream: MemberStream): GroupResult<{ memberEpoch: Epoch }> {
    const { group, info } = requireMember(this.#image, stream)
    const memberEpoch = group.assignments.get(stream.member)?.memberEpoch ?? info.attachEpoch
    // Asked before the stream broke: nobody hears the answer.
    if (info.disconnected) return readOnly({ memberEpoch })
    return readOnly({ memberEpoch }, [this.#lifecycle.sessionTimer(stream, info.sessionTimeoutMs)])
  }

  /**
   * The stream broke. The member may come back within its grace, and keeps what it has until then. That goes to the log, so
   * that a coordinator which takes over in between goes on counting.
   */
  disconnect(stream: MemberStream): GroupResult<undefined> {
    const { group, member, attachEpoch } = stream
    const info = this.#image.get(group)?.members.get(member)
    if (info?.attachEpoch !== attachEpoch || info.disconnected) return readOnly(undefined)
    return {
      records: [{ type: 'member', version: 0, group, member, value: { ...info, disconnected: true } }],
      response: undefined,
      timers: [this.#lifecycle.sessionTimer(stream, brokenStreamDelayMs(info))],
      changed: [],
    }
  }

  /** The member goes, at once. */
  leave(stream: MemberStream, nowMs: number): GroupResult<undefined> {
    const { group } = requireMember(this.#image, stream)
    const draft = new GroupDraft(stream.group, { base: group, nowMs })
    this.#lifecycle.expel(draft, stream.member)
    return this.#lifecycle.finish(draft, undefined)
  }

  /** The member is done with partitions that it was asked for (D3). One result each, in order. */
  release(stream: MemberStream, request: ReleaseRequest, nowMs: number): GroupResult<ReleaseOutcome[]> {
    const { group } = requireMember(this.#image, stream)
    const { member } = stream
    const owned = new Map(
      (group.assignments.get(member)?.partitions ?? []).map(partition => [keyOf(partition), partition]),
    )
    const released = new Set<string>()
    const outcomes = request.partitions.map((partition): ReleaseOutcome => {
      const key = keyOf(partition)
      const found = owned.get(key)
      if (found === undefined || request.memberEpoch < found.assignedEpoch)
        return { error: refusal(group, { ...partition, member }) }
      if (found.revokingEpoch === null) return { error: notAsked(partition) }
      released.add(key)
      return {}
    })
    if (released.size === 0) return readOnly(outcomes)
    const draft = new GroupDraft(stream.group, { base: group, nowMs })
    const freed = takeFrom(draft, member, partition => released.has(keyOf(partition)))
    this.#lifecycle.settle(draft, freed)
    return this.#lifecycle.finish(draft, outcomes)
  }

  /**
   * Where partitions start for which the group has no offset: resolved by the caller as the member asked, and
   * committed before anything is delivered (D5). An offset that is there by now stays.
   */
  commitStarts(
    stream: MemberStream,
    starts: readonly ResolvedStart[],
    nowMs: number,
  ): GroupResult<undefined> {
    const { group } = requireMember(this.#image, stream)
    const draft = new GroupDraft(stream.group, { base: group, nowMs })
    let isNew = false
    for (const { topicId, partition, nextOffset, leaderEpoch } of starts) {
      if (draft.owner(topicId, partition) !== stream.member || draft.hasOffset(topicId, partition)) continue
      draft.setOffset(topicId, partition, { nextOffset, leaderEpoch, metadata: '', committedAtMs: nowMs })
      isNew = true
    }
    if (!isNew) return readOnly(undefined)
    return { ...this.#lifecycle.finish(draft, undefined), changed: [stream] }
  }

  /** What the member has, for its stream. */
  membership(stream: MemberStream): GroupResult<Membership> {
    const { group } = requireMember(this.#image, stream)
    const assignment = group.assignments.get(stream.member)
    return readOnly({
      memberEpoch: assignment?.memberEpoch ?? stream.attachEpoch,
      partitions: (assignment?.partitions ?? []).map(owned => withPosition(group, owned)),
    })
  }

  #checkAttend(request: AttendRequest, subscription: Subscription): void {
    const { limits } = this.#lifecycle
    checkName('group', request.group, limits)
    checkName('member', request.member, limits)
    if (request.clientId !== '') checkName('client', request.clientId, limits)
    checkName('instance', request.instance.id, limits)
    if (request.address.length > limits.nameLengthMax)
      throw new NaruError(
        'INVALID_REQUEST',
        `the address of the client is longer than ${limits.nameLengthMax}`,
      )
    checkSubscription(subscription, limits)
    const { sessionTimeoutMinMs: min, sessionTimeoutMaxMs: max } = limits
    const timeoutMs = request.sessionTimeoutMs
    const isGood =
      timeoutMs === undefined || (Number.isInteger(timeoutMs) && timeoutMs >= min && timeoutMs <= max)
    if (!isGood)
      throw new NaruError(
        'INVALID_REQUEST',
        `session_timeout_ms ${timeoutMs} is not a whole number of ${min} to ${max}`,
      )
  }

  #checkRoom(
    base: GroupImage | undefined,
    wanted: { group: string; isNewMember: boolean; subscription: Subscription },
  ): void {
    const { groupsMax, membersPerGroupMax, patternsPerGroupMax } = this.#lifecycle.limits
    if (base === undefined && this.#image.count >= groupsMax)
      throw new NaruError(
        'OVERLOADED',
        `the coordinator of group "${wanted.group}" has ${groupsMax} groups already (delete some: naru groups delete NAME)`,
      )
    if (wanted.isNewMember && (base?.members.size ?? 0) >= membersPerGroupMax)
      throw new NaruError(
        'OVERLOADED',
        `group "${wanted.group}" has ${membersPerGroupMax} members already (more would only be idle: use fewer members, or another group)`,
      )
    const { topicPattern } = wanted.subscription
    if (topicPattern === null || base === undefined) return
    const patterns = new Set([...base.subscriptions()].map(subscription => subscription.topicPattern))
    patterns.delete(null)
    if (!patterns.has(topicPattern) && patterns.size >= patternsPerGroupMax)
      throw new NaruError(
        'OVERLOADED',
        `the members of group "${wanted.group}" use ${patternsPerGroupMax} different topic patterns already (use one of theirs)`,
      )
  }

  /** The member that joins an empty group decides. */
  #chooseAssignor(draft: GroupDraft, request: AttendRequest): string[] {
    const wanted = request.assignor === undefined ? undefined : assignorNamed(request.assignor)
    const { assignor } = draft.header
    if (draft.members.size === 0) {
      if (assignor !== (wanted ?? ASSIGNOR_DEFAULT)) draft.setHeader({ assignor: wanted ?? ASSIGNOR_DEFAULT })
      return []
    }
    if (wanted === undefined || wanted === assignor) return []
    return [
      `group "${request.group}" uses the assignor ${assignor}, not ${wanted} (the member that joins an empty group decides)`,
    ]
  }

  /** A time that the client chose is how long it may be away; it holds for a broken stream as well. */
  #timeouts(wantedMs: number | undefined): { sessionTimeoutMs: number; brokenStreamTimeoutMs: number } {
    if (wantedMs !== undefined) return { sessionTimeoutMs: wantedMs, brokenStreamTimeoutMs: wantedMs }
    const { sessionTimeoutMs, brokenStreamTimeoutMs } = this.#lifecycle.settings
    return { sessionTimeoutMs, brokenStreamTimeoutMs }
  }

  /** What was made since the members that are there subscribed is new to them, whoever joins now (D5). */
  #noticeAwaited(draft: GroupDraft): void {
    if (draft.members.size === 0) return
    if (noticeTopics(draft, { catalog: this.#lifecycle.catalog, isAwaited: true })) draft.markTargetStale()
  }

  #noticeWanted(draft: GroupDraft): void {
    noticeTopics(draft, { catalog: this.#lifecycle.catalog, isAwaited: false })
    draft.markTargetStale()
  }
}

export interface AttendRequest {
  readonly group: string
  /** The caller draws a name for a client that gives none. */
  readonly member: string
  readonly topics: readonly string[]
  readonly topicPattern?: string | null | undefined
  readonly assignor?: string | undefined
  readonly sessionTimeoutMs?: number | undefined
  /** May be empty. */
  readonly clientId: string
  /** Network address of the client. */
  readonly address: string
  readonly instance: MemberInstance
}

export interface Attended {
  readonly stream: MemberStream
  readonly memberEpoch: Epoch
  readonly sessionTimeoutMs: number
  readonly warnings: readonly string[]
}

export interface ReleaseRequest {
  /** As the member knew it when it was done. */
  readonly memberEpoch: Epoch
  readonly partitions: readonly NamedPartition[]
}

/** Commits and releases are decided by the id; the name is for messages. */
export interface NamedPartition {
  readonly topic: string
  readonly topicId: Uuid
  readonly partition: PartitionId
}

export interface ReleaseOutcome {
  /** Absent: released. */
  readonly error?: NaruError
}

export interface ResolvedStart {
  readonly topicId: Uuid
  readonly partition: PartitionId
  readonly nextOffset: Offset
  readonly leaderEpoch: Epoch | null
}

export interface Membership {
  readonly memberEpoch: Epoch
  readonly partitions: readonly MembershipPartition[]
}

export interface MembershipPartition extends OwnedPartition {
  readonly topic: string
  /** undefined: the group has no offset here yet; resolve where to start and `commitStarts`. */
  readonly nextOffset: Offset | undefined
}

/** Why a commit or release is refused: by whom the partition is held instead. */
export function refusal(group: GroupImage, of: NamedPartition & { readonly member: string }): NaruError {
  return notOwned({ ...of, group: group.name, owner: group.owners.get(keyOf(of)) })
}

function notAsked({ topic, partition }: NamedPartition): NaruError {
  return new NaruError(
    'INVALID_REQUEST',
    `partition ${partition} of topic "${topic}" cannot be released: nobody asked for it (leave the group, or subscribe to other topics)`,
  )
}

function withPosition(group: GroupImage, owned: OwnedPartition): MembershipPartition {
  const { topicId, partition } = owned
  return {
    ...owned,
    topic: group.topics.get(topicId)?.name ?? '',
    nextOffset: group.offset(topicId, partition)?.nextOffset,
  }
}
