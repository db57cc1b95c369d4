import { assert } from '../base/assert.ts'
import type { Epoch, NodeId, Offset } from '../base/brands.ts'
import { truncationTarget } from './divergence.ts'
import type { Diverged, Follow, FollowNumber, Refused } from './follow.ts'
import type { LogView } from './log-view.ts'
import type { PartitionMetadata } from './partition-metadata.ts'
import type { ReplicaTiming } from './replica-timing.ts'

export type FollowerEffect =
  /** To the leader of the newest metadata, over the session that was told with `onConnected`. */
  | { readonly type: 'sendFollow'; readonly follow: Follow }
  /** Gathered by the driver: only the last end of a number matters. */
  | { readonly type: 'acknowledge'; readonly number: FollowNumber; readonly endOffset: Offset }
  /** Append now; then `onProgress` with what the frame says besides, or `onAppendFailed`. */
  | { readonly type: 'append' }
  | { readonly type: 'advanceHighWatermark'; readonly highWatermark: Offset }
  /** Records below are gone on the leader. Never above the high watermark here. */
  | { readonly type: 'moveLogStart'; readonly offset: Offset }
  /** Cut the log; `onCut` when that is durable. Meanwhile nothing is appended. */
  | { readonly type: 'truncateTo'; readonly offset: Offset }
  /** Empty the log and begin at the offset; `onCut` when that is durable. */
  | { readonly type: 'resetTo'; readonly offset: Offset }
  /** Leave the bytes alone, serve nothing, tell the operator (B4). */
  | { readonly type: 'quarantine'; readonly offset: Offset; readonly cause: string }

/** The highest HW that this replica knows of, and the leader epoch in which it was told. */
export interface KnownHighWatermark {
  readonly offset: Offset
  readonly leaderEpoch: Epoch
}

export interface FollowerStateOptions {
  readonly self: NodeId
  readonly metadata: PartitionMetadata
  readonly log: LogView
  /** What the log's disk holds (its page cache under `write.caching`). */
  readonly storedEndOffset: Offset
  readonly known: KnownHighWatermark
  /** The log is in quarantine: it is emptied once the metadata have taken this replica out of ISR and ELR. */
  readonly isDamaged: boolean
  /** Of the whole process: never gives a number twice. */
  readonly nextNumber: () => FollowNumber
  readonly timing: ReplicaTiming
}

/**
 * One partition as a follower, through all leader epochs in which another node leads. Pure: the driver brings frames,
 * completions and metadata, and does what comes out, in order.
 *
 *   idle -> asking        there is a leader and a session to it: a `Follow` goes out
 *   asking -> following   progress or data of that number: this log is a prefix of the leader's
 *   asking -> cutting     diverged, or reset
 *   cutting -> idle       the log is cut durably; then it asks again, and a while later where it could not be cut
 *   asking, following -> idle   refused, disconnected, a new leader epoch, a frame that does not fit
 *
 * Damaged (told to give up what is committed (C6), its disk lost records (B2), the log found itself so) it asks as one that
 * holds nothing, which voids what it acknowledged, until the leader resets it and the metadata have it in neither ISR nor ELR;
 * until then its bytes stay as they are.
 *
 * Invariants: frames of any number but the present one change nothing (C1); `cutting` ends only by `onCut` or
 * `onCutFailed`; HW comes only from an accepted `Follow`, never falls, never passes the log's end (C3); leader and
 * partition epochs never go back.
 */
export class FollowerState {
  readonly #options: FollowerStateOptions
  readonly #log: LogView
  #metadata: PartitionMetadata
  #phase: 'idle' | 'asking' | 'following' | 'cutting' = 'idle'
  #isDamaged: boolean
  #isFull = false
  #number: FollowNumber | undefined
  #isConnected = false
  #askFromMs = Number.NEGATIVE_INFINITY
  #askedMs = 0
  #storedEndOffset: Offset
  #acknowledged: Offset = -1
  #known: KnownHighWatermark
  /** What the leader of that epoch told. */
  #removals: { readonly leaderEpoch: Epoch; readonly count: number } | undefined

  constructor(options: FollowerStateOptions) {
    this.#options = options
    this.#log = options.log
    this.#metadata = options.metadata
    this.#storedEndOffset = options.storedEndOffset
    this.#known = options.known
    this.#isDamaged = options.isDamaged
  }

  get phase(): 'idle' | 'asking' | 'following' | 'cutting' | 'damaged' {
    return this.#isDamaged && this.#phase !== 'cutting' ? 'damaged' : this.#phase
  }

  get leaderEpoch(): Epoch {
    return this.#metadata.leaderEpoch
  }

  /** Whom to follow; undefined: nobody leads, or this node does. */
  get leader(): NodeId | undefined {
    const { leader } = this.#metadata
    return leader === null || leader === this.#options.self ? undefined : leader
  }

  /** Of the present `Follow`; undefined while none stands. */
  get number(): FollowNumber | undefined {
    return this.#number
  }

  get knownHighWatermark(): KnownHighWatermark {
    return this.#known
  }

  /** What the first metadata ask for; to be called once, first. */
  begin(nowMs: number): readonly FollowerEffect[] {
    return this.#ask(nowMs)
  }

  /** Committed metadata; older ones are ignored. A new leader epoch ends what stood with the leader before. */
  onMetadata(metadata: PartitionMetadata, nowMs: number): readonly FollowerEffect[] {
    const before = this.#metadata
    if (metadata.partitionEpoch <= before.partitionEpoch) return NOTHING
    assert(metadata.leaderEpoch >= before.leaderEpoch, 'leader epochs never go back')
    this.#metadata = metadata
    if (metadata.leaderEpoch !== before.leaderEpoch) {
      this.#stop()
      this.#askFromMs = Number.NEGATIVE_INFINITY
      if (metadata.leader !== before.leader) this.#isConnected = false
    }
    // What it was waiting for may be in these.
    if (this.#isDamaged) this.#askFromMs = Number.NEGATIVE_INFINITY
    return this.#ask(nowMs)
  }

  /** There is a session to the present leader. */
  onConnected(nowMs: number): readonly FollowerEffect[] {
    this.#isConnected = true
    this.#askFromMs = Number.NEGATIVE_INFINITY
    this.#stop()
    return this.#ask(nowMs)
  }

  onDisconnected(): void {
    this.#isConnected = false
    this.#stop()
  }

  onDiverged(number: FollowNumber, diverged: Diverged): readonly FollowerEffect[] {
    if (number !== this.#number || this.#isDamaged) return NOTHING
    this.#number = undefined
    const { offset, isPossible } = truncationTarget(this.#log, diverged)
    const loss = this.#lossAt(offset)
    if (loss) return loss
    this.#phase = 'cutting'
    if (isPossible) return [{ type: 'truncateTo', offset }]
    return [{ type: 'resetTo', offset: diverged.logStartOffset }]
  }

  /** Whole batches that begin at `from`. */
  onData(number: FollowNumber, from: Offset, nowMs: number): readonly FollowerEffect[] {
    if (number !== this.#number || this.#isDamaged) return NOTHING
    if (from === this.#log.logEndOffset) return APPEND
    // Something before it is missing, or came twice.
    this.#stop()
    return this.#ask(nowMs)
  }

  /** The leader's log was compacted: how often it had removed tombstones when the `Follow` was accepted. */
  onCompacted(number: FollowNumber, count: number): void {
    if (number === this.#number) this.#removals = { leaderEpoch: this.leaderEpoch, count }
  }

  /** The log did not take the data (bad bytes, a full disk): nothing of the frame was appended. */
  onAppendFailed(nowMs: number): void {
    this.#stop()
    this.#askFromMs = nowMs + this.#options.timing.followBackoffMs
  }

  /** The leader's ends, alone or after the data that came with them. */
  onProgress(
    number: FollowNumber,
    ends: { highWatermark: Offset; logStartOffset: Offset },
  ): readonly FollowerEffect[] {
    if (number !== this.#number || this.#isDamaged) return NOTHING
    const effects: FollowerEffect[] = []
    if (this.#phase === 'asking') {
      this.#phase = 'following'
      this.#acknowledged = this.#storedEndOffset
      effects.push({ type: 'acknowledge', number, endOffset: this.#storedEndOffset })
    }
    if (ends.highWatermark >= this.#known.offset)
      this.#known = { offset: ends.highWatermark, leaderEpoch: this.leaderEpoch }
    const highWatermark = Math.min(ends.highWatermark, this.#log.logEndOffset)
    const isHigher = highWatermark > this.#log.highWatermark
    if (isHigher) effects.push({ type: 'advanceHighWatermark', highWatermark })
    const start = Math.min(ends.logStartOffset, isHigher ? highWatermark : this.#log.highWatermark)
    if (start > this.#log.logStartOffset) effects.push({ type: 'moveLogStart', offset: start })
    return effects
  }

  onRefused(number: FollowNumber, refused: Refused, nowMs: number): readonly FollowerEffect[] {
    if (number !== this.#number) return NOTHING
    this.#stop()
    const { reason, logStartOffset } = refused
    if (reason === 'AGAIN' || reason === 'OTHER_LANE') return this.#ask(nowMs)
    // Either side's metadata may be behind the other's: who may be elected waits until they agree.
    if (reason === 'RESET' && !this.#isElectable()) {
      this.#phase = 'cutting'
      if (this.#isDamaged) this.#known = { offset: 0, leaderEpoch: 0 }
      return [{ type: 'resetTo', offset: logStartOffset }]
    }
    if (reason === 'DAMAGED' && this.#isElectable() && !this.#isDamaged)
      return this.#quarantine('the leader has acknowledgements of this replica for more than it holds')
    const { followBackoffMs, fullBackoffMs } = this.#options.timing
    this.#askFromMs = nowMs + (reason === 'FULL' ? fullBackoffMs : followBackoffMs)
    return NOTHING
  }

  /** This node's disk holds everything below. Of the log's present generation (B1): the caller sees to that. */
  onStored(endOffset: Offset): readonly FollowerEffect[] {
    this.#storedEndOffset = endOffset
    const number = this.#number
    if (this.#phase !== 'following' || number === undefined || endOffset <= this.#acknowledged) return NOTHING
    this.#acknowledged = endOffset
    return [{ type: 'acknowledge', number, endOffset }]
  }

  /** The truncation or reset is durable; the log's disk holds `storedEndOffset` now. */
  onCut(storedEndOffset: Offset, nowMs: number): readonly FollowerEffect[] {
    assert(this.#phase === 'cutting', 'only what was asked for is cut')
    this.#phase = 'idle'
    this.#isDamaged = false
    this.#storedEndOffset = storedEndOffset
    return this.#ask(nowMs)
  }

  /** The log could not be cut, and is as it was, or still in quarantine: the leader is asked again in a while. */
  onCutFailed(nowMs: number): void {
    assert(this.#phase === 'cutting', 'only what was asked for is cut')
    this.#phase = 'idle'
    this.#askFromMs = nowMs + this.#options.timing.followBackoffMs
  }

  /** The log was found damaged. */
  onDamaged(): void {
    this.#stop()
    this.#phase = 'idle'
    this.#isDamaged = true
  }

  /** The disk has no room for records, or has it again. Until it has, the leader is told to wait for this replica no longer. */
  onSpace(isFull: boolean, nowMs: number): readonly FollowerEffect[] {
    if (isFull === this.#isFull) return NOTHING
    this.#isFull = isFull
    this.#stop()
    this.#askFromMs = Number.NEGATIVE_INFINITY
    return this.#ask(nowMs)
  }

  /** Time alone changes nothing here: a `Follow` stands, or something has to happen before the next one. */
  get isQuiet(): boolean {
    if (this.#phase === 'idle') return !this.#isConnected || this.leader === undefined
    return this.#phase !== 'asking'
  }

  /** For what waits for its time, unless `isQuiet`. */
  tick(nowMs: number): readonly FollowerEffect[] {
    if (this.#phase === 'asking' && nowMs - this.#askedMs > this.#options.timing.followTimeoutMs) this.#stop()
    return this.#ask(nowMs)
  }

  #ask(nowMs: number): readonly FollowerEffect[] {
    const isReady = this.#phase === 'idle' && this.#isConnected && nowMs >= this.#askFromMs
    if (!isReady || this.leader === undefined) return NOTHING
    const number = this.#options.nextNumber()
    this.#number = number
    this.#phase = 'asking'
    this.#askedMs = nowMs
    const { logEndOffset: fetchOffset, latestEpoch: lastFetchedEpoch } = this.#log
    const { leaderEpoch, partitionEpoch } = this.#metadata
    const [isDamaged, isFull] = [this.#isDamaged, this.#isFull]
    const removals = this.#removals?.leaderEpoch === leaderEpoch ? this.#removals.count : undefined
    const epochs = { leaderEpoch, partitionEpoch, lastFetchedEpoch }
    const follow = { number, ...epochs, fetchOffset, isDamaged, isFull, removals }
    return [{ type: 'sendFollow', follow }]
  }

  /** Nothing stands with a leader any more; a cut that has begun, and damage, are the log's own matter. */
  #stop(): void {
    this.#number = undefined
    if (this.#phase === 'asking' || this.#phase === 'following') this.#phase = 'idle'
  }

  /** C6, the last line of defence: committed records are not given up, unless an unclean election gave them up before. */
  #lossAt(endOffset: Offset): readonly FollowerEffect[] | undefined {
    const { offset, leaderEpoch } = this.#known
    if (endOffset >= offset) return undefined
    const { lastUncleanEpoch } = this.#metadata
    if (lastUncleanEpoch !== null && lastUncleanEpoch > leaderEpoch) {
      this.#known = { offset: endOffset, leaderEpoch: this.leaderEpoch }
      return undefined
    }
    return this.#quarantine(
      `the leader ${this.leader} of epoch ${this.leaderEpoch} ends at offset ${endOffset}, though all below ${offset} was ` +
        `committed in epoch ${leaderEpoch}`,
    )
  }

  #quarantine(cause: string): readonly FollowerEffect[] {
    this.onDamaged()
    return [{ type: 'quarantine', offset: this.#known.offset, cause }]
  }

  #isElectable(): boolean {
    const { isr, elr } = this.#metadata
    return isr.includes(this.#options.self) || elr.includes(this.#options.self)
  }
}

const NOTHING: readonly FollowerEffect[] = []
const APPEND: readonly FollowerEffect[] = [{ type: 'append' }]
