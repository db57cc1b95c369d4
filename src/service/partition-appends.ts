import type { PartitionId, Uuid } from '../base/brands.ts'
import type { MetadataDelta } from '../metadata/metadata-delta.ts'
import type { Timer } from '../ports/clock.ts'
import { AppendLane, type BatchToAppend, type LaneItem, laneItem } from './append-lane.ts'
import type { ServiceNode } from './service-node.ts'

/**
 * The batches of one call on their way into partitions: appended and answered in order per partition, each
 * partition for itself, wherever its leader is. A batch whose log has no room, is still being opened, or has no leader
 * that is reached, waits here with those behind it; the caller bounds what waits by what it lets in.
 *
 * A batch that is not appended by its deadline fails for certain; one that is appended and not answered by then
 * ends as UNKNOWN_OUTCOME. What is parked in a log when the call goes away stays there and is stored.
 */
export class PartitionAppends {
  readonly #node: ServiceNode
  readonly #isEntry: boolean
  readonly #lanes = new Map<Uuid, Map<PartitionId, AppendLane>>()
  #deadlines: { readonly item: LaneItem; readonly lane: AppendLane }[] = []
  #timer: Timer | undefined
  /** The first of the deadlines. */
  #dueMs = Number.POSITIVE_INFINITY
  #unsubscribe: (() => void) | undefined
  #isClosed = false

  /** `isEntry`: the client called this node as any other, so what others lead is forwarded, and tried again. */
  constructor(node: ServiceNode, { isEntry }: { readonly isEntry: boolean }) {
    this.#node = node
    this.#isEntry = isEntry
  }

  append(batch: BatchToAppend): void {
    const { controller, clock } = this.#node
    if (this.#isEntry) this.#unsubscribe ??= controller.subscribe(delta => this.#onMetadata(delta))
    const item = laneItem(batch, { isEntry: this.#isEntry, nowMs: clock.monotonicMs() })
    const lane = this.#lane(batch)
    lane.add(item)
    if (item.outcome === undefined) this.#watch(item, lane)
  }

  /** The caller is gone, or has all answers: nothing is appended or answered any more. */
  close(): void {
    this.#isClosed = true
    this.#timer?.cancel()
    this.#unsubscribe?.()
    for (const lanes of this.#lanes.values()) for (const lane of lanes.values()) lane.close()
    this.#lanes.clear()
    this.#deadlines = []
  }

  #lane({ topic, partition }: BatchToAppend): AppendLane {
    let lanes = this.#lanes.get(topic.id)
    if (lanes === undefined) {
      lanes = new Map()
      this.#lanes.set(topic.id, lanes)
    }
    let lane = lanes.get(partition)
    if (lane === undefined) {
      const onEmpty = (emptied: AppendLane) => this.#drop(emptied, { topicId: topic.id, partition })
      lane = new AppendLane({ node: this.#node, topic, partition, onEmpty })
      lanes.set(partition, lane)
    }
    return lane
  }

  /** Something that an emptied lane waited for may come later: by then its place may be another's. */
  #drop(emptied: AppendLane, of: { readonly topicId: Uuid; readonly partition: PartitionId }): void {
    const lanes = this.#lanes.get(of.topicId)
    if (lanes?.get(of.partition) !== emptied) return
    lanes.delete(of.partition)
    if (lanes.size === 0) this.#lanes.delete(of.topicId)
  }

  #onMetadata(delta: MetadataDelta): void {
    const changed: AppendLane[] = []
    for (const [topicId, partitions] of delta.changedPartitions)
      for (const partition of partitions.keys()) {
        const lane = this.#lanes.get(topicId)?.get(partition)
        if (lane !== undefined) changed.push(lane)
      }
    // The partitions of this node learn of the change in this very turn, perhaps later than this.
    if (changed.length === 0) return
    this.#node.clock.afterTurn(() => {
      for (const lane of changed) lane.onMetadata()
    })
  }

  #watch(item: LaneItem, lane: AppendLane): void {
    this.#deadlines.push({ item, lane })
    if (item.deadlineMs < this.#dueMs) this.#arm(item.deadlineMs)
    if (this.#deadlines.length % DEADLINES_SWEEP === 0)
      this.#deadlines = this.#deadlines.filter(one => one.item.outcome === undefined)
  }

  #arm(dueMs: number): void {
    this.#timer?.cancel()
    this.#dueMs = dueMs
    if (dueMs === Number.POSITIVE_INFINITY) return
    const delayMs = Math.max(0, dueMs - this.#node.clock.monotonicMs())
    this.#timer = this.#node.clock.setTimer(delayMs, () => this.#expire())
  }

  #expire(): void {
    const nowMs = this.#node.clock.monotonicMs()
    const pending = this.#deadlines.filter(({ item }) => item.outcome === undefined)
    this.#deadlines = pending.filter(({ item }) => item.deadlineMs > nowMs)
    for (const { item, lane } of pending)
      if (item.deadlineMs <= nowMs && !this.#isClosed && item.outcome === undefined) lane.expire(item)
    let dueMs = Number.POSITIVE_INFINITY
    for (const { item } of this.#deadlines) dueMs = Math.min(dueMs, item.deadlineMs)
    if (!this.#isClosed) this.#arm(dueMs)
  }
}

/** So often (in batches) what is answered is dropped from the list of deadlines. */
const DEADLINES_SWEEP = 1_024
