import type { PartitionId, Uuid } from '../base/brands.ts'
import type { SnapshotRegistry } from '../machine/snapshot-registry.ts'
import { TimelineMap } from '../machine/timeline-map.ts'
import { TimelineValue } from '../machine/timeline-value.ts'
import type { CachedNode, PartitionState, SettingOverrides } from './metadata-record.ts'
import { settledFactor } from './partition-reassignment.ts'

/** A topic as everybody sees it. Its settings are read through `resolveTopicSettings`. */
export interface TopicView {
  readonly id: Uuid
  readonly name: string
  readonly partitionCount: number
  /**
   * Replicas that each partition has and will have: during reassignments the smaller number, of the partition with the
   * fewest. So defaults that follow it rise when all have been moved, and fall at once. 0 for a topic without partitions.
   */
  readonly replicationFactor: number
  /** Only what was set for this topic. */
  readonly settings: SettingOverrides
  /** Processes that ran when the topic last ceased to acknowledge on page caches (C10). */
  readonly cachedNodes: readonly CachedNode[]
  partition(partition: PartitionId): PartitionState | undefined
  /** In order, from 0. */
  partitions(): Iterable<readonly [PartitionId, PartitionState]>
}

/** Changed only by `MetadataImage.replay`. Invariant: partitions are numbered 0 ... partitionCount - 1. */
export class TopicImage implements TopicView {
  readonly id: Uuid
  readonly name: string
  readonly #partitions: TimelineMap<PartitionId, PartitionState>
  /** Number of replicas -> partitions with so many. */
  readonly #factors: TimelineMap<number, number>
  readonly #settings: TimelineValue<SettingOverrides>
  readonly #cachedNodes: TimelineValue<readonly CachedNode[]>

  constructor(
    registry: SnapshotRegistry,
    topic: Pick<TopicView, 'id' | 'name' | 'settings' | 'cachedNodes'>,
  ) {
    this.id = topic.id
    this.name = topic.name
    this.#partitions = new TimelineMap(registry)
    this.#factors = new TimelineMap(registry)
    this.#settings = new TimelineValue(registry, topic.settings)
    this.#cachedNodes = new TimelineValue(registry, topic.cachedNodes)
  }

  get partitionCount(): number {
    return this.#partitions.size
  }

  get replicationFactor(): number {
    let least: number | undefined
    for (const factor of this.#factors.keys()) least = Math.min(factor, least ?? factor)
    return least ?? 0
  }

  get settings(): SettingOverrides {
    return this.#settings.get()
  }

  get cachedNodes(): readonly CachedNode[] {
    return this.#cachedNodes.get()
  }

  partition(partition: PartitionId): PartitionState | undefined {
    return this.#partitions.get(partition)
  }

  *partitions(): Iterable<readonly [PartitionId, PartitionState]> {
    for (let partition = 0; partition < this.#partitions.size; partition++)
      yield [partition, this.#partitions.get(partition) as PartitionState]
  }

  setPartition(partition: PartitionId, state: PartitionState): void {
    const before = this.#partitions.get(partition)
    const factor = settledFactor(state)
    const factorBefore = before && settledFactor(before)
    if (factorBefore !== factor) {
      if (factorBefore !== undefined) this.#count(factorBefore, -1)
      this.#count(factor, 1)
    }
    this.#partitions.set(partition, state)
  }

  setSettings(settings: SettingOverrides): void {
    this.#settings.set(settings)
  }

  setCachedNodes(nodes: readonly CachedNode[]): void {
    this.#cachedNodes.set(nodes)
  }

  #count(factor: number, by: number): void {
    const count = (this.#factors.get(factor) ?? 0) + by
    if (count === 0) this.#factors.delete(factor)
    else this.#factors.set(factor, count)
  }
}
