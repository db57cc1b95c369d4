import type { PartitionId, Uuid } from '../../base/brands.ts'
import { NaruError } from '../../base/errors.ts'
import type { Logger } from '../../base/logger.ts'
import type { GroupLimits, GroupSettings } from '../../groups/group-options.ts'
import { GROUPS_TOPIC } from '../../metadata/internal-topics.ts'
import type { MetadataDelta } from '../../metadata/metadata-delta.ts'
import type { MetadataImage } from '../../metadata/metadata-image.ts'
import type { TopicView } from '../../metadata/topic-image.ts'
import type { Clock, Timer } from '../../ports/clock.ts'
import { partitionForKey } from '../../records/murmur2.ts'
import type { MetadataQuorum } from '../controller/metadata-quorum.ts'
import { AttendedTime } from '../replicas/attended-time.ts'
import type { PartitionLeader } from '../replicas/partition-leader.ts'
import type { GroupCoordinators, PartitionCoordinator } from './coordination.ts'
import type { GroupViews } from './group-views.ts'
import { PartitionGroups } from './partition-groups.ts'

/** Looks whether this node may still coordinate, and adds its own stalls to the deadlines of members. */
const TICK_MS = 100
/** Between two tries to take over what could not be read. */
const RETAKE_MS = 5_000

export interface CoordinatorsOptions {
  readonly quorum: MetadataQuorum
  readonly views: GroupViews
  readonly clock: Clock
  readonly logger: Logger
  /** The leader here, or the error that says where it is. */
  readonly requireLeader: (topic: TopicView, partition: PartitionId) => PartitionLeader
  readonly settings?: Partial<GroupSettings>
  readonly limits?: Partial<GroupLimits>
}

/**
 * The coordinators of groups on this node: one for each leadership of a partition of `__groups`. One that may be deposed
 * stops (C12); heard again, in the same leadership, the node takes the partition over anew.
 */
export class Coordinators implements GroupCoordinators {
  readonly #options: CoordinatorsOptions
  readonly #led = new Map<PartitionId, PartitionGroups>()
  readonly #unsubscribe: () => void
  readonly #changedTopics = new Map<Uuid, { readonly id: Uuid; readonly name: string }>()
  #time: AttendedTime
  #timer: Timer | undefined
  #closed: NaruError | undefined

  constructor(options: CoordinatorsOptions) {
    this.#options = options
    this.#time = new AttendedTime(options.clock, TICK_MS)
    this.#unsubscribe = options.quorum.subscribe((delta, image) => this.#onMetadata(delta, image))
  }

  partitionOf(group: string): PartitionId | undefined {
    const topic = this.#topic
    return topic && partitionForKey(Buffer.from(group), topic.partitionCount)
  }

  of(group: string): PartitionCoordinator {
    const topic = this.#topic
    const partition = this.partitionOf(group)
    if (topic === undefined || partition === undefined)
      throw new NaruError(
        'LEADER_NOT_AVAILABLE',
        `the topic ${GROUPS_TOPIC}, which keeps the groups, does not exist yet: it is made at their first use (try again)`,
      )
    const leader = this.#options.requireLeader(topic, partition)
    const groups = this.#led.get(partition)
    if (groups?.leader === leader && groups.ended === undefined) return groups
    throw this.#closed ?? groups?.ended ?? leader.doubt ?? this.#notYet(partition)
  }

  *led(): Iterable<PartitionCoordinator> {
    for (const groups of this.#led.values()) if (groups.ended === undefined) yield groups
  }

  /** Of any partition; those of other topics are passed over. */
  onLeading(leader: PartitionLeader): void {
    if (leader.topic !== GROUPS_TOPIC || this.#closed) return
    if (this.#timer === undefined) {
      this.#time = new AttendedTime(this.#options.clock, TICK_MS)
      this.#scheduleTick()
    }
    this.#begin(leader)
  }

  /** The node stops: streams go elsewhere, and what is parked fails. */
  close(because: NaruError): void {
    this.#closed = because
    this.#unsubscribe()
    this.#timer?.cancel()
    for (const groups of this.#led.values()) groups.end(because)
    this.#led.clear()
  }

  get #topic(): TopicView | undefined {
    return this.#options.quorum.image.topics.byName(GROUPS_TOPIC)
  }

  #begin(leader: PartitionLeader): void {
    const { views, settings = {} } = this.#options
    const { partition } = leader
    const groups = new PartitionGroups({
      ...this.#options,
      leader,
      view: views.of(partition),
      time: this.#time,
      settings,
    })
    this.#led.set(partition, groups)
  }

  /** At once where this node was only unheard; what cannot be read is not read over and over. */
  #beginAgain(groups: PartitionGroups): void {
    const isDue = this.#options.clock.monotonicMs() - groups.begunMs >= RETAKE_MS
    if (groups.ended?.retriable === true || isDue) this.#begin(groups.leader)
  }

  #scheduleTick(): void {
    const { clock } = this.#options
    this.#timer = clock.setTick(TICK_MS, () =>
      clock.afterTurn(() => {
        if (this.#closed) return
        this.#tick()
        if (this.#led.size > 0) this.#scheduleTick()
        else this.#timer = undefined
      }),
    )
  }

  #tick(): void {
    this.#time.tick()
    for (const [partition, groups] of [...this.#led]) {
      const { leader } = groups
      const { doubt } = leader
      if (leader.ended !== undefined) this.#led.delete(partition)
      else if (doubt !== undefined) groups.end(doubt)
      else if (groups.ended !== undefined) this.#beginAgain(groups)
      else groups.tick()
    }
  }

  /** New leaders and settings do not matter to groups. */
  #onMetadata(delta: MetadataDelta, image: MetadataImage): void {
    if (this.#led.size === 0) return
    const wasIdle = this.#changedTopics.size === 0
    for (const { id, name } of delta.deletedTopics.values()) this.#changedTopics.set(id, { id, name })
    for (const [topicId, partitions] of delta.changedPartitions) {
      const topic = image.topics.byId(topicId)
      const isWider = [...partitions.values()].some(before => before === undefined)
      if (topic !== undefined && isWider) this.#changedTopics.set(topicId, { id: topicId, name: topic.name })
    }
    if (wasIdle && this.#changedTopics.size > 0) this.#options.clock.afterTurn(() => this.#tellTopics())
  }

  #tellTopics(): void {
    const topics = [...this.#changedTopics.values()]
    this.#changedTopics.clear()
    for (const groups of this.#led.values()) groups.onTopicsChanged(topics)
  }

  #notYet(partition: PartitionId): NaruError {
    return new NaruError(
      'LEADER_NOT_AVAILABLE',
      `the coordinator of the groups of partition ${partition} is beginning on this node (try again)`,
      { details: { partition: String(partition) } },
    )
  }
}
