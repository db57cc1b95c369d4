import type { NodeId } from '../../base/brands.ts'
import type { NaruError } from '../../base/errors.ts'
import type { Timer } from '../../ports/clock.ts'
import type { Connection } from '../connection.ts'
import { noLeader, unknownTopic } from '../leader-calls.ts'
import type { MetadataCache } from '../metadata-cache.ts'
import { LeaderStream } from './leader-stream.ts'
import type { PartitionQueue } from './partition-queue.ts'
import type { ProducerSettings } from './producer-settings.ts'

export interface SenderOptions {
  readonly connection: Connection
  readonly metadata: MetadataCache
  readonly settings: ProducerSettings
  readonly onWarnings: (warnings: readonly string[]) => void
}

/**
 * Takes what partitions have to send to their leaders, once per turn: what a turn has brought goes into one frame per
 * leader. A partition without a leader, or whose leader's stream broke, waits with a growing pause, or until the
 * metadata names a new one.
 */
export class Sender {
  readonly #connection: Connection
  readonly #metadata: MetadataCache
  readonly #settings: ProducerSettings
  readonly #onWarnings: (warnings: readonly string[]) => void
  readonly #streams = new Map<NodeId, LeaderStream>()
  /** Where the batches of a partition went last. */
  readonly #leaders = new Map<PartitionQueue, NodeId>()
  readonly #woken = new Set<PartitionQueue>()
  readonly #timers = new Map<PartitionQueue, Timer>()
  readonly #stopListening: () => void
  #isScheduled = false
  #isClosed = false

  constructor(options: SenderOptions) {
    this.#connection = options.connection
    this.#metadata = options.metadata
    this.#settings = options.settings
    this.#onWarnings = options.onWarnings
    this.#stopListening = options.connection.nodes.onSilent(address =>
      this.#leave(({ route }) => route.channel.address === address, `${address} does not answer`),
    )
  }

  wake(queue: PartitionQueue, delayMs?: number): void {
    if (this.#isClosed) return
    if (delayMs !== undefined) {
      this.#timers.get(queue)?.cancel()
      const timer = this.#connection.clock.setTimer(delayMs, () => {
        this.#timers.delete(queue)
        this.wake(queue)
      })
      this.#timers.set(queue, timer)
      return
    }
    this.#woken.add(queue)
    if (this.#isScheduled) return
    this.#isScheduled = true
    this.#connection.clock.afterTurn(() => {
      this.#isScheduled = false
      if (!this.#isClosed) this.#pump()
    })
  }

  /** The metadata of the partition has changed. */
  onMetadata(queue: PartitionQueue): void {
    const leader = this.#leaderOf(queue)
    const before = this.#leaders.get(queue)
    if (leader === undefined || leader === before) return
    // Without a sequence the old leader's answer must be awaited: sending again could store twice.
    if (queue.inFlightCount > 0 && !this.#settings.idempotent) return
    if (before !== undefined) this.#streams.get(before)?.detach(queue)
    this.#connection.nodes.mayBeReachable(leader)
    this.#leave(({ nodeId }) => nodeId === leader, `node ${leader} may be reached itself again`)
    queue.hurry()
  }

  checkAnswers(): void {
    const nowMs = this.#connection.clock.monotonicMs()
    for (const stream of this.#streams.values()) stream.checkAnswers(nowMs)
  }

  /** Everything is settled. */
  close(): void {
    this.#isClosed = true
    this.#stopListening()
    for (const timer of this.#timers.values()) timer.cancel()
    for (const stream of this.#streams.values()) stream.end()
  }

  abort(): void {
    this.close()
    for (const stream of this.#streams.values()) stream.abort()
  }

  #pump(): void {
    const touched = new Set<LeaderStream>()
    for (const queue of this.#woken) {
      if (queue.isIdle) continue
      const leader = this.#leaderOf(queue)
      if (leader === undefined) {
        this.#refresh(queue.topic)
        const isGone = this.#metadata.topic(queue.topic) === undefined
        queue.pause(isGone ? unknownTopic(queue.topic) : noLeader(queue))
        continue
      }
      // Batches of one partition are never on their way through two streams.
      if (queue.inFlightCount > 0 && this.#leaders.get(queue) !== leader) continue
      this.#leaders.set(queue, leader)
      const stream = this.#streamTo(leader)
      stream.add(queue)
      touched.add(stream)
    }
    this.#woken.clear()
    for (const stream of touched) stream.pump()
  }

  /** True: the refusal names it. */
  lookForLeader({ topic, partition }: PartitionQueue, refusal: NaruError): boolean {
    if (this.#metadata.learn(topic, partition, refusal)) return true
    this.#refresh(topic)
    return false
  }

  #refresh(topic: string): void {
    // Whoever waits for it is woken by the change, or tries again after its pause.
    this.#metadata.fetch(topic).catch(() => {})
  }

  #leaderOf(queue: PartitionQueue): NodeId | undefined {
    return this.#metadata.topic(queue.topic)?.partitions[queue.partition]?.leaderId
  }

  /**
   * Ends streams that go through other nodes, so that the next ones find a better way. Those tell nobody that the node in
   * between hangs, and the metadata name no new leader then. Without a sequence the answers must be awaited.
   */
  #leave(isConcerned: (stream: LeaderStream) => boolean, why: string): void {
    if (!this.#settings.idempotent) return
    for (const stream of [...this.#streams.values()])
      if (!stream.route.isDirect && isConcerned(stream)) stream.leave(why)
  }

  #streamTo(nodeId: NodeId): LeaderStream {
    const open = this.#streams.get(nodeId)
    if (open) return open
    const route = this.#connection.nodes.route(nodeId)
    let wasAnswered = false
    const stream = new LeaderStream({
      connection: this.#connection,
      settings: this.#settings,
      nodeId,
      route,
      topicOf: topic => this.#metadata.topic(topic),
      onAnswer: () => {
        wasAnswered = true
      },
      onWarnings: this.#onWarnings,
      onClosed: (closed, error) => {
        if (this.#streams.get(nodeId) === closed) this.#streams.delete(nodeId)
        if (!wasAnswered && error.reason === 'CONNECTION_FAILED')
          this.#connection.nodes.markUnreachable(route)
        this.#onStreamClosed(nodeId, error)
      },
    })
    this.#streams.set(nodeId, stream)
    return stream
  }

  #onStreamClosed(nodeId: NodeId, error: NaruError): void {
    if (this.#isClosed) return
    const topics = new Set<string>()
    for (const [queue, leader] of this.#leaders) {
      if (leader !== nodeId || queue.isIdle) continue
      topics.add(queue.topic)
      queue.pause(error)
    }
    for (const topic of topics) this.#refresh(topic)
  }
}
