import type { NodeId, Offset } from '../../base/brands.ts'
import { NaruError } from '../../base/errors.ts'
import { leaderEpochAt } from '../../records/batch-header.ts'
import { failureToError } from '../../wire/failure.ts'
import type { Assigned, AttendJoined, Lost, Revoking, Skipped } from '../../wire/messages.ts'
import type { Connection } from '../connection.ts'
import type { MetadataCache } from '../metadata-cache.ts'
import { BatchQueue } from '../reader/batch-queue.ts'
import { endBefore, LeaderStreams, mayPass } from '../reader/leader-streams.ts'
import { listedOffsets } from '../reader/listed-offsets.ts'
import { PartitionCursor } from '../reader/partition-cursor.ts'
import type { RecordBatch } from '../reader/types.ts'
import type { MemberSettings } from './consumer-settings.ts'
import { Membership } from './membership.ts'
import { type CommitOutcome, OffsetCommits, type OffsetOf } from './offset-commits.ts'
import { OwnedPartition, ownedKey, type Place } from './owned-partition.ts'

/** Part of a batch, drawn at a time at which the partition was this member's. */
export interface DrawnRecords {
  readonly owned: OwnedPartition
  /** Of the partition when they were drawn: once it is another, they must not be given out any more. */
  readonly generation: number
  readonly batch: RecordBatch
  /** What the batch holds before that is not for this member. */
  readonly from: Offset
  /** Behind all of them. */
  readonly end: Place
}

export interface GroupReaderEvents {
  readonly onJoined: (joined: AttendJoined) => void
  /** Reading begins when the promise resolves. */
  readonly onAssigned: (partitions: readonly OwnedPartition[]) => Promise<void>
  /** No more of these is drawn. Whoever is done with them calls `release`. */
  readonly onRevoking: (partitions: readonly OwnedPartition[], deadlineMs: number) => void
  readonly onLost: (partitions: readonly OwnedPartition[], cause: NaruError) => void
  /** Backwards (`to` below `from`), where the log ends before what was given out: its end was given up. */
  readonly onSkipped: (owned: OwnedPartition, skipped: Skipped) => void
  /** There may be something to draw, or the end. */
  readonly onReady: () => void
  /** Something is waited out. */
  readonly onTrouble: (error: NaruError) => void
}

export interface GroupReaderOptions {
  readonly connection: Connection
  readonly metadata: MetadataCache
  readonly settings: MemberSettings & { readonly creditBytesMax: number }
  /** Batches are drawn as they are stored, each in one piece, without their records. */
  readonly isWhole?: boolean
  readonly events: GroupReaderEvents
}

/**
 * The records of the partitions that one member of a group has. What was given out, what is done with and when
 * partitions are given back is its owner's business: a `GroupConsumer`, or a node that serves `Subscribe`.
 *
 * Invariant: nothing is drawn of a partition that is being revoked, that the newest stream of the member has not
 * confirmed, or while the coordinator may have given the member up (D4).
 */
export class GroupReader {
  readonly membership: Membership
  readonly #options: GroupReaderOptions
  readonly #queue: BatchQueue
  readonly #streams: LeaderStreams
  readonly #commits: OffsetCommits
  readonly #owned = new Map<string, OwnedPartition>()
  /** Not named by the newest stream of the member yet. */
  readonly #unconfirmed = new Set<OwnedPartition>()
  readonly #byCursor = new Map<PartitionCursor, OwnedPartition>()
  #error: NaruError | undefined
  #isClosed = false

  constructor(options: GroupReaderOptions) {
    this.#options = options
    const { connection, metadata, settings, events } = options
    this.#queue = new BatchQueue({ clock: connection.clock, isWhole: options.isWhole ?? false })
    this.#streams = new LeaderStreams({
      connection,
      metadata,
      creditBytesMax: settings.creditBytesMax,
      events: {
        resolve: (leaderId, cursors) => this.#resolve(leaderId, cursors),
        onReceived: received => {
          this.#queue.push(received)
          events.onReady()
        },
        onSkipped: (cursor, skipped) => this.#onSkipped(cursor, skipped),
        onCutOff: (cursor, endOffset) => {
          const owned = this.#byCursor.get(cursor)
          if (owned !== undefined) this.#cutOff(owned, endOffset)
          return true
        },
        onChanged: () => {},
        mayGoOn: (_, error) => this.#mayGoOn(error),
      },
    })
    this.membership = new Membership({
      connection,
      settings,
      events: {
        onJoined: joined => this.#onJoined(joined),
        onAssigned: assigned => this.#onAssigned(assigned),
        onRevoking: revoking => this.#onRevoking(revoking),
        onLost: lost => this.#onLost(lost),
        onSettled: () => this.#onSettled(),
        onExpelled: cause => this.#lose([...this.#owned.values()], cause),
        onHeard: events.onReady,
        onTrouble: events.onTrouble,
        onFailed: error => this.fail(error),
      },
    })
    this.#commits = new OffsetCommits({
      connection,
      group: settings.group,
      membership: this.membership,
      isSettled: () => this.membership.isJoined && this.#unconfirmed.size === 0,
    })
  }

  /** Why it ended by itself. */
  get error(): NaruError | undefined {
    return this.#error
  }

  get partitions(): OwnedPartition[] {
    return [...this.#owned.values()]
  }

  partition(of: { topic: string; partition: number }): OwnedPartition | undefined {
    return this.#owned.get(ownedKey(of))
  }

  /** What was drawn may be given out now. Where not, it may be again in a moment, or never: see `isCurrent`. */
  get mayDeliver(): boolean {
    return this.membership.mayDeliver && this.#unconfirmed.size === 0 && !this.#isClosed
  }

  isCurrent({ owned, generation }: { owned: OwnedPartition; generation: number }): boolean {
    return owned.generation === generation
  }

  /** A loop that draws should give way to other work. */
  get isSliceOver(): boolean {
    return this.#queue.isSliceOver
  }

  giveWay(): Promise<void> {
    return this.#queue.giveWay()
  }

  /** Undefined: nothing is there, or nothing may be given out now. `events.onReady` tells when to try again. */
  draw(): DrawnRecords | undefined {
    if (!this.mayDeliver) return undefined
    for (;;) {
      const drawn = this.#drawAny()
      if (drawn === undefined) return undefined
      const { cursor, batch, from } = drawn
      const owned = this.#byCursor.get(cursor)
      if (owned === undefined) continue
      owned.position = batch.nextOffset
      const end = { nextOffset: batch.nextOffset, leaderEpoch: leaderEpochAt(batch.bytes, 0) }
      return { owned, generation: owned.generation, batch, from, end }
    }
  }

  /** One outcome each, in order. */
  async commit(offsets: readonly OffsetOf[]): Promise<CommitOutcome[]> {
    const claims = offsets.map(offset => ({ offset, owned: this.#owned.get(ownedKey(offset)) }))
    const outcomes = await this.#commits.commit(
      claims.map(({ offset, owned }) => ({
        offset,
        refusal: () =>
          this.#owned.get(ownedKey(offset)) === owned ? undefined : notTold(this.membership.member),
      })),
    )
    for (const [index, { offset, owned }] of claims.entries()) {
      if (owned?.topicId !== offset.topicId) continue
      const error = outcomes[index]
      const endOffset = error && endBefore(offset.nextOffset, error)
      if (error === undefined) owned.committed = offset.nextOffset
      else if (endOffset !== undefined && !owned.isGone) this.#cutOff(owned, endOffset)
    }
    return outcomes
  }

  /** Another member may have them now. */
  release(partitions: readonly OwnedPartition[]): void {
    const released = partitions.filter(owned => owned.isRevoking && !owned.isGone)
    if (released.length === 0) return
    for (const owned of released) this.#forget(owned)
    this.membership.release(released.map(({ topic, partition }) => ({ topic, partition })))
  }

  /** From `position` on it is not read until `resume`. */
  pause(owned: OwnedPartition, position: Offset): void {
    if (owned.isPaused || owned.isGone) return
    owned.isPaused = true
    this.#stopReading(owned)
    owned.position = position
  }

  resume(owned: OwnedPartition): void {
    owned.isPaused = false
    this.#startReading([owned])
  }

  seek(owned: OwnedPartition, offset: Offset): void {
    this.#stopReading(owned)
    owned.seek(offset)
    this.#startReading([owned])
  }

  fail(error: NaruError): void {
    this.#error ??= error
    this.#commits.close(error)
    this.stopReading()
    void this.membership.leave()
    this.#options.events.onReady()
  }

  /** Nothing more is drawn; commits go on. */
  stopReading(): void {
    this.#isClosed = true
    this.#streams.close()
    this.#queue.clear()
  }

  /** The partitions are others' at once. */
  async leave(): Promise<void> {
    this.stopReading()
    await this.membership.leave()
    this.#commits.close(new NaruError('CLOSED', 'the consumer was closed'))
  }

  /** The member is expected back: its partitions stay its own for a while. */
  abandon(): void {
    this.stopReading()
    this.membership.abandon()
    this.#commits.close(new NaruError('CLOSED', 'the consumer was closed'))
  }

  #drawAny(): ReturnType<BatchQueue['draw']> {
    try {
      return this.#queue.draw()
    } catch (thrown) {
      this.fail(NaruError.from(thrown))
      return undefined
    }
  }

  /** A stream of the member is new: what it still has is told again, and what of that it is asked for. */
  #onJoined(joined: AttendJoined): void {
    for (const owned of this.#owned.values()) this.#unconfirmed.add(owned)
    this.#commits.wake()
    this.#options.events.onJoined(joined)
  }

  #onAssigned({ partitions }: Assigned): void {
    const fresh: OwnedPartition[] = []
    for (const assigned of partitions) {
      const known = this.#owned.get(ownedKey(assigned))
      const { nextOffset } = assigned
      const isKept =
        known !== undefined &&
        known.topicId === assigned.topicId &&
        // Otherwise somebody else was there in between; to commit what is done here would take that back.
        known.committed <= nextOffset &&
        nextOffset <= known.done.nextOffset
      if (isKept) {
        this.#unconfirmed.delete(known)
        known.committed = nextOffset
        continue
      }
      if (known !== undefined) this.#lose([known], notTold(this.membership.member))
      const owned = new OwnedPartition(assigned)
      this.#owned.set(owned.key, owned)
      fresh.push(owned)
    }
    this.#wake()
    if (fresh.length > 0) void this.#begin(fresh)
  }

  async #begin(partitions: readonly OwnedPartition[]): Promise<void> {
    await this.#options.events.onAssigned(partitions)
    for (const owned of partitions) owned.isBegun = true
    this.#startReading(partitions)
  }

  #onRevoking({ partitions, deadlineMs }: Revoking): void {
    const asked = partitions.flatMap(of => this.partition(of) ?? []).filter(({ isRevoking }) => !isRevoking)
    for (const owned of asked) {
      owned.isRevoking = true
      this.#stopReading(owned)
    }
    if (asked.length > 0) this.#options.events.onRevoking(asked, deadlineMs)
  }

  #onLost({ partitions, cause }: Lost): void {
    const lost = partitions.flatMap(of => this.partition(of) ?? [])
    this.#lose(lost, cause ? failureToError(cause) : notTold(this.membership.member))
  }

  #onSettled(): void {
    this.#lose([...this.#unconfirmed], notTold(this.membership.member))
  }

  #lose(partitions: readonly OwnedPartition[], cause: NaruError): void {
    if (partitions.length === 0) return
    for (const owned of partitions) this.#forget(owned)
    this.#wake()
    this.#options.events.onLost(partitions, cause)
  }

  #forget(owned: OwnedPartition): void {
    owned.isGone = true
    this.#unconfirmed.delete(owned)
    this.#stopReading(owned)
    if (this.#owned.get(owned.key) === owned) this.#owned.delete(owned.key)
  }

  #wake(): void {
    this.#commits.wake()
    this.#options.events.onReady()
  }

  #startReading(partitions: readonly OwnedPartition[]): void {
    if (this.#isClosed) return
    const cursors: PartitionCursor[] = []
    for (const owned of partitions) {
      if (!owned.mayBeRead || owned.cursor !== undefined) continue
      const cursor = new PartitionCursor(owned)
      cursor.resolve({ start: owned.position, stop: undefined })
      owned.cursor = cursor
      this.#byCursor.set(cursor, owned)
      cursors.push(cursor)
    }
    this.#streams.add(cursors)
  }

  #stopReading(owned: OwnedPartition): void {
    owned.generation++
    const { cursor } = owned
    if (cursor === undefined) return
    owned.cursor = undefined
    this.#byCursor.delete(cursor)
    this.#streams.remove(cursor)
    this.#queue.drop(cursor)
  }

  #onSkipped(cursor: PartitionCursor, skipped: Skipped): boolean {
    const owned = this.#byCursor.get(cursor)
    if (owned === undefined) return false
    this.#options.events.onSkipped(owned, skipped)
    const { start } = this.#options.settings
    return start.at !== 'EARLIEST' && start.offset === undefined
  }

  /**
   * The end of its log was given up. It goes on there, wherever the member began: all before is done, or will be given
   * out yet.
   */
  #cutOff(owned: OwnedPartition, endOffset: Offset): void {
    const { topic, partition, given } = owned
    this.#stopReading(owned)
    owned.cutOff(endOffset)
    if (given.nextOffset > endOffset)
      this.#options.events.onSkipped(owned, { topic, partition, from: given.nextOffset, to: endOffset })
    this.#startReading([owned])
  }

  /** Where a lost position goes on: at the start that the member asked for. */
  async #resolve(leaderId: NodeId, cursors: readonly PartitionCursor[]): Promise<void> {
    const { connection, settings } = this.#options
    const asked = cursors.map(({ topic, topicId, partition }) => ({
      topic,
      topicId,
      partition,
      position: settings.start,
    }))
    const offsets = await listedOffsets(connection, leaderId, asked)
    for (const [index, cursor] of cursors.entries()) {
      const listed = offsets[index]
      if (listed?.failure) this.#streams.failed(cursor, failureToError(listed.failure))
      else cursor.resolve({ start: listed?.offset ?? 0, stop: undefined })
    }
  }

  /** A topic that is not there is the coordinator's to tell of. What may pass is waited for, however long it takes. */
  #mayGoOn(error: NaruError): boolean {
    const isOfTopic = error.reason === 'UNKNOWN_TOPIC' || error.reason === 'UNKNOWN_PARTITION'
    if (!mayPass(error) && !isOfTopic) {
      this.fail(error)
      return false
    }
    this.#options.events.onTrouble(error)
    return true
  }
}

function notTold(member: string): NaruError {
  return new NaruError(
    'PARTITION_NOT_OWNED',
    `the partition is not member "${member}"'s any more, as it has learned on its return`,
    { details: { member } },
  )
}
