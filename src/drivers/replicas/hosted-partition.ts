import { assert } from '../../base/assert.ts'
import type { Epoch, Offset, PartitionId, Uuid } from '../../base/brands.ts'
import { NaruError } from '../../base/errors.ts'
import type { DiskReserve } from '../../log/disk-reserve.ts'
import type { LogConfig } from '../../log/log-config.ts'
import type { LogEvent } from '../../log/log-core.ts'
import type { LogDirectory } from '../../log/log-directory.ts'
import type { PartitionLog } from '../../log/partition-log.ts'
import type { PartitionState } from '../../metadata/metadata-record.ts'
import { isInternalTopic } from '../../metadata/topic-name.ts'
import type { Clock, Timer } from '../../ports/clock.ts'
import { DiskError } from '../../ports/disk.ts'
import type { Follow } from '../../replication/follow.ts'
import type { KnownHighWatermark } from '../../replication/follower-state.ts'
import { ParkedFollows } from '../../replication/parked-follows.ts'
import type { DerivedView } from './derived-view.ts'
import { leaderDamaged } from './leader-refusals.ts'
import { PartitionFollower } from './partition-follower.ts'
import { PartitionLeader } from './partition-leader.ts'
import type { PartitionSettings } from './partition-settings.ts'
import type { ReplicatedPartition, Replicator } from './replicator.ts'
import { refused, type SendingLane } from './sending-lane.ts'

export interface HostedPartitionOptions {
  readonly topic: string
  readonly topicId: Uuid
  readonly partition: PartitionId
  readonly replicator: Replicator
  /** As the committed metadata have it now. */
  readonly state: PartitionState
  readonly settings: PartitionSettings
  readonly directory: LogDirectory
  readonly clock: Clock
  readonly reserve: DiskReserve
  /** Kept beside the log; undefined: nothing is. */
  readonly view: DerivedView | undefined
  readonly onLeading: (leader: PartitionLeader) => void
  readonly onEvent: (event: LogEvent) => void
  readonly onError: (error: NaruError) => void
}

/** What a copy of a partition holds, for those who have to choose a leader by hand. */
export interface ReplicaContents {
  readonly logEndOffset: Offset
  readonly highWatermark: Offset
  /** Of its last record; undefined: there is none. */
  readonly lastEpoch: Epoch | undefined
  /** Quarantined, or offline. */
  readonly damaged: boolean
}

/** Why a log could not be opened now, but may be in a moment. */
const SHORTAGES: ReadonlySet<string> = new Set(['DISK_FULL', 'OVERLOADED'])
const OPEN_RETRY_MS = 1_000

/**
 * A partition that has a replica on this node: its log, and what this node is to it now.
 * opening -> leading <-> following, as the metadata say, anew with each leader epoch; leading -> nothing (log offline or
 * damaged), following -> following with an emptied log (damaged); any -> closed (topic deleted, node stops).
 *
 * Invariants: there is a leader or a follower, never both (P13), and a leader only while the log is sound, of the epoch in
 * the metadata, and while this process is the registered one: an epoch that an earlier process of this node led is not
 * led on, because followers may have records of it that this disk lost. The log is handed from one role to the
 * other only when no cut is under way.
 */
export class HostedPartition implements ReplicatedPartition {
  readonly #options: HostedPartitionOptions
  readonly #name: string
  readonly #parked = new ParkedFollows<SendingLane>()
  #state: PartitionState
  #settings: PartitionSettings
  #log: PartitionLog | undefined
  /** Its directory could not be opened, and no waiting betters that. */
  #isUnreadable = false
  #leader: PartitionLeader | undefined
  #follower: PartitionFollower | undefined
  #known: KnownHighWatermark = { offset: 0, leaderEpoch: 0 }
  /** Put into words where somebody asks: thousands of partitions change their roles at once, and an error has a stack. */
  #refusal: (() => NaruError) | undefined
  #closing: Promise<void> | undefined
  #opening: Promise<void>
  #retry: Timer | undefined
  #onCut: (() => void) | undefined
  /** Waits until nobody counts on what was lost here. */
  #onLossKnown: (() => void) | undefined

  constructor(options: HostedPartitionOptions) {
    this.#options = options
    this.#state = options.state
    this.#settings = options.settings
    this.#name = `"${options.topic}" partition ${options.partition}`
    this.#refusal = () => new NaruError('NODE_STARTING', `${this.#name} is being opened: try again`)
    this.#opening = this.#open()
    this.#attend()
  }

  /** Settled once the log is open and led, or known not to be; want of room is tried again later. */
  get opened(): Promise<void> {
    return this.#opening
  }

  get leader(): PartitionLeader | undefined {
    return this.#leader
  }

  /** Why there is no leader here now. */
  get refusal(): NaruError {
    return this.#refusal?.() ?? new NaruError('LEADER_NOT_AVAILABLE', `${this.#name} has no leader here`)
  }

  /** What this copy holds now; undefined before it is open. */
  get contents(): ReplicaContents | undefined {
    const log = this.#log
    if (!log) return undefined
    const { logEndOffset, highWatermark, latestEpoch, failure } = log
    return { logEndOffset, highWatermark, lastEpoch: latestEpoch, damaged: failure !== undefined }
  }

  /** The committed metadata have changed. Both at once: a leader must never go by the one of then and the other of now. */
  update(state: PartitionState, settings: PartitionSettings): void {
    const isConfigured = isSameConfig(settings.log, this.#settings.log)
    this.#state = state
    this.#settings = settings
    if (!this.#isCountedOn) this.#onLossKnown?.()
    // Also anew: a change that was on its way when it was told may have put this replica in sync again.
    this.#reportDamage()
    this.#attend()
    if (!this.#log || this.#closing) return
    this.#takeRole(this.#log)
    if (!isConfigured) void this.#configure(this.#log)
  }

  /** C2: one of a later epoch than is known here waits for the metadata, one of an older epoch is fenced. */
  onFollow(follow: Follow, lane: SendingLane): void {
    this.#attend()
    const { leader, leaderEpoch } = this.#state
    const isLater = follow.leaderEpoch > (this.#leader?.leaderEpoch ?? leaderEpoch - 1)
    const isLedElsewhere =
      follow.leaderEpoch === leaderEpoch && leader !== this.#options.replicator.self.nodeId
    if (this.#leader && !isLater) this.#leader.onFollow(follow, lane)
    else if (isLedElsewhere) lane.answer(follow.number, refused('NOT_LEADER', 0))
    else if (isLater && !this.#closing) this.#parked.park({ follow, session: lane }, this.#nowMs)
    else lane.answer(follow.number, refused('FENCED', 0))
  }

  onLaneClosed(lane: SendingLane): void {
    this.#attend()
    this.#parked.onSessionBroken(lane)
    this.#leader?.onLaneClosed(lane)
  }

  relink(): void {
    this.#attend()
    this.#follower?.relink()
    // Whether this process is the registered one may be known only now.
    if (this.#log && !this.#closing) this.#takeRole(this.#log)
  }

  tick(): boolean {
    const isLeaderMoving = this.#leader?.tick() ?? false
    const isFollowerMoving = this.#follower?.tick() ?? false
    for (const { follow, session } of this.#parked.expired(this.#nowMs))
      session.answer(follow.number, refused('NOT_LEADER', 0))
    return isLeaderMoving || isFollowerMoving || !this.#parked.isEmpty
  }

  #attend(): void {
    this.#options.replicator.attend(this)
  }

  /** Answers what is parked as failed, then closes the log. Idempotent. */
  close(because: NaruError): Promise<void> {
    this.#closing ??= this.#close(because)
    return this.#closing
  }

  async #open(): Promise<void> {
    const { directory, topic, topicId, partition } = this.#options
    // Where this is the only replica, nobody has the records, and the operator may still put the directory back.
    const afterLoss = this.#state.replicas.length > 1 && directory.isMissing(topic, partition)
    try {
      if (afterLoss) await this.#whenLossIsKnown()
      if (this.#closing) return
      const log = await directory.openPartition({
        topic,
        topicId,
        partition,
        afterLoss,
        config: this.#settings.log,
        onProgress: () => {
          this.#leader?.onLogProgress()
          this.#follower?.onLogProgress()
        },
        onEvent: event => this.#onEvent(event),
      })
      this.#log = log
      await this.#options.view?.onOpened({ topicId, partition, log, isInStep: () => this.#isInStep })
      if (this.#closing) return
      this.#known = { offset: log.highWatermark, leaderEpoch: log.latestEpoch ?? 0 }
      if (log.failure) this.#endBy(log.failure)
      this.#reportDamage()
      this.#takeRole(log)
      // The settings may have changed while the log was opened.
      await this.#configure(log)
    } catch (thrown) {
      this.#onOpenError(NaruError.from(thrown))
    }
  }

  /**
   * A1: as long as the metadata count on this replica, an empty log in its place could be elected, and everyone would
   * truncate to it. The node is not unfenced before its partitions are open, so nothing is elected here meanwhile.
   */
  async #whenLossIsKnown(): Promise<void> {
    const { topic, partition, onError } = this.#options
    const lost = new NaruError(
      'CORRUPT_DATA',
      `the directory of ${this.#name} is gone, though the checkpoints name it: what it held is lost here, and is fetched ` +
        'from the other replicas',
      { details: { topic, partition: String(partition) } },
    )
    this.#endBy(lost)
    onError(lost)
    if (!this.#isCountedOn) return
    await new Promise<void>(resolve => {
      this.#onLossKnown = resolve
      this.#reportDamage()
    })
    this.#onLossKnown = undefined
  }

  /** By the metadata of now: what this replica acknowledged may make it the leader. */
  get #isCountedOn(): boolean {
    const { isr, elr, leader } = this.#state
    const { nodeId } = this.#options.replicator.self
    return isr.includes(nodeId) || elr.includes(nodeId) || leader === nodeId
  }

  /** What it holds is lost, damaged or not to be read: elected, it would serve nothing. */
  get #isWronglyCountedOn(): boolean {
    const isDamaged = this.#isUnreadable || this.#log?.failure?.reason === 'CORRUPT_DATA'
    return (isDamaged || this.#onLossKnown !== undefined) && this.#isCountedOn
  }

  /** Until it is done the log works by the settings before; want of room passes. */
  async #configure(log: PartitionLog): Promise<void> {
    try {
      await log.updateConfig(this.#settings.log)
    } catch (thrown) {
      if (!(thrown instanceof NaruError)) throw thrown
      if (this.#closing || log.failure) return
      this.#options.onError(thrown)
      this.#retry?.cancel()
      this.#retry = this.#options.clock.setTimer(OPEN_RETRY_MS, () => void this.#configure(log))
    }
  }

  #onOpenError(error: NaruError): void {
    // Told once, not at each try.
    if (error.reason !== this.#refusal?.().reason) this.#options.onError(error)
    this.#endBy(error)
    if (this.#closing) return
    if (!SHORTAGES.has(error.reason)) {
      // A disk that fails ends this process, and says nothing of what the next one finds.
      this.#isUnreadable = !(error.cause instanceof DiskError && error.cause.code === 'EIO')
      this.#reportDamage()
      return
    }
    this.#retry = this.#options.clock.setTimer(OPEN_RETRY_MS, () => {
      this.#opening = this.#open()
    })
  }

  #takeRole(log: PartitionLog): void {
    const { replicator } = this.#options
    const { leader, leaderEpoch } = this.#state
    const isLedHere = leader === replicator.self.nodeId
    // A damaged log is emptied by a follower; one that is offline is for the next start of this node.
    const isUsable =
      replicator.isRegistered && (!log.failure || (log.failure.reason === 'CORRUPT_DATA' && !isLedHere))
    if (!isUsable) {
      if (!log.failure) this.#end(() => this.#notLed())
    } else if (isLedHere && this.#leader?.leaderEpoch === leaderEpoch)
      this.#leader.onMetadata(this.#state, this.#settings)
    else if (isLedHere) this.#lead(log)
    else if (this.#follower) this.#follower.onMetadata(this.#state)
    else this.#follow(log)
    for (const { follow, session } of this.#parked.due(leaderEpoch)) this.onFollow(follow, session)
  }

  #lead(log: PartitionLog): void {
    // Called again when the cut is over.
    if (this.#follower?.isCutting || log.failure) return
    const { topic, topicId, partition, clock, reserve, replicator: context } = this.#options
    this.#end(() => this.#notLed())
    assert(this.#leader === undefined, 'a partition is led once at a time')
    log.beginGeneration()
    const settings = this.#settings
    this.#leader = new PartitionLeader({
      topic,
      topicId,
      partition,
      metadata: this.#state,
      log,
      clock,
      reserve,
      settings,
      context,
      attend: () => this.#attend(),
    })
    this.#refusal = undefined
    this.#options.onLeading(this.#leader)
    this.#attend()
  }

  #follow(log: PartitionLog): void {
    const { topic, topicId, partition, reserve, replicator: context } = this.#options
    const { failure } = log
    this.#end(() => (failure ? this.#toldOf(failure) : this.#notLed()))
    if (!failure) log.beginGeneration()
    this.#follower = new PartitionFollower({
      topicId,
      partition,
      metadata: this.#state,
      log,
      known: this.#known,
      isWriteCaching: () => this.#settings.log.writeCaching,
      // The reserve is for groups, too.
      isFull: () => reserve.isLow && !isInternalTopic(topic),
      context,
      beforeReset: async () => this.#options.view?.forget(),
      attend: () => this.#attend(),
      onCut: () => this.#onFollowerCut(),
    })
    this.#follower.begin()
  }

  #onFollowerCut(): void {
    this.#onCut?.()
    if (this.#log && !this.#closing) this.#takeRole(this.#log)
  }

  #notLed(): NaruError {
    const { leader, leaderEpoch } = this.#state
    const { topic, partition } = this.#options
    const place = { topic, partition: String(partition) }
    if (leader === null || leader === this.#options.replicator.self.nodeId)
      return new NaruError('NOT_LEADER', `${this.#name} is not led by this node any more`, { details: place })
    return new NaruError(
      'NOT_LEADER',
      `${this.#name} is not led by this node any more, node ${leader} leads it`,
      { details: { ...place, leader_id: String(leader), leader_epoch: String(leaderEpoch) } },
    )
  }

  /** See `ViewedPartition`. */
  get #isInStep(): boolean {
    return this.#leader !== undefined || this.#follower?.isFollowing === true
  }

  get #nowMs(): number {
    return this.#options.replicator.time.nowMs
  }

  #onEvent(event: LogEvent): void {
    this.#options.onEvent(event)
    if (event.kind === 'offline') this.#endBy(event.error)
    else if (event.kind === 'quarantined') this.#onDamaged(event.error)
    else if (event.kind === 'diskFull') this.#options.reserve.noteFull()
  }

  /** Where this is the only replica, nobody else could lead, and the operator may still put the file back. */
  #reportDamage(): void {
    const { topicId, partition, replicator } = this.#options
    const isCountedOn = () => this.#isWronglyCountedOn
    if (this.#state.replicas.length > 1 && isCountedOn())
      replicator.reportDamage({ topicId, partition, isCountedOn })
  }

  /** A follower stays, to empty the log once nobody counts on it any more (rule B4). */
  #onDamaged(error: NaruError): void {
    this.#reportDamage()
    if (this.#follower) {
      this.#follower.onDamaged()
      this.#refusal = () => this.#toldOf(error)
    } else this.#endBy(error)
  }

  #endBy(error: NaruError): void {
    this.#end(() => this.#toldOf(error))
  }

  /** Damage is the end of the partition only where nobody else can lead it: then waiting mends nothing. */
  #toldOf(failure: NaruError): NaruError {
    const isAlone = this.#state.replicas.length === 1
    return failure.reason === 'CORRUPT_DATA' && !isAlone ? leaderDamaged(this.#options, failure) : failure
  }

  /** What this node was to the partition, it is no more. */
  #end(because: () => NaruError): void {
    this.#refusal = because
    const leader = this.#leader
    const follower = this.#follower
    this.#leader = undefined
    this.#follower = undefined
    if (leader) this.#known = leader.knownHighWatermark
    if (follower) this.#known = follower.knownHighWatermark
    follower?.stop()
    leader?.end(because())
  }

  async #close(because: NaruError): Promise<void> {
    this.#retry?.cancel()
    this.#onLossKnown?.()
    await this.#opening
    const follower = this.#follower
    this.#endBy(because)
    if (follower?.isCutting)
      await new Promise<void>(resolve => {
        this.#onCut = resolve
      })
    this.#options.view?.onClosed()
    if (this.#log) await this.#options.directory.closePartition(this.#log)
  }
}

function isSameConfig(a: LogConfig, b: LogConfig): boolean {
  return (Object.keys(a) as (keyof LogConfig)[]).every(key => a[key] === b[key])
}
