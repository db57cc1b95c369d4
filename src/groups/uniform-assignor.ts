import type { PartitionId, Uuid } from '../base/brands.ts'
import type { AssignorInput, AssignorMember } from './assignor.ts'
import type { TopicPartitions } from './group-record.ts'
import { LoadBuckets, type Loaded } from './load-buckets.ts'

/**
 * Sticky and balanced: everybody keeps what it has, what is free goes to who has least, and then as few partitions
 * move as balance takes. In the manner of Kafka's uniform assignor, but one way for equal and for different
 * subscriptions:
 * - all subscribe to the same topics: counts differ by at most 1, and no assignment so balanced moves fewer;
 * - otherwise: no single move from a member to one that has at least 2 less and subscribes to the topic is left.
 *
 * Members with the same subscription are one class, which knows its least loaded member at any time; so a
 * partition costs a look at the classes that subscribe to its topic.
 */
export function assignUniform(input: AssignorInput): Map<string, TopicPartitions[]> {
  const balancer = new Balancer(input)
  balancer.keepCurrent()
  balancer.handOut()
  balancer.balance()
  return balancer.targets()
}

class Balancer {
  readonly #partitionCounts: ReadonlyMap<Uuid, number>
  readonly #slots: Slot[] = []
  readonly #classesByTopic = new Map<Uuid, SubscriptionClass[]>()
  /** By topic, one byte a partition: a key as text for each of 100,000 partitions would cost more than all the rest. */
  readonly #taken = new Map<Uuid, Uint8Array>()

  constructor({ members, partitionCounts }: AssignorInput) {
    this.#partitionCounts = partitionCounts
    const classes = new Map<readonly Uuid[], SubscriptionClass>()
    for (const member of members) {
      let subscription = classes.get(member.topicIds)
      if (subscription === undefined) {
        subscription = { topicIds: new Set(member.topicIds), buckets: new LoadBuckets(), size: 0 }
        classes.set(member.topicIds, subscription)
      }
      subscription.size++
      this.#slots.push({ from: member, subscription, held: new Map(), load: 0 })
    }
    for (const subscription of classes.values())
      for (const topicId of subscription.topicIds) {
        const list = this.#classesByTopic.get(topicId)
        if (list === undefined) this.#classesByTopic.set(topicId, [subscription])
        else list.push(subscription)
      }
  }

  keepCurrent(): void {
    for (const slot of this.#slots) {
      for (const { topicId, partitions } of slot.from.current) {
        if (!slot.subscription.topicIds.has(topicId)) continue
        const count = this.#partitionCounts.get(topicId) ?? 0
        const kept = partitions.filter(partition => partition < count && this.#take(topicId, partition))
        if (kept.length > 0) slot.held.set(topicId, kept)
        slot.load += kept.length
      }
      slot.subscription.buckets.add(slot)
    }
  }

  /** Topics with few subscribers first: the others have more choice. */
  handOut(): void {
    const topics = [...this.#classesByTopic].map(([topicId, classes]) => ({
      topicId,
      subscribers: classes.reduce((sum, { size }) => sum + size, 0),
    }))
    topics.sort((a, b) => a.subscribers - b.subscribers || (a.topicId < b.topicId ? -1 : 1))
    for (const { topicId } of topics) {
      const count = this.#partitionCounts.get(topicId) ?? 0
      for (let partition = 0; partition < count; partition++)
        if (this.#take(topicId, partition)) give(this.#leastLoaded(topicId), topicId, partition)
    }
  }

  /** With equal subscriptions one pass is enough; with different ones a move may make another one possible. */
  balance(): void {
    for (let pass = 0; pass < BALANCE_PASSES_MAX; pass++) if (!this.#balanceOnce()) return
  }

  targets(): Map<string, TopicPartitions[]> {
    const targets = new Map<string, TopicPartitions[]>()
    for (const { from, held } of this.#slots) {
      const topics = [...held].filter(([, partitions]) => partitions.length > 0)
      topics.sort(([a], [b]) => (a < b ? -1 : 1))
      targets.set(
        from.member,
        topics.map(([topicId, partitions]) => ({ topicId, partitions: partitions.sort((a, b) => a - b) })),
      )
    }
    return targets
  }

  /**
   * From the most loaded downwards, one partition at a time: who gives comes up again one level lower, so nobody
   * gives below what others keep.
   */
  #balanceOnce(): boolean {
    const levels: Slot[][] = []
    for (const slot of this.#slots) at(levels, slot.load).push(slot)
    let hasMoved = false
    for (let load = levels.length - 1; load >= 2; load--) {
      const level = levels[load] ?? []
      for (let slot = level.pop(); slot !== undefined; slot = level.pop()) {
        if (slot.load !== load) continue
        const receiver = this.#passOn(slot)
        if (receiver === undefined) continue
        hasMoved = true
        at(levels, slot.load).push(slot)
        at(levels, receiver.load).push(receiver)
      }
    }
    return hasMoved
  }

  /** Moves one partition to somebody with at least 2 less; of topics to choose from, the one it has most of. */
  #passOn(slot: Slot): Slot | undefined {
    let best: { topicId: Uuid; receiver: Slot; count: number } | undefined
    for (const [topicId, partitions] of slot.held) {
      const count = partitions.length
      if (count === 0) continue
      const receiver = this.#leastLoaded(topicId)
      if (receiver.load > slot.load - 2) continue
      const isBetter =
        best === undefined ||
        receiver.load < best.receiver.load ||
        (receiver.load === best.receiver.load && count > best.count)
      if (isBetter) best = { topicId, receiver, count }
    }
    if (best === undefined) return undefined
    const partition = slot.held.get(best.topicId)?.pop() as PartitionId
    slot.subscription.buckets.move(slot, slot.load - 1)
    give(best.receiver, best.topicId, partition)
    return best.receiver
  }

  #leastLoaded(topicId: Uuid): Slot {
    let least: Slot | undefined
    for (const { buckets } of this.#classesByTopic.get(topicId) ?? []) {
      const candidate = buckets.least()
      if (least === undefined || candidate.load < least.load) least = candidate
    }
    return least as Slot
  }

  #take(topicId: Uuid, partition: PartitionId): boolean {
    let taken = this.#taken.get(topicId)
    if (taken === undefined) {
      taken = new Uint8Array(this.#partitionCounts.get(topicId) ?? 0)
      this.#taken.set(topicId, taken)
    }
    if (taken[partition] === 1) return false
    taken[partition] = 1
    return true
  }
}

/** A member while it is dealt with. */
interface Slot extends Loaded {
  readonly from: AssignorMember
  readonly subscription: SubscriptionClass
  readonly held: Map<Uuid, PartitionId[]>
}

interface SubscriptionClass {
  readonly topicIds: ReadonlySet<Uuid>
  readonly buckets: LoadBuckets<Slot>
  size: number
}

/** Every move makes the loads more even, so it ends; this bounds the time all the same. */
const BALANCE_PASSES_MAX = 100

function give(slot: Slot, topicId: Uuid, partition: PartitionId): void {
  const held = slot.held.get(topicId)
  if (held === undefined) slot.held.set(topicId, [partition])
  else held.push(partition)
  slot.subscription.buckets.move(slot, slot.load + 1)
}

function at(levels: Slot[][], load: number): Slot[] {
  for (let level = levels.length; level <= load; level++) levels.push([])
  return levels[load] as Slot[]
}
