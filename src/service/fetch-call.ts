import type { Offset } from '../base/brands.ts'
import { NaruError } from '../base/errors.ts'
import type { CallContext } from '../ports/transport.ts'
import { CLIENT_FRAME_BYTES_DEFAULT, CLIENT_FRAME_BYTES_MAX, CLIENT_FRAME_BYTES_MIN } from '../wire/limits.ts'
import type {
  FetchPartition,
  FetchRequest,
  FetchResponse,
  PartitionFailure,
  PartitionRecords,
  RecordFormat,
  StoredRecord,
} from '../wire/messages.ts'
import { makeChunk, type TakenPart } from './chunk.ts'
import { BoundedFailures } from './failures.ts'
import type { CommittedPlaces } from './groups/committed-places.ts'
import { isDirect } from './leader-attempts.ts'
import type { PartitionSource } from './partition-source.ts'
import { PartitionSources } from './partition-sources.ts'
import { checkPosition, requireReadable } from './positions.ts'
import type { ReadMemory } from './read-memory.ts'
import { countWithin, integerWithin, invalidRequest } from './request-checks.ts'
import type { ServiceNode } from './service-node.ts'
import { findTopic, lookTwice } from './topic-lookup.ts'

const FETCH_PARTITIONS_MAX = 1_000
/** Names and numbers of one partition in the answer, without the name of the topic. */
const PARTITION_BYTES = 80

/**
 * One Fetch: collects from the partitions in the order asked, and goes on collecting as high watermarks move, until
 * there is enough, no more fits, something failed, or the time is over. Between two rounds it keeps what it has and no more.
 */
export class FetchCall {
  readonly #node: ServiceNode
  readonly #memory: ReadMemory
  readonly #request: FetchRequest
  readonly #context: CallContext
  readonly #sources: PartitionSources
  readonly #frameBytes: number
  readonly #deadlineMs: number
  readonly #minBytes: number
  #collectedBytes = 0
  #heldBytes = 0
  #isCancelled = false
  #wake: () => void = () => {}
  #leaveLine: () => void = () => {}

  constructor(
    node: ServiceNode,
    memory: ReadMemory,
    of: {
      readonly request: FetchRequest
      readonly context: CallContext
      readonly committed?: CommittedPlaces
    },
  ) {
    const { request, context, committed } = of
    this.#node = node
    this.#memory = memory
    this.#request = request
    this.#context = context
    this.#sources = new PartitionSources(node, memory, { isEntry: !isDirect(context.metadata), committed })
    const { partitions } = request
    countWithin(partitions.length, { name: 'partitions', min: 1, max: FETCH_PARTITIONS_MAX })
    const frameBytes = integerWithin(request.maxFrameBytes, {
      name: 'max_frame_bytes',
      min: CLIENT_FRAME_BYTES_MIN,
      max: CLIENT_FRAME_BYTES_MAX,
      default: CLIENT_FRAME_BYTES_DEFAULT,
    })
    const waitMs = integerWithin(request.maxWaitMs, { name: 'max_wait_ms', min: 0, max: 60_000, default: 0 })
    this.#deadlineMs = node.clock.monotonicMs() + waitMs
    this.#minBytes = integerWithin(request.minBytes, {
      name: 'min_bytes',
      min: 0,
      max: CLIENT_FRAME_BYTES_MAX,
      default: 1,
    })
    let namesBytes = 0
    for (const { topic } of partitions) namesBytes += PARTITION_BYTES + topic.length
    if (namesBytes > frameBytes / 2)
      throw invalidRequest(
        `max_frame_bytes is ${frameBytes}, and the names of ${partitions.length} partitions alone take ${namesBytes}: ask for fewer, or raise it`,
      )
    this.#frameBytes = frameBytes - namesBytes
  }

  async run(): Promise<FetchResponse> {
    this.#context.onCancel(() => {
      this.#isCancelled = true
      this.#sources.close()
      this.#leaveLine()
      this.#wake()
    })
    const fetched = this.#request.partitions.map(newFetched)
    try {
      for (;;) {
        await Promise.all(fetched.filter(one => this.#isToOpen(one)).map(one => this.#open(one)))
        await this.#collect(fetched)
        const isDone = this.#collectedBytes >= this.#minBytes || fetched.some(one => one.error || one.isFull)
        if (isDone || this.#isCancelled || this.#leftMs <= 0) return this.#answer(fetched)
        await this.#change(fetched)
      }
    } finally {
      for (const one of fetched) one.unfollow()
      this.#sources.close()
      if (this.#heldBytes > 0) this.#memory.budget.giveBack(this.#heldBytes)
    }
  }

  get #leftMs(): number {
    return this.#deadlineMs - this.#node.clock.monotonicMs()
  }

  /** Not opened yet, or its leader serves no more and another may. */
  #isToOpen({ leader, error, parts }: Fetched): boolean {
    if (error !== undefined || this.#isCancelled) return false
    if (leader === undefined) return true
    return leader.ended !== undefined && parts.length === 0 && this.#sources.mayGoOn(leader.ended)
  }

  async #open(one: Fetched): Promise<void> {
    const { request, leader: before } = one
    one.unfollow()
    try {
      checkPosition(request.start, 'start')
      const { topic: name, topicId, partition } = request
      const topic = await lookTwice(this.#node, isLast => findTopic(this.#node, name, topicId, isLast))
      const { source, from } = await this.#sources.open({
        topic,
        partition,
        start: before === undefined ? request.start : { offset: one.position },
        group: this.#request.group,
        unset: 'EARLIEST',
        leaderEpochMin: before?.leaderEpoch ?? 0,
        isWanted: () => !this.#isCancelled,
      })
      checkEpoch(source, request.leaderEpoch)
      if (before === undefined) requireReadable(source, from)
      one.leader = source
      one.position = from
      one.unfollow = source.follow(() => this.#wake())
    } catch (thrown) {
      if (!(thrown instanceof NaruError)) throw thrown
      one.error = thrown
    }
  }

  async #collect(fetched: readonly Fetched[]): Promise<void> {
    if (!fetched.some(hasMore)) return
    const wantedBytes = this.#frameBytes - this.#collectedBytes
    if (!(await this.#takeMemory(wantedBytes))) return
    this.#heldBytes += wantedBytes
    for (const one of fetched) {
      if (this.#isCancelled || this.#collectedBytes >= this.#frameBytes) break
      await this.#read(one)
    }
    const spareBytes = Math.max(0, this.#heldBytes - this.#collectedBytes)
    this.#heldBytes -= spareBytes
    this.#memory.budget.giveBack(spareBytes)
  }

  /** False: the caller went away meanwhile, and nothing is held. */
  #takeMemory(bytes: number): Promise<boolean> {
    if (this.#isCancelled) return Promise.resolve(false)
    return new Promise(resolve => {
      const leave = this.#memory.budget.take(bytes, () => {
        this.#leaveLine = () => {}
        resolve(true)
      })
      this.#leaveLine = () => {
        leave()
        resolve(false)
      }
    })
  }

  async #read(one: Fetched): Promise<void> {
    const { request, leader } = one
    while (leader !== undefined && hasMore(one)) {
      const bytesLeft = this.#frameBytes - this.#collectedBytes
      const limitBytes = Math.min(bytesLeft, (request.maxBytes ?? bytesLeft) - one.bytes)
      if (limitBytes <= 0) {
        one.isFull = true
        return
      }
      try {
        const part = await this.#take(one, leader, { bytesLeft, limitBytes })
        if (part === undefined) return
        one.position = part.nextOffset
        one.bytes += part.sizeBytes
        this.#collectedBytes += part.sizeBytes
        one.parts.push(part)
      } catch (thrown) {
        if (!(thrown instanceof NaruError)) throw thrown
        // What was collected before stays in the answer; the failure comes again with the next call.
        if (one.parts.length === 0) one.error = thrown
        return
      }
    }
  }

  async #take(
    one: Fetched,
    leader: PartitionSource,
    limits: { bytesLeft: number; limitBytes: number },
  ): Promise<TakenPart | undefined> {
    const { bytesLeft, limitBytes } = limits
    await leader.whenArrived?.()
    const slice = await leader.read({ from: one.position, maxBytes: Math.max(1, limitBytes - FIELD_BYTES) })
    if (slice.buffers.length === 0) return undefined
    const name = `"${leader.topic}" partition ${leader.partition}`
    const isCounted = one.request.maxBytes !== undefined
    const range = { from: one.position, stop: undefined, isCounted, name }
    const chunk = makeChunk(slice, this.#request.format, range)
    if (chunk.isEmpty) return { ...NOTHING, nextOffset: slice.nextOffset }
    const part = chunk.take({
      bytes: bytesLeft,
      bytesMax: this.#frameBytes,
      records: Number.POSITIVE_INFINITY,
      creditBytes: limitBytes,
    })
    one.isFull = part === undefined
    return part
  }

  /** A high watermark moves, a leadership ends, the time is over, or the caller goes away. */
  #change(fetched: readonly Fetched[]): Promise<void> {
    return new Promise(resolve => {
      const timer = this.#node.clock.setTimer(this.#leftMs, () => this.#wake())
      this.#wake = () => {
        this.#wake = () => {}
        timer.cancel()
        // What else this turn brings comes along.
        this.#node.clock.afterTurn(resolve)
      }
      if (this.#isCancelled || fetched.some(one => hasMore(one) || this.#isToOpen(one))) this.#wake()
    })
  }

  #answer(fetched: readonly Fetched[]): FetchResponse {
    const partitions: PartitionRecords[] = []
    const failures: PartitionFailure[] = []
    const writer = new BoundedFailures()
    for (const { request, leader, position, parts, error } of fetched) {
      const { topic, partition } = request
      const because = error ?? (parts.length === 0 ? leader?.ended : undefined)
      if (because !== undefined) failures.push({ topic, partition, failure: writer.write(because) })
      else if (leader !== undefined)
        partitions.push({
          topic,
          partition,
          ...joined(parts, this.#request.format),
          nextOffset: position,
          highWatermark: leader.highWatermark,
          logStartOffset: leader.logStartOffset,
          leaderEpoch: leader.leaderEpoch,
        })
    }
    return { partitions, failures }
  }
}

/** What is around the bytes of a read in the answer. */
const FIELD_BYTES = 16
const NOTHING = { batches: [], records: [], recordCount: 0, sizeBytes: 0 }

interface Fetched {
  readonly request: FetchPartition
  leader: PartitionSource | undefined
  position: Offset
  readonly parts: TakenPart[]
  bytes: number
  /** It has more, for which there is no room: waiting would bring nothing. */
  isFull: boolean
  error: NaruError | undefined
  unfollow: () => void
}

function newFetched(request: FetchPartition): Fetched {
  const nothing = { leader: undefined, position: 0, bytes: 0, isFull: false, error: undefined }
  return { request, ...nothing, parts: [], unfollow: () => {} }
}

function hasMore({ leader, position, error }: Fetched): boolean {
  return error === undefined && leader !== undefined && !leader.ended && position < leader.highWatermark
}

function joined(
  parts: readonly TakenPart[],
  format: RecordFormat,
): { batches: readonly Buffer[]; records: readonly StoredRecord[] } {
  if (format === 'BATCHES') return { batches: parts.flatMap(part => part.batches), records: [] }
  return { batches: [], records: parts.flatMap(part => part.records) }
}

function checkEpoch(leader: PartitionSource, leaderEpoch: number | undefined): void {
  if (leaderEpoch === undefined || leaderEpoch >= leader.leaderEpoch) return
  throw new NaruError(
    'FENCED_LEADER_EPOCH',
    `"${leader.topic}" partition ${leader.partition} has leader epoch ${leader.leaderEpoch}, the request knows ${leaderEpoch}: refresh the metadata`,
    { details: { leader_epoch: String(leader.leaderEpoch) } },
  )
}
