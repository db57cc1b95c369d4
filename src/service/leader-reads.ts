import type { NodeId, Offset, PartitionId } from '../base/brands.ts'
import { NaruError } from '../base/errors.ts'
import { Watchdog } from '../client/watchdog.ts'
import type { TopicView } from '../metadata/topic-image.ts'
import type { Clock } from '../ports/clock.ts'
import type { MessageStream } from '../ports/transport.ts'
import { failureToError } from '../wire/failure.ts'
import { Forward } from '../wire/generated/internal-services.ts'
import type {
  MessageInit,
  PartitionRecords,
  PartitionStatus,
  ReadRequest,
  ReadResponse,
} from '../wire/messages.ts'
import type { ReadMemory } from './read-memory.ts'
import { RemotePartition } from './remote-partition.ts'

/** On its way from the leader and waiting here, for one client: enough for a fast network, little enough for many clients. */
const CREDIT_BYTES = 1024 * 1024
/** While the node is short of memory. A batch may exceed it. */
const CREDIT_BYTES_SHORT = 64 * 1024
/** A frame must take the largest batch (8 MiB) and what surrounds it; credit keeps frames smaller. */
const FRAME_BYTES_MAX = 9 * 1024 * 1024
/** What nodes count for a batch beside its own bytes. */
const BATCH_FIELD_BYTES = 6

export interface LeaderReadsOptions {
  readonly clock: Clock
  readonly memory: ReadMemory
  readonly leaderId: NodeId
  readonly stream: MessageStream
  readonly onClosed: (reads: LeaderReads) => void
}

/**
 * The forwarded Read of one client at one leader. Batches come against credit, which follows what the client has taken, so
 * that a client that does not take stops its leaders; what waits here counts in the memory of the node.
 */
export class LeaderReads {
  readonly #options: LeaderReadsOptions
  readonly #stream: MessageStream
  readonly #watchdog: Watchdog
  readonly #opening = new Map<string, Opening>()
  readonly #partitions = new Map<string, RemotePartition>()
  /** Removals that the leader has not confirmed: until then what it says of the partition is old. */
  readonly #removals = new Map<string, number>()
  #changes: { add: NonNullable<MessageInit<ReadRequest>['add']>[number][]; remove: Place[] } = noChanges()
  #isScheduled = false
  #isFirst = true
  #isClosed = false
  #heldBytes = 0
  /** Granted and not used by what came. */
  #creditBytes = 0
  #wasStuck = false
  #metadataAgeMs = 0

  constructor(options: LeaderReadsOptions) {
    this.#options = options
    this.#stream = options.stream
    this.#watchdog = new Watchdog({
      clock: options.clock,
      onSilent: () => this.#stream.fail(this.#failure('fell silent')),
    })
    this.#stream.setHandlers({
      onMessage: message => this.#onMessage(message),
      onClose: error => this.#onClose(error),
    })
  }

  /** As old as the leader's own view of the cluster was when it last told. */
  get metadataAgeMs(): number {
    return this.#metadataAgeMs
  }

  /** Reads on from an offset, or from the first record there is. */
  open(of: {
    topic: TopicView
    partition: PartitionId
    from: Offset | 'EARLIEST'
  }): Promise<RemotePartition> {
    const { topic, partition, from } = of
    const key = keyOf({ topic: topic.name, partition })
    return new Promise((resolve, reject) => {
      if (this.#isClosed) return reject(this.#failure('ended the stream'))
      this.#opening.set(key, { topic, resolve, reject })
      this.#changes.add.push({
        topic: topic.name,
        topicId: topic.id,
        partition,
        start: from === 'EARLIEST' ? { at: 'EARLIEST' } : { offset: from },
      })
      this.#schedule()
    })
  }

  close(): void {
    this.#stream.fail(new NaruError('CANCELLED', 'the client is gone'))
  }

  #schedule(): void {
    if (this.#isScheduled) return
    this.#isScheduled = true
    this.#options.clock.afterTurn(() => {
      this.#isScheduled = false
      const changes = this.#changes
      this.#changes = noChanges()
      if (this.#isClosed) return
      const first: MessageInit<ReadRequest> = {
        options: { format: 'BATCHES', maxFrameBytes: FRAME_BYTES_MAX },
        credit: { bytes: this.#creditBytesMax },
      }
      if (this.#isFirst) this.#creditBytes = this.#creditBytesMax
      // What is removed and added in one turn is another life of the partition: first the one, then the other.
      if (changes.remove.length > 0) this.#write({ ...(this.#isFirst && first), remove: changes.remove })
      if (changes.add.length > 0) this.#write({ ...(this.#isFirst && first), add: changes.add })
    })
  }

  #write(frame: MessageInit<ReadRequest>): void {
    this.#isFirst = false
    // Requests are few and small: they need no back-pressure.
    this.#stream.write(Forward.read.request.encode(frame))
  }

  #onMessage(message: Buffer): void {
    if (this.#isClosed) return
    this.#watchdog.heard()
    try {
      this.#onFrame(Forward.read.response.decode(message))
    } catch (thrown) {
      this.#stream.fail(NaruError.from(thrown))
      if (!(thrown instanceof NaruError)) throw thrown
    }
  }

  #onFrame(frame: ReadResponse): void {
    for (const skipped of frame.skipped) this.#current(skipped)?.onSkipped(skipped.to)
    for (const status of frame.statuses) this.#onStatus(status)
    for (const records of frame.records) this.#onRecords(records)
    for (const place of frame.ended) this.#onEnded(place)
    for (const { topic, partition, failure } of frame.failures)
      if (failure) this.#onFailed({ topic, partition }, failureToError(failure))
    if (frame.metadataAgeMs === undefined) return
    this.#metadataAgeMs = frame.metadataAgeMs
    this.#onHeartbeat(frame)
  }

  #onStatus(status: PartitionStatus): void {
    const key = keyOf(status)
    if (this.#removals.has(key)) return
    const opening = this.#opening.get(key)
    if (opening === undefined) {
      this.#partitions.get(key)?.onStatus(status)
      return
    }
    this.#opening.delete(key)
    const { topic, resolve } = opening
    const place = { topic: topic.name, partition: status.partition }
    const partition = new RemotePartition({
      ...place,
      status,
      onTaken: bytes => this.#onTaken(bytes),
      onSeek: from => this.#seek(topic, { partition: status.partition, from }),
      onRelease: () => this.#remove(place),
      isStarved: () => this.#creditBytes <= 0,
    })
    this.#partitions.set(key, partition)
    resolve(partition)
  }

  #onRecords(records: PartitionRecords): void {
    this.#wasStuck = false
    for (const { length } of records.batches) {
      this.#creditBytes -= length + BATCH_FIELD_BYTES
      this.#heldBytes += length + BATCH_FIELD_BYTES
      this.#options.memory.budget.takeAnyway(length)
    }
    const partition = this.#current(records)
    if (partition !== undefined) partition.onRecords(records)
    else for (const { length } of records.batches) this.#onTaken(length)
    if (this.#creditBytes <= 0) for (const one of this.#partitions.values()) one.wake()
  }

  #onTaken(bytes: number): void {
    this.#options.memory.budget.giveBack(bytes)
    this.#heldBytes -= bytes + BATCH_FIELD_BYTES
    const spareBytes = this.#creditBytesMax - this.#creditBytes - this.#heldBytes
    // In gulps.
    if (spareBytes >= this.#creditBytesMax / 4) this.#grant(spareBytes)
  }

  #grant(bytes: number): void {
    if (this.#isClosed) return
    this.#creditBytes += bytes
    this.#write({ credit: { bytes } })
  }

  /**
   * Nothing came for a while. If there is something to come and nothing waits here, both sides must have counted credit
   * differently (a release may count more than another): it starts anew.
   */
  #onHeartbeat({ statuses }: ReadResponse): void {
    const isStuck = this.#heldBytes === 0 && statuses.some(one => one.nextOffset < one.highWatermark)
    if (isStuck && this.#wasStuck) {
      this.#creditBytes = 0
      this.#grant(this.#creditBytesMax)
    }
    this.#wasStuck = isStuck
  }

  #onEnded(place: Place): void {
    const key = keyOf(place)
    const removals = this.#removals.get(key) ?? 0
    if (removals > 1) this.#removals.set(key, removals - 1)
    else this.#removals.delete(key)
    if (removals === 0) this.#onFailed(place, this.#failure('ended the partition'))
  }

  #onFailed(place: Place, error: NaruError): void {
    const key = keyOf(place)
    // It may have failed before it was removed: then the removal is what failed, and is over as well.
    if (this.#removals.has(key)) {
      if (error.reason === 'INVALID_REQUEST') this.#onEnded(place)
      return
    }
    this.#opening.get(key)?.reject(error)
    this.#opening.delete(key)
    this.#partitions.get(key)?.end(error)
    this.#partitions.delete(key)
  }

  #seek(topic: TopicView, { partition, from }: { partition: PartitionId; from: Offset }): void {
    const place = { topic: topic.name, partition }
    const current = this.#partitions.get(keyOf(place))
    this.#remove(place)
    if (current === undefined) return
    this.#partitions.set(keyOf(place), current)
    this.#changes.add.push({ ...place, topicId: topic.id, start: { offset: from } })
  }

  #remove(place: Place): void {
    const key = keyOf(place)
    if (this.#isClosed || !this.#partitions.delete(key)) return
    this.#removals.set(key, (this.#removals.get(key) ?? 0) + 1)
    this.#changes.remove.push(place)
    this.#schedule()
  }

  #current(place: Place): RemotePartition | undefined {
    const key = keyOf(place)
    return this.#removals.has(key) ? undefined : this.#partitions.get(key)
  }

  get #creditBytesMax(): number {
    return this.#options.memory.isShort ? CREDIT_BYTES_SHORT : CREDIT_BYTES
  }

  #onClose(error: NaruError | undefined): void {
    this.#isClosed = true
    this.#watchdog.stop()
    this.#options.onClosed(this)
    const cause = this.#failure(
      error === undefined ? 'ended the stream' : `is not reached any more: ${error.message}`,
    )
    for (const { reject } of this.#opening.values()) reject(cause)
    for (const partition of this.#partitions.values()) partition.end(cause)
    this.#opening.clear()
    this.#partitions.clear()
  }

  /** Reading does nothing, so nothing of it can be done half. */
  #failure(what: string): NaruError {
    const { leaderId } = this.#options
    return new NaruError('CONNECTION_FAILED', `the leader, node ${leaderId}, ${what}`, {
      outcome: 'none',
      details: { leader_id: String(leaderId) },
    })
  }
}

interface Place {
  readonly topic: string
  readonly partition: PartitionId
}

interface Opening {
  readonly topic: TopicView
  readonly resolve: (partition: RemotePartition) => void
  readonly reject: (error: NaruError) => void
}

function noChanges() {
  return { add: [], remove: [] }
}

function keyOf({ topic, partition }: Place): string {
  return `${topic}/${partition}`
}
