import type { PartitionId, Uuid } from '../base/brands.ts'
import { NaruError } from '../base/errors.ts'
import type { MetadataDelta } from '../metadata/metadata-delta.ts'
import type { TopicView } from '../metadata/topic-image.ts'
import type { Timer } from '../ports/clock.ts'
import type { MessageStream } from '../ports/transport.ts'
import { errorToFailure } from '../wire/failure.ts'
import { CLIENT_FRAME_BYTES_DEFAULT, CLIENT_FRAME_BYTES_MAX, CLIENT_FRAME_BYTES_MIN } from '../wire/limits.ts'
import type { ReadPartition, ReadRequest, RecordFormat, TopicSelector } from '../wire/messages.ts'
import { Consumer } from '../wire/methods.ts'
import type { CommittedPlaces } from './groups/committed-places.ts'
import { PartitionSources } from './partition-sources.ts'
import { PendingNotices } from './pending-notices.ts'
import { checkPosition, checkStop } from './positions.ts'
import { ReadCredit } from './read-credit.ts'
import { ReadCursor } from './read-cursor.ts'
import { type Notice, ReadFrame } from './read-frame.ts'
import type { ReadMemory } from './read-memory.ts'
import { countWithin, integerWithin, invalidRequest } from './request-checks.ts'
import type { ServiceNode } from './service-node.ts'
import { confirmDenial, findTopic, isDenial, requirePartition } from './topic-lookup.ts'

/** Partitions of one stream: more belong on several. */
const READ_PARTITIONS_MAX = 10_000
/** Of partitions, in one frame: what one turn may bring. */
const CHANGES_PER_FRAME_MAX = 10_000
/** While so much waits to be said, no more requests are taken: each may bring more of it. */
const NOTICES_PENDING_MAX = 20_000
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
  readonly #sources: PartitionSources
  readonly #cursors = new Map<Uuid, Map<PartitionId, ReadCursor>>()
  #cursorCount = 0
  /** Topics of which all partitions are read, also those to come. */
  readonly #wholeTopics = new Map<Uuid, WholeTopic>()
  /** Of what this node does not know, until it knows all there is. */
  readonly #inDoubt = new Set<ReadPartition>()
  /** In turn: who was served goes to the end. */
  readonly #ready = new Set<ReadCursor>()
  readonly #notices = new PendingNotices()
  #options: ReadSettings | undefined
  #credit = ReadCredit.unlimited()
  #unsubscribe: () => void
  #heartbeat: Timer | undefined
  #lastFrameMs: number
  /** The cursor that is being taken from, and whether it has announced more meanwhile. */
  #taking: ReadCursor | undefined
  #isReadyAgain = false
  /** Of the frame that the stream is full of. */
  #unsentBytes = 0
  #isScheduled = false
  #isBlocked = false
  #isPaused = false
  #isHalfClosed = false
  #isClosed = false

  constructor(
    node: ServiceNode,
    memory: ReadMemory,
    of: { readonly stream: MessageStream; readonly isEntry: boolean; readonly committed?: CommittedPlaces },
  ) {
    const { stream, isEntry, committed } = of
    this.#node = node
    this.#memory = memory
    this.#stream = stream
    this.#sources = new PartitionSources(node, memory, { isEntry, committed })
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
        this.#countSent()
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
    this.#pauseOrResume()
    this.#schedule()
  }

  /** What is wrong with a frame itself ends the stream; what is wrong with a partition is an answer. */
  #checkFrame({ options, credit, add, remove }: ReadRequest): void {
    countWithin(add.length + remove.length, { name: 'add and remove', max: CHANGES_PER_FRAME_MAX })
    if (this.#options === undefined) {
      const frameBytes = integerWithin(options?.maxFrameBytes, {
        name: 'max_frame_bytes',
        min: CLIENT_FRAME_BYTES_MIN,
        max: CLIENT_FRAME_BYTES_MAX,
        default: CLIENT_FRAME_BYTES_DEFAULT,
      })
      this.#options = { format: options?.format ?? 'RECORDS', frameBytes, group: options?.group }
      if (credit !== undefined) this.#credit = ReadCredit.of(credit)
      return
    }
    if (options !== undefined) throw invalidRequest('options come with the first frame only')
    if (credit !== undefined) this.#credit.add(credit)
  }

  #add(added: ReadPartition, isSettled = false): void {
    try {
      checkPosition(added.start, 'start')
      checkStop(added.stop)
      const topic = findTopic(this.#node, added.topic, added.topicId, isSettled)
      if (added.partition !== undefined) {
        requirePartition(topic, added.partition)
        this.#begin(topic, added.partition, added)
        return
      }
      this.#beginTopic(topic, added)
    } catch (thrown) {
      if (isDenial(thrown) && !isSettled) void this.#settle(added, thrown)
      else this.#notice(failed(added.topic, added.partition ?? 0, thrown))
    }
  }

  /** Rule A9: nothing is said not to exist before this node knows all there is. */
  async #settle(added: ReadPartition, denial: NaruError): Promise<void> {
    if (this.#cursorCount + this.#inDoubt.size >= READ_PARTITIONS_MAX) {
      this.#notice(failed(added.topic, added.partition ?? 0, tooManyPartitions()))
      return
    }
    this.#inDoubt.add(added)
    const doubt = await confirmDenial(this.#node, denial).catch((thrown: unknown) => thrown)
    // Otherwise it was removed again, or the stream is over.
    if (!this.#inDoubt.delete(added) || this.#isClosed) return
    if (doubt === undefined) this.#add(added, true)
    else this.#notice(failed(added.topic, added.partition ?? 0, doubt))
    this.#schedule()
  }

  /** What holds for all of the topic is said once, not of each partition. */
  #beginTopic(topic: TopicView, added: ReadPartition): void {
    const { id, name, partitionCount } = topic
    if (this.#wholeTopics.has(id))
      throw invalidRequest(`"${name}" is being read on this stream already, with all of its partitions`)
    const readCount = this.#cursors.get(id)?.size ?? 0
    if (this.#cursorCount - readCount + partitionCount > READ_PARTITIONS_MAX) throw tooManyPartitions()
    this.#wholeTopics.set(id, { request: added, partitionCount })
    for (let partition = 0; partition < partitionCount; partition++) this.#tryBegin(topic, partition, added)
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
    if (this.#cursorCount >= READ_PARTITIONS_MAX) throw tooManyPartitions()
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
      memory: this.#memory,
      events: {
        onReady: ready => this.#onReady(ready),
        onSkipped: value => this.#notice({ kind: 'skipped', value }),
        onLost: (of, error) => this.#onLost(of, error),
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
      const opened = await this.#sources.open({
        group: this.#options?.group,
        topic,
        partition,
        ...cursor.places,
        unset: 'EARLIEST',
        leaderEpochMin: cursor.leaderEpoch,
        isWanted: () => !cursor.isClosed,
      })
      if (cursor.isClosed) {
        opened.source.release?.()
        return
      }
      cursor.open(opened)
      this.#notice({ kind: 'statuses', value: cursor.status() })
      this.#onReady(cursor)
    } catch (thrown) {
      if (cursor.isClosed) return
      cursor.close()
      this.#onFailed(cursor, NaruError.from(thrown))
    }
  }

  /** Another leader, or the same one in a moment, goes on where this one was. */
  #onLost(cursor: ReadCursor, error: NaruError): boolean {
    if (this.#isClosed || !this.#sources.mayGoOn(error)) return false
    this.#ready.delete(cursor)
    void this.#open(cursor)
    return true
  }

  #remove(selector: TopicSelector): void {
    const { topic: name, partition } = selector
    for (const added of this.#inDoubt)
      if (added.topic === name && (partition === undefined || added.partition === partition))
        this.#inDoubt.delete(added)
    // The partitions of a topic that is deleted end by themselves.
    const topicId = this.#node.controller.image.topics.byName(name)?.id
    const cursors = topicId === undefined ? undefined : this.#cursors.get(topicId)
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
    if (cursor === this.#taking) this.#isReadyAgain = true
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
    this.#notices.add(notice)
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
      this.#notices.fill(frame)
      if (this.#notices.count === 0) this.#fillRecords(frame)
      if (frame.isEmpty && this.#notices.count === 0) break
      if (!frame.isEmpty) this.#write(frame)
    }
    if (this.#isBlocked) this.#readAhead(frameBytes)
    this.#pauseOrResume()
    this.#endIfDone()
  }

  /** Each that is ready once: who was served goes to the end, so whoever found no room is the first next time. */
  #fillRecords(frame: ReadFrame): void {
    let left = this.#ready.size
    for (const cursor of this.#ready) {
      if (this.#credit.isUsedUp || frame.sizeBytes >= this.#memory.frameBytesMax || left-- === 0) return
      const taken = this.#take(cursor, frame)
      if (taken === 'full') return
      if (taken === 'idle' && !this.#isReadyAgain) this.#ready.delete(cursor)
      if (taken === 'idle') {
        if (cursor.isOpen && cursor.reachedStop) this.#end(cursor)
        continue
      }
      const { records, part } = taken
      frame.addRecords(records, part.sizeBytes)
      this.#credit.use(part)
      this.#ready.delete(cursor)
      if (cursor.reachedStop) this.#end(cursor)
      else if (cursor.hasMore) this.#ready.add(cursor)
    }
  }

  #take(cursor: ReadCursor, frame: ReadFrame): ReturnType<ReadCursor['take']> {
    const { name } = cursor.topic
    this.#taking = cursor
    this.#isReadyAgain = false
    const taken = cursor.take({
      bytes: frame.roomFor(name),
      bytesMax: frame.roomMaxFor(name),
      records: this.#credit.records,
      creditBytes: this.#credit.bytes,
    })
    this.#taking = undefined
    return taken
  }

  #write(frame: ReadFrame): void {
    const message = frame.encode()
    this.#lastFrameMs = this.#node.clock.monotonicMs()
    this.#isBlocked = !this.#stream.write(message)
    if (!this.#isBlocked) return
    this.#unsentBytes += message.length
    this.#memory.addUnsent(message.length)
  }

  #countSent(): void {
    this.#memory.addUnsent(-this.#unsentBytes)
    this.#unsentBytes = 0
  }

  #pauseOrResume(): void {
    const isFull = this.#notices.count >= NOTICES_PENDING_MAX
    if (isFull === this.#isPaused || this.#isClosed) return
    this.#isPaused = isFull
    if (isFull) this.#stream.pause()
    else this.#stream.resume()
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
    const ageMs = this.#sources.metadataAgeMs
    for (const cursors of this.#cursors.values()) {
      for (const cursor of cursors.values()) {
        if (!cursor.isOpen) continue
        const notice: Notice = { kind: 'statuses', value: cursor.status() }
        if (frame.tryAdd(notice)) continue
        frame.markHeartbeat(ageMs)
        this.#write(frame)
        frame = new ReadFrame(frameBytes)
        frame.tryAdd(notice)
      }
    }
    frame.markHeartbeat(ageMs)
    this.#write(frame)
  }

  #endIfDone(): void {
    const isEmpty = this.#cursorCount + this.#wholeTopics.size + this.#inDoubt.size === 0
    const isDone = this.#isHalfClosed && isEmpty
    if (isDone && this.#notices.count === 0 && !this.#isClosed) this.#stream.end()
  }

  #close(): void {
    this.#isClosed = true
    this.#heartbeat?.cancel()
    this.#unsubscribe()
    this.#sources.close()
    for (const cursors of this.#cursors.values()) for (const cursor of cursors.values()) cursor.close()
    this.#cursors.clear()
    this.#ready.clear()
    this.#notices.clear()
    this.#countSent()
  }
}

/** A timer may fire a little early by the clock that it is compared with. */
const TIMER_SLACK_MS = 2

interface ReadSettings {
  readonly format: RecordFormat
  readonly frameBytes: number
  /** Whose commits POSITION_AT_COMMITTED means. */
  readonly group: string | undefined
}

interface WholeTopic {
  readonly request: ReadPartition
  /** Partitions that reading has begun of. */
  partitionCount: number
}

function tooManyPartitions(): NaruError {
  return new NaruError(
    'OVERLOADED',
    `one Read takes at most ${READ_PARTITIONS_MAX} partitions: open another stream for the others`,
  )
}

function failed(topic: string, partition: PartitionId, thrown: unknown): Notice {
  if (!(thrown instanceof NaruError)) throw thrown
  return { kind: 'failures', value: { topic, partition, failure: errorToFailure(thrown) } }
}

function isDefined<T>(value: T | undefined): value is T {
  return value !== undefined
}
