import type { PartitionId, Uuid } from '../../base/brands.ts'
import { NaruError } from '../../base/errors.ts'
import type { MessageStream } from '../../ports/transport.ts'
import type { Follow, FollowAnswer, FollowNumber, FollowRefusal } from '../../replication/follow.ts'
import type { FollowerSession } from '../../replication/follower-progress.ts'
import type { ReplicaIdentity } from '../../replication/partition-metadata.ts'
import type { MessageInit } from '../../wire/codec.ts'
import { Replication } from '../../wire/generated/internal-services.ts'
import type {
  OpenReplication,
  PartitionAck,
  PartitionData,
  PartitionDiverged,
  PartitionFollow,
  PartitionRefused,
  ReplicateRequest,
  ReplicateResponse,
} from '../../wire/generated/replication.ts'
import type { PartitionSender } from './partition-sender.ts'
import type { ReplicationContext } from './replication-options.ts'

/** One partition that is followed over a lane, as its leader serves it. */
export interface FollowedPartition {
  /** Time counts for it again: nothing has come over the lane for longer than its follower is ever silent. */
  attend(): void
  onAck(session: FollowerSession, ack: PartitionAck): void
}

/** Where a `Follow` goes: the partition on this node. It answers over the lane, at once or when it can. */
export interface FollowTarget {
  onFollow(follow: Follow, lane: SendingLane): void
}

export interface SendingLaneOptions {
  readonly context: ReplicationContext
  readonly stream: MessageStream
  readonly target: (topicId: Uuid, partition: PartitionId) => FollowTarget | undefined
  /** It was opened: by whom is known. Throws if it cannot be taken. */
  readonly onOpened: (lane: SendingLane) => void
  /** Once, if it was opened. */
  readonly onClosed: (lane: SendingLane) => void
  /** Once, last. */
  readonly onOver: () => void
}

/**
 * A leader's end of one stream to one follower's process, for all partitions that this node leads and that one follows.
 * What is to be sent gathers during a turn and leaves in one frame after it; a frame takes from each partition in turn,
 * and the next one waits for the next turn. High watermarks alone wait for data to go with, or for the tick.
 * Invariant: of each `Follow`, frames go out in the order in which they were taken, and none after its refusal.
 */
export class SendingLane implements FollowerSession {
  readonly #options: SendingLaneOptions
  readonly #context: ReplicationContext
  readonly #stream: MessageStream
  readonly #senders = new Map<FollowNumber, { sender: PartitionSender; partition: FollowedPartition }>()
  /** In the order in which they get their turn. */
  readonly #ready = new Set<PartitionSender>()
  readonly #withNewEnds = new Set<PartitionSender>()
  #diverged: MessageInit<PartitionDiverged>[] = []
  #refused: MessageInit<PartitionRefused>[] = []
  #from: ReplicaIdentity | undefined
  #isLive = true
  #heardMs: number
  #sentMs: number
  #isScheduled = false
  #isFull = false
  #isOver = false
  #unacknowledgedBytes = 0
  #round: CatchUpRound | undefined

  constructor(options: SendingLaneOptions) {
    this.#options = options
    this.#context = options.context
    this.#stream = options.stream
    this.#heardMs = this.#sentMs = options.context.time.nowMs
    options.stream.setHandlers({
      onMessage: bytes => this.#onMessage(bytes),
      onEnd: () => options.stream.end(),
      onDrain: () => {
        this.#isFull = false
        this.#schedule()
      },
      onClose: () => this.#onClose(),
    })
  }

  get nodeId(): number {
    return this.#from?.nodeId ?? -1
  }

  get directoryId(): Uuid {
    return this.#from?.directoryId ?? ''
  }

  get nodeEpoch(): number {
    return this.#from?.nodeEpoch ?? -1
  }

  get heardMs(): number {
    return this.#heardMs
  }

  get isLive(): boolean {
    return this.#isLive
  }

  get isOver(): boolean {
    return this.#isOver
  }

  /** Records go to the follower from now on. */
  add(sender: PartitionSender, partition: FollowedPartition): void {
    this.#senders.set(sender.number, { sender, partition })
    this.onReady(sender)
  }

  remove(sender: PartitionSender): void {
    if (this.#senders.get(sender.number)?.sender !== sender) return
    this.#senders.delete(sender.number)
    this.#ready.delete(sender)
    this.#withNewEnds.delete(sender)
    this.#unacknowledgedBytes -= sender.unacknowledgedBytes
    sender.end()
    // Who left has acknowledged nothing: there is nothing to rest from.
    if (this.#unacknowledgedBytes === 0 && !this.#round?.isResting) this.#round = undefined
  }

  onReady(sender: PartitionSender): void {
    this.#ready.add(sender)
    this.#schedule()
  }

  /** They go with the next records, or at the next tick. */
  onNewEnds(sender: PartitionSender): void {
    this.#withNewEnds.add(sender)
  }

  answer(number: FollowNumber, answer: Exclude<FollowAnswer, { kind: 'accepted' }>): void {
    const { logStartOffset } = answer
    if (answer.kind === 'diverged') {
      const { epoch, endOffset } = answer
      this.#diverged.push({ number, epoch, endOffset, logStartOffset })
    } else this.#refused.push({ number, reason: answer.reason, logStartOffset })
    this.#schedule()
  }

  tick(): void {
    for (const sender of this.#withNewEnds) this.#ready.add(sender)
    this.#withNewEnds.clear()
    if (this.#ready.size > 0 && this.#hasWindow) this.#schedule()
    // Also while what is ready has to wait for acknowledgements: that the follower is slow does not make this leader dead.
    const { heartbeatMs } = this.#context.limits
    const { nowMs } = this.#context.time
    if (nowMs - this.#heardMs > 2 * heartbeatMs)
      for (const { partition } of this.#senders.values()) partition.attend()
    if (this.#from && nowMs - this.#sentMs >= heartbeatMs && !this.#isFull) this.#write({})
  }

  fail(error: NaruError): void {
    this.#stream.fail(error)
  }

  #onMessage(bytes: Buffer): void {
    this.#heardMs = this.#context.time.nowMs
    try {
      const frame = Replication.replicate.request.decode(bytes)
      if (!this.#from) this.#open(frame)
      else this.#onFrame(frame)
    } catch (thrown) {
      if (!(thrown instanceof NaruError)) throw thrown
      this.#stream.fail(thrown)
    }
  }

  #open({ open }: ReplicateRequest): void {
    const from = checkOpen(open, this.#context)
    this.#isLive = open?.lane !== 'CATCH_UP'
    this.#from = from
    try {
      this.#options.onOpened(this)
    } catch (thrown) {
      this.#from = undefined
      throw thrown
    }
    this.#write({ opened: this.#context.self })
  }

  #onFrame({ follows, acks }: ReplicateRequest): void {
    for (const ack of acks) this.#onAck(ack)
    for (const follow of follows) this.#onFollow(follow)
  }

  #onAck(ack: PartitionAck): void {
    const found = this.#senders.get(ack.number)
    if (!found) return
    const { sender, partition } = found
    this.#unacknowledgedBytes -= sender.acknowledge(ack.endOffset)
    this.#endRound()
    partition.onAck(this, ack)
    if (sender.hasMore) this.onReady(sender)
    if (this.#ready.size > 0) this.#schedule()
  }

  #onFollow({ topicId, partition, lastFetchedEpoch, ...rest }: PartitionFollow): void {
    const { number } = rest
    const target = this.#options.target(topicId, partition)
    const isTaken = this.#senders.size < this.#context.limits.followsMax
    if (target && isTaken) target.onFollow({ ...rest, lastFetchedEpoch }, this)
    else this.answer(number, { kind: 'refused', reason: 'NOT_LEADER', logStartOffset: 0 })
  }

  #schedule(): void {
    if (this.#isScheduled || this.#isFull || this.#isOver) return
    this.#isScheduled = true
    this.#context.clock.afterTurn(() => {
      this.#isScheduled = false
      if (!this.#isFull && !this.#isOver) this.#flush()
    })
  }

  #flush(): void {
    const data = this.#gather()
    const diverged = this.#diverged
    const refused = this.#refused
    if (data.length + diverged.length + refused.length === 0) return
    this.#diverged = []
    this.#refused = []
    this.#write({ data, diverged, refused })
    if (this.#ready.size > 0 && this.#hasWindow) this.#schedule()
  }

  /** One frame's worth; who has more goes to the end of the queue. */
  #gather(): MessageInit<PartitionData>[] {
    const { frameBytesMax } = this.#context.limits
    const data: MessageInit<PartitionData>[] = []
    let bytes = 0
    for (const sender of [...this.#ready]) {
      if (bytes >= frameBytesMax || !this.#hasWindow) break
      this.#ready.delete(sender)
      this.#withNewEnds.delete(sender)
      const before = sender.unacknowledgedBytes
      const part = sender.take()
      if (part) data.push(part)
      const taken = sender.unacknowledgedBytes - before
      bytes += taken
      // A sender that was refused by its own `take` has left with what it had on its way.
      if (this.#senders.has(sender.number)) this.#onTaken(taken)
      if (sender.hasMore) this.#ready.add(sender)
    }
    return data
  }

  get #hasWindow(): boolean {
    const { laneWindowBytesMax, catchUpRoundBytesMax } = this.#context.limits
    if (this.#unacknowledgedBytes >= laneWindowBytesMax) return false
    return this.#round === undefined || (!this.#round.isResting && this.#round.bytes < catchUpRoundBytesMax)
  }

  #onTaken(bytes: number): void {
    this.#unacknowledgedBytes += bytes
    if (this.#isLive || bytes === 0) return
    this.#round ??= { startedMs: this.#context.clock.monotonicMs(), bytes: 0, isResting: false }
    this.#round.bytes += bytes
  }

  /** Everything of the round is acknowledged: as long as it took, the processors and disks of both nodes are for others. */
  #endRound(): void {
    const round = this.#round
    if (round === undefined || round.isResting || this.#unacknowledgedBytes > 0) return
    round.isResting = true
    const { clock, limits } = this.#context
    const tookMs = clock.monotonicMs() - round.startedMs
    clock.setTimer(Math.min(tookMs, limits.catchUpRestMsMax), () => {
      this.#round = undefined
      if (this.#ready.size > 0) this.#schedule()
    })
  }

  #write(frame: MessageInit<ReplicateResponse>): void {
    this.#sentMs = this.#context.time.nowMs
    this.#isFull = !this.#stream.write(Replication.replicate.response.encode(frame))
  }

  #onClose(): void {
    if (this.#isOver) return
    this.#isOver = true
    for (const { sender } of this.#senders.values()) sender.end()
    this.#senders.clear()
    this.#ready.clear()
    this.#withNewEnds.clear()
    if (this.#from) this.#options.onClosed(this)
    this.#options.onOver()
  }
}

/** What a lane that catches up sends before it rests (rule C9: at most half of the time is its). */
interface CatchUpRound {
  readonly startedMs: number
  bytes: number
  isResting: boolean
}

/** Rule C1: both sides are whom the other takes them for, by the metadata of both. */
function checkOpen(open: OpenReplication | undefined, context: ReplicationContext): ReplicaIdentity {
  const { from, to } = open ?? {}
  if (!open || !from || !to)
    throw new NaruError('INVALID_REQUEST', 'a replication stream begins with its open')
  const { self, clusterId } = context
  const known = context.peer(from.nodeId)
  const isMeant = open.clusterId === clusterId && isSame(to, self)
  if (isMeant && known && isSame(from, known)) return from
  throw new NaruError(
    'FENCED_LEADER_EPOCH',
    `node ${from.nodeId} (epoch ${from.nodeEpoch}) of cluster ${open.clusterId} wants to follow node ${to.nodeId} (epoch ` +
      `${to.nodeEpoch}); this is node ${self.nodeId} (epoch ${self.nodeEpoch}) of cluster ${clusterId}, which knows it ` +
      `${known ? `with epoch ${known.nodeEpoch}` : 'not'}: one of the two has newer metadata, it dials again`,
  )
}

export function isSame(a: ReplicaIdentity, b: ReplicaIdentity): boolean {
  return a.nodeId === b.nodeId && a.directoryId === b.directoryId && a.nodeEpoch === b.nodeEpoch
}

export function refused(reason: FollowRefusal, logStartOffset: number) {
  return { kind: 'refused', reason, logStartOffset } as const
}
