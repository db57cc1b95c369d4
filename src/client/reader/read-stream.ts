import type { NodeId, PartitionId } from '../../base/brands.ts'
import { NaruError } from '../../base/errors.ts'
import type { MessageStream } from '../../ports/transport.ts'
import { failureToError } from '../../wire/failure.ts'
import type {
  MessageInit,
  PartitionEnd,
  PartitionRecords,
  ReadRequest,
  ReadResponse,
  Skipped,
} from '../../wire/messages.ts'
import { Consumer } from '../../wire/methods.ts'
import type { Route } from '../cluster-nodes.ts'
import type { Connection } from '../connection.ts'
import { Watchdog } from '../watchdog.ts'
import { passedOver, type ReceivedBatches } from './batch-decoder.ts'
import type { PartitionCursor } from './partition-cursor.ts'

/** A frame must take the largest batch (8 MiB) and what surrounds it; credit keeps frames smaller. */
const FRAME_BYTES_MAX = 9 * 1024 * 1024
/** What nodes count for a batch beside its own bytes. */
const BATCH_FIELD_BYTES = 6

export interface ReadStreamOptions {
  readonly connection: Connection
  readonly nodeId: NodeId
  readonly route: Route
  readonly creditBytesMax: number
  readonly onReceived: (received: ReceivedBatches) => void
  readonly onSkipped: (cursor: PartitionCursor, skipped: Skipped) => void
  readonly onDone: (cursor: PartitionCursor) => void
  /** The partition is no longer read here. */
  readonly onFailed: (cursor: PartitionCursor, error: NaruError) => void
  readonly onClosed: (stream: ReadStream, wasHeard: boolean, error: NaruError) => void
}

/**
 * One Read: the partitions that one node leads. Bytes come against credit, which is given back as they are consumed,
 * in gulps; so what is on its way and what waits here together stay below the credit and one batch.
 */
export class ReadStream {
  readonly nodeId: NodeId
  readonly #options: ReadStreamOptions
  readonly #stream: MessageStream
  readonly #watchdog: Watchdog
  readonly #cursors = new Map<PlaceKey, PartitionCursor>()
  /** Removals that the node has not confirmed: until then what it says of the partition is old. */
  readonly #removals = new Map<PlaceKey, number>()
  /** Received and not consumed. */
  #heldBytes = 0
  /** Consumed and not given back yet. */
  #owedBytes = 0
  #isFirst = true
  #wasHeard = false
  #wasStuck = false
  #isClosed = false

  constructor(options: ReadStreamOptions) {
    this.#options = options
    this.nodeId = options.nodeId
    const { channel, metadata } = options.route
    this.#stream = channel.stream(Consumer.read.path, { metadata })
    this.#watchdog = new Watchdog({
      clock: options.connection.clock,
      onSilent: () => this.#stream.fail(new NaruError('CONNECTION_FAILED', `${channel.address} fell silent`)),
    })
    this.#stream.setHandlers({
      onMessage: message => this.#onMessage(message),
      onClose: error => this.#onClose(error),
    })
  }

  get isEmpty(): boolean {
    return this.#cursors.size === 0
  }

  has(cursor: PartitionCursor): boolean {
    return this.#cursors.get(keyOf(cursor)) === cursor
  }

  /** Reads on from where the cursors are. */
  add(cursors: readonly PartitionCursor[]): void {
    const { creditBytesMax } = this.#options
    for (const cursor of cursors) this.#cursors.set(keyOf(cursor), cursor)
    this.#write({
      ...(this.#isFirst && {
        options: { format: 'BATCHES' as const, maxFrameBytes: FRAME_BYTES_MAX },
        credit: { bytes: creditBytesMax },
      }),
      add: cursors.map(({ topic, topicId, partition, fetchOffset, stopOffset }) => ({
        topic,
        topicId,
        partition,
        start: { offset: fetchOffset },
        ...(stopOffset !== undefined && { stop: { offset: stopOffset } }),
      })),
    })
    this.#isFirst = false
  }

  remove(cursor: PartitionCursor): void {
    const { topic, partition } = cursor
    const key = keyOf(cursor)
    this.#cursors.delete(key)
    this.#removals.set(key, (this.#removals.get(key) ?? 0) + 1)
    this.#write({ remove: [{ topic, partition }] })
  }

  close(): void {
    this.#isClosed = true
    this.#watchdog.stop()
    this.#stream.fail(new NaruError('CANCELLED', 'the reader was closed'))
  }

  #write(frame: MessageInit<ReadRequest>): void {
    // Requests are few and small: they need no back-pressure.
    this.#stream.write(Consumer.read.request.encode(frame))
  }

  #onMessage(message: Buffer): void {
    if (this.#isClosed) return
    this.#watchdog.heard()
    this.#wasHeard = true
    try {
      this.#onFrame(Consumer.read.response.decode(message))
    } catch (thrown) {
      this.#stream.fail(NaruError.from(thrown))
    }
  }

  #onFrame(frame: ReadResponse): void {
    for (const skipped of frame.skipped) {
      const cursor = this.#current(skipped)
      if (cursor) this.#options.onSkipped(cursor, skipped)
    }
    for (const records of frame.records) this.#onRecords(records)
    for (const status of frame.statuses) this.#current(status)?.onProgress(status)
    for (const end of frame.ended) this.#onEnded(end)
    for (const failed of frame.failures) {
      const { failure } = failed
      // So is a removal answered that met a partition which had just failed there; that failure is of no account then.
      if (failure?.reason === 'INVALID_REQUEST' && this.#confirmRemoval(failed)) continue
      const cursor = this.#current(failed)
      if (cursor === undefined || failure === undefined) continue
      this.#cursors.delete(keyOf(cursor))
      this.#options.onFailed(cursor, failureToError(failure))
    }
    if (frame.metadataAgeMs !== undefined) this.#onHeartbeat(frame)
  }

  #onRecords(records: PartitionRecords): void {
    const cursor = this.#current(records)
    this.#wasStuck = false
    cursor?.onProgress(records)
    const { batches, nextOffset, highWatermark } = records
    for (const [index, bytes] of batches.entries()) {
      const costBytes = bytes.length + BATCH_FIELD_BYTES
      this.#heldBytes += costBytes
      const onConsumed = () => this.#giveBack(costBytes)
      if (cursor === undefined) {
        onConsumed()
        continue
      }
      // What lies between batches is known to be covered only behind the last.
      const isLast = index === batches.length - 1
      this.#options.onReceived({
        cursor,
        bytes,
        nextOffset: isLast ? nextOffset : 0,
        highWatermark,
        onConsumed,
      })
    }
    if (cursor === undefined) return
    if (batches.length === 0) this.#options.onReceived(passedOver(cursor, nextOffset))
    cursor.received(nextOffset)
  }

  #onEnded(end: PartitionEnd): void {
    if (this.#confirmRemoval(end)) return
    const cursor = this.#cursors.get(keyOf(end))
    if (cursor === undefined) return
    const { nextOffset } = end
    this.#cursors.delete(keyOf(cursor))
    cursor.received(nextOffset)
    cursor.isDone = true
    this.#options.onReceived(passedOver(cursor, nextOffset))
    this.#options.onDone(cursor)
  }

  /** False: none is under way. */
  #confirmRemoval(place: Place): boolean {
    const key = keyOf(place)
    const removals = this.#removals.get(key) ?? 0
    if (removals > 1) this.#removals.set(key, removals - 1)
    else this.#removals.delete(key)
    return removals > 0
  }

  /**
   * Nothing came for a while. If there is something to come and nothing waits here, node and client must have counted
   * credit differently (a release may count more than another): it starts anew.
   */
  #onHeartbeat({ statuses }: ReadResponse): void {
    if (this.#heldBytes > 0) return
    const isStuck = statuses.some(status => {
      const stop = this.#cursors.get(keyOf(status))?.stopOffset ?? Number.POSITIVE_INFINITY
      return status.nextOffset < Math.min(status.highWatermark, stop)
    })
    if (!isStuck) return
    const isStuckAgain = this.#wasStuck
    this.#wasStuck = true
    if (this.#owedBytes > 0) this.#grant(this.#owedBytes)
    else if (isStuckAgain) this.#grant(this.#options.creditBytesMax)
  }

  #giveBack(bytes: number): void {
    this.#heldBytes -= bytes
    this.#owedBytes += bytes
    if (this.#owedBytes >= this.#options.creditBytesMax / 4) this.#grant(this.#owedBytes)
  }

  #grant(bytes: number): void {
    this.#owedBytes = 0
    this.#write({ credit: { bytes } })
  }

  #current(place: Place): PartitionCursor | undefined {
    const key = keyOf(place)
    return this.#removals.has(key) ? undefined : this.#cursors.get(key)
  }

  #onClose(error: NaruError | undefined): void {
    this.#watchdog.stop()
    if (this.#isClosed) return
    this.#isClosed = true
    const { route, onFailed, onClosed } = this.#options
    const cause =
      error ?? new NaruError('CONNECTION_FAILED', `${route.channel.address} ended the stream of records`)
    onClosed(this, this.#wasHeard, cause)
    const cursors = [...this.#cursors.values()]
    this.#cursors.clear()
    for (const cursor of cursors) onFailed(cursor, cause)
  }
}

interface Place {
  readonly topic: string
  readonly partition: PartitionId
}

/** Names of topics have no slash. */
type PlaceKey = string

function keyOf({ topic, partition }: Place): PlaceKey {
  return `${topic}/${partition}`
}
