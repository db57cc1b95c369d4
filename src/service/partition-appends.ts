import type { PartitionId, Uuid } from '../base/brands.ts'
import { NaruError } from '../base/errors.ts'
import type { Acks, PartitionLeader, ProduceOutcome } from '../drivers/replicas/partition-leader.ts'
import type { TopicView } from '../metadata/topic-image.ts'
import type { Timer } from '../ports/clock.ts'
import type { ServiceNode } from './service-node.ts'
import { requirePartition } from './topic-lookup.ts'

/** One ready batch on its way into one partition. */
export interface BatchToAppend {
  readonly topic: TopicView
  readonly partition: PartitionId
  /** Belongs to the log from now on. */
  readonly batch: Buffer
  readonly acks: Acks
  readonly timeoutMs: number
  /** Called exactly once, in the order of the partition; never after `close`. */
  readonly answer: (outcome: ProduceOutcome) => void
}

/**
 * The batches of one call on their way into partitions: appended and answered in order per partition, each
 * partition for itself. A batch whose log has no room, or is still being opened, waits here with those behind
 * it; the caller bounds what waits by what it lets in.
 *
 * A batch that is not appended by its deadline fails for certain; one that is appended and not answered by then
 * ends as UNKNOWN_OUTCOME. What is parked in a log when the call goes away stays there and is stored.
 */
export class PartitionAppends {
  readonly #node: ServiceNode
  readonly #lanes = new Map<Uuid, Map<PartitionId, Lane>>()
  /** By deadline, if the call has one timeout (it has): the first is due first. */
  #deadlines: Item[] = []
  #timer: Timer | undefined
  #isClosed = false

  constructor(node: ServiceNode) {
    this.#node = node
  }

  append(batch: BatchToAppend): void {
    const deadlineMs = this.#node.clock.monotonicMs() + batch.timeoutMs
    const item: Item = { ...batch, deadlineMs, isAppended: false, outcome: undefined }
    const lane = this.#lane(batch)
    lane.items.push(item)
    if (!lane.isWaiting) this.#advance(lane)
    if (item.outcome === undefined) this.#watch(item)
  }

  /** The caller is gone: nothing is appended or answered any more. */
  close(): void {
    this.#isClosed = true
    this.#timer?.cancel()
    this.#lanes.clear()
    this.#deadlines = []
  }

  #lane({ topic, partition }: BatchToAppend): Lane {
    let lanes = this.#lanes.get(topic.id)
    if (lanes === undefined) {
      lanes = new Map()
      this.#lanes.set(topic.id, lanes)
    }
    let lane = lanes.get(partition)
    if (lane === undefined) {
      lane = { topic, partition, items: [], head: 0, next: 0, isWaiting: false }
      lanes.set(partition, lane)
    }
    return lane
  }

  #advance(lane: Lane): void {
    while (lane.next < lane.items.length) {
      const item = lane.items[lane.next] as Item
      if (item.outcome === undefined && !this.#tryAppend(lane, item)) {
        if (!lane.isWaiting) void this.#wait(lane)
        break
      }
      lane.next++
    }
    this.#answer(lane)
  }

  /** False: not yet. */
  #tryAppend(lane: Lane, item: Item): boolean {
    const leader = this.#leader(item)
    if (leader === undefined) return item.outcome !== undefined
    if (!leader.hasRoom) return false
    this.#produce(leader, lane, item)
    return true
  }

  /** Without one, the item has got its outcome, or the log is being opened. */
  #leader(item: Item): PartitionLeader | undefined {
    const { topic, partition } = item
    const leader = this.#node.replicas.leader(topic.id, partition)
    if (leader !== undefined) return leader
    try {
      requirePartition(topic, partition)
      return this.#node.replicas.requireLeader(topic, partition)
    } catch (thrown) {
      if (!(thrown instanceof NaruError)) throw thrown
      if (thrown.reason !== 'NODE_STARTING') item.outcome = { kind: 'failed', error: thrown }
      return undefined
    }
  }

  #produce(leader: PartitionLeader, lane: Lane, item: Item): void {
    try {
      leader.produce(item.batch, { acks: item.acks, done: outcome => this.#done(lane, item, outcome) })
      item.isAppended = true
    } catch (thrown) {
      if (!(thrown instanceof NaruError)) throw thrown
      item.outcome = { kind: 'failed', error: thrown }
    }
  }

  async #wait(lane: Lane): Promise<void> {
    lane.isWaiting = true
    const leader = this.#node.replicas.leader(lane.topic.id, lane.partition)
    await (leader === undefined ? this.#node.replicas.whenOpened(lane.topic.id) : leader.room())
    lane.isWaiting = false
    if (!this.#isClosed) this.#advance(lane)
  }

  #done(lane: Lane, item: Item, outcome: ProduceOutcome): void {
    // An expired one was answered already.
    if (this.#isClosed || item.outcome !== undefined) return
    item.outcome = outcome
    this.#answer(lane)
  }

  /** In order: a later batch that is done (refused at once, say) waits for those before it. */
  #answer(lane: Lane): void {
    // A batch that is done while it is being appended is answered when `produce` has returned.
    while (lane.head < lane.next && !this.#isClosed) {
      const { outcome, answer } = lane.items[lane.head] as Item
      if (outcome === undefined) break
      lane.head++
      answer(outcome)
    }
    if (lane.head === lane.items.length) this.#lanes.get(lane.topic.id)?.delete(lane.partition)
    else if (lane.head > 256 && lane.head * 2 > lane.items.length) {
      lane.items = lane.items.slice(lane.head)
      lane.next -= lane.head
      lane.head = 0
    }
  }

  #watch(item: Item): void {
    this.#deadlines.push(item)
    if (this.#deadlines.length === 1) this.#arm()
    else if (this.#deadlines.length % DEADLINES_SWEEP === 0)
      this.#deadlines = this.#deadlines.filter(one => one.outcome === undefined)
  }

  #arm(): void {
    const first = this.#deadlines[0]
    if (first === undefined) return
    const delayMs = Math.max(0, first.deadlineMs - this.#node.clock.monotonicMs())
    this.#timer?.cancel()
    this.#timer = this.#node.clock.setTimer(delayMs, () => this.#expire())
  }

  #expire(): void {
    const nowMs = this.#node.clock.monotonicMs()
    const pending = this.#deadlines.filter(item => item.outcome === undefined)
    this.#deadlines = pending.filter(item => item.deadlineMs > nowMs)
    for (const item of pending) {
      if (item.deadlineMs > nowMs || this.#isClosed) continue
      this.#expireOne(item)
    }
    if (!this.#isClosed) this.#arm()
  }

  #expireOne(item: Item): void {
    const lane = this.#lanes.get(item.topic.id)?.get(item.partition)
    const leader = this.#node.replicas.leader(item.topic.id, item.partition)
    // A log without room refuses, and says why (its disk is slow, or full).
    if (lane !== undefined && leader !== undefined && !item.isAppended && !leader.hasRoom)
      this.#produce(leader, lane, item)
    item.outcome ??= { kind: 'failed', error: expired(item) }
    if (lane !== undefined) this.#advance(lane)
  }
}

/** So often (in batches) what is answered is dropped from the list of deadlines. */
const DEADLINES_SWEEP = 1_024

interface Lane {
  readonly topic: TopicView
  readonly partition: PartitionId
  /** In order. */
  items: Item[]
  /** Index of the first that is not answered yet. */
  head: number
  /** Index of the first that is not appended yet; head <= next. */
  next: number
  /** Somebody will call `#advance`. */
  isWaiting: boolean
}

interface Item extends BatchToAppend {
  readonly deadlineMs: number
  isAppended: boolean
  outcome: ProduceOutcome | undefined
}

function expired({ topic, partition, isAppended, timeoutMs }: Item): NaruError {
  const details = { topic: topic.name, partition: String(partition) }
  if (isAppended)
    return new NaruError(
      'UNKNOWN_OUTCOME',
      `"${topic.name}" partition ${partition}: the records were appended, but not known to be stored within ${timeoutMs} ms`,
      { details },
    )
  return new NaruError(
    'OVERLOADED',
    `"${topic.name}" partition ${partition} took no records within ${timeoutMs} ms: it is being opened, or earlier ones wait before it; try again`,
    { details, retryAfterMs: RETRY_AFTER_MS },
  )
}

const RETRY_AFTER_MS = 1_000
