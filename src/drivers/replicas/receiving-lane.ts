import type { Offset } from '../../base/brands.ts'
import { NaruError } from '../../base/errors.ts'
import type { Timer } from '../../ports/clock.ts'
import type { Channel, MessageStream } from '../../ports/transport.ts'
import type { FollowNumber } from '../../replication/follow.ts'
import type { ReplicaIdentity } from '../../replication/partition-metadata.ts'
import type { MessageInit } from '../../wire/codec.ts'
import { Replication } from '../../wire/generated/internal-services.ts'
import type {
  PartitionFollow,
  ReplicateRequest,
  ReplicateResponse,
  ReplicationLane,
} from '../../wire/generated/replication.ts'
import type { ReplicationContext } from './replication-options.ts'
import { isSame } from './sending-lane.ts'

export interface ReceivingLaneOptions {
  readonly context: ReplicationContext
  readonly lane: ReplicationLane
  /** Whom it leads to; the link is closed when the metadata name another process. */
  readonly leader: ReplicaIdentity & { readonly address: string }
  readonly onOpened: () => void
  readonly onFrame: (frame: ReplicateResponse) => void
  readonly onBroken: () => void
}

/**
 * A follower's end of one stream to one leader's process. Dialled when it is first needed, and again when it breaks, at
 * once and then at a bounded pace. `Follow`s and acknowledgements gather during a turn and leave in one frame after it.
 */
export class ReceivingLane {
  readonly #options: ReceivingLaneOptions
  readonly #context: ReplicationContext
  #channel: Channel | undefined
  #stream: MessageStream | undefined
  #timer: Timer | undefined
  #isOpen = false
  #isClosed = false
  #isScheduled = false
  #isFull = false
  #failedDials = 0
  #heardMs = 0
  #sentMs = 0
  #follows: MessageInit<PartitionFollow>[] = []
  #acks = new Map<FollowNumber, Offset>()

  constructor(options: ReceivingLaneOptions) {
    this.#options = options
    this.#context = options.context
  }

  get isOpen(): boolean {
    return this.#isOpen
  }

  /** The leader has sent something within the time in which it sends at least a sign of life. */
  get isHeard(): boolean {
    const { time, limits } = this.#context
    return this.#isOpen && time.nowMs - this.#heardMs <= 1.5 * limits.heartbeatMs
  }

  /** Idempotent. */
  open(): void {
    if (!this.#stream && !this.#timer && !this.#isClosed) this.#dial()
  }

  follow(follow: MessageInit<PartitionFollow>): void {
    this.#follows.push(follow)
    this.#schedule()
  }

  /** Only the last end of a number matters. */
  acknowledge(number: FollowNumber, endOffset: Offset): void {
    this.#acks.set(number, endOffset)
    this.#schedule()
  }

  tick(): void {
    if (!this.#isOpen) return
    const { time, limits } = this.#context
    const { nowMs } = time
    if (nowMs - this.#heardMs > limits.silenceMsMax) {
      const what = `node ${this.#options.leader.nodeId} has been silent for ${limits.silenceMsMax} ms`
      this.#stream?.fail(new NaruError('DEADLINE_EXCEEDED', what))
      this.#onClose(this.#stream)
    } else if (nowMs - this.#sentMs >= limits.heartbeatMs && !this.#isFull) this.#write({})
  }

  close(): void {
    this.#isClosed = true
    this.#timer?.cancel()
    this.#isOpen = false
    this.#stream?.end()
    this.#stream = undefined
    this.#channel?.close()
  }

  #dial(): void {
    const { transport, clock, limits, clusterId, self } = this.#context
    const { leader, lane } = this.#options
    this.#channel ??= transport.connect(leader.address, { purpose: 'replication' })
    const stream = this.#channel.stream(Replication.replicate.path)
    this.#stream = stream
    stream.setHandlers({
      onMessage: bytes => this.#onMessage(stream, bytes),
      onDrain: () => {
        if (stream !== this.#stream) return
        this.#isFull = false
        this.#schedule()
      },
      onEnd: () => stream.end(),
      onClose: () => this.#onClose(stream),
    })
    this.#timer = clock.setTimer(limits.dialTimeoutMs, () => {
      stream.fail(new NaruError('DEADLINE_EXCEEDED', `node ${leader.nodeId} did not answer the dial in time`))
      this.#onClose(stream)
    })
    const { nodeId, directoryId, nodeEpoch } = leader
    this.#write({ open: { clusterId, from: self, to: { nodeId, directoryId, nodeEpoch }, lane } })
  }

  #onMessage(stream: MessageStream, bytes: Buffer): void {
    if (stream !== this.#stream) return
    this.#heardMs = this.#context.time.nowMs
    try {
      const frame = Replication.replicate.response.decode(bytes)
      if (this.#isOpen) this.#options.onFrame(frame)
      else this.#onOpened(frame)
    } catch (thrown) {
      if (!(thrown instanceof NaruError)) throw thrown
      this.#context.onError(thrown)
      stream.fail(thrown)
      this.#onClose(stream)
    }
  }

  #onOpened({ opened }: ReplicateResponse): void {
    const { leader } = this.#options
    if (!opened || !isSame(opened, leader))
      throw new NaruError(
        'FENCED_LEADER_EPOCH',
        `node ${opened?.nodeId} (epoch ${opened?.nodeEpoch}) answers at ${leader.address} where node ${leader.nodeId} ` +
          `(epoch ${leader.nodeEpoch}) should`,
      )
    this.#timer?.cancel()
    this.#timer = undefined
    this.#failedDials = 0
    this.#isOpen = true
    this.#options.onOpened()
  }

  #onClose(stream: MessageStream | undefined): void {
    if (!stream || stream !== this.#stream || this.#isClosed) return
    const { clock, prng, limits } = this.#context
    const wasOpen = this.#isOpen
    this.#stream = undefined
    this.#isOpen = false
    this.#isFull = false
    this.#follows = []
    this.#acks.clear()
    this.#timer?.cancel()
    const { min, max } = limits.redialMs
    const waitMs = Math.min(max, min * 2 ** Math.min(this.#failedDials, 10)) * (0.5 + prng.fraction() / 2)
    this.#failedDials++
    this.#timer = clock.setTimer(wasOpen ? 0 : waitMs, () => {
      this.#timer = undefined
      this.open()
    })
    if (wasOpen) this.#options.onBroken()
  }

  #schedule(): void {
    if (this.#isScheduled || this.#isFull || !this.#isOpen) return
    this.#isScheduled = true
    this.#context.clock.afterTurn(() => {
      this.#isScheduled = false
      if (!this.#isOpen || this.#isFull) return
      const follows = this.#follows
      const acks = [...this.#acks].map(([number, endOffset]) => ({ number, endOffset }))
      if (follows.length === 0 && acks.length === 0) return
      this.#follows = []
      this.#acks.clear()
      this.#write({ follows, acks })
    })
  }

  #write(frame: MessageInit<ReplicateRequest>): void {
    this.#sentMs = this.#context.time.nowMs
    this.#isFull = this.#stream?.write(Replication.replicate.request.encode(frame)) === false
  }
}
