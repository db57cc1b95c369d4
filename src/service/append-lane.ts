import type { Epoch, NodeId, PartitionId } from '../base/brands.ts'
import { NaruError } from '../base/errors.ts'
import { Backoff } from '../client/backoff.ts'
import type { Acks, PartitionLeader } from '../drivers/replicas/partition-leader.ts'
import { PRODUCER_BATCHES } from '../log/producer-state.ts'
import type { TopicView } from '../metadata/topic-image.ts'
import type { Timer } from '../ports/clock.ts'
import { BATCH_OVERHEAD, producerIdAt } from '../records/batch-header.ts'
import type { AppendOutcome } from './append-link.ts'
import { isOfTheLeader, LEADER_PAUSE_MS, LEADER_RETRY_MS_MAX, noLeaderTookIt } from './leader-attempts.ts'
import type { LeaderForwarding } from './leader-forwarding.ts'
import { missingQuorum } from './missing-quorum.ts'
import { changeOf } from './partition-change.ts'
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
  /** Whoever leads in an older epoch is not meant. */
  readonly leaderEpochMin: Epoch | undefined
  /** Called exactly once, in the order of the partition; never after `close`. */
  readonly answer: (outcome: AppendOutcome) => void
}

export interface LaneItem extends BatchToAppend {
  /** The client called this node as any other: what others lead is forwarded, and tried again. */
  readonly isEntry: boolean
  readonly startMs: number
  readonly deadlineMs: number
  /** No attempt begins after this. */
  readonly giveUpMs: number
  /** -1: none, and then nobody recognises a repetition. */
  readonly producerId: number
  isSent: boolean
  /** Raised by each end of an attempt: what comes back of an earlier one does not count. */
  attempt: number
  /** An attempt ended without anybody knowing how. */
  mayBeStored: boolean
  outcome: AppendOutcome | undefined
}

export function laneItem(batch: BatchToAppend, of: { isEntry: boolean; nowMs: number }): LaneItem {
  const { isEntry, nowMs } = of
  return {
    ...batch,
    isEntry,
    startMs: nowMs,
    deadlineMs: nowMs + batch.timeoutMs,
    giveUpMs: nowMs + Math.min(batch.timeoutMs, LEADER_RETRY_MS_MAX),
    producerId: batch.batch.length < BATCH_OVERHEAD ? -1 : producerIdAt(batch.batch, 0),
    isSent: false,
    attempt: 0,
    mayBeStored: false,
    outcome: undefined,
  }
}

export interface AppendLaneOptions {
  readonly node: ServiceNode
  readonly topic: TopicView
  readonly partition: PartitionId
  /** All is answered. It may be called again when what the lane waited for comes. */
  readonly onEmpty: (lane: AppendLane) => void
}

/**
 * The batches of one call for one partition, in order: to the leader here, or to the one elsewhere, and answered in order.
 *
 * When an attempt fails in a way that another attempt may better, nothing more is sent until everything in flight is
 * resolved; then all that is left goes again, from the first on (rule E2). To a leader elsewhere only batches of one
 * producer sequence are sent before the one ahead is resolved: the leader refuses those that come without their
 * predecessors. So batches never overtake each other.
 *
 * Invariants: head <= next; `#inFlight` of the items before `next` are sent; all of them are at `#target`.
 */
export class AppendLane {
  readonly #options: AppendLaneOptions
  readonly #backoff: Backoff
  #items: LaneItem[] = []
  /** The first that is not answered yet. */
  #head = 0
  /** The first that is not sent yet. */
  #next = 0
  #inFlight = 0
  #target: NodeId | undefined
  #producerInFlight = -1
  /** A log is being opened, or has no room: `#wait` goes on. */
  #isWaiting = false
  /** An attempt failed: nothing is sent until nothing is in flight, and then a pause is over. */
  #isBroken = false
  #isAdvancing = false
  #pause: Timer | undefined
  #lastError: NaruError | undefined
  #isClosed = false

  constructor(options: AppendLaneOptions) {
    this.#options = options
    this.#backoff = new Backoff({ prng: options.node.prng, ...LEADER_PAUSE_MS })
  }

  add(item: LaneItem): void {
    this.#items.push(item)
    if (!this.#isWaiting) this.#advance()
  }

  close(): void {
    this.#isClosed = true
    this.#pause?.cancel()
  }

  /** The metadata of the partition changed: there may be another leader. */
  onMetadata(): void {
    if (this.#isClosed) return
    this.#reclaim()
    if (this.#pause !== undefined) this.#resume()
    else if (!this.#isWaiting) this.#advance()
  }

  /** Its deadline has passed. */
  expire(item: LaneItem): void {
    const { replicas } = this.#options.node
    const leader = replicas.leader(item.topic.id, item.partition)
    // A log without room refuses, and says why (its disk is slow, or full).
    if (leader !== undefined && !item.isSent && this.#inFlight === 0 && !leader.hasRoom)
      this.#sendHere(leader, item)
    if (item.outcome === undefined) {
      item.outcome = { kind: 'failed', error: expired(item, this.#lastError, this.#now) }
      // It is resolved, as unknown: those behind it need not wait for its answer.
      if (item.isSent) this.#endAttempt(item)
    }
    this.#goOn()
  }

  #advance(): void {
    // What ends while it is being sent is for the loop under way.
    if (this.#isAdvancing) return
    this.#isAdvancing = true
    while (this.#next < this.#items.length) {
      const item = this.#items[this.#next] as LaneItem
      if (item.outcome === undefined && !this.#trySend(item)) break
      this.#next++
    }
    this.#isAdvancing = false
    if (this.#isBroken) this.#mend()
    this.#answer()
  }

  /** False: not yet. */
  #trySend(item: LaneItem): boolean {
    if (this.#isBroken || this.#pause !== undefined || this.#isWaiting) return false
    const { node, topic, partition } = this.#options
    const leader = node.replicas.leader(topic.id, partition)
    if (leader !== undefined) return this.#tryHere(leader, item)
    const state = topic.partition(partition)
    const leaderId = state?.leader ?? node.nodeId
    if (state !== undefined && leaderId !== node.nodeId && item.isEntry && node.leaders !== undefined) {
      if (!this.#mayFollow(leaderId, item)) return false
      this.#sendThere(node.leaders, { leaderId, leaderEpoch: state.leaderEpoch }, item)
      return true
    }
    if (this.#awaitMetadata(item, state?.leaderEpoch)) return false
    try {
      requirePartition(topic, partition)
      node.replicas.requireLeader(topic, partition)
    } catch (thrown) {
      if (!(thrown instanceof NaruError)) throw thrown
      if (thrown.reason === 'NODE_STARTING') void this.#wait(node.replicas.whenOpened(topic.id))
      else this.#onFailure(item, thrown)
    }
    return item.outcome !== undefined
  }

  #tryHere(leader: PartitionLeader, item: LaneItem): boolean {
    if (!this.#mayFollow(this.#options.node.nodeId, item)) return false
    const { leaderEpoch } = leader
    // It does not know yet that it is deposed: what it says of a sequence may be out of date.
    if (item.leaderEpochMin !== undefined && leaderEpoch < item.leaderEpochMin) {
      if (this.#awaitMetadata(item, leaderEpoch)) return false
      this.#onFailure(item, olderEpoch(item, leaderEpoch))
      return item.outcome !== undefined
    }
    if (!leader.hasRoom) {
      void this.#wait(leader.room())
      return false
    }
    this.#sendHere(leader, item)
    return item.isSent || item.outcome !== undefined
  }

  /** True: the sender knows of a later leader than this node does, which will hear of it in a moment. */
  #awaitMetadata({ leaderEpochMin = -1, startMs, topic }: LaneItem, leaderEpoch: Epoch = -1): boolean {
    const leftMs = startMs + METADATA_WAIT_MS_MAX - this.#nowMs
    if (leaderEpoch >= leaderEpochMin || leftMs <= 0) return false
    void this.#wait(changeOf(this.#options.node, { topicId: topic.id, timeoutMs: leftMs }))
    return true
  }

  #sendHere(leader: PartitionLeader, item: LaneItem): void {
    const attempt = this.#begin(this.#options.node.nodeId, item)
    try {
      leader.produce(item.batch, {
        acks: item.acks,
        mayComeAgain: this.#mayComeAgain(item),
        done: outcome => this.#onAttemptEnd(item, attempt, outcome),
      })
    } catch (thrown) {
      if (!(thrown instanceof NaruError)) throw thrown
      this.#endAttempt(item)
      this.#onFailure(item, thrown)
    }
  }

  #sendThere(
    leaders: LeaderForwarding,
    to: { readonly leaderId: NodeId; readonly leaderEpoch: Epoch },
    item: LaneItem,
  ): void {
    const { leaderId, leaderEpoch } = to
    const attempt = this.#begin(leaderId, item)
    const { topic, partition, batch, acks, deadlineMs } = item
    leaders.append(leaderId, {
      topic,
      partition,
      batch,
      acks,
      deadlineMs,
      leaderEpoch,
      done: outcome => this.#onAttemptEnd(item, attempt, outcome),
    })
  }

  get #now(): Now {
    return { nowMs: this.#nowMs, missing: missingQuorum(this.#options.node) }
  }

  get #nowMs(): number {
    return this.#options.node.clock.monotonicMs()
  }

  #begin(target: NodeId, item: LaneItem): number {
    item.isSent = true
    this.#inFlight++
    this.#target = target
    this.#producerInFlight = item.producerId
    return item.attempt
  }

  #endAttempt(item: LaneItem): void {
    item.isSent = false
    item.attempt++
    this.#inFlight--
  }

  /** Whether it may be sent although others are in flight. */
  #mayFollow(target: NodeId, item: LaneItem): boolean {
    if (this.#inFlight === 0) return true
    if (target !== this.#target) return false
    if (target === this.#options.node.nodeId) return true
    const isOfSequence = item.producerId >= 0 && item.producerId === this.#producerInFlight
    return isOfSequence && this.#inFlight < PRODUCER_BATCHES
  }

  #onAttemptEnd(item: LaneItem, attempt: number, outcome: AppendOutcome): void {
    if (this.#isClosed || item.attempt !== attempt || !item.isSent) return
    this.#endAttempt(item)
    if (outcome.kind === 'stored') {
      item.outcome = outcome
      this.#backoff.reset()
    } else this.#onFailure(item, outcome.error)
    this.#goOn()
  }

  #onFailure(item: LaneItem, error: NaruError): void {
    if (!this.#isTriedAgain(item, error)) {
      item.outcome = { kind: 'failed', error: finalError(item, error, this.#now) }
      return
    }
    if (error.outcome === 'unknown') item.mayBeStored = true
    this.#lastError = error
    this.#isBroken = true
  }

  /** This node is the one that sees to it that a batch finds its leader; else whoever sent it here is. */
  #mayComeAgain({ isEntry }: LaneItem): boolean {
    return isEntry && this.#options.node.leaders !== undefined
  }

  /** Rule E2: only with proof that the attempt did nothing, or where the leader recognises a repetition. */
  #isTriedAgain(item: LaneItem, error: NaruError): boolean {
    if (!this.#mayComeAgain(item) || this.#nowMs >= item.giveUpMs) return false
    const isSequenced = item.producerId >= 0
    // What is ahead of it failed as well, and comes again before it.
    if (this.#isBroken && isSequenced && isMissingPredecessor(error)) return true
    if (error.reason === 'UNKNOWN_OUTCOME') return isSequenced
    return isOfTheLeader(error) && (error.outcome === 'none' || isSequenced)
  }

  #goOn(): void {
    if (this.#isClosed || this.#isAdvancing) return
    if (this.#isBroken) this.#mend()
    this.#advance()
  }

  /** Once nothing is in flight, all that is left goes again, after a pause. */
  #mend(): void {
    if (this.#inFlight > 0 || this.#pause !== undefined) return
    this.#isBroken = false
    this.#next = this.#head
    this.#pause = this.#options.node.clock.setTimer(this.#backoff.nextMs(), () => this.#resume())
  }

  #resume(): void {
    this.#pause?.cancel()
    this.#pause = undefined
    const nowMs = this.#nowMs
    for (let at = this.#head; at < this.#items.length; at++) {
      const item = this.#items[at] as LaneItem
      const isOver = item.outcome === undefined && !item.isSent && nowMs >= item.giveUpMs
      if (isOver) item.outcome = { kind: 'failed', error: expired(item, this.#lastError, this.#now) }
    }
    this.#advance()
  }

  /** A leader that hangs may never answer: what its successor recognises goes there. */
  #reclaim(): void {
    const { node, topic, partition } = this.#options
    const leaderId = topic.partition(partition)?.leader
    const isMoved = typeof leaderId === 'number' && leaderId !== this.#target
    if (!isMoved || this.#inFlight === 0 || this.#target === node.nodeId) return
    const moved = new NaruError('NOT_LEADER', `the partition is led by node ${leaderId} now`, {
      outcome: 'unknown',
    })
    for (let at = this.#head; at < this.#next; at++) {
      const item = this.#items[at] as LaneItem
      if (!item.isSent || item.outcome !== undefined || !this.#isTriedAgain(item, moved)) continue
      this.#endAttempt(item)
      this.#onFailure(item, moved)
    }
    this.#goOn()
  }

  async #wait(until: Promise<void>): Promise<void> {
    this.#isWaiting = true
    await until
    this.#isWaiting = false
    if (!this.#isClosed) this.#advance()
  }

  /** In order: a later batch that is done (refused at once, say) waits for those before it. */
  #answer(): void {
    while (this.#head < this.#items.length && !this.#isClosed) {
      const { outcome, answer } = this.#items[this.#head] as LaneItem
      if (outcome === undefined) break
      this.#head++
      this.#next = Math.max(this.#next, this.#head)
      answer(outcome)
    }
    if (this.#head === this.#items.length) {
      this.#pause?.cancel()
      this.#pause = undefined
      if (!this.#isClosed) this.#options.onEmpty(this)
    } else if (this.#head > 256 && this.#head * 2 > this.#items.length) {
      this.#items = this.#items.slice(this.#head)
      this.#next -= this.#head
      this.#head = 0
    }
  }
}

/** As long as a `Follow` of a later epoch waits (C2). */
const METADATA_WAIT_MS_MAX = 1_000

/** The leader lacks what comes before this batch in its sequence. */
function isMissingPredecessor({ reason, outcome }: NaruError): boolean {
  return outcome === 'none' && (reason === 'OUT_OF_ORDER_SEQUENCE' || reason === 'UNKNOWN_PRODUCER_ID')
}

interface Now {
  readonly nowMs: number
  /** Why no leader comes, if that is known. */
  readonly missing: string
}

function finalError(item: LaneItem, error: NaruError, now: Now): NaruError {
  // A leader that knows the producer knows that this batch is not stored. One that has forgotten it proves nothing.
  const isKnown = error.reason === 'OUT_OF_ORDER_SEQUENCE'
  const isProof = error.outcome === 'none' && (!item.mayBeStored || isKnown)
  if (!isProof) return error.reason === 'UNKNOWN_OUTCOME' ? error : unknownOutcome(item, error)
  return item.isEntry && isOfTheLeader(error) ? gaveUp(item, error, now) : error
}

function expired(item: LaneItem, last: NaruError | undefined, now: Now): NaruError {
  const { topic, partition, timeoutMs } = item
  const details = detailsOf(item)
  if (item.isSent)
    return new NaruError(
      'UNKNOWN_OUTCOME',
      `${nameOf(item)}: the records were appended, but not known to be stored within ${timeoutMs} ms`,
      { details },
    )
  if (last !== undefined) return item.mayBeStored ? unknownOutcome(item, last) : gaveUp(item, last, now)
  return new NaruError(
    'OVERLOADED',
    `"${topic.name}" partition ${partition} took no records within ${timeoutMs} ms: it is being opened, or earlier ones wait before it; try again`,
    { details, retryAfterMs: RETRY_AFTER_MS },
  )
}

const RETRY_AFTER_MS = 1_000

function gaveUp(item: LaneItem, last: NaruError, { nowMs, missing }: Now): NaruError {
  return noLeaderTookIt({ what: nameOf(item), waitedMs: nowMs - item.startMs, last, missing })
}

function unknownOutcome(item: LaneItem, cause: NaruError): NaruError {
  return new NaruError(
    'UNKNOWN_OUTCOME',
    `${nameOf(item)}: the records were on their way to the leader, and whether they are stored is not known: ${cause.message}`,
    { cause, details: { ...detailsOf(item), because: cause.reason } },
  )
}

function nameOf({ topic, partition }: BatchToAppend): string {
  return `"${topic.name}" partition ${partition}`
}

function detailsOf({ topic, partition }: BatchToAppend): Record<string, string> {
  return { topic: topic.name, partition: String(partition) }
}

function olderEpoch(item: LaneItem, leaderEpoch: Epoch): NaruError {
  return new NaruError(
    'NOT_LEADER',
    `${nameOf(item)}: this node knows of leader epoch ${leaderEpoch}, the request of ${item.leaderEpochMin}`,
    { details: detailsOf(item) },
  )
}
