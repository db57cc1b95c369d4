import type { NodeId } from '../../base/brands.ts'
import { NaruError } from '../../base/errors.ts'
import type { MessageStream } from '../../ports/transport.ts'
import { failureToError } from '../../wire/failure.ts'
import type { Failure, ProduceAnswer, TopicMetadata } from '../../wire/messages.ts'
import { Producer } from '../../wire/methods.ts'
import type { Route } from '../cluster-nodes.ts'
import type { Connection } from '../connection.ts'
import type { PartitionQueue } from './partition-queue.ts'
import type { ProducerBatch } from './producer-batch.ts'
import type { ProducerSettings } from './producer-settings.ts'

/**
 * What a frame gathers, if more waits than one batch. A large batch goes alone: in a frame of its own the node can keep
 * its bytes where they arrived, and small ones are what pays for gathering.
 */
const FRAME_BYTES_MAX = 256 * 1024
const FRAME_ENTRIES_MAX = 1_000
/** Sent and not answered; half of what a node lets one stream have, so that it never has to stop the stream. */
const STREAM_BYTES_MAX = 16 * 1024 * 1024
/** Beyond the time that the node itself takes: then it answers no more. */
const ANSWER_GRACE_MS = 5_000

export interface LeaderStreamOptions {
  readonly connection: Connection
  readonly settings: ProducerSettings
  readonly nodeId: NodeId
  readonly route: Route
  /** By the metadata of now. */
  readonly topicOf: (topic: string) => TopicMetadata | undefined
  /** It is over; what was in flight has been given back. */
  readonly onClosed: (stream: LeaderStream, error: NaruError) => void
  /** The leader is reached through this stream. */
  readonly onAnswer: () => void
  readonly onWarnings: (warnings: readonly string[]) => void
}

/** One ProduceStream: batches of many partitions of one leader, as frames with a number that answers repeat. */
export class LeaderStream {
  readonly nodeId: NodeId
  readonly #options: LeaderStreamOptions
  readonly #stream: MessageStream
  /** Partitions that may have something to send, in turn. */
  readonly #queues = new Set<PartitionQueue>()
  readonly #frames = new Map<number, Frame>()
  #seq = 0
  #inFlightBytes = 0
  #isBlocked = false
  #isClosed = false

  constructor(options: LeaderStreamOptions) {
    this.#options = options
    this.nodeId = options.nodeId
    const { channel, metadata } = options.route
    this.#stream = channel.stream(Producer.produceStream.path, { metadata })
    this.#stream.setHandlers({
      onMessage: message => this.#onMessage(message),
      onDrain: () => {
        this.#isBlocked = false
        this.pump()
      },
      onClose: error => this.#onClose(error),
    })
  }

  get route(): Route {
    return this.#options.route
  }

  add(queue: PartitionQueue): void {
    this.#queues.add(queue)
  }

  /** Sends what there is, as far as the stream takes it. */
  pump(): void {
    while (!this.#isBlocked && !this.#isClosed && this.#inFlightBytes < STREAM_BYTES_MAX) {
      const entries = this.#gather()
      if (entries.length === 0) return
      this.#write(entries)
    }
  }

  /** Another node leads the partition now: its batches in flight go there, under the same sequence. */
  detach(queue: PartitionQueue): void {
    this.#queues.delete(queue)
    const moved = new NaruError('NOT_LEADER', 'the partition got a new leader')
    for (const entry of this.#pendingEntries()) {
      if (entry.queue !== queue) continue
      const isPending = isCurrent(entry)
      this.#settle(entry)
      if (isPending) queue.onBroken(entry.batch, moved, true)
    }
  }

  /** Breaks the stream if the node has not answered a frame for much longer than it may take. */
  checkAnswers(nowMs: number): void {
    const { settings, route } = this.#options
    const limitMs = settings.requestTimeoutMs + ANSWER_GRACE_MS
    for (const frame of this.#frames.values()) {
      if (nowMs - frame.sentMs > limitMs)
        this.#stream.fail(lost(`${route.channel.address} did not answer for ${limitMs} ms`))
      return
    }
  }

  /** After everything was answered. */
  end(): void {
    this.#stream.end()
  }

  abort(): void {
    this.#stream.fail(new NaruError('CANCELLED', 'the producer was closed'))
  }

  /** There is a better way to the leader: what is in flight is sent again on that, under the same sequence. */
  leave(why: string): void {
    this.#stream.fail(lost(why))
  }

  #gather(): Entry[] {
    const entries: Entry[] = []
    let bytes = 0
    // One batch per partition and round: a busy partition keeps none of the others waiting.
    while (this.#queues.size > 0) {
      for (const queue of this.#queues) {
        this.#queues.delete(queue)
        const next = queue.next()
        if (next === undefined) continue
        // Behind the others for its next batch.
        this.#queues.add(queue)
        bytes += next.bytes.length
        const topic = this.#options.topicOf(queue.topic)
        entries.push({
          queue,
          ...next,
          topicId: topic?.topicId,
          leaderEpoch: topic?.partitions[queue.partition]?.leaderEpoch,
          attempt: next.batch.attempt,
          isSettled: false,
          isAnswered: false,
        })
        if (bytes >= FRAME_BYTES_MAX || entries.length >= FRAME_ENTRIES_MAX) return entries
      }
    }
    return entries
  }

  #write(entries: Entry[]): void {
    const { settings, connection } = this.#options
    const seq = ++this.#seq
    this.#frames.set(seq, { entries, left: entries.length, sentMs: connection.clock.monotonicMs() })
    for (const { bytes } of entries) this.#inFlightBytes += bytes.length
    const message = Producer.produceStream.request.encode({
      seq,
      ...(seq === 1 && { options: { acks: settings.acks, timeoutMs: settings.requestTimeoutMs } }),
      entries: entries.map(({ queue, topicId, leaderEpoch, bytes }) => ({
        topic: queue.topic,
        topicId,
        partition: queue.partition,
        batch: bytes,
        leaderEpoch,
      })),
    })
    if (!this.#stream.write(message)) this.#isBlocked = true
  }

  #onMessage(message: Buffer): void {
    try {
      const { answers, warnings } = Producer.produceStream.response.decode(message)
      for (const answer of answers) this.#onAnswer(answer)
      this.#options.onWarnings(warnings)
    } catch (thrown) {
      this.#stream.fail(NaruError.from(thrown))
      return
    }
    this.#options.onAnswer()
    this.pump()
  }

  #onAnswer({ seq, entry: place, results }: ProduceAnswer): void {
    const frame = this.#frames.get(seq)
    const entry = frame?.entries[place]
    const [result] = results
    if (frame === undefined || entry === undefined || result === undefined)
      throw new NaruError('INTERNAL', `an answer of ProduceStream names frame ${seq}, entry ${place}`)
    if (entry.isAnswered) return
    entry.isAnswered = true
    frame.left--
    if (frame.left === 0) this.#frames.delete(seq)
    // It may have run out of time meanwhile, or gone to another leader.
    const isPending = !entry.isSettled && isCurrent(entry)
    this.#settle(entry)
    if (!isPending) return
    if (result.failure) entry.queue.onRefused(entry.batch, this.#refusalOf(entry, result.failure))
    else entry.queue.onStored(entry.batch, result.offset)
  }

  /** A topic that was made anew under its name takes the records that the former one did not get. */
  #refusalOf({ queue, topicId }: Entry, failure: Failure): NaruError {
    const error = failureToError(failure)
    if (error.reason !== 'UNKNOWN_TOPIC' || topicId === undefined) return error
    const isMadeAnew =
      error.details['topic_id'] !== undefined || this.#options.topicOf(queue.topic)?.topicId !== topicId
    return isMadeAnew ? new NaruError('FENCED_LEADER_EPOCH', error.message, { cause: error }) : error
  }

  #onClose(error: NaruError | undefined): void {
    this.#isClosed = true
    const cause = error ?? lost('the node ended the stream')
    // Only a stream that never had a connection proves that nothing of it was taken.
    const wasSent = cause.reason !== 'CONNECTION_FAILED' || cause.outcome !== 'none'
    for (const entry of this.#pendingEntries()) {
      const isPending = isCurrent(entry)
      this.#settle(entry)
      if (isPending) entry.queue.onBroken(entry.batch, cause, wasSent)
    }
    this.#frames.clear()
    this.#options.onClosed(this, cause)
  }

  *#pendingEntries(): Generator<Entry> {
    for (const frame of [...this.#frames.values()])
      for (const entry of frame.entries) if (!entry.isSettled) yield entry
  }

  #settle(entry: Entry): void {
    if (entry.isSettled) return
    entry.isSettled = true
    this.#inFlightBytes -= entry.bytes.length
  }
}

interface Entry {
  readonly queue: PartitionQueue
  readonly batch: ProducerBatch
  readonly bytes: Buffer
  /** That it was sent for. */
  readonly topicId: string | undefined
  /** Of the leader that it was sent to: one that has not heard of its own end yet must not judge it. */
  readonly leaderEpoch: number | undefined
  readonly attempt: number
  /** The batch is no longer on its way through this stream. */
  isSettled: boolean
  isAnswered: boolean
}

interface Frame {
  readonly entries: Entry[]
  left: number
  readonly sentMs: number
}

/** What was sent over it may have been stored: the reason alone would say that nothing was. */
function lost(why: string): NaruError {
  return new NaruError('CONNECTION_FAILED', why, { outcome: 'unknown' })
}

function isCurrent({ batch, attempt }: Entry): boolean {
  return batch.isInFlight && batch.attempt === attempt
}
