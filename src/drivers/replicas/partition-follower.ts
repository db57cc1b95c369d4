import type { NodeId, Offset, PartitionId, Uuid } from '../../base/brands.ts'
import { NaruError } from '../../base/errors.ts'
import type { PartitionLog } from '../../log/partition-log.ts'
import type { Diverged, FollowNumber, Refused } from '../../replication/follow.ts'
import {
  type FollowerEffect,
  FollowerState,
  type KnownHighWatermark,
} from '../../replication/follower-state.ts'
import type { PartitionMetadata } from '../../replication/partition-metadata.ts'
import type { PartitionData } from '../../wire/generated/replication.ts'
import type { FollowingPartition, LeaderLink } from './leader-link.ts'
import type { ReplicationContext } from './replication-options.ts'

export interface PartitionFollowerOptions {
  readonly topicId: Uuid
  readonly partition: PartitionId
  readonly metadata: PartitionMetadata
  readonly log: PartitionLog
  readonly known: KnownHighWatermark
  readonly isWriteCaching: () => boolean
  /** The disk is below its reserve, which is not for records (B6). */
  readonly isFull: () => boolean
  readonly context: FollowerContext
  /** Before the log is emptied: what was made from it goes first. */
  readonly beforeReset: () => Promise<void>
  /** Gets it ticks, until one returns false. */
  readonly attend: () => void
  /** The log may be given to another role again. */
  readonly onCut: () => void
}

export interface FollowerContext
  extends Pick<ReplicationContext, 'time' | 'timing' | 'self' | 'clock' | 'onError'> {
  /** Undefined: the metadata do not know where the node is. */
  link(leader: NodeId): LeaderLink | undefined
  nextNumber(): FollowNumber
}

/**
 * A partition that another node leads: brings what the leader sends into the log, and what the log's disk holds back to
 * the leader. What to do is decided by `FollowerState`; this is who does it.
 * Invariant: while a cut is under way nothing is appended, and `stop` leaves the log to others only after it.
 */
export class PartitionFollower implements FollowingPartition {
  readonly topicId: Uuid
  readonly partition: PartitionId
  readonly #options: PartitionFollowerOptions
  readonly #context: FollowerContext
  readonly #log: PartitionLog
  readonly #state: FollowerState
  #link: LeaderLink | undefined
  #isCutting = false
  /** Why the last cut failed. */
  #cutError: string | undefined
  #isMovingStart = false
  #isStopped = false

  constructor(options: PartitionFollowerOptions) {
    const { log, context, metadata } = options
    this.topicId = options.topicId
    this.partition = options.partition
    this.#options = options
    this.#context = context
    this.#log = log
    this.#state = new FollowerState({
      self: context.self.nodeId,
      metadata,
      log,
      storedEndOffset: this.#storedEndOffset,
      known: options.known,
      isDamaged: log.failure?.reason === 'CORRUPT_DATA',
      nextNumber: () => context.nextNumber(),
      timing: context.timing,
    })
  }

  /** To be called once, first. */
  begin(): void {
    this.#do(this.#state.begin(this.#nowMs))
    this.relink()
  }

  get isCutting(): boolean {
    return this.#isCutting
  }

  get knownHighWatermark(): KnownHighWatermark {
    return this.#state.knownHighWatermark
  }

  /** A `Follow` stands that the leader has accepted. */
  get isFollowing(): boolean {
    return this.#state.phase === 'following'
  }

  onMetadata(metadata: PartitionMetadata): void {
    const { leader } = this.#state
    const effects = this.#state.onMetadata(metadata, this.#nowMs)
    if (leader !== this.#state.leader) this.#unlink()
    this.#do(effects)
    this.relink()
  }

  /** The leader's process, or its address, may be another one now. */
  relink(): void {
    const { leader } = this.#state
    const link = leader === undefined || this.#isStopped ? undefined : this.#context.link(leader)
    if (link === this.#link) return
    this.#unlink()
    this.#link = link
    link?.attach(this)
  }

  onConnected(): void {
    this.#do(this.#state.onConnected(this.#nowMs))
  }

  onDisconnected(): void {
    this.#state.onDisconnected()
  }

  onData({ number, from, batches, removals, removedTombstonesEnd, ...ends }: PartitionData): void {
    if (removedTombstonesEnd !== undefined && !this.#isReadyFor({ number, from, removedTombstonesEnd })) {
      this.#options.attend()
      return
    }
    if (removals !== undefined) this.#state.onCompacted(number, removals)
    if (batches.length > 0) {
      const effects = this.#state.onData(number, from, this.#nowMs)
      if (effects[0]?.type !== 'append') {
        this.#do(effects)
        return
      }
      if (!this.#append(batches)) {
        this.#options.attend()
        return
      }
    }
    this.#do(this.#state.onProgress(number, ends))
  }

  onDiverged(number: FollowNumber, diverged: Diverged): void {
    this.#do(this.#state.onDiverged(number, diverged))
  }

  onRefused(number: FollowNumber, refused: Refused): void {
    this.#do(this.#state.onRefused(number, refused, this.#nowMs))
  }

  /** The log has written or synced more, of its present generation (rule B1). */
  onLogProgress(): void {
    if (!this.#isCutting) this.#do(this.#state.onStored(this.#storedEndOffset))
  }

  /** The log went into quarantine. */
  onDamaged(): void {
    this.#state.onDamaged()
    this.#options.attend()
  }

  /** For what waits for its time. False: no more of it before something happens (`attend`). */
  tick(): boolean {
    this.#do(this.#state.onSpace(this.#options.isFull(), this.#nowMs))
    this.#do(this.#state.tick(this.#nowMs))
    return !this.#isStopped && !this.#state.isQuiet
  }

  /** Nothing goes to the log any more, once a cut that is under way is over. */
  stop(): void {
    this.#isStopped = true
    this.#unlink()
  }

  get #nowMs(): number {
    return this.#context.time.nowMs
  }

  get #storedEndOffset(): Offset {
    return this.#options.isWriteCaching() ? this.#log.writtenEndOffset : this.#log.syncedEndOffset
  }

  #unlink(): void {
    const link = this.#link
    this.#link = undefined
    link?.detach(this)
    this.#state.onDisconnected()
  }

  /**
   * The leader's log is compacted. That must be known of this one, too, before it gets gaps, and lacks the tombstones that
   * the leader lacks: else it would be taken for damaged, or for whole. It is noted, and the leader asked anew.
   */
  #isReadyFor(data: { number: FollowNumber; from: Offset; removedTombstonesEnd: Offset }): boolean {
    const log = this.#log
    const { removedTombstonesEnd } = data
    const isKnown = data.from >= removedTombstonesEnd || log.removedTombstonesEnd >= removedTombstonesEnd
    if (log.gapsAllowed && isKnown) return true
    if (data.number === this.#state.number && !log.failure) {
      this.#state.onAppendFailed(this.#nowMs)
      this.#options.attend()
      void this.#quietly(() => log.noteCompacted(isKnown ? { removedTombstonesEnd: 0 } : data))
    }
    return false
  }

  #append(batches: readonly Buffer[]): boolean {
    try {
      const { leaderEpoch } = this.#state
      this.#log.appendAsFollower(batches, { leaderEpoch, wallMs: this.#context.clock.wallMs() })
      return true
    } catch (thrown) {
      if (!(thrown instanceof NaruError)) throw thrown
      if (!this.#log.failure) this.#context.onError(thrown)
      this.#state.onAppendFailed(this.#nowMs)
      return false
    }
  }

  #do(effects: readonly FollowerEffect[]): void {
    if (this.#isStopped) return
    for (const effect of effects) this.#doOne(effect)
    if (!this.#state.isQuiet) this.#options.attend()
  }

  #doOne(effect: FollowerEffect): void {
    const log = this.#log
    switch (effect.type) {
      case 'sendFollow':
        this.#link?.follow(this, effect.follow)
        break
      case 'acknowledge':
        this.#link?.acknowledge(this, effect)
        break
      case 'advanceHighWatermark':
        log.highWatermark = effect.highWatermark
        break
      case 'moveLogStart':
        void this.#moveLogStart(effect.offset)
        break
      case 'truncateTo':
        void this.#cut(() => log.truncateTo(effect.offset))
        break
      case 'resetTo':
        void this.#cut(() => this.#reset(effect.offset))
        break
      case 'quarantine':
        log.quarantine({ offset: effect.offset, what: effect.cause })
        break
      default:
    }
  }

  /** One that fails is asked for again, unless it took the log offline or into quarantine, which its events tell. */
  async #cut(cut: () => Promise<unknown>): Promise<void> {
    this.#isCutting = true
    const error = await errorOf(cut)
    this.#isCutting = false
    // Told once, not at each try.
    if (error?.reason !== this.#cutError) this.#tell(error)
    this.#cutError = error?.reason
    if (!this.#isStopped && this.#state.phase === 'cutting') {
      if (error) this.#state.onCutFailed(this.#nowMs)
      this.#do(error ? [] : this.#state.onCut(this.#storedEndOffset, this.#nowMs))
    }
    this.#options.onCut()
  }

  async #reset(offset: Offset): Promise<void> {
    await this.#options.beforeReset()
    await this.#log.resetTo(offset)
  }

  async #moveLogStart(offset: Offset): Promise<void> {
    if (this.#isMovingStart) return
    this.#isMovingStart = true
    await this.#quietly(() => this.#log.deleteRecordsBefore(offset))
    this.#isMovingStart = false
  }

  async #quietly(work: () => Promise<unknown>): Promise<void> {
    this.#tell(await errorOf(work))
  }

  /** What became of the log itself it has told by an event. */
  #tell(error: NaruError | undefined): void {
    if (error && error !== this.#log.failure) this.#context.onError(error)
  }
}

async function errorOf(work: () => Promise<unknown>): Promise<NaruError | undefined> {
  try {
    await work()
    return undefined
  } catch (thrown) {
    return NaruError.from(thrown)
  }
}
