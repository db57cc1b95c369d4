import { assert } from '../../base/assert.ts'
import type { Epoch, Offset, PartitionId, Uuid } from '../../base/brands.ts'
import { NaruError } from '../../base/errors.ts'
import type { Logger } from '../../base/logger.ts'
import { GroupCoordinator } from '../../groups/group-coordinator.ts'
import type { GroupLimits, GroupSettings } from '../../groups/group-options.ts'
import type { GroupRecord } from '../../groups/group-record.ts'
import type { GroupResult, GroupTimer, MemberName, MemberStream } from '../../groups/group-result.ts'
import { timerKey } from '../../groups/group-timers.ts'
import type { GroupsImage } from '../../groups/groups-image.ts'
import { MachineRuntime, type Outcome } from '../../machine/machine-runtime.ts'
import { type Clock, delay, type Timer } from '../../ports/clock.ts'
import type { MetadataQuorum } from '../controller/metadata-quorum.ts'
import { within } from '../controller/within.ts'
import type { AttendedTime } from '../replicas/attended-time.ts'
import type { PartitionLeader } from '../replicas/partition-leader.ts'
import type { MemberListener, MemberWatch, PartitionCoordinator } from './coordination.ts'
import { encodeGroupBatch } from './group-batches.ts'
import { MemberWatches } from './member-watches.ts'
import type { PartitionView } from './partition-view.ts'
import { loadGroups } from './takeover.ts'

/** Answers of one partition that wait for their commit; more are refused with OVERLOADED. */
const PENDING_MAX = 10_000
/** How long a call waits for a takeover, or for room in the log: both take a moment, or somebody is missing. */
const WAIT_MS_MAX = 5_000
/** For one try to learn that the metadata here are the newest. */
const READ_INDEX_MS = 2_000
const READ_INDEX_RETRY_MS = 100

export interface PartitionGroupsOptions {
  readonly leader: PartitionLeader
  readonly view: PartitionView
  readonly quorum: MetadataQuorum
  readonly clock: Clock
  /** In which deadlines of members are judged (A8). */
  readonly time: AttendedTime
  readonly logger: Logger
  readonly settings: Partial<GroupSettings>
  readonly limits?: Partial<GroupLimits>
}

/**
 * The coordinator of the groups of one partition of `__groups`, for one leadership of it: taking over -> leading -> ended.
 * A write is a batch of the partition's log; its answer leaves when the high watermark has passed it. What a handler
 * decides is the matter of `GroupCoordinator`, what waits for what that of `MachineRuntime`.
 *
 * Invariant: the runtime leads only with all of the log replayed, the high watermark at or above the start of the epoch
 * and the metadata as new as the takeover (D1); from `end` on nothing is run, written or told.
 */
export class PartitionGroups implements PartitionCoordinator {
  readonly partition: PartitionId
  readonly leaderEpoch: Epoch
  readonly leader: PartitionLeader
  readonly begunMs: number
  readonly #options: PartitionGroupsOptions
  readonly #watches: MemberWatches
  readonly #ready: Promise<void>
  #leading: { readonly groups: GroupCoordinator; readonly runtime: MachineRuntime<GroupRecord> } | undefined
  #ended: NaruError | undefined
  #stopFollowing: () => void
  #wake: (() => void) | undefined
  #room: Promise<void> | undefined
  #timer: { readonly deadlineMs: number; readonly timer: Timer } | undefined
  #isCommitDue = false

  constructor(options: PartitionGroupsOptions) {
    const { leader } = options
    this.#options = options
    this.leader = leader
    this.begunMs = options.clock.monotonicMs()
    this.partition = leader.partition
    this.leaderEpoch = leader.leaderEpoch
    this.#watches = new MemberWatches((handler, onDone) => this.#write(handler, onDone))
    this.#stopFollowing = leader.follow(() => this.#onLogProgress())
    this.#ready = this.#takeOver()
    this.#ready.catch(thrown => this.#onFailed(NaruError.from(thrown)))
  }

  /** Why this one coordinates no more. */
  get ended(): NaruError | undefined {
    return this.#ended
  }

  async run<T>(handler: (groups: GroupCoordinator, nowMs: number) => GroupResult<T>): Promise<T> {
    if (this.#leading === undefined) await this.#within(this.#ready, () => this.#notReady())
    if (!this.leader.hasRoom || this.#room !== undefined) await this.#whenRoom()
    this.#refuseIfEnded()
    return new Promise((resolve, reject) => {
      this.#write(handler, outcome => (outcome.ok ? resolve(outcome.response) : reject(outcome.error)))
      this.#watches.flush()
    })
  }

  watch(stream: MemberStream, listener: MemberListener): MemberWatch {
    if (this.#ended !== undefined) throw this.#lost('none')
    const watch = this.#watches.add(stream, listener)
    this.#options.clock.afterTurn(() => this.#watches.flush())
    return watch
  }

  isWatched(member: MemberName): boolean {
    return this.#watches.has(member)
  }

  /** Topics were made, widened or deleted: the groups that they concern look at them, a few in each turn. */
  onTopicsChanged(topics: readonly { readonly id: Uuid; readonly name: string }[]): void {
    const leading = this.#leading
    if (leading === undefined) return
    for (const group of leading.groups.concernedBy(topics))
      this.#schedule({
        key: timerKey.refresh(group),
        delayMs: 0,
        run: nowMs => leading.groups.refresh(group, nowMs),
      })
    this.#arm()
  }

  /** Once in a while: what could not be told for a moment is tried again. */
  tick(): void {
    this.#watches.flush()
    this.#arm()
  }

  /** Idempotent. What is parked fails, its outcome unknown if it was written; the streams go elsewhere. */
  end(because: NaruError): void {
    if (this.#ended !== undefined) return
    this.#ended = because
    this.#stopFollowing()
    this.#timer?.timer.cancel()
    this.#wake?.()
    const leading = this.#leading
    this.#leading = undefined
    leading?.runtime.resign()
    this.#watches.end(this.#lost('none'))
  }

  async #takeOver(): Promise<void> {
    const { leader, view, clock, logger } = this.#options
    const loading = loadGroups({
      ...this.#options,
      makeRuntime: (loaded, endIndex) => this.#makeRuntime(loaded, endIndex),
    })
    const [{ image, runtime }] = await Promise.all([loading, this.#whenCurrent(), this.#learnMetadata()])
    this.#refuseIfEnded()
    assert(runtime.endIndex === leader.logEndOffset, 'nobody else appends to a log that is led')
    runtime.onCommitted(leader.highWatermark)
    runtime.lead()
    const groups = new GroupCoordinator(image, {
      catalog: this.#options.quorum.image.topics,
      settings: this.#options.settings,
      ...(this.#options.limits && { limits: this.#options.limits }),
    })
    this.#leading = { groups, runtime }
    const timers = groups.timersAtTakeover(clock.wallMs(), stream => view.disconnectedMs(stream))
    for (const timer of timers) this.#schedule(timer)
    this.#arm()
    const facts = { partition: this.partition, leaderEpoch: this.leaderEpoch, groups: image.count }
    logger.info({ ...facts, ms: Math.round(clock.monotonicMs() - this.begunMs) }, 'coordinates groups')
  }

  /** It is tried again later, unless the leadership is over. */
  #onFailed(error: NaruError): void {
    if (this.#ended !== undefined) return
    const facts = { partition: this.partition, leaderEpoch: this.leaderEpoch, reason: error.reason }
    this.#options.logger.error(facts, `the groups of this partition cannot be taken over: ${error.message}`)
    this.end(error)
  }

  #makeRuntime(image: GroupsImage, endIndex: Offset): MachineRuntime<GroupRecord> {
    const { leader, clock, logger } = this.#options
    return new MachineRuntime<GroupRecord>({
      machine: image,
      registry: image.registry,
      endIndex,
      append: records => leader.appendOwn(encodeGroupBatch(records, clock.wallMs())),
      lostLeadership: outcome => this.#lost(outcome),
      pendingMax: PENDING_MAX,
      onTimerFailed: (key, error) =>
        logger.warn({ partition: this.partition, timer: key, reason: error.reason }, error.message),
    })
  }

  /** Until the high watermark has come to the start of the epoch, or this is over. */
  async #whenCurrent(): Promise<void> {
    while (!this.#ended && !this.leader.isHighWatermarkCurrent)
      await new Promise<void>(resolve => {
        this.#wake = resolve
      })
  }

  /** What a group has of a deleted topic is dropped at the first look: so nothing may be missing from the metadata. */
  async #learnMetadata(): Promise<void> {
    const { quorum, clock } = this.#options
    while (!this.#ended)
      try {
        await quorum.readIndex(READ_INDEX_MS)
        return
      } catch (thrown) {
        if (!NaruError.from(thrown).retriable) throw thrown
        await delay(clock, READ_INDEX_RETRY_MS)
      }
  }

  #write<T>(
    handler: (groups: GroupCoordinator, nowMs: number) => GroupResult<T>,
    onDone: (outcome: Outcome<T>) => void,
  ): void {
    const leading = this.#leading
    if (leading === undefined) return
    // C12: another leader may answer differently by now.
    const { noLease } = this.leader
    if (noLease !== undefined) {
      onDone({ ok: false, error: noLease })
      return
    }
    const { groups, runtime } = leading
    runtime.write(() => this.#noted(handler(groups, this.#options.clock.wallMs())), onDone)
    this.#arm()
  }

  #noted<T>(result: GroupResult<T>): GroupResult<T> {
    for (const timer of result.timers) this.#schedule(timer)
    this.#watches.mark(result.changed)
    return result
  }

  #schedule({ key, delayMs, run }: GroupTimer): void {
    const { clock, time } = this.#options
    this.#leading?.runtime.schedule(key, {
      deadlineMs: time.nowMs + delayMs,
      handler: () => this.#noted(run(clock.wallMs())),
    })
  }

  /** Sees to it that the next deadline is judged in time, after what has arrived until then was read (A8). */
  #arm(): void {
    const { clock, time } = this.#options
    const deadlineMs = this.#leading?.runtime.nextDeadlineMs
    if (deadlineMs === undefined || this.#ended) return
    if (this.#timer !== undefined && this.#timer.deadlineMs <= deadlineMs) return
    this.#timer?.timer.cancel()
    const timer = clock.setTimer(Math.max(0, deadlineMs - time.nowMs), () =>
      clock.afterTurn(() => {
        this.#timer = undefined
        this.#judge()
      }),
    )
    this.#timer = { deadlineMs, timer }
  }

  #judge(): void {
    if (this.#ended) return
    // Nobody is expelled by one who may be deposed (C12): the tick of all coordinators ends this one, or has it look again.
    if (this.leader.noLease !== undefined) return
    this.#leading?.runtime.onTime(this.#options.time.nowMs)
    this.#watches.flush()
    this.#arm()
  }

  /** Appends answered here may append again, so not in the midst of the leader's own work. */
  #onLogProgress(): void {
    if (this.leader.ended !== undefined) {
      this.end(this.leader.ended)
      return
    }
    this.#wake?.()
    if (this.#isCommitDue || this.#leading === undefined) return
    this.#isCommitDue = true
    this.#options.clock.afterTurn(() => {
      this.#isCommitDue = false
      if (this.#ended) return
      this.#leading?.runtime.onCommitted(this.leader.highWatermark)
      this.#watches.flush()
      this.#arm()
    })
  }

  /** Those who wait go on in the order in which they came. */
  async #whenRoom(): Promise<void> {
    this.#room ??= this.leader.room().finally(() => {
      this.#room = undefined
    })
    await this.#within(this.#room, () => this.#noRoom())
  }

  #refuseIfEnded(): void {
    if (this.#ended !== undefined) throw this.#lost('none')
  }

  #within<T>(promise: Promise<T>, error: () => NaruError): Promise<T> {
    return within(this.#options.clock, promise, { timeoutMs: WAIT_MS_MAX, error })
  }

  #notReady(): NaruError {
    return new NaruError(
      'LEADER_NOT_AVAILABLE',
      `the coordinator of the groups of partition ${this.partition} is getting ready: replicas that are in sync, or the controller, have not answered (try again)`,
      { details: { partition: String(this.partition) } },
    )
  }

  #noRoom(): NaruError {
    return new NaruError(
      'OVERLOADED',
      `the log of partition ${this.partition} of __groups takes nothing now: its disk has fallen behind, or it is being handed over (try again)`,
      { details: { partition: String(this.partition) } },
    )
  }

  #lost(outcome: 'none' | 'unknown'): NaruError {
    const because = this.#ended ?? this.leader.ended ?? this.#notReady()
    const { reason, message, details } = because
    return new NaruError(reason, message, { cause: because, details, outcome })
  }
}
