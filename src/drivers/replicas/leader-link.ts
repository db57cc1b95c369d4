import type { Offset, PartitionId, Uuid } from '../../base/brands.ts'
import type { Diverged, Follow, FollowNumber, Refused } from '../../replication/follow.ts'
import type { ReplicaIdentity } from '../../replication/partition-metadata.ts'
import type { PartitionData, ReplicateResponse, ReplicationLane } from '../../wire/generated/replication.ts'
import { ReceivingLane } from './receiving-lane.ts'
import type { ReplicationContext } from './replication-options.ts'

/** One partition that this node follows, as its link sees it. */
export interface FollowingPartition {
  readonly topicId: Uuid
  readonly partition: PartitionId
  onConnected(): void
  onDisconnected(): void
  onData(data: PartitionData): void
  onDiverged(number: FollowNumber, diverged: Diverged): void
  onRefused(number: FollowNumber, refused: Refused): void
}

/**
 * This node's connections to one process that leads partitions which it follows: a lane for those that keep up, and one
 * for those that catch up, on a connection of its own, so that a long way back never delays what is new. A partition
 * begins on the live lane; the leader sends it to the other one as needed.
 */
export class LeaderLink {
  readonly leader: ReplicaIdentity & { readonly address: string }
  readonly #lanes: Readonly<Record<ReplicationLane, ReceivingLane>>
  readonly #partitions = new Map<
    FollowingPartition,
    { lane: ReplicationLane; number: FollowNumber | undefined }
  >()
  readonly #byNumber = new Map<FollowNumber, FollowingPartition>()

  constructor(context: ReplicationContext, leader: ReplicaIdentity & { readonly address: string }) {
    this.leader = leader
    const makeLane = (lane: ReplicationLane) =>
      new ReceivingLane({
        context,
        lane,
        leader,
        onOpened: () => this.#onOpened(lane),
        onFrame: frame => this.#onFrame(frame),
        onBroken: () => this.#onBroken(lane),
      })
    this.#lanes = { LIVE: makeLane('LIVE'), CATCH_UP: makeLane('CATCH_UP') }
  }

  get isUsed(): boolean {
    return this.#partitions.size > 0
  }

  /** See `ReceivingLane`. */
  get isHeard(): boolean {
    return this.#lanes.LIVE.isHeard
  }

  /** Calls `onConnected` now or when it is. */
  attach(partition: FollowingPartition): void {
    this.#partitions.set(partition, { lane: 'LIVE', number: undefined })
    this.#enter(partition, 'LIVE')
  }

  detach(partition: FollowingPartition): void {
    const number = this.#partitions.get(partition)?.number
    if (number !== undefined) this.#byNumber.delete(number)
    this.#partitions.delete(partition)
  }

  follow(partition: FollowingPartition, { lastFetchedEpoch, removals, ...follow }: Follow): void {
    const entry = this.#partitions.get(partition)
    if (!entry) return
    if (entry.number !== undefined) this.#byNumber.delete(entry.number)
    entry.number = follow.number
    this.#byNumber.set(follow.number, partition)
    const { topicId, partition: index } = partition
    const epoch = lastFetchedEpoch === undefined ? {} : { lastFetchedEpoch }
    const told = removals === undefined ? {} : { removals }
    this.#lanes[entry.lane].follow({ ...follow, ...epoch, ...told, topicId, partition: index })
  }

  acknowledge(partition: FollowingPartition, ack: { number: FollowNumber; endOffset: Offset }): void {
    const entry = this.#partitions.get(partition)
    if (entry) this.#lanes[entry.lane].acknowledge(ack.number, ack.endOffset)
  }

  tick(): void {
    this.#lanes.LIVE.tick()
    this.#lanes.CATCH_UP.tick()
  }

  close(): void {
    this.#lanes.LIVE.close()
    this.#lanes.CATCH_UP.close()
    for (const partition of [...this.#partitions.keys()]) partition.onDisconnected()
    this.#partitions.clear()
    this.#byNumber.clear()
  }

  #enter(partition: FollowingPartition, lane: ReplicationLane): void {
    if (this.#lanes[lane].isOpen) partition.onConnected()
    else this.#lanes[lane].open()
  }

  #onOpened(lane: ReplicationLane): void {
    for (const [partition, entry] of this.#partitions) if (entry.lane === lane) partition.onConnected()
  }

  #onBroken(lane: ReplicationLane): void {
    for (const [partition, entry] of this.#partitions) {
      if (entry.lane !== lane) continue
      if (entry.number !== undefined) this.#byNumber.delete(entry.number)
      entry.number = undefined
      partition.onDisconnected()
    }
  }

  #onFrame({ data, diverged, refused }: ReplicateResponse): void {
    for (const one of data) this.#byNumber.get(one.number)?.onData(one)
    for (const { number, ...one } of diverged)
      this.#byNumber.get(number)?.onDiverged(number, { kind: 'diverged', ...one })
    for (const { number, ...one } of refused) {
      const partition = this.#byNumber.get(number)
      if (!partition) continue
      if (one.reason === 'OTHER_LANE') this.#changeLane(partition)
      else partition.onRefused(number, { kind: 'refused', ...one })
    }
  }

  #changeLane(partition: FollowingPartition): void {
    const entry = this.#partitions.get(partition)
    if (!entry) return
    entry.lane = entry.lane === 'LIVE' ? 'CATCH_UP' : 'LIVE'
    partition.onDisconnected()
    this.#enter(partition, entry.lane)
  }
}
