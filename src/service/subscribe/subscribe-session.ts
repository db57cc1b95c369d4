import { assert } from '../../base/assert.ts'
import { NaruError } from '../../base/errors.ts'
import { AutoCommit } from '../../client/consumer/auto-commit.ts'
import { GroupReader } from '../../client/consumer/group-reader.ts'
import type { CommitOutcome, OffsetOf } from '../../client/consumer/offset-commits.ts'
import type { OwnedPartition } from '../../client/consumer/owned-partition.ts'
import type { MessageStream } from '../../ports/transport.ts'
import { errorToFailure } from '../../wire/failure.ts'
import type { CommitResult, SubscribeRelease, SubscribeRequest } from '../../wire/messages.ts'
import { Consumer } from '../../wire/methods.ts'
import { BoundedFailures } from '../failures.ts'
import type { ReadMemory } from '../read-memory.ts'
import { countWithin, invalidRequest } from '../request-checks.ts'
import type { ServiceNode } from '../service-node.ts'
import type { OwnClient } from './own-client.ts'
import { type JoinedOptions, joinedOptions } from './subscribe-join.ts'
import { type FrameEnd, SubscribeRecords } from './subscribe-records.ts'
import { inParts, SubscribeWriter } from './subscribe-writer.ts'

/** Records may be promised ahead of what is there, but not without end. */
const NEXT_AHEAD_MAX = 10_000
/** Offsets, or partitions, of one request. */
const PER_REQUEST_MAX = 10_000
/** Requests to commit that wait: while there are more, none is taken. */
const COMMITS_WAITING_MAX = 100
const COMMIT_INTERVAL_MS = 1_000

export type SubscribeNode = Pick<ServiceNode, 'clock' | 'logger'>

/** Records that were sent and are not done. */
interface SentFrame {
  readonly number: number
  readonly ends: ReadonlyMap<OwnedPartition, FrameEnd>
}

/** Asked back by the frame of that number. */
interface Asked {
  readonly number: number
  readonly partitions: readonly OwnedPartition[]
}

/**
 * One Subscribe: a member of a group whose client is at the other end of the stream. The SDK's own `GroupReader` does what
 * a member does; here are the frames, and what the client says of them (D6):
 * - done is exactly what was sent in frames up to `done_frame`, whatever is in flight;
 * - a partition is given back when a Next covers the Revoking, or the client releases it; else the coordinator takes it.
 */
export class SubscribeSession {
  readonly #node: SubscribeNode
  readonly #memory: ReadMemory
  readonly #stream: MessageStream
  readonly #client: OwnClient
  readonly #writer: SubscribeWriter
  #options: JoinedOptions | undefined
  #reader: GroupReader | undefined
  #records: SubscribeRecords | undefined
  #autoCommit: AutoCommit | undefined
  /** In order; sent and not done. */
  #sent: SentFrame[] = []
  /** Records frames that Nexts have allowed and that were not sent. */
  #allowed = 0
  #asked: Asked[] = []
  #commitsWaiting = 0
  #hasJoined = false
  #isPumpDue = false
  #isEnding = false
  #isClosed = false

  constructor(
    node: SubscribeNode,
    parts: { readonly memory: ReadMemory; readonly client: OwnClient; readonly stream: MessageStream },
  ) {
    this.#node = node
    this.#memory = parts.memory
    this.#client = parts.client
    this.#stream = parts.stream
    const { clock } = node
    this.#writer = new SubscribeWriter({ ...parts, clock, onIdle: () => this.#beat() })
    parts.stream.setHandlers({
      onMessage: message => this.#onMessage(message),
      onEnd: () => this.#onHalfClose(),
      onDrain: () => {
        this.#writer.onDrain()
        this.#schedule()
      },
      onClose: () => void this.#close(),
    })
  }

  #onMessage(message: Buffer): void {
    if (this.#isClosed || this.#isEnding) return
    const request = Consumer.subscribe.request.decode(message)
    if (this.#options === undefined) {
      if (request.join === undefined) throw invalidRequest('the first frame of a Subscribe is join')
      this.#options = joinedOptions(request.join)
      void this.#join(this.#options).catch(thrown => this.#fail(NaruError.from(thrown)))
    } else this.#onRequest(request, this.#options)
    this.#schedule()
  }

  #onRequest({ join, next, commit, credit, release }: SubscribeRequest, options: JoinedOptions): void {
    if (join !== undefined) throw invalidRequest('join comes once, as the first frame')
    if (next !== undefined) {
      if (options.pace !== 'next')
        throw invalidRequest('next: this stream has auto_next or credit, which need no Next')
      this.#onNext(next.doneFrame ?? 0)
    }
    if (credit !== undefined) options.credit.add(credit)
    if (commit !== undefined) {
      if (options.pace !== 'credit')
        throw invalidRequest('commit: this stream commits by itself; give credit in join to commit by offset')
      countWithin(commit.offsets.length, { name: 'offsets', max: PER_REQUEST_MAX })
      void this.#commitByHand(commit.offsets)
    }
    if (release !== undefined) this.#onRelease(release)
  }

  async #join(options: JoinedOptions): Promise<void> {
    const { connection, metadata } = await this.#client.get()
    if (this.#isClosed || this.#isEnding) return
    const reader = new GroupReader({
      connection,
      metadata,
      settings: options.member,
      isWhole: true,
      events: {
        onJoined: joined => {
          if (!this.#hasJoined) this.#writer.write({ joined })
          this.#hasJoined = true
        },
        onAssigned: partitions => this.#onAssigned(partitions),
        onRevoking: (partitions, deadlineMs) => this.#onRevoking(partitions, deadlineMs),
        onLost: (partitions, cause) => this.#onLost(partitions, cause),
        onSkipped: (_, skipped) => {
          this.#writer.write({ skipped })
          this.#autoCommit?.due()
        },
        onReady: () => this.#schedule(),
        // The client sees it by heartbeats without progress; the cause is told where it is of use.
        onTrouble: error =>
          this.#node.logger.debug({ group: options.member.group, error: error.message }, 'a member waits'),
      },
    })
    this.#reader = reader
    const { format, frameBytes, frameRecords, credit } = options
    this.#records = new SubscribeRecords({
      reader,
      format,
      frameBytes,
      frameRecords,
      credit,
      onFailed: (owned, error) => this.#onPartitionFailed(owned, error),
    })
    if (options.pace === 'credit') return
    this.#autoCommit = new AutoCommit({
      clock: this.#node.clock,
      intervalMs: COMMIT_INTERVAL_MS,
      pending: () =>
        reader.partitions.flatMap(owned => owned.pending(this.#records?.hasRest(owned) === true) ?? []),
      commit: offsets => this.#commit(offsets, outcome => outcome === undefined),
      onTrouble: () => {},
    })
  }

  #onAssigned(partitions: readonly OwnedPartition[]): Promise<void> {
    const memberEpoch = this.#reader?.membership.memberEpoch ?? 0
    for (const part of inParts(partitions, this.#frameBytes)) {
      const assigned = part.map(({ topic, topicId, partition, position }) => ({
        topic,
        topicId,
        partition,
        nextOffset: position,
      }))
      this.#writer.write({ assigned: { memberEpoch, partitions: assigned } })
    }
    return Promise.resolve()
  }

  #onRevoking(partitions: readonly OwnedPartition[], deadlineMs: number): void {
    if (partitions.length === 0) return
    const memberEpoch = this.#reader?.membership.memberEpoch ?? 0
    let number = 0
    for (const part of inParts(partitions, this.#frameBytes))
      number = this.#writer.write({ revoking: { memberEpoch, partitions: part.map(placeOf), deadlineMs } })
    // All that was sent before is done once this one is.
    if (this.#options?.pace === 'auto') {
      this.#markDone(number)
      void this.#giveBack(partitions)
    } else this.#asked.push({ number, partitions })
  }

  #onLost(partitions: readonly OwnedPartition[], error: NaruError): void {
    if (this.#isClosed) return
    for (const part of inParts(partitions, this.#frameBytes))
      this.#writer.write({ lost: { partitions: part.map(placeOf), cause: errorToFailure(error) } })
  }

  /** A client that asked for larger frames would get it; this one gets what it can of the other partitions. */
  #onPartitionFailed(owned: OwnedPartition, error: NaruError): void {
    this.#reader?.pause(owned, owned.position)
    const { topic, partition } = owned
    this.#writer.write({ failure: { topic, partition, failure: errorToFailure(error) } })
  }

  #onNext(doneFrame: number): void {
    if (doneFrame > this.#writer.number)
      throw invalidRequest(`done_frame ${doneFrame}: the last frame that was sent is ${this.#writer.number}`)
    this.#allowed++
    if (this.#allowed > NEXT_AHEAD_MAX)
      throw invalidRequest(`next: ${NEXT_AHEAD_MAX} Records are allowed already and were not sent yet`)
    this.#markDone(doneFrame)
    const covered = this.#asked.filter(({ number }) => number <= doneFrame)
    this.#asked = this.#asked.filter(({ number }) => number > doneFrame)
    for (const { partitions } of covered) void this.#giveBack(partitions)
  }

  #markDone(number: number): void {
    const count = this.#sent.findIndex(sent => sent.number > number)
    const done = this.#sent.splice(0, count < 0 ? this.#sent.length : count)
    for (const { ends } of done)
      for (const [owned, { place, seekCount }] of ends) owned.finish(place, seekCount)
    if (done.length > 0) this.#autoCommit?.due()
  }

  #onRelease({ partitions }: SubscribeRelease): void {
    countWithin(partitions.length, { name: 'partitions', max: PER_REQUEST_MAX })
    const released = partitions.flatMap(of => this.#reader?.partition(of) ?? []).filter(one => one.isRevoking)
    void this.#giveBack(released)
  }

  async #giveBack(partitions: readonly OwnedPartition[]): Promise<void> {
    const reader = this.#reader
    if (reader === undefined || partitions.length === 0) return
    await this.#autoCommit?.flushUntilDone(partitions, () => COMMIT_INTERVAL_MS / 10)
    reader.release(partitions)
  }

  async #commitByHand(offsets: NonNullable<SubscribeRequest['commit']>['offsets']): Promise<void> {
    if (++this.#commitsWaiting >= COMMITS_WAITING_MAX) this.#stream.pause()
    try {
      await this.#commit(
        offsets.map(offset => ({
          ...offset,
          topicId: offset.topicId ?? this.#reader?.partition(offset)?.topicId ?? '',
        })),
        () => true,
      )
    } catch (thrown) {
      this.#fail(NaruError.from(thrown))
    }
    if (--this.#commitsWaiting < COMMITS_WAITING_MAX && !this.#isClosed) this.#stream.resume()
  }

  /** Tells what became of those that `isTold`. */
  async #commit(
    offsets: readonly OffsetOf[],
    isTold: (outcome: CommitOutcome) => boolean,
  ): Promise<CommitOutcome[]> {
    const reader = this.#reader
    if (reader === undefined) throw invalidRequest('commit: nothing is assigned to this member yet')
    const outcomes = await reader.commit(offsets)
    const failures = new BoundedFailures()
    const results: CommitResult[] = []
    for (const [index, { topic, partition, nextOffset }] of offsets.entries()) {
      const error = outcomes[index]
      if (!isTold(error)) continue
      results.push({ topic, partition, nextOffset, ...(error && { failure: failures.write(error) }) })
    }
    if (!this.#isClosed)
      for (const part of inParts(results, this.#frameBytes))
        this.#writer.write({ committed: { results: part } })
    return outcomes
  }

  #schedule(): void {
    if (this.#isPumpDue || this.#isClosed) return
    this.#isPumpDue = true
    this.#node.clock.afterTurn(() => {
      this.#isPumpDue = false
      if (!this.#isClosed && !this.#isEnding) this.#pump()
    })
  }

  /** One frame a turn: decoding many at a time would keep others waiting. */
  #pump(): void {
    const error = this.#reader?.error
    if (error !== undefined) {
      this.#fail(error)
      return
    }
    const { pace } = this.#options ?? {}
    if (this.#writer.isFull || (pace === 'next' && this.#allowed === 0)) return
    const frame = this.#records?.next()
    if (frame === undefined) return
    if (pace === 'auto') this.#markDone(this.#writer.number)
    const number = this.#writer.write({ records: { partitions: frame.partitions } })
    for (const [owned, { place }] of frame.ends) owned.given = place
    if (pace !== 'credit') this.#sent.push({ number, ends: frame.ends })
    if (pace === 'next') this.#allowed--
    this.#schedule()
  }

  /** How far each partition is: so lag is always known. */
  #beat(): void {
    if (!this.#hasJoined || this.#isClosed || this.#isEnding) return
    const statuses = (this.#reader?.partitions ?? []).flatMap(({ topic, partition, given, cursor }) =>
      cursor?.highWatermark === undefined
        ? []
        : {
            topic,
            partition,
            nextOffset: given.nextOffset,
            highWatermark: cursor.highWatermark,
            logStartOffset: cursor.logStartOffset ?? 0,
            leaderEpoch: cursor.leaderEpoch ?? 0,
          },
    )
    if (statuses.length === 0) this.#writer.write({ heartbeat: { statuses } })
    for (const part of inParts(statuses, this.#frameBytes))
      this.#writer.write({ heartbeat: { statuses: part } })
  }

  #onHalfClose(): void {
    // The one frame of grpcurl is followed by its end.
    if (this.#options?.pace === 'auto' || this.#isClosed) return
    this.#isEnding = true
    void this.#end()
  }

  async #end(): Promise<void> {
    const reader = this.#reader
    reader?.stopReading()
    await this.#flush()
    this.#autoCommit?.close()
    await reader?.leave()
    if (!this.#isClosed) this.#stream.end()
  }

  #fail(error: NaruError): void {
    if (!this.#isClosed) this.#stream.fail(error)
  }

  /** The client is gone, perhaps to come back under its name: what it has done is kept, and so is its place for a while. */
  async #close(): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#writer.close()
    // Otherwise `#end` is at work.
    if (this.#isEnding) return
    this.#reader?.stopReading()
    await this.#flush()
    this.#autoCommit?.close()
    this.#reader?.abandon()
  }

  async #flush(): Promise<void> {
    if (this.#reader?.error !== undefined) return
    await this.#autoCommit?.flush().catch(() => {})
  }

  get #frameBytes(): number {
    assert(this.#options !== undefined, 'a member has joined')
    return this.#options.frameBytes
  }
}

function placeOf({ topic, partition }: OwnedPartition): { topic: string; partition: number } {
  return { topic, partition }
}
