import type { Epoch, Offset, PartitionId, Uuid } from '../../base/brands.ts'
import { NaruError } from '../../base/errors.ts'
import type { DiskReserve } from '../../log/disk-reserve.ts'
import type { LogSlice } from '../../log/log-tail.ts'
import type { PartitionLog } from '../../log/partition-log.ts'
import type { Clock } from '../../ports/clock.ts'
import { sizeInBytesAt } from '../../records/batch-header.ts'
import { stampLogAppendTime } from '../../records/stamp-batch.ts'
import { validateClientBatch } from '../../records/validate-batch.ts'
import { OffsetWaiters } from './offset-waiters.ts'
import type { PartitionSettings } from './partition-settings.ts'

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

export interface PartitionLeaderOptions {
  readonly topic: string
  readonly topicId: Uuid
  readonly partition: PartitionId
  readonly leaderEpoch: Epoch
  readonly replicaCount: number
  readonly log: PartitionLog
  readonly clock: Clock
  readonly reserve: DiskReserve
  readonly settings: PartitionSettings
}

/**
 * A partition whose leader is this node: appends, answers when the high watermark has passed, reads below it.
 *
 * With one replica the high watermark is the end of what this node has on its disk (in its page cache under
 * `write.caching`); `#highWatermarkNow` is the one place that says so.
 *
 * Invariants: records at or above the high watermark are not read; every accepted produce is answered exactly
 * once, by the high watermark passing it, or as failed with outcome unknown when the leadership ends.
 *
 * The hot path is synchronous and makes no promises: `produce` and `onLogProgress` only.
 */
export class PartitionLeader {
  readonly topic: string
  readonly topicId: Uuid
  readonly partition: PartitionId
  readonly leaderEpoch: Epoch
  readonly #replicaCount: number
  readonly #log: PartitionLog
  readonly #clock: Clock
  readonly #reserve: DiskReserve
  readonly #waiters = new OffsetWaiters<ParkedProduce>()
  readonly #followers = new Set<() => void>()
  #settings: PartitionSettings
  #ended: NaruError | undefined

  constructor(options: PartitionLeaderOptions) {
    this.topic = options.topic
    this.topicId = options.topicId
    this.partition = options.partition
    this.leaderEpoch = options.leaderEpoch
    this.#replicaCount = options.replicaCount
    this.#log = options.log
    this.#clock = options.clock
    this.#reserve = options.reserve
    this.#settings = options.settings
    // One replica: all that its opening found is on its disk, and nobody else could miss it.
    this.#log.highWatermark = this.#log.syncedEndOffset
  }

  /** End of what may be read (exclusive). */
  get highWatermark(): Offset {
    return this.#log.highWatermark
  }

  get logStartOffset(): Offset {
    return this.#log.logStartOffset
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
    return this.#ended !== undefined || this.#reserve.isLow || this.#log.hasRoom
  }

  room(): Promise<void> {
    return this.#log.room()
  }

  updateSettings(settings: PartitionSettings): void {
    this.#settings = settings
  }

  /**
   * Appends one batch. The buffer is this log's from now on: offset and epoch are stamped into it.
   * Throws a NaruError if nothing was appended; otherwise `done` is called exactly once, perhaps at once.
   */
  produce(batch: Buffer, options: { acks: Acks; done: (outcome: ProduceOutcome) => void }): void {
    this.#refuseIfEnded()
    this.#refuseIfReplicated()
    this.#check(batch)
    const wallMs = this.#clock.wallMs()
    const result = this.#log.appendAsLeader(batch, { leaderEpoch: this.leaderEpoch, wallMs })
    const { baseOffset, lastOffset, maxTimestamp } = result
    // That of a repeated batch is the time of its first append.
    const logAppendTimeMs = this.#settings.timestampType === 'LogAppendTime' ? maxTimestamp : undefined
    const outcome: ProduceOutcome = { kind: 'stored', baseOffset, lastOffset, logAppendTimeMs }
    const endOffset = lastOffset + 1
    // A repeated batch waits like the first: it may not be committed yet (C7).
    if (options.acks === 'NONE' || endOffset <= this.#log.highWatermark) options.done(outcome)
    else this.#waiters.add(endOffset, { outcome, done: options.done })
  }

  /** Whole batches from the one that holds `from` on, below the high watermark; empty where there are none yet. */
  read(options: { from: Offset; maxBytes: number }): LogSlice | Promise<LogSlice> {
    this.#refuseIfEnded()
    const range = { from: options.from, upTo: this.#log.highWatermark, maxBytes: options.maxBytes }
    return this.#log.readTail(range) ?? this.#log.read(range)
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
    const found = await this.#log.offsetForTimestamp(timestampMs, this.#log.highWatermark)
    return found && { offset: found.offset, timestampMs: found.timestamp }
  }

  /** Moves the log start; what lies before it is gone. Never beyond the high watermark. */
  async deleteRecordsBefore(offset: Offset): Promise<Offset> {
    this.#refuseIfEnded()
    const { highWatermark } = this.#log
    if (offset > highWatermark)
      throw new NaruError(
        'OFFSET_OUT_OF_RANGE',
        `cannot delete records of "${this.topic}" partition ${this.partition} before offset ${offset}: ` +
          `its readable end is ${highWatermark}`,
        {
          details: {
            topic: this.topic,
            partition: String(this.partition),
            highWatermark: String(highWatermark),
          },
        },
      )
    await this.#log.deleteRecordsBefore(offset)
    this.#wakeFollowers()
    return this.#log.logStartOffset
  }

  /** The log has written or synced more. Completions of older generations never get here (rule B1). */
  onLogProgress(): void {
    const highWatermark = this.#highWatermarkNow()
    if (this.#ended !== undefined || highWatermark <= this.#log.highWatermark) return
    this.#log.highWatermark = highWatermark
    this.#waiters.passed(highWatermark, release)
    this.#wakeFollowers()
  }

  /** This node leads no more (topic deleted, log offline, node stops). Parked produces may have been stored. */
  end(error: NaruError): void {
    if (this.#ended !== undefined) return
    this.#ended = error
    const unknown = new NaruError(
      'UNKNOWN_OUTCOME',
      `"${this.topic}" partition ${this.partition} stopped being served before the records were known to be stored: ${error.message}`,
      {
        cause: error,
        details: { topic: this.topic, partition: String(this.partition), because: error.reason },
      },
    )
    this.#waiters.drain(parked => parked.done({ kind: 'failed', error: unknown }))
    this.#wakeFollowers()
  }

  #highWatermarkNow(): Offset {
    return this.#settings.log.writeCaching ? this.#log.writtenEndOffset : this.#log.syncedEndOffset
  }

  /** What a leader checks before it believes a client's batch; stamps the append time where the topic wants one. */
  #check(batch: Buffer): void {
    const { maxMessageBytes, timestampAfterMaxMs, timestampType } = this.#settings
    const wallMs = this.#clock.wallMs()
    validateClientBatch(batch, 0, {
      maxMessageBytes,
      timestampMsMax: wallMs + timestampAfterMaxMs,
      walkRecords: true,
    })
    if (sizeInBytesAt(batch, 0) !== batch.length)
      throw new NaruError(
        'INVALID_BATCH',
        `${batch.length} bytes hold more than one batch of ${sizeInBytesAt(batch, 0)} bytes`,
      )
    if (this.#reserve.isLow) throw this.#reserve.error()
    if (timestampType === 'LogAppendTime') stampLogAppendTime(batch, 0, wallMs)
  }

  /** An answer would promise that the other replicas have the records, and nothing takes them there. */
  #refuseIfReplicated(): void {
    if (this.#replicaCount === 1) return
    throw new NaruError(
      'NOT_IMPLEMENTED',
      `"${this.topic}" has ${this.#replicaCount} replicas, and this release of Naru does not replicate records: use a topic with --replication-factor 1`,
      { details: { topic: this.topic, partition: String(this.partition) } },
    )
  }

  #refuseIfEnded(): void {
    if (this.#ended !== undefined) throw this.#ended
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
