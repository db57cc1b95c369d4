import type { Epoch, NodeId, Offset, PartitionId, Uuid } from '../../base/brands.ts'
import type { NaruError } from '../../base/errors.ts'
import type { DiskReserve } from '../../log/disk-reserve.ts'
import type { AppendResult } from '../../log/log-appender.ts'
import type { LogSlice } from '../../log/log-tail.ts'
import type { PartitionLog } from '../../log/partition-log.ts'
import type { Clock } from '../../ports/clock.ts'
import type { Follow, FollowRefusal } from '../../replication/follow.ts'
import type { FollowerSession } from '../../replication/follower-progress.ts'
import type { KnownHighWatermark } from '../../replication/follower-state.ts'
import type { IsrProposal, ProposalAnswer } from '../../replication/in-sync-replicas.ts'
import { type LeaderEffect, LeaderState } from '../../replication/leader-state.ts'
import { moveThrottle, type PartitionMetadata } from '../../replication/partition-metadata.ts'
import { checkedBatch } from './client-batch.ts'
import { LeaderHandover } from './leader-handover.ts'
import {
  behindReadableEnd,
  beingHandedOver,
  committedEndUnknown,
  leadershipMoving,
  leaderUnheard,
  notEnoughReplicas,
  outcomeUnknown,
  provenBy,
} from './leader-refusals.ts'
import { OffsetWaiters } from './offset-waiters.ts'
import { PartitionSender } from './partition-sender.ts'
import type { PartitionSettings } from './partition-settings.ts'
import type { LeaderContext } from './replication-options.ts'
import { refused, type SendingLane } from './sending-lane.ts'
import { soon } from './soon.ts'

/** When a produce is answered; see `naru.v1.Acks`. */
export type Acks = 'ALL' | 'LEADER' | 'NONE'

export type ProduceOutcome =
  | {
      readonly kind: 'stored'
      /** Of the first record. A repeated batch gets the offset of the first time. */
      readonly baseOffset: Offset
      readonly lastOffset: Offset
      /** Given by this leader, where the topic asks for it. */
      readonly logAppendTimeMs: number | undefined
    }
  | { readonly kind: 'failed'; readonly error: NaruError }

export interface ProduceOptions {
  readonly acks: Acks
  /** The caller keeps the buffer, for another try: it stays a batch that a leader takes. */
  readonly mayComeAgain?: boolean
  readonly done: (outcome: ProduceOutcome) => void
}

export interface PartitionLeaderOptions {
  readonly topic: string
  readonly topicId: Uuid
  readonly partition: PartitionId
  readonly metadata: PartitionMetadata
  readonly log: PartitionLog
  readonly clock: Clock
  readonly reserve: DiskReserve
  readonly settings: PartitionSettings
  readonly context: LeaderContext
  readonly attend: () => void
}

/**
 * A partition whose leader is this node, in one leader epoch: appends, sends to followers, answers when the high
 * watermark has passed, reads below it. Who is in sync and what is committed is decided by `LeaderState`.
 *
 * Invariants: records at or above the high watermark are not read; every accepted produce is answered exactly
 * once, by the high watermark (acks=leader: the own disk) passing it, or as failed with outcome unknown when the
 * leadership ends.
 *
 * The hot path is synchronous and makes no promises: `produce`, `onAck` and `onLogProgress` only.
 */
export class PartitionLeader {
  readonly topic: string
  readonly topicId: Uuid
  readonly partition: PartitionId
  readonly leaderEpoch: Epoch
  /** Gets it ticks, until one returns false. */
  readonly attend: () => void
  readonly #log: PartitionLog
  readonly #clock: Clock
  readonly #reserve: DiskReserve
  readonly #context: LeaderContext
  readonly #state: LeaderState
  readonly #handover: LeaderHandover
  /** By the high watermark, and by the end of what the own disk holds. */
  readonly #waiters = new OffsetWaiters<ParkedProduce>()
  readonly #storedWaiters = new OffsetWaiters<ParkedProduce>()
  readonly #followers = new Set<() => void>()
  readonly #senders = new Map<NodeId, { sender: PartitionSender; lane: SendingLane }>()
  #settings: PartitionSettings
  #metadata: PartitionMetadata
  #ended: NaruError | undefined

  constructor(options: PartitionLeaderOptions) {
    const { metadata, log, context, settings } = options
    this.topic = options.topic
    this.topicId = options.topicId
    this.partition = options.partition
    this.leaderEpoch = metadata.leaderEpoch
    this.#log = log
    this.#clock = options.clock
    this.#reserve = options.reserve
    this.#context = context
    this.attend = options.attend
    this.#settings = settings
    this.#metadata = metadata
    this.#state = new LeaderState({
      self: context.self,
      metadata,
      log,
      storedEndOffset: this.#storedEndOffset,
      minInsyncReplicas: settings.minInsyncReplicas,
      writeCaching: settings.log.writeCaching,
      timing: context.timing,
      isEligible: replica => context.isEligible(replica),
      nowMs: context.time.nowMs,
    })
    this.#handover = new LeaderHandover({
      state: this.#state,
      metadata,
      context,
      propose: proposal => context.propose(this, proposal),
    })
    this.#log.limitCleaning({ tombstonesKeptFrom: () => this.#leastSentOffset })
    this.#apply(this.#state.begin())
  }

  /** End of what may be read (exclusive). */
  get highWatermark(): Offset {
    return this.#log.highWatermark
  }

  get logStartOffset(): Offset {
    return this.#log.logStartOffset
  }

  /** What is there, committed or not. */
  get logEndOffset(): Offset {
    return this.#log.logEndOffset
  }

  /** The high watermark has reached the start of this epoch: what earlier leaders have answered lies below it. */
  get isHighWatermarkCurrent(): boolean {
    return this.#state.isHighWatermarkCurrent
  }

  /** Why nothing may be answered now that another leader would answer differently; undefined: nothing speaks against it. */
  get doubt(): NaruError | undefined {
    return this.#context.isUnheard() ? leaderUnheard(this) : undefined
  }

  /** As `doubt`, or this leader has itself asked for what may end it at any moment, and waits to hear of that. */
  get noLease(): NaruError | undefined {
    return this.doubt ?? (this.#state.mayBeDeposed ? leadershipMoving(this) : undefined)
  }

  get settings(): PartitionSettings {
    return this.#settings
  }

  /** Why this node does not serve the partition any more; undefined while it does. */
  get ended(): NaruError | undefined {
    return this.#ended
  }

  /** False: an append would be refused now, wait for `room`. Where waiting is in vain, an append says why. */
  get hasRoom(): boolean {
    if (this.#ended !== undefined) return true
    return this.#handover.successor === undefined && (this.#reserve.isLow || this.#log.hasRoom)
  }

  async room(): Promise<void> {
    await this.#handover.over
    if (this.hasRoom) return
    let stop = () => {}
    // A disk that hangs gives no room, and others lead by then.
    const ended = new Promise<void>(resolve => {
      stop = this.follow(() => this.#ended !== undefined && resolve())
    })
    await Promise.race([this.#log.room(), ended])
    stop()
  }

  /** In-sync replicas as in the newest metadata. */
  get isr(): readonly NodeId[] {
    return this.#state.isr
  }

  /**
   * The high watermark, once nothing above it can have been committed: a new leader knows that when it has reached the
   * start of its epoch. Rejects where that does not come soon, and on a leader that may be deposed (C12): one that has asked
   * for it waits for what becomes of that.
   */
  async committedEnd(): Promise<Offset> {
    this.#refuseIfEnded()
    if (this.doubt) throw this.doubt
    const { isr } = this.#state
    await soon(this, {
      clock: this.#clock,
      isSo: () =>
        this.#ended !== undefined || (this.#state.isHighWatermarkCurrent && !this.#state.mayBeDeposed),
      otherwise: () => this.noLease ?? committedEndUnknown(this, isr),
    })
    this.#refuseIfEnded()
    // The lease may have run out meanwhile.
    if (this.doubt) throw this.doubt
    return this.#log.highWatermark
  }

  get knownHighWatermark(): KnownHighWatermark {
    return { offset: this.#state.highWatermark, leaderEpoch: this.leaderEpoch }
  }

  /**
   * Appends one batch. The buffer is this log's from now on: offset and epoch are stamped into it.
   * Throws a NaruError if nothing was appended; otherwise `done` is called exactly once, perhaps at once.
   */
  produce(batch: Buffer, options: ProduceOptions): void {
    this.#refuseIfEnded()
    this.#refuseIfHandingOver()
    this.#refuseIfNotSafe(options.acks)
    const checked = checkedBatch(batch, {
      topic: this.topic,
      settings: this.#settings,
      reserve: this.#reserve,
      wallMs: this.#clock.wallMs(),
      mayComeAgain: options.mayComeAgain === true,
    })
    const result = provenBy(
      this,
      () => this.noLease,
      () => this.#append(checked),
    )
    const { baseOffset, lastOffset, maxTimestamp } = result
    // That of a repeated batch is the time of its first append.
    const logAppendTimeMs = this.#settings.timestampType === 'LogAppendTime' ? maxTimestamp : undefined
    const outcome: ProduceOutcome = { kind: 'stored', baseOffset, lastOffset, logAppendTimeMs }
    const endOffset = lastOffset + 1
    // A repeated batch waits like the first: it may not be committed yet (C7).
    if (options.acks === 'NONE' || endOffset <= this.#log.highWatermark) options.done(outcome)
    else if (options.acks === 'ALL') this.#waiters.add(endOffset, { outcome, done: options.done })
    else if (endOffset <= this.#storedEndOffset) options.done(outcome)
    else this.#storedWaiters.add(endOffset, { outcome, done: options.done })
  }

  /**
   * Appends a batch that this node made for a topic of its own, from the reserve of the disk if need be (B6). Returns
   * where it ends; `follow` tells when that is committed. Throws a NaruError if nothing was appended.
   */
  appendOwn(batch: Buffer): Offset {
    this.#refuseIfEnded()
    this.#refuseIfHandingOver()
    this.#refuseIfNotSafe('ALL')
    return this.#append(batch).lastOffset + 1
  }

  /** As `read`, of what is not committed too: for who goes on from where the leaders before have stopped. */
  async readAll(options: { from: Offset; maxBytes: number }): Promise<LogSlice> {
    this.#refuseIfEnded()
    return this.#ofLog(this.#log.read({ ...options, upTo: this.#log.logEndOffset }))
  }

  /** A follower of this epoch asks; the answer goes over its lane, and then the records. */
  onFollow(follow: Follow, lane: SendingLane): void {
    const { number } = follow
    const answer = this.#state.onFollow(follow, lane)
    // Also where it is refused: what was known under the `Follow` before is void (C2), unless that was a later one.
    if (this.#senders.get(lane.nodeId)?.sender.number !== this.#state.numberOf(lane.nodeId))
      this.#removeSender(lane.nodeId)
    if (answer.kind !== 'accepted') {
      lane.answer(number, answer)
      return
    }
    const sender = new PartitionSender({
      number,
      follower: lane.nodeId,
      from: follow.fetchOffset,
      log: this.#log,
      isLive: lane.isLive,
      limits: this.#context.limits,
      pace: this.#context.movePace,
      throttle: () => moveThrottle(this.#metadata, lane.nodeId),
      onReady: ready => lane.onReady(ready),
      onBlocked: (blocked, reason) => this.#onBlocked(blocked, reason),
    })
    this.#senders.set(lane.nodeId, { sender, lane })
    lane.add(sender, this)
  }

  onAck(session: FollowerSession, ack: { number: number; endOffset: Offset }): void {
    if (this.#ended === undefined) this.#apply(this.#state.onAck(session, ack, this.#context.time.nowMs))
  }

  /** The stream of a follower is gone. */
  onLaneClosed(lane: SendingLane): void {
    if (this.#senders.get(lane.nodeId)?.lane === lane) this.#removeSender(lane.nodeId)
    if (this.#ended === undefined) this.#state.onSessionBroken(lane, this.#context.time.nowMs)
  }

  /** Committed metadata of this leader epoch, and the settings that they hold. */
  onMetadata(metadata: PartitionMetadata, settings: PartitionSettings): void {
    this.#metadata = metadata
    if (this.#ended !== undefined) return
    this.#settings = settings
    const { minInsyncReplicas } = settings
    this.#apply(this.#state.onMetadata(metadata, this.#context.time.nowMs, minInsyncReplicas))
    this.#handover.onMetadata(metadata)
    this.#wakeFollowers()
  }

  get proposal(): IsrProposal | undefined {
    return this.#ended === undefined ? this.#state.proposal : undefined
  }

  onProposalAnswer(proposal: IsrProposal, answer: ProposalAnswer): void {
    if (this.#ended !== undefined) return
    this.#apply(this.#state.onProposalAnswer(proposal, answer, this.#context.time.nowMs))
    this.#handover.onAnswer(proposal, answer)
    this.#wakeFollowers()
  }

  /** Judges who lags, and whether another replica is to lead. False: no more of it before something happens (`attend`). */
  tick(): boolean {
    if (this.#ended !== undefined) return false
    this.#apply(this.#state.tick(this.#context.time.nowMs))
    this.#handover.tick()
    return !this.#state.isQuiet || !this.#handover.isQuiet
  }

  /** Whole batches from the one that holds `from` on, below the high watermark; empty where there are none yet. */
  read(options: { from: Offset; maxBytes: number }): LogSlice | Promise<LogSlice> {
    this.#refuseIfEnded()
    const range = { from: options.from, upTo: this.#log.highWatermark, maxBytes: options.maxBytes }
    return this.#log.readTail(range) ?? this.#ofLog(this.#log.read(range))
  }

  /** Calls back whenever the high watermark has moved, or the leadership ended. Returns how to stop that. */
  follow(callback: () => void): () => void {
    this.#followers.add(callback)
    return () => this.#followers.delete(callback)
  }

  /** First offset whose timestamp is at least `timestampMs`, undefined where no readable record has one. */
  async offsetForTimestamp(
    timestampMs: number,
  ): Promise<{ offset: Offset; timestampMs: number } | undefined> {
    this.#refuseIfEnded()
    const found = await this.#ofLog(this.#log.offsetForTimestamp(timestampMs, this.#log.highWatermark))
    return found && { offset: found.offset, timestampMs: found.timestamp }
  }

  /** Moves the log start; what lies before it is gone. Never beyond the high watermark. */
  async deleteRecordsBefore(offset: Offset): Promise<Offset> {
    this.#refuseIfEnded()
    const { highWatermark } = this.#log
    if (offset > highWatermark) throw behindReadableEnd(this, { offset, highWatermark })
    await this.#ofLog(this.#log.deleteRecordsBefore(offset))
    this.#wakeFollowers()
    return this.#log.logStartOffset
  }

  /** The log has written or synced more. Completions of older generations never get here (rule B1). */
  onLogProgress(): void {
    if (this.#ended !== undefined) return
    const endOffset = this.#storedEndOffset
    this.#apply(this.#state.onStored(endOffset))
    this.#storedWaiters.passed(endOffset, release)
  }

  /** This node leads no more (topic deleted, log offline, node stops). Parked produces may have been stored. */
  end(error: NaruError): void {
    if (this.#ended !== undefined) return
    this.#ended = error
    const unknown = outcomeUnknown(this, error)
    for (const nodeId of [...this.#senders.keys()]) this.#endSender(nodeId)
    this.#waiters.drain(parked => parked.done({ kind: 'failed', error: unknown }))
    this.#storedWaiters.drain(parked => parked.done({ kind: 'failed', error: unknown }))
    this.#handover.end()
    this.#log.limitCleaning({ tombstonesKeptFrom: undefined })
    this.#wakeFollowers()
  }

  /** What a power cut cannot take; under `write.caching`, what the page cache has. */
  get #storedEndOffset(): Offset {
    return this.#settings.log.writeCaching ? this.#log.writtenEndOffset : this.#log.syncedEndOffset
  }

  /** A follower that has not come to a tombstone would have to start over, were it gone. */
  get #leastSentOffset(): Offset {
    return Math.min(...Array.from(this.#senders.values(), ({ sender }) => sender.nextOffset))
  }

  #append(batch: Buffer): AppendResult {
    const wallMs = this.#clock.wallMs()
    const { logEndOffset } = this.#log
    const result = this.#log.appendAsLeader(batch, { leaderEpoch: this.leaderEpoch, wallMs })
    if (result.kind === 'appended') {
      this.#state.onAppend(logEndOffset, this.#context.time.nowMs)
      this.attend()
      for (const { sender, lane } of this.#senders.values()) lane.onReady(sender)
    }
    return result
  }

  #apply(effects: readonly LeaderEffect[]): void {
    for (const effect of effects) {
      if (effect.type === 'advanceHighWatermark') this.#advance(effect.highWatermark)
      else if (effect.type === 'propose') this.#context.propose(this, effect.proposal)
      else this.#refuse(effect.session.nodeId, effect.reason)
    }
  }

  #advance(highWatermark: Offset): void {
    this.#log.highWatermark = highWatermark
    for (const { sender, lane } of this.#senders.values()) lane.onNewEnds(sender)
    this.#waiters.passed(highWatermark, release)
    this.#wakeFollowers()
    this.#handover.advance()
  }

  #onBlocked(sender: PartitionSender, reason: FollowRefusal): void {
    if (this.#senders.get(sender.follower)?.sender !== sender) return
    this.#apply(this.#state.refuse(sender.follower, reason))
  }

  #refuse(nodeId: NodeId, reason: FollowRefusal): void {
    const found = this.#senders.get(nodeId)
    if (!found) return
    this.#removeSender(nodeId)
    found.lane.answer(found.sender.number, refused(reason, this.#log.logStartOffset))
  }

  #removeSender(nodeId: NodeId): void {
    const found = this.#senders.get(nodeId)
    if (!found) return
    this.#senders.delete(nodeId)
    found.lane.remove(found.sender)
  }

  /** The follower may learn of the new leader before its own metadata tell: then it asks there soon. */
  #endSender(nodeId: NodeId): void {
    this.#refuse(nodeId, 'FENCED')
  }

  #refuseIfNotSafe(acks: Acks): void {
    const refusal = this.#state.refusalOf(acks, { isUnheard: this.#context.isUnheard() })
    if (refusal === undefined) return
    if (refusal === 'UNHEARD') throw this.noLease ?? leaderUnheard(this)
    throw notEnoughReplicas(this, {
      isr: this.#state.isr,
      minInsyncReplicas: this.#settings.minInsyncReplicas,
    })
  }

  /** From those who do not wait for room. */
  #refuseIfHandingOver(): void {
    const { successor } = this.#handover
    if (successor !== undefined) throw beingHandedOver(this, successor)
  }

  #refuseIfEnded(): void {
    if (this.#ended !== undefined) throw this.#ended
  }

  /** What fails because the leadership has ended meanwhile (found damaged by this very call, or closed) says so. */
  async #ofLog<T>(work: Promise<T>): Promise<T> {
    try {
      return await work
    } catch (thrown) {
      throw this.#ended ?? thrown
    }
  }

  #wakeFollowers(): void {
    for (const wake of this.#followers) wake()
  }
}

interface ParkedProduce {
  readonly outcome: ProduceOutcome
  readonly done: (outcome: ProduceOutcome) => void
}

function release(parked: ParkedProduce): void {
  parked.done(parked.outcome)
}
