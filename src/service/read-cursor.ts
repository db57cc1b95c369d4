import { assert } from '../base/assert.ts'
import type { Offset, PartitionId } from '../base/brands.ts'
import { NaruError } from '../base/errors.ts'
import type { LogSlice } from '../log/log-tail.ts'
import type { TopicView } from '../metadata/topic-image.ts'
import type {
  PartitionRecords,
  PartitionStatus,
  Position,
  RecordFormat,
  Skipped,
  Stop,
} from '../wire/messages.ts'
import { type Chunk, makeChunk, type TakeLimits, type TakenPart } from './chunk.ts'
import type { PartitionSource } from './partition-source.ts'
import type { OpenedPartition } from './partition-sources.ts'
import type { ReadMemory } from './read-memory.ts'

export interface ReadCursorOptions {
  readonly topic: TopicView
  readonly partition: PartitionId
  readonly start: Position | undefined
  readonly stop: Stop | undefined
  readonly format: RecordFormat
  /** Credit is counted: chunks are cut into single batches. */
  readonly isCounted: boolean
  /** Memory of the node for what is read and not sent yet. */
  readonly memory: ReadMemory
  readonly events: ReadCursorEvents
}

export interface ReadCursorEvents {
  /** There may be something to take. */
  onReady(cursor: ReadCursor): void
  onSkipped(skipped: Skipped): void
  /** The leader serves no more. True: `open` comes again; false: reading has failed. */
  onLost(cursor: ReadCursor, error: NaruError): boolean
  /** Reading is over: it failed. Called once. */
  onFailed(cursor: ReadCursor, error: NaruError): void
}

/**
 * One partition of a Read: where it is, and what was read ahead of it.
 *
 * opening -> reading (`open`) -> closed, and back to opening when the leader is lost (`onLost`): it goes on where it was
 * at another one. While reading, at most one read is under way or one chunk held, and the
 * bytes of either are taken from the budget; `drop` gives them back at no loss, since the position moves only
 * when a part is taken into a frame.
 */
export class ReadCursor {
  readonly topic: TopicView
  readonly partition: PartitionId
  readonly #options: ReadCursorOptions
  #leader: PartitionSource | undefined
  #unfollow: () => void = () => {}
  #position: Offset = 0
  /** Start and stop are offsets: they were found, by the leader of then. */
  #isPlaced = false
  #leaderEpoch = 0
  #stop: Offset | undefined
  #chunk: Chunk | undefined
  #takenBytes = 0
  #extraBytes = 0
  #leaveLine: (() => void) | undefined
  /** Raised by what makes the result of a read under way unwanted. */
  #readNumber = 0
  #isReading = false
  #isClosed = false

  constructor(options: ReadCursorOptions) {
    this.topic = options.topic
    this.partition = options.partition
    this.#options = options
  }

  get position(): Offset {
    return this.#position
  }

  get isClosed(): boolean {
    return this.#isClosed
  }

  get isOpen(): boolean {
    return this.#leader !== undefined && !this.#isClosed
  }

  get reachedStop(): boolean {
    return this.#stop !== undefined && this.#position >= this.#stop
  }

  /** More is readable than was taken. */
  get hasMore(): boolean {
    const leader = this.#leader
    if (leader === undefined || this.#isClosed) return false
    return this.#position < Math.min(leader.highWatermark, this.#stop ?? Number.POSITIVE_INFINITY)
  }

  get heldBytes(): number {
    return this.#takenBytes + this.#extraBytes
  }

  /** What `open` is to begin with. */
  get places(): { readonly start: Position | undefined; readonly stop: Stop | undefined } {
    if (!this.#isPlaced) return this.#options
    return {
      start: { offset: this.#position },
      stop: this.#stop === undefined ? undefined : { offset: this.#stop },
    }
  }

  /** Of the leader that was read last. */
  get leaderEpoch(): number {
    return this.#leaderEpoch
  }

  /** Follows the leader from now on. Throws OFFSET_OUT_OF_RANGE where the log ends before that. */
  open({ source, from, stop }: OpenedPartition): void {
    this.#requireNotBehindEnd(source, from)
    this.#isPlaced = true
    this.#leaderEpoch = source.leaderEpoch
    this.#leader = source
    this.#position = from
    this.#stop = stop
    this.#unfollow = source.follow(() => this.#onProgress(source))
    this.#skipWhatIsGone()
  }

  #requireNotBehindEnd({ topic, partition, highWatermark }: PartitionSource, offset: Offset): void {
    if (offset <= highWatermark) return
    throw new NaruError(
      'OFFSET_OUT_OF_RANGE',
      `offset ${offset} of "${topic}" partition ${partition} is behind its end ${highWatermark}: start there or before`,
      { details: { high_watermark: String(highWatermark) } },
    )
  }

  status(): PartitionStatus {
    const leader = this.#leader
    assert(leader !== undefined, 'a partition has a status once it is being read')
    return {
      topic: this.topic.name,
      partition: this.partition,
      nextOffset: this.#position,
      highWatermark: leader.highWatermark,
      logStartOffset: leader.logStartOffset,
      leaderEpoch: leader.leaderEpoch,
    }
  }

  /**
   * Moves on by what fits into a frame. 'full': it has something, but not for what is left of this frame. 'idle':
   * nothing now, `onReady` comes again.
   */
  take(limits: TakeLimits): { records: PartitionRecords; part: TakenPart } | 'full' | 'idle' {
    try {
      if (this.#chunk === undefined) this.read(limits.bytesMax)
      const chunk = this.#chunk
      if (chunk === undefined) return 'idle'
      const part = chunk.take(limits)
      if (part === undefined) return 'full'
      this.#position = part.nextOffset
      if (chunk.isEmpty) this.drop()
      else this.#countExtra(chunk)
      return { records: this.#partitionRecords(part), part }
    } catch (thrown) {
      if (!(thrown instanceof NaruError)) throw thrown
      this.#fail(thrown)
      return 'idle'
    }
  }

  /** Reads on, what fits into an empty frame, unless something is there or under way already. */
  read(frameBytesMax: number): void {
    if (this.#chunk !== undefined || this.#isReading || !this.hasMore) return
    this.#skipWhatIsGone()
    const { memory } = this.#options
    const maxBytes = Math.min(Math.max(1, frameBytesMax - FIELD_BYTES), READ_BYTES_MAX, memory.frameBytesMax)
    const number = ++this.#readNumber
    this.#isReading = true
    let isAtOnce = true
    let isGranted = false
    const leave = this.#options.memory.budget.take(maxBytes, () => {
      isGranted = true
      this.#leaveLine = undefined
      this.#takenBytes = maxBytes
      // It may have got crowded while this one was in line.
      this.#readNow(number, Math.min(maxBytes, memory.frameBytesMax))
      if (!isAtOnce && this.#chunk !== undefined) this.#options.events.onReady(this)
    })
    isAtOnce = false
    if (!isGranted) this.#leaveLine = leave
  }

  /** Gives back what was read ahead and not taken. */
  drop(): void {
    this.#readNumber++
    this.#isReading = false
    this.#chunk = undefined
    this.#leaveLine?.()
    this.#leaveLine = undefined
    this.#giveBack(this.#takenBytes)
    if (this.#extraBytes > 0) this.#options.memory.budget.giveBack(this.#extraBytes)
    this.#extraBytes = 0
  }

  close(): void {
    this.#isClosed = true
    this.#leave()
  }

  #leave(): void {
    this.#unfollow()
    this.drop()
    this.#leader?.release?.()
  }

  #readNow(number: number, maxBytes: number): void {
    const leader = this.#leader
    assert(leader !== undefined, 'a partition is read once it is open')
    try {
      const slice = leader.read({ from: this.#position, maxBytes })
      if (slice instanceof Promise) void this.#awaitSlice(number, slice)
      else this.#onSlice(slice)
    } catch (thrown) {
      this.#onReadFailed(thrown)
    }
  }

  async #awaitSlice(number: number, reading: Promise<LogSlice>): Promise<void> {
    try {
      const slice = await reading
      if (number !== this.#readNumber || this.#isClosed) return
      this.#onSlice(slice)
      this.#options.events.onReady(this)
    } catch (thrown) {
      if (number === this.#readNumber && !this.#isClosed) this.#onReadFailed(thrown)
    }
  }

  #onSlice(slice: LogSlice): void {
    this.#isReading = false
    const { format, isCounted } = this.#options
    const spareBytes = this.#takenBytes - slice.sizeBytes
    if (slice.buffers.length > 0) {
      const range = { from: this.#position, stop: this.#stop, isCounted, name: this.#name }
      const chunk = makeChunk(slice, format, range)
      if (!chunk.isEmpty) {
        this.#chunk = chunk
        this.#countExtra(chunk)
      } else {
        // Nothing of it is wanted (all removed by a cleaner, say): look further in the next turn.
        this.#position = Math.min(slice.nextOffset, this.#stop ?? slice.nextOffset)
        this.#options.events.onReady(this)
      }
    }
    this.#giveBack(this.#chunk === undefined ? this.#takenBytes : Math.max(0, spareBytes))
  }

  #onReadFailed(thrown: unknown): void {
    this.drop()
    const leader = this.#leader
    const error = NaruError.from(thrown)
    // Retention moved the start while the read was on its way: that is what `skipped` is for.
    if (error.reason === 'OFFSET_OUT_OF_RANGE' && leader && this.#position < leader.logStartOffset) {
      this.#skipWhatIsGone()
      this.#options.events.onReady(this)
    } else this.#fail(error)
  }

  #skipWhatIsGone(): void {
    const leader = this.#leader
    if (leader === undefined || this.#position >= leader.logStartOffset) return
    const from = this.#position
    const to = this.#options.start?.at === 'LATEST' ? leader.highWatermark : leader.logStartOffset
    this.#position = to
    this.#options.events.onSkipped({ topic: this.topic.name, partition: this.partition, from, to })
  }

  #onProgress(leader: PartitionSource): void {
    if (this.#isClosed || this.#leader === undefined) return
    if (leader.ended !== undefined) this.#fail(leader.ended)
    else if (this.hasMore) this.#options.events.onReady(this)
  }

  #fail(error: NaruError): void {
    if (this.#isClosed || this.#leader === undefined) return
    this.#leave()
    this.#leader = undefined
    if (this.#options.events.onLost(this, error)) return
    this.#isClosed = true
    this.#options.events.onFailed(this, error)
  }

  /** Decompressed batches can be many times what was read: they count until they are taken, or dropped. */
  #countExtra(chunk: Chunk): void {
    const { extraBytes } = chunk
    if (extraBytes > this.#extraBytes) this.#options.memory.budget.takeAnyway(extraBytes - this.#extraBytes)
    else if (extraBytes < this.#extraBytes)
      this.#options.memory.budget.giveBack(this.#extraBytes - extraBytes)
    this.#extraBytes = extraBytes
  }

  #giveBack(bytes: number): void {
    if (bytes === 0) return
    this.#takenBytes -= bytes
    this.#options.memory.budget.giveBack(bytes)
  }

  #partitionRecords(part: TakenPart): PartitionRecords {
    const { batches, records } = part
    return { ...this.status(), batches, records }
  }

  get #name(): string {
    return `"${this.topic.name}" partition ${this.partition}`
  }
}

/** What is around the bytes of a read in a frame. */
const FIELD_BYTES = 16
/** One read: large enough for a disk to be fast, small enough for many streams. */
const READ_BYTES_MAX = 4 * 1024 * 1024
