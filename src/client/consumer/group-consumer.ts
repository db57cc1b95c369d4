import { NaruError } from '../../base/errors.ts'
import { callUser } from '../call-user.ts'
import type { Connection } from '../connection.ts'
import type { MetadataCache } from '../metadata-cache.ts'
import { END, iterate, Waiters } from '../reader/batch-queue.ts'
import type { ConsumedRecord, RecordBatch } from '../reader/types.ts'
import { AutoCommit } from './auto-commit.ts'
import { consumerSettings } from './consumer-settings.ts'
import { type DrawnRecords, GroupReader } from './group-reader.ts'
import type { OffsetOf } from './offset-commits.ts'
import type { OwnedPartition, Place } from './owned-partition.ts'
import type {
  CloseOptions,
  Consumer,
  ConsumerOptions,
  ConsumerPartition,
  OffsetToCommit,
  TopicPartition,
} from './types.ts'

export interface GroupConsumerOptions {
  readonly connection: Connection
  readonly metadata: MetadataCache
  readonly options: ConsumerOptions
  readonly onClose: () => void
}

/** Given to the loop, which has not come back from it. */
interface InHand {
  readonly owned: OwnedPartition
  readonly seekCount: number
  readonly end: Place
  /** Which loop has it. */
  readonly loop: object
}

/**
 * The consumer that programs use: a loop over a `GroupReader`. What the loop has come back from is done, and only that is
 * committed; a partition is given back after the loop has come back from its last record.
 */
export class GroupConsumer implements Consumer {
  readonly #connection: Connection
  readonly #options: ConsumerOptions
  readonly #reader: GroupReader
  readonly #autoCommit: AutoCommit | undefined
  readonly #onClose: () => void
  readonly #waiters = new Waiters()
  /** For the loop to come back, or partitions to be lost. */
  readonly #handWaiters = new Waiters()
  /** Drawn last; what is left of it from `#recordAt` on was not given out. */
  #current: DrawnRecords | undefined
  #recordAt = 0
  #inHand: InHand | undefined
  /** The loop that waits for something to come. */
  #waitingLoop: object | undefined
  #closing: Promise<void> | undefined

  constructor({ connection, metadata, options, onClose }: GroupConsumerOptions) {
    const settings = consumerSettings(options)
    this.#connection = connection
    this.#options = options
    this.#onClose = onClose
    const warn = (warning: string) => callUser(() => options.onWarning?.(warning))
    const onTrouble = ({ message }: NaruError) => warn(message)
    this.#reader = new GroupReader({
      connection,
      metadata,
      settings,
      events: {
        onJoined: ({ warnings }) => {
          for (const warning of warnings) warn(warning)
        },
        onAssigned: partitions =>
          this.#tell(() =>
            options.onAssigned?.(
              partitions.map(owned => ({ ...placeOf(owned), nextOffset: owned.position })),
            ),
          ),
        onRevoking: partitions => void this.#giveBack(partitions),
        onLost: partitions => {
          this.#handWaiters.wake()
          void this.#tell(() => options.onLost?.(partitions.map(placeOf)))
        },
        onSkipped: (_, { topic, partition, from, to }) => {
          void this.#tell(() => options.onSkipped?.({ topic, partition, from, to }))
          this.#autoCommit?.due()
        },
        onReady: () => {
          if (this.#reader.error !== undefined) this.#autoCommit?.close()
          this.#waiters.wake()
        },
        onTrouble,
      },
    })
    if (settings.autoCommit)
      this.#autoCommit = new AutoCommit({
        clock: connection.clock,
        intervalMs: settings.commitIntervalMs,
        pending: () => this.#pending(),
        commit: offsets => this.#reader.commit(offsets),
        onTrouble,
      })
  }

  get member(): string {
    return this.#reader.membership.member
  }

  [Symbol.asyncIterator](): AsyncIterableIterator<ConsumedRecord> {
    const loop = {}
    return iterate(
      () => {
        this.#comeBack(loop)
        const record = this.#closing ? undefined : this.#takeRecord(loop)
        return record
          ? Promise.resolve({ value: record, done: false })
          : this.#next(loop, () => this.#takeRecord(loop))
      },
      () => this.#leaveLoop(loop),
    )
  }

  batches(): AsyncIterableIterator<RecordBatch> {
    const loop = {}
    return iterate<RecordBatch>(
      async () => {
        this.#comeBack(loop)
        return this.#next(loop, () => this.#takeBatch(loop))
      },
      () => this.#leaveLoop(loop),
    )
  }

  partitions(): ConsumerPartition[] {
    return this.#reader.partitions.map(owned => owned.describe())
  }

  lag(): number | undefined {
    let sum = 0
    for (const { lag } of this.partitions()) {
      if (lag === undefined) return undefined
      sum += lag
    }
    return sum
  }

  async commit(offsets?: readonly OffsetToCommit[]): Promise<void> {
    const chosen = offsets?.map(offset => this.#offsetOf(offset)) ?? this.#givenOffsets()
    // Else what commits by itself would take it back.
    for (const place of chosen) this.#require(place).done = this.#placeOf(place)
    if (chosen.length === 0) return
    const outcomes = await this.#reader.commit(chosen)
    for (const error of outcomes) if (error !== undefined) throw error
  }

  pause(partitions: readonly TopicPartition[]): void {
    for (const owned of partitions.map(of => this.#require(of)))
      this.#reader.pause(owned, this.#nextOffsetOf(owned))
  }

  resume(partitions: readonly TopicPartition[]): void {
    for (const owned of partitions.map(of => this.#require(of))) this.#reader.resume(owned)
  }

  seek(partition: TopicPartition, offset: number): void {
    if (!Number.isSafeInteger(offset) || offset < 0)
      throw new TypeError(`consumer: ${offset} is not an offset, use 0 or more`)
    this.#reader.seek(this.#require(partition), offset)
    this.#autoCommit?.due()
  }

  close(options: CloseOptions = {}): Promise<void> {
    this.#closing ??= this.#close(options.waitMs ?? 0)
    return this.#closing
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  async #close(waitMs: number): Promise<void> {
    this.#waiters.wake()
    if (waitMs > 0 && this.#inHand !== undefined) await this.#untilBack(waitMs)
    this.#reader.stopReading()
    this.#autoCommit?.close()
    try {
      if (this.#reader.error === undefined) await this.#autoCommit?.flush()
    } finally {
      await this.#reader.leave()
      this.#onClose()
    }
  }

  /**
   * What comes next. It is drawn and taken without a wait in between: what is drawn counts as passed over, unless it is in
   * `#current` or in hand.
   */
  async #next<T>(loop: object, take: () => T | undefined): Promise<IteratorResult<T>> {
    if (this.#waitingLoop !== undefined) throw oneLoop()
    this.#waitingLoop = loop
    try {
      for (;;) {
        if (this.#reader.isSliceOver) await this.#reader.giveWay()
        if (this.#reader.error !== undefined) throw this.#reader.error
        if (this.#closing) return END
        const value = take()
        if (value !== undefined) return { value, done: false }
        if (!this.#drawMore()) await this.#waiters.wait()
      }
    } finally {
      this.#waitingLoop = undefined
    }
  }

  #takeRecord(loop: object): ConsumedRecord | undefined {
    const drawn = this.#reader.mayDeliver ? this.#restOfCurrent() : undefined
    if (drawn === undefined) return undefined
    const { records } = drawn.batch
    const record = records[this.#recordAt++] as ConsumedRecord
    const isLast = this.#recordAt === records.length
    const end = isLast ? drawn.end : { nextOffset: record.offset + 1, leaderEpoch: drawn.end.leaderEpoch }
    this.#hand(drawn.owned, end, loop)
    return record
  }

  /** Without what was drawn of it one by one. */
  #takeBatch(loop: object): RecordBatch | undefined {
    const drawn = this.#reader.mayDeliver ? this.#restOfCurrent() : undefined
    if (drawn === undefined) return undefined
    this.#current = undefined
    this.#hand(drawn.owned, drawn.end, loop)
    const { batch } = drawn
    return this.#recordAt === 0 ? batch : { ...batch, records: batch.records.slice(this.#recordAt) }
  }

  /** False: there is nothing, or nothing may be given out now. */
  #drawMore(): boolean {
    const drawn = this.#restOfCurrent() === undefined ? this.#reader.draw() : undefined
    if (drawn === undefined) return false
    this.#current = drawn
    this.#recordAt = 0
    return true
  }

  /** The batch that was drawn last, if there is more of it that may still be given out. */
  #restOfCurrent(): DrawnRecords | undefined {
    const drawn = this.#current
    if (drawn === undefined) return undefined
    if (this.#reader.isCurrent(drawn) && this.#recordAt < drawn.batch.records.length) return drawn
    this.#current = undefined
    return undefined
  }

  #hand(owned: OwnedPartition, end: Place, loop: object): void {
    owned.given = end
    this.#inHand = { owned, seekCount: owned.seekCount, end, loop }
  }

  /** A loop asks for more: what it has is done. */
  #comeBack(loop: object): void {
    const inHand = this.#inHand
    if (inHand === undefined) return
    if (inHand.loop !== loop) throw oneLoop()
    this.#inHand = undefined
    const { owned, end, seekCount } = inHand
    owned.finish(end, seekCount)
    this.#autoCommit?.due()
    this.#handWaiters.wake()
  }

  /** By `break` or an error, nobody can tell: what it has is not done, unless it is committed. */
  #leaveLoop(loop: object): void {
    if (this.#inHand?.loop === loop) this.#inHand = undefined
    this.#handWaiters.wake()
  }

  async #untilBack(waitMs: number): Promise<void> {
    let isOver = false
    const timer = this.#connection.clock.setTimer(waitMs, () => {
      isOver = true
      this.#handWaiters.wake()
    })
    while (this.#inHand !== undefined && !isOver) await this.#handWaiters.wait()
    timer.cancel()
  }

  async #giveBack(partitions: readonly OwnedPartition[]): Promise<void> {
    await Promise.all([
      this.#tell(() => this.#options.onRevoked?.(partitions.map(placeOf))),
      this.#untilNotInHand(partitions),
    ])
    await this.#autoCommit?.flushUntilDone(partitions, () => this.#connection.backoff().nextMs())
    this.#reader.release(partitions)
  }

  async #untilNotInHand(partitions: readonly OwnedPartition[]): Promise<void> {
    for (;;) {
      const held = this.#inHand?.owned
      if (held === undefined || held.isGone || !partitions.includes(held)) return
      await this.#handWaiters.wait()
    }
  }

  /** What a callback throws ends the consumer, as if the loop had thrown it. */
  async #tell(callback: () => void | Promise<void> | undefined): Promise<void> {
    try {
      await callback()
    } catch (thrown) {
      this.#reader.fail(thrown as NaruError)
    }
  }

  #pending(): OffsetOf[] {
    return this.#reader.partitions.flatMap(owned => owned.pending(this.#current?.owned === owned) ?? [])
  }

  #givenOffsets(): OffsetOf[] {
    return this.#reader.partitions
      .filter(({ given, committed }) => given.nextOffset !== committed)
      .map(owned => owned.at(owned.given))
  }

  #offsetOf(offset: OffsetToCommit): OffsetOf {
    const { topicId, given } = this.#require(offset)
    const leaderEpoch = given.nextOffset === offset.nextOffset ? given.leaderEpoch : undefined
    return { ...offset, topicId, leaderEpoch }
  }

  #placeOf(offset: OffsetOf): Place {
    const { given } = this.#require(offset)
    const { nextOffset, leaderEpoch } = offset
    return given.nextOffset === nextOffset ? given : { nextOffset, leaderEpoch }
  }

  #nextOffsetOf(owned: OwnedPartition): number {
    const rest = this.#restOfCurrent()
    const record = rest?.owned === owned ? rest.batch.records[this.#recordAt] : undefined
    return record?.offset ?? owned.position
  }

  #require(of: TopicPartition): OwnedPartition {
    const owned = this.#reader.partition(of)
    if (owned !== undefined) return owned
    throw new NaruError(
      'PARTITION_NOT_OWNED',
      `partition ${of.partition} of topic "${of.topic}" is not this member's ("${this.member}") now`,
      { details: { topic: of.topic, partition: String(of.partition) } },
    )
  }
}

function placeOf({ topic, partition }: OwnedPartition): TopicPartition {
  return { topic, partition }
}

function oneLoop(): TypeError {
  return new TypeError(
    'consumer: another loop is at work on it (take batches() and share them out, or make several consumers)',
  )
}
