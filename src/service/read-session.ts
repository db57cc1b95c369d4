import type { PartitionId, Uuid } from '../base/brands.ts'
import { NaruError } from '../base/errors.ts'
import type { MetadataDelta } from '../metadata/metadata-delta.ts'
import { requireTopic } from '../metadata/topic-errors.ts'
import type { TopicView } from '../metadata/topic-image.ts'
import type { Timer } from '../ports/clock.ts'
import type { MessageStream } from '../ports/transport.ts'
import { errorToFailure } from '../wire/failure.ts'
import { CLIENT_FRAME_BYTES_DEFAULT, CLIENT_FRAME_BYTES_MAX, CLIENT_FRAME_BYTES_MIN } from '../wire/limits.ts'
import type { ReadPartition, ReadRequest, RecordFormat, TopicSelector } from '../wire/messages.ts'
import { Consumer } from '../wire/methods.ts'
import { checkPosition, checkStop } from './positions.ts'
import { ReadCredit } from './read-credit.ts'
import { ReadCursor } from './read-cursor.ts'
import { type Notice, ReadFrame } from './read-frame.ts'
import type { ReadMemory } from './read-memory.ts'
import { integerWithin, invalidRequest } from './request-checks.ts'
import type { ServiceNode } from './service-node.ts'
import { awaitLeader, requirePartition } from './topic-lookup.ts'

/** Partitions of one stream: more belong on several. */
const READ_PARTITIONS_MAX = 10_000
/** Streams say how they are after this long without a frame. */
const HEARTBEAT_MS = 500

/**
 * One Read. What wakes it in a turn (a high watermark, a finished read, credit, drain) is gathered; at the end of
 * the turn frames are filled from the partitions that have something, round robin, until the stream is full.
 * While it is full, it reads ahead (a little, and only while the node has memory to spare).
 *
 * Notices (statuses, skips, failures, ends) go in the order in which they came about, before any records taken later.
 */
export class ReadSession {
  readonly #node: ServiceNode
  readonly #memory: ReadMemory
  readonly #stream: MessageStream
  readonly #cursors = new Map<Uuid, Map<PartitionId, ReadCursor>>()
  #cursorCount = 0
  /** Topics of which all partitions are read, also those to come. */
  readonly #wholeTopics = new Map<Uuid, WholeTopic>()
  /** In turn: who was served goes to the end. */
  readonly #ready = new Set<ReadCursor>()
  #notices: Notice[] = []
  #options: { readonly format: RecordFormat; readonly frameBytes: number } | undefined
  #credit = ReadCredit.unlimited()
  #unsubscribe: () => void
  #heartbeat: Timer | undefined
  #lastFrameMs: number
  #isScheduled = false
  #isBlocked = false
  #isHalfClosed = false
  #isClosed = false

  constructor(node: ServiceNode, memory: ReadMemory, stream: MessageStream) {
    this.#node = node
    this.#memory = memory
    this.#stream = stream
    this.#lastFrameMs = node.clock.monotonicMs()
    this.#unsubscribe = node.controller.subscribe(delta => this.#onMetadata(delta))
    stream.setHandlers({
      onMessage: message => this.#onMessage(message),
      onEnd: () => {
        this.#isHalfClosed = true
        this.#schedule()
      },
      onDrain: () => {
        this.#isBlocked = false
        this.#schedule()
      },
      onClose: () => this.#close(),
    })
    this.#armHeartbeat(HEARTBEAT_MS)
  }

  #onMessage(message: Buffer): void {
    if (this.#isClosed) return
    const request = Consumer.read.request.decode(message)
    this.#checkFrame(request)
    for (const selector of request.remove) this.#remove(selector)
    for (const added of request.add) this.#add(added)
    this.#schedule()
  }

  /** What is wrong with a frame itself ends the stream; what is wrong with a partition is an answer. */
  #checkFrame({ options, credit }: ReadRequest): void {
    if (this.#options === undefined) {
      const frameBytes = integerWithin(options?.maxFrameBytes, {
        name: 'max_frame_bytes',
        min: CLIENT_FRAME_BYTES_MIN,
        max: CLIENT_FRAME_BYTES_MAX,
        default: CLIENT_FRAME_BYTES_DEFAULT,
      })
      this.#options = { format: options?.format ?? 'RECORDS', frameBytes }
      if (credit !== undefined) this.#credit = ReadCredit.of(credit)
      return
    }
    if (options !== undefined) throw invalidRequest('options come with the first frame only')
    if (credit !== undefined) this.#credit.add(credit)
  }

  #add(added: ReadPartition): void {
    try {
      checkPosition(added.start, 'start')
      checkStop(added.stop)
      const topic = requireTopic(this.#node.controller.image, added.topic, added.topicId)
      if (added.partition !== undefined) {
        requirePartition(topic, added.partition)
        this.#begin(topic, added.partition, added)
        return
      }
      if (!this.#wholeTopics.has(topic.id))
        this.#wholeTopics.set(topic.id, { request: added, partitionCount: topic.partitionCount })
      for (let partition = 0; partition < topic.partitionCount; partition++)
        this.#tryBegin(topic, partition, added)
    } catch (thrown) {
      this.#notice(failed(added.topic, added.partition ?? 0, thrown))
    }
  }

  #tryBegin(topic: TopicView, partition: PartitionId, added: ReadPartition): void {
    try {
      this.#begin(topic, partition, added)
    } catch (thrown) {
      this.#notice(failed(topic.name, partition, thrown))
    }
  }

  #begin(topic: TopicView, partition: PartitionId, added: ReadPartition): void {
    let cursors = this.#cursors.get(topic.id)
    if (cursors?.has(partition))
      throw invalidRequest(`"${topic.name}" partition ${partition} is being read on this stream already`)
    if (this.#cursorCount >= READ_PARTITIONS_MAX)
      throw new NaruError(
        'OVERLOADED',
        `one Read takes at most ${READ_PARTITIONS_MAX} partitions: open another stream for the others`,
      )
    if (cursors === undefined) {
      cursors = new Map()
      this.#cursors.set(topic.id, cursors)
    }
    const { start, stop } = added
    const cursor = new ReadCursor({
      topic,
      partition,
      start,
      stop,
      format: this.#options?.format ?? 'RECORDS',
      isCounted: this.#credit.isLimited,
      budget: this.#memory.budget,
      events: {
        onReady: ready => this.#onReady(ready),
        onSkipped: value => this.#notice({ kind: 'skipped', value }),
        onFailed: (of, error) => this.#onFailed(of, error),
      },
    })
    cursors.set(partition, cursor)
    this.#cursorCount++
    void this.#open(cursor)
  }

  async #open(cursor: ReadCursor): Promise<void> {
    const { topic, partition } = cursor
    try {
      const leader = await awaitLeader(this.#node, { topic, partition })
      if (cursor.isClosed) return
      await this.#memory.lookups.run(() => cursor.open(leader))
      if (cursor.isClosed) return
      this.#notice({ kind: 'statuses', value: cursor.status() })
      this.#onReady(cursor)
    } catch (thrown) {
      if (cursor.isClosed) return
      cursor.close()
      this.#onFailed(cursor, NaruError.from(thrown))
    }
  }

  #remove(selector: TopicSelector): void {
    const { topic: name, partition } = selector
    const cursors = [...this.#cursors.values()].find(one => [...one.values()][0]?.topic.name === name)
    const chosen =
      partition === undefined ? [...(cursors?.values() ?? [])] : [cursors?.get(partition)].filter(isDefined)
    for (const cursor of chosen) {
      if (partition === undefined) this.#wholeTopics.delete(cursor.topic.id)
      this.#end(cursor)
    }
    if (chosen.length > 0) return
    const what = partition === undefined ? `topic "${name}"` : `"${name}" partition ${partition}`
    this.#notice(failed(name, partition ?? 0, invalidRequest(`${what} is not being read on this stream`)))
  }

  #onMetadata(delta: MetadataDelta): void {
    // The partitions of a deleted topic fail by themselves, as their leaders end.
    for (const topicId of delta.deletedTopics.keys()) this.#wholeTopics.delete(topicId)
    for (const topicId of delta.changedPartitions.keys()) {
      const whole = this.#wholeTopics.get(topicId)
      const topic = this.#node.controller.image.topics.byId(topicId)
      if (whole === undefined || topic === undefined) continue
      // New partitions from their first record on: nothing of them was there when reading began.
      const { start: _, ...added } = whole.request
      for (; whole.partitionCount < topic.partitionCount; whole.partitionCount++)
        this.#tryBegin(topic, whole.partitionCount, added)
    }
  }

  #onReady(cursor: ReadCursor): void {
    this.#ready.add(cursor)
    this.#schedule()
  }

  #onFailed(cursor: ReadCursor, error: NaruError): void {
    this.#notice(failed(cursor.topic.name, cursor.partition, error))
    this.#forget(cursor)
  }

  #end(cursor: ReadCursor): void {
    const { topic, partition, position } = cursor
    cursor.close()
    this.#notice({ kind: 'ended', value: { topic: topic.name, partition, nextOffset: position } })
    this.#forget(cursor)
  }

  #forget(cursor: ReadCursor): void {
    this.#ready.delete(cursor)
    const cursors = this.#cursors.get(cursor.topic.id)
    if (cursors?.get(cursor.partition) !== cursor) return
    cursors.delete(cursor.partition)
    this.#cursorCount--
    if (cursors.size > 0) return
    this.#cursors.delete(cursor.topic.id)
    // All that was there has reached its stop or failed: what comes later is not waited for.
    this.#wholeTopics.delete(cursor.topic.id)
  }

  #notice(notice: Notice): void {
    if (this.#isClosed) return
    this.#notices.push(notice)
    this.#schedule()
  }

  #schedule(): void {
    if (this.#isScheduled || this.#isClosed) return
    this.#isScheduled = true
    this.#node.clock.afterTurn(() => {
      this.#isScheduled = false
      if (!this.#isClosed) this.#pump()
    })
  }

  #pump(): void {
    const { frameBytes } = this.#options ?? { frameBytes: CLIENT_FRAME_BYTES_DEFAULT }
    while (!this.#isBlocked && !this.#isClosed) {
      const frame = new ReadFrame(frameBytes)
      this.#fillNotices(frame)
      if (this.#notices.length === 0) this.#fillRecords(frame)
      if (frame.isEmpty && this.#notices.length === 0) break
      if (!frame.isEmpty) this.#write(frame)
    }
    if (this.#isBlocked) this.#readAhead(frameBytes)
    this.#endIfDone()
  }

  #fillNotices(frame: ReadFrame): void {
    let count = 0
    while (count < this.#notices.length && frame.tryAdd(this.#notices[count] as Notice)) count++
    this.#notices = count === this.#notices.length ? [] : this.#notices.slice(count)
  }

  #fillRecords(frame: ReadFrame): void {
    for (const cursor of [...this.#ready]) {
      if (this.#credit.isUsedUp) return
      const { name } = cursor.topic
      this.#ready.delete(cursor)
      const taken = cursor.take({
        bytes: frame.roomFor(name),
        bytesMax: frame.roomMaxFor(name),
        records: this.#credit.records,
        creditBytes: this.#credit.bytes,
      })
      if (taken === 'idle') {
        if (cursor.isOpen && cursor.reachedStop) this.#end(cursor)
        continue
      }
      if (taken === 'full') {
        // First in the next frame.
        this.#putFirst(cursor)
        return
      }
      const { records, part } = taken
      frame.addRecords(records, part.sizeBytes)
      this.#credit.use(part)
      if (cursor.reachedStop) this.#end(cursor)
      else if (cursor.hasMore) this.#ready.add(cursor)
    }
  }

  #putFirst(cursor: ReadCursor): void {
    const others = [...this.#ready]
    this.#ready.clear()
    this.#ready.add(cursor)
    for (const other of others) this.#ready.add(other)
  }

  #write(frame: ReadFrame): void {
    const message = frame.encode()
    this.#lastFrameMs = this.#node.clock.monotonicMs()
    this.#isBlocked = !this.#stream.write(message)
  }

  /** The disk works while the network does; but a stream that nobody takes from must not sit on memory. */
  #readAhead(frameBytes: number): void {
    let heldBytes = 0
    for (const cursor of this.#ready) {
      if (this.#memory.isShort) cursor.drop()
      else if (heldBytes < 2 * frameBytes && !this.#credit.isUsedUp)
        cursor.read(new ReadFrame(frameBytes).roomMaxFor(cursor.topic.name))
      heldBytes += cursor.heldBytes
    }
  }

  #armHeartbeat(delayMs: number): void {
    this.#heartbeat = this.#node.clock.setTimer(delayMs, () => {
      const idleMs = this.#node.clock.monotonicMs() - this.#lastFrameMs
      const isDue = idleMs >= HEARTBEAT_MS - TIMER_SLACK_MS
      if (isDue && !this.#isBlocked) this.#beat()
      this.#armHeartbeat(isDue ? HEARTBEAT_MS : HEARTBEAT_MS - idleMs)
    })
  }

  /** All high watermarks, in as many frames as that takes. */
  #beat(): void {
    const { frameBytes } = this.#options ?? { frameBytes: CLIENT_FRAME_BYTES_DEFAULT }
    let frame = new ReadFrame(frameBytes)
    for (const cursors of this.#cursors.values()) {
      for (const cursor of cursors.values()) {
        if (!cursor.isOpen) continue
        const notice: Notice = { kind: 'statuses', value: cursor.status() }
        if (frame.tryAdd(notice)) continue
        frame.markHeartbeat()
        this.#write(frame)
        frame = new ReadFrame(frameBytes)
        frame.tryAdd(notice)
      }
    }
    frame.markHeartbeat()
    this.#write(frame)
  }

  #endIfDone(): void {
    const isDone = this.#isHalfClosed && this.#cursorCount === 0 && this.#wholeTopics.size === 0
    if (isDone && this.#notices.length === 0 && !this.#isClosed) this.#stream.end()
  }

  #close(): void {
    this.#isClosed = true
    this.#heartbeat?.cancel()
    this.#unsubscribe()
    for (const cursors of this.#cursors.values()) for (const cursor of cursors.values()) cursor.close()
    this.#cursors.clear()
    this.#ready.clear()
    this.#notices = []
  }
}

/** A timer may fire a little early by the clock that it is compared with. */
const TIMER_SLACK_MS = 2

interface WholeTopic {
  readonly request: ReadPartition
  /** Partitions that reading has begun of. */
  partitionCount: number
}

function failed(topic: string, partition: PartitionId, thrown: unknown): Notice {
  if (!(thrown instanceof NaruError)) throw thrown
  return { kind: 'failures', value: { topic, partition, failure: errorToFailure(thrown) } }
}

function isDefined<T>(value: T | undefined): value is T {
  return value !== undefined
}
