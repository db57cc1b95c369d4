import type { Epoch } from '../base/brands.ts'
import { ChangedTopics } from './changed-topics.ts'
import { GroupDraft } from './group-draft.ts'
import type { GroupImage } from './group-image.ts'
import {
  GROUP_LIMITS,
  GROUP_SETTINGS,
  type GroupLimits,
  type GroupOptions,
  type GroupSettings,
} from './group-options.ts'
import type { GroupRecord, MemberInfo } from './group-record.ts'
import {
  type GroupResult,
  type GroupTimer,
  type MemberName,
  type MemberStream,
  readOnly,
} from './group-result.ts'
import { timerKey } from './group-timers.ts'
import type { GroupsImage } from './groups-image.ts'
import { giveFreed, reconcile, takeFrom } from './reconciliation.ts'
import type { TopicCatalog } from './subscription.ts'
import { computeTarget, noticeTopics } from './target-assignment.ts'

/**
 * What happens to groups without a call: sessions and releases run out, targets are computed, topics change,
 * groups without members expire. And what every call that changes a group ends with (`finish`).
 *
 * Every timer looks again whether its cause is still there, so a late or doubled one does no harm.
 */
export class GroupLifecycle {
  readonly settings: GroupSettings
  readonly limits: GroupLimits
  readonly catalog: TopicCatalog
  readonly #image: GroupsImage

  constructor(image: GroupsImage, options: GroupOptions) {
    this.#image = image
    this.catalog = options.catalog
    this.settings = { ...GROUP_SETTINGS, ...options.settings }
    this.limits = { ...GROUP_LIMITS, ...options.limits }
  }

  /**
   * Ends a draft that has changed members, subscriptions or topics, or has freed partitions (which are in nobody's
   * hands in it): computes the target if it is time, and gives out what is free. What is of deleted topics goes first: one
   * of the same name may be there already, and members are told of partitions by name, so nobody has both.
   */
  settle(draft: GroupDraft, nobodys: Parameters<typeof giveFreed>[1] = []): void {
    if (draft.members.size === 0) return
    if (this.#dropTopics(draft)) draft.markTargetStale()
    const freed = nobodys.filter(({ topicId }) => draft.topics.has(topicId))
    if (draft.isTargetStale && this.#targetDelayMs(draft.header, draft.nowMs) === 0) {
      computeTarget(draft)
      reconcile(draft, freed)
    } else {
      giveFreed(draft, freed)
    }
  }

  /** The records of a draft, with the timers that follow from what is new in it. */
  finish<T>(draft: GroupDraft, response: T, timers: readonly GroupTimer[] = []): GroupResult<T> {
    const { group } = draft
    const changed = draft.changedMembers().map(member => ({ group, member }))
    const releases = changed
      .filter(({ member }) =>
        draft.partitionsOf(member).some(({ revokingEpoch }) => revokingEpoch === draft.epoch),
      )
      .map(name => this.#releaseTimer(name, draft.epoch))
    const { header, nowMs } = draft
    const target =
      draft.isTargetStale && draft.members.size > 0
        ? [this.#targetTimer(group, this.#targetDelayMs(header, nowMs))]
        : []
    const expiry =
      header.idleSinceMs === nowMs ? [this.#expiryTimer(group, this.settings.offsetsRetentionMs)] : []
    return {
      records: draft.records(),
      response,
      timers: [...timers, ...releases, ...target, ...expiry],
      changed,
    }
  }

  /** The member is expelled unless this timer is set anew before it is due. */
  sessionTimer(stream: MemberStream, delayMs: number): GroupTimer {
    return { key: timerKey.session(stream), delayMs, run: nowMs => this.#onSessionTimeout(stream, nowMs) }
  }

  /** Takes a member out; what it had goes to whom it should go. */
  expel(draft: GroupDraft, member: string): void {
    const freed = draft.removeMember(member)
    noticeTopics(draft, { catalog: this.catalog, isAwaited: true })
    draft.markTargetStale()
    if (draft.members.size === 0) draft.setHeader({ idleSinceMs: draft.nowMs, targetEpoch: draft.epoch })
    this.settle(draft, freed)
  }

  /**
   * Timers of a coordinator that has just taken over: all members have their whole time to come back, as their streams broke
   * with the coordinator before, and their whole time to release, from now on (D1). Of the time of a member whose stream
   * had broken before that, what has passed is over, by `disconnectedMs`, which must not be more than it is. The first
   * refresh of each group follows at once.
   */
  *timersAtTakeover(nowMs: number, disconnectedMs: (stream: MemberStream) => number): Iterable<GroupTimer> {
    for (const group of this.#image.all()) {
      for (const [member, info] of group.members.entries()) {
        const name = { group: group.name, member }
        const stream = { ...name, attachEpoch: info.attachEpoch }
        const passedMs = info.disconnected ? disconnectedMs(stream) : 0
        yield this.sessionTimer(stream, returnDelayMs(info, passedMs))
        for (const epoch of revokingEpochs(group, member)) yield this.#releaseTimer(name, epoch)
      }
      const idleSinceMs = group.header?.idleSinceMs ?? null
      if (idleSinceMs !== null) yield this.#expiryTimer(group.name, this.#expiryDelayMs(idleSinceMs, nowMs))
      yield this.#refreshTimer(group.name)
    }
  }

  /** Groups that a change of these topics may concern: `refresh` them. */
  concernedBy(topics: readonly { readonly id: string; readonly name: string }[]): string[] {
    const changed = new ChangedTopics(topics)
    const concerned: string[] = []
    for (const group of this.#image.all()) if (changed.concern(group)) concerned.push(group.name)
    return concerned
  }

  /**
   * Brings a group up to the catalog: new topics and partitions are shared out; of deleted topics everything is
   * dropped, offsets included, without waiting for a release. So the catalog must not be behind: after a takeover
   * the driver brings it up to a read-index first.
   */
  refresh(name: string, nowMs: number): GroupResult<undefined> {
    const base = this.#image.get(name)
    if (base === undefined) return readOnly(undefined)
    const draft = new GroupDraft(name, { base, nowMs })
    const isNew = noticeTopics(draft, { catalog: this.catalog, isAwaited: true })
    const { isDropped, isMore } = this.#dropDeletedTopics(draft)
    if (isNew || isDropped) draft.markTargetStale()
    if (isNew || isDropped || draft.isTargetStale) this.settle(draft)
    return this.finish(draft, undefined, isMore ? [this.#refreshTimer(name)] : [])
  }

  /** Tombstones for all of a group without members; for a part of its offsets, if they are very many. */
  deletion(group: GroupImage): { records: GroupRecord[]; isDone: boolean } {
    const head = { version: 0, group: group.name, value: null } as const
    const records: GroupRecord[] = []
    for (const topicId of group.offsetTopics.keys())
      for (const [partition] of group.offsetsOf(topicId)) {
        if (records.length >= this.limits.offsetsDeletedPerWriteMax) return { records, isDone: false }
        records.push({ type: 'offset', ...head, topicId, partition })
      }
    for (const topicId of group.topics.keys()) records.push({ type: 'topic', ...head, topicId })
    records.push({ type: 'group', ...head })
    return { records, isDone: true }
  }

  #onSessionTimeout({ group, member, attachEpoch }: MemberStream, nowMs: number): GroupResult<unknown> {
    const base = this.#image.get(group)
    const info = base?.members.get(member)
    if (info === undefined) return readOnly(undefined)
    // The stream that set this timer came to nothing (its attending was not committed): the one before it goes on.
    if (info.attachEpoch !== attachEpoch)
      return readOnly(undefined, [
        this.sessionTimer({ group, member, attachEpoch: info.attachEpoch }, info.sessionTimeoutMs),
      ])
    const draft = new GroupDraft(group, { base, nowMs })
    this.expel(draft, member)
    return this.finish(draft, undefined)
  }

  /** D4: the partitions are taken, not the membership. */
  #onReleaseTimeout(
    { group, member }: MemberName,
    at: { epoch: Epoch; nowMs: number },
  ): GroupResult<unknown> {
    const base = this.#image.get(group)
    if (base === undefined || !base.members.has(member)) return readOnly(undefined)
    const draft = new GroupDraft(group, { base, nowMs: at.nowMs })
    const taken = takeFrom(
      draft,
      member,
      ({ revokingEpoch }) => revokingEpoch !== null && revokingEpoch <= at.epoch,
    )
    if (taken.length === 0) return readOnly(undefined)
    this.settle(draft, taken)
    return this.finish(draft, undefined)
  }

  #onTargetDue(name: string, nowMs: number): GroupResult<unknown> {
    const base = this.#image.get(name)
    if (base === undefined) return readOnly(undefined)
    const draft = new GroupDraft(name, { base, nowMs })
    if (!draft.isTargetStale) return readOnly(undefined)
    this.settle(draft)
    return this.finish(draft, undefined)
  }

  #onExpiryDue(name: string, nowMs: number): GroupResult<unknown> {
    const group = this.#image.get(name)
    const idleSinceMs = group?.header?.idleSinceMs ?? null
    if (group === undefined || idleSinceMs === null) return readOnly(undefined)
    const delayMs = this.#expiryDelayMs(idleSinceMs, nowMs)
    if (delayMs > 0) return readOnly(undefined, [this.#expiryTimer(name, delayMs)])
    const { records, isDone } = this.deletion(group)
    return { records, response: undefined, timers: isDone ? [] : [this.#expiryTimer(name, 0)], changed: [] }
  }

  /** The group of a deleted topic forgets it; returns whether its members had something to do with it. */
  #dropDeletedTopics(draft: GroupDraft): { isDropped: boolean; isMore: boolean } {
    let budget = this.limits.offsetsDeletedPerWriteMax
    for (const topicId of draft.base.offsetTopics.keys()) {
      if (this.catalog.byId(topicId) !== undefined) continue
      for (const [partition] of draft.base.offsetsOf(topicId)) {
        if (budget-- === 0) return { isDropped: this.#dropTopics(draft), isMore: true }
        draft.setOffset(topicId, partition, null)
      }
    }
    return { isDropped: this.#dropTopics(draft), isMore: false }
  }

  #dropTopics(draft: GroupDraft): boolean {
    const deleted = new Set(
      [...draft.topics.keys()].filter(topicId => this.catalog.byId(topicId) === undefined),
    )
    if (deleted.size === 0) return false
    for (const topicId of deleted) draft.topics.delete(topicId)
    for (const member of draft.memberNames()) takeFrom(draft, member, ({ topicId }) => deleted.has(topicId))
    return true
  }

  #targetDelayMs({ targetAtMs }: { targetAtMs: number }, nowMs: number): number {
    // The wall clock was set back, or that of the last coordinator was ahead: only the next target tells how long ago this was.
    if (targetAtMs > nowMs) return 0
    return Math.max(targetAtMs + this.settings.assignmentIntervalMs - nowMs, 0)
  }

  #expiryDelayMs(idleSinceMs: number, nowMs: number): number {
    const { offsetsRetentionMs } = this.settings
    return Math.min(Math.max(idleSinceMs + offsetsRetentionMs - nowMs, 0), offsetsRetentionMs)
  }

  #releaseTimer(name: MemberName, epoch: Epoch): GroupTimer {
    return {
      key: timerKey.release(name, epoch),
      delayMs: this.settings.releaseTimeoutMs,
      run: nowMs => this.#onReleaseTimeout(name, { epoch, nowMs }),
    }
  }

  #targetTimer(group: string, delayMs: number): GroupTimer {
    return { key: timerKey.target(group), delayMs, run: nowMs => this.#onTargetDue(group, nowMs) }
  }

  #expiryTimer(group: string, delayMs: number): GroupTimer {
    return { key: timerKey.expiry(group), delayMs, run: nowMs => this.#onExpiryDue(group, nowMs) }
  }

  #refreshTimer(group: string): GroupTimer {
    return { key: timerKey.refresh(group), delayMs: 0, run: nowMs => this.refresh(group, nowMs) }
  }
}

/** When a stream of the member is broken, or was not heard. */
export function brokenStreamDelayMs(info: MemberInfo): number {
  return Math.min(info.brokenStreamTimeoutMs, info.sessionTimeoutMs)
}

/** A member that lives attends at some node already, which goes on as soon as there is a coordinator. */
const RETURN_MS_MIN = 500

/** What is left of that; nobody pays for the time in which there was no coordinator to come back to. */
function returnDelayMs(info: MemberInfo, passedMs: number): number {
  return Math.max(brokenStreamDelayMs(info) - passedMs, RETURN_MS_MIN)
}

function revokingEpochs(group: GroupImage, member: string): Set<Epoch> {
  const epochs = new Set<Epoch>()
  for (const { revokingEpoch } of group.assignments.get(member)?.partitions ?? [])
    if (revokingEpoch !== null) epochs.add(revokingEpoch)
  return epochs
}
