import { NaruError } from '../../src/base/errors.ts'
import type { Acks, PartitionLeader, ProduceOutcome } from '../../src/drivers/replicas/partition-leader.ts'
import type { ReplicaSet } from '../../src/drivers/replicas/replica-set.ts'
import type { LogSlice } from '../../src/log/log-tail.ts'
import { ProducerStateTable } from '../../src/log/producer-state.ts'
import type { TopicView } from '../../src/metadata/topic-image.ts'
import { type BatchHeader, readBatchHeader, writeLeaderFields } from '../../src/records/batch-header.ts'
import { decodeBatch } from '../../src/records/decode-batch.ts'
import type { SeededPrng } from '../harness/seeded-prng.ts'
import type { TestServiceCluster } from './service-cluster.ts'

/** How a leadership ends: it answers what waits, its connections break, or it goes on and says nothing for a while. */
export type MoveKind = 'hand over' | 'break' | 'hang'

interface Stored {
  readonly header: BatchHeader
  readonly batch: Buffer
  readonly value: string
}

/**
 * One partition of one record per batch, as its replicas would have it, without their disks: what is committed stays, what
 * is not may be lost when the leadership moves. Commits take a random time, in order.
 */
export class MovingPartition {
  readonly log: Stored[] = []
  committedEnd = 0
  /** As the metadata tell it, a little later. */
  epoch = 0
  leader: ModelLeader | undefined
  /** Deposed, and does not know it yet; by node. */
  readonly #hanging = new Map<number, ModelLeader>()
  readonly #prng: SeededPrng
  readonly topic: string
  cluster!: TestServiceCluster

  constructor(topic: string, prng: SeededPrng) {
    this.topic = topic
    this.#prng = prng
  }

  get values(): string[] {
    return this.log.map(({ value }) => value)
  }

  /** The first leader, of the topic that is there now. */
  begin(leaderId: number): void {
    this.epoch++
    this.leader = new ModelLeader(this, leaderId)
    this.#tellMetadata(leaderId)
  }

  move(to: number, kind: MoveKind): void {
    const before = this.leader
    if (before === undefined) return
    const uncommitted = this.log.length - this.committedEnd
    this.log.length -= this.#prng.uint32() % (uncommitted + 1)
    this.epoch++
    this.leader = undefined
    before.isDeposed = true
    const { scheduler, network } = this.cluster
    if (kind === 'hand over') before.end()
    else if (kind === 'hang') {
      this.#hanging.set(before.nodeId, before)
      const { quorum } = this.cluster.node(before.nodeId)
      quorum.isHeld = true
      scheduler.schedule(this.#delayMs(400), () => {
        quorum.release()
        this.#endHanging(before.nodeId)
      })
    } else {
      for (const node of [1, 2, 3])
        if (node !== before.nodeId) network.reset(`host-${node}`, `host-${before.nodeId}`)
      before.end()
    }
    const { epoch } = this
    scheduler.schedule(this.#delayMs(50), () => {
      // Otherwise the next move came first.
      if (epoch === this.epoch) this.#tellMetadata(to)
    })
    scheduler.schedule(this.#delayMs(100), () => {
      // A node that leads again has heard of it.
      if (this.#hanging.has(to)) this.cluster.node(to).quorum.release()
      this.#endHanging(to)
      this.committedEnd = this.log.length
      this.leader = new ModelLeader(this, to)
    })
  }

  #endHanging(nodeId: number): void {
    const hanging = this.#hanging.get(nodeId)
    this.#hanging.delete(nodeId)
    hanging?.end()
  }

  replicas(nodeId: number): ReplicaSet {
    const requireLeader = (topic: TopicView) => {
      const leaderId = topic.partition(0)?.leader ?? null
      throw new NaruError(
        leaderId === null ? 'LEADER_NOT_AVAILABLE' : 'NOT_LEADER',
        `node ${nodeId} does not lead it, node ${leaderId} may`,
      )
    }
    return {
      leader: (topicId: string) => {
        const known =
          this.cluster.node(nodeId).quorum.image.topics.byId(topicId)?.partition(0)?.leaderEpoch ?? 0
        // It ends in the turn in which its node learns of its successor.
        if (known > (this.#hanging.get(nodeId)?.leaderEpoch ?? known)) this.#endHanging(nodeId)
        const leader = this.leader?.nodeId === nodeId ? this.leader : this.#hanging.get(nodeId)
        return leader as unknown as PartitionLeader
      },
      whenOpened: async () => {},
      requireLeader,
    } as unknown as ReplicaSet
  }

  commitAfter(leader: ModelLeader, endOffset: number, done: () => void): void {
    this.cluster.scheduler.schedule(this.#delayMs(20), () => {
      if (leader.isDeposed) return
      this.committedEnd = Math.max(this.committedEnd, endOffset)
      leader.onProgress()
      done()
    })
  }

  #delayMs(maxMs: number): number {
    return this.#prng.uint32() % maxMs
  }

  #tellMetadata(leader: number): void {
    this.cluster.log.write(image => {
      const topicId = image.topics.byName(this.topic)?.id as string
      const { partitionEpoch = 0 } = image.topics.byId(topicId)?.partition(0) ?? {}
      const epochs = { leaderEpoch: this.epoch, partitionEpoch: partitionEpoch + 1 }
      const change = {
        type: 'partitionChanged',
        version: 0,
        topicId,
        partition: 0,
        leader,
        ...epochs,
      } as const
      return { records: [change], response: undefined }
    })
  }
}

/** What `PartitionLeader` is to those who write and read. */
class ModelLeader {
  readonly nodeId: number
  readonly hasRoom = true
  readonly leaderEpoch: number
  isDeposed = false
  readonly #partition: MovingPartition
  readonly #producers = new ProducerStateTable()
  readonly #parked = new Set<(outcome: ProduceOutcome) => void>()
  readonly #followers = new Set<() => void>()
  #lastHighWatermark = 0
  #isEnded = false

  constructor(partition: MovingPartition, nodeId: number) {
    this.#partition = partition
    this.nodeId = nodeId
    this.leaderEpoch = partition.epoch
    for (const { header } of partition.log) this.#producers.update(header, 0)
  }

  produce(batch: Buffer, { done }: { acks: Acks; done: (outcome: ProduceOutcome) => void }): void {
    if (this.#isEnded) throw new NaruError('NOT_LEADER', `node ${this.nodeId} leads no more`)
    const header = { ...readBatchHeader(batch), baseOffset: this.#partition.log.length }
    const verdict = this.#producers.check(header)
    const baseOffset = verdict.kind === 'duplicate' ? verdict.stored.baseOffset : header.baseOffset
    const park = (outcome: ProduceOutcome) => {
      if (this.#parked.delete(park)) done(outcome)
    }
    this.#parked.add(park)
    if (verdict.kind === 'append') {
      this.#producers.update(header, 0)
      // What a deposed leader takes is never anybody else's.
      if (!this.isDeposed) this.#append(batch, header)
    }
    const stored = { kind: 'stored', baseOffset, lastOffset: baseOffset, logAppendTimeMs: undefined } as const
    this.#partition.commitAfter(this, baseOffset + 1, () => park(stored))
  }

  get topic(): string {
    return this.#partition.topic
  }

  get partition(): number {
    return 0
  }

  get logStartOffset(): number {
    return 0
  }

  get ended(): NaruError | undefined {
    return this.#isEnded ? new NaruError('NOT_LEADER', `node ${this.nodeId} leads no more`) : undefined
  }

  /** A deposed one knows of nothing that was committed after it. */
  get highWatermark(): number {
    return this.isDeposed ? this.#lastHighWatermark : this.#partition.committedEnd
  }

  async committedEnd(): Promise<number> {
    return this.highWatermark
  }

  follow(callback: () => void): () => void {
    this.#followers.add(callback)
    return () => this.#followers.delete(callback)
  }

  read({ from, maxBytes }: { from: number; maxBytes: number }): LogSlice {
    const buffers: Buffer[] = []
    let sizeBytes = 0
    for (const { batch } of this.#partition.log.slice(from, this.highWatermark)) {
      if (sizeBytes > 0 && sizeBytes + batch.length > maxBytes) break
      buffers.push(batch)
      sizeBytes += batch.length
    }
    return { baseOffset: from, nextOffset: from + buffers.length, sizeBytes, buffers }
  }

  onProgress(): void {
    this.#lastHighWatermark = this.#partition.committedEnd
    for (const callback of [...this.#followers]) callback()
  }

  #append(batch: Buffer, header: BatchHeader): void {
    const stored = Buffer.from(batch)
    writeLeaderFields(stored, 0, { baseOffset: header.baseOffset, leaderEpoch: this.leaderEpoch })
    this.#partition.log.push({ header, batch: stored, value: String(decodeBatch(stored, 0)[0]?.value) })
  }

  end(): void {
    this.#isEnded = true
    for (const callback of [...this.#followers]) callback()
    const error = new NaruError('UNKNOWN_OUTCOME', 'it stopped being led before that was known')
    for (const park of [...this.#parked]) park({ kind: 'failed', error })
  }
}
