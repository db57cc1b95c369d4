import type { NodeId, PartitionId, Uuid } from '../base/brands.ts'
import { NaruError } from '../base/errors.ts'
import type { MachineResult } from '../machine/state-machine.ts'
import type { ControllerOptions } from './controller-options.ts'
import type { MetadataImage } from './metadata-image.ts'
import type { MetadataRecord, PartitionState } from './metadata-record.ts'
import { electable } from './partition-election.ts'
import {
  advanceReassignment,
  cancelReassignment,
  settledFactor,
  startReassignment,
  targetOf,
} from './partition-reassignment.ts'
import { allPartitions, Placement } from './placement.ts'
import { type PlannedMove, planRebalance, type RebalanceWish } from './rebalance-plan.ts'
import { replicasFor } from './replica-count.ts'
import { changePartitions, electionFacts } from './topic-elections.ts'
import { requireTopic } from './topic-errors.ts'
import type { TopicView } from './topic-image.ts'
import { checkTopicSettings, resolveTopicSettings } from './topic-settings.ts'

/** Of one request, which is one entry of the metadata log. */
const REASSIGNMENTS_MAX = 1000
/** Kafka's, and more than any cluster has use for. */
const REPLICAS_MAX = 100

/**
 * Handlers that move partitions to other nodes. They only begin or end moves; a move is over by itself, in the same
 * batch of records as the ISR change that brings the last added replica into sync (`advanceReassignment`).
 */
export class ReassignmentControl {
  readonly #image: MetadataImage
  readonly #options: ControllerOptions

  constructor(image: MetadataImage, options: ControllerOptions) {
    this.#image = image
    this.#options = options
  }

  /** Each partition begins its move, or tells why not. One that moves already goes to the new place instead. */
  reassign(request: {
    readonly reassignments: readonly Reassignment[]
    readonly throttleBytesPerSecond?: number | undefined
  }): MachineResult<MetadataRecord, ReassignmentResult[]> {
    const { reassignments, throttleBytesPerSecond } = request
    checkCount(reassignments.length)
    return this.#reassign(reassignments, throttleBytesPerSecond)
  }

  /** Back to the replicas before the move. Without places: all that move. */
  cancel(places: readonly PartitionPlace[] | undefined): MachineResult<MetadataRecord, ReassignmentResult[]> {
    const all = () =>
      this.underWay()
        .slice(0, REASSIGNMENTS_MAX)
        .map(({ topic, partition }) => ({ topic: topic.name, partition }))
    const wishes = places ?? all()
    checkCount(wishes.length)
    return this.#change(wishes, ({ topic, state, wish }) => {
      if (state.reassignment === undefined)
        throw new NaruError(
          'INVALID_REQUEST',
          `${topic.name}-${wish.partition} is not being moved (naru cluster reassign --list shows what is)`,
        )
      const facts = electionFacts(this.#image, this.#settingsWith(topic, topic.replicationFactor))
      const cancelled = cancelReassignment(state, facts)
      if (cancelled === undefined) throw stillNeeded(topic, wish.partition)
      return cancelled
    })
  }

  /** Starts what brings every partition of the topic to so many replicas. */
  changeReplicationFactor(request: {
    readonly name: string
    readonly topicId?: Uuid | undefined
    readonly replicationFactor: number
  }): MachineResult<MetadataRecord, { started: number }> {
    const { name, replicationFactor } = request
    const topic = requireTopic(this.#image, name, request.topicId)
    const { nodes } = this.#image
    const max = Math.min(nodes.count, REPLICAS_MAX)
    if (!Number.isSafeInteger(replicationFactor) || replicationFactor < 1 || replicationFactor > max)
      throw new NaruError(
        'INVALID_REPLICATION_FACTOR',
        `topic "${name}" cannot have ${replicationFactor} replicas: the cluster has ${nodes.count} ${nodes.count === 1 ? 'node' : 'nodes'} (ask for 1 to ${max})`,
        { details: { topic: name, nodes: String(nodes.count) } },
      )
    const placement = new Placement(nodes.all(), allPartitions(this.#image.topics.all()))
    const wishes = [...topic.partitions()].flatMap(([partition, state]) => {
      const replicas = replicasFor(state, { count: replicationFactor, nodes, placement })
      return isSameList(replicas, targetOf(state))
        ? []
        : [{ topic: name, topicId: topic.id, partition, replicas }]
    })
    const { records, response } = this.#reassign(wishes)
    const failed = response.find(result => !result.ok)
    if (failed?.ok === false) throw failed.error
    return { records, response: { started: response.length } }
  }

  /**
   * What would spread replicas and leaders evenly, and unless it is a dry run, the first of these moves: as many as may
   * be under way at a time. Asked again as they end, it goes on; the plan follows from the state, so that nothing is
   * lost when whoever asks stops asking.
   */
  rebalance(
    wish: RebalanceWish & {
      readonly isDryRun: boolean
      readonly concurrentMovesMax: number
      readonly throttleBytesPerSecond?: number | undefined
    },
  ): MachineResult<MetadataRecord, (PlannedMove & { isStarted: boolean })[]> {
    const moves = planRebalance(this.#image, wish)
    const room = wish.isDryRun ? 0 : Math.max(0, wish.concurrentMovesMax - this.underWay().length)
    const first = moves.slice(0, Math.min(room, REASSIGNMENTS_MAX))
    const reassignments = first.map(({ topic, partition, to }) => ({
      topic: topic.name,
      topicId: topic.id,
      partition,
      replicas: to,
    }))
    const { records, response } = this.reassign({
      reassignments,
      throttleBytesPerSecond: wish.throttleBytesPerSecond,
    })
    return { records, response: moves.map((move, at) => ({ ...move, isStarted: response[at]?.ok === true })) }
  }

  /** By topic and partition. */
  underWay(): { topic: TopicView; partition: PartitionId; state: PartitionState }[] {
    return reassignmentsUnderWay(this.#image)
  }

  #reassign(
    wishes: readonly Reassignment[],
    throttleBytesPerSecond?: number,
  ): MachineResult<MetadataRecord, ReassignmentResult[]> {
    const more = throttleBytesPerSecond === undefined ? {} : { throttleBytesPerSecond }
    return this.#change(wishes, ({ topic, state, wish }) => {
      const { replicas: target } = wish
      this.#checkTarget(topic, wish)
      if (isSameList(target, targetOf(state))) return state
      const factor = Math.min(target.length, ...[...topic.partitions()].map(([, one]) => settledFactor(one)))
      const facts = electionFacts(this.#image, this.#settingsWith(topic, factor))
      const started = startReassignment(state, { target, ...more }, facts)
      if (started === undefined) throw stillNeeded(topic, wish.partition)
      return advanceReassignment(started, facts)
    })
  }

  #change<Wish extends PartitionPlace>(
    wishes: readonly Wish[],
    next: (of: { topic: TopicView; state: PartitionState; wish: Wish }) => PartitionState,
  ): MachineResult<MetadataRecord, ReassignmentResult[]> {
    const changed = new Map<TopicView, Map<PartitionId, PartitionState>>()
    const response = wishes.map((wish): ReassignmentResult => {
      const place = { topic: wish.topic, partition: wish.partition }
      try {
        const topic = requireTopic(this.#image, wish.topic, wish.topicId)
        const state = topic.partition(wish.partition)
        if (state === undefined) throw unknownPartition(topic, wish.partition)
        const states = changed.get(topic) ?? new Map<PartitionId, PartitionState>()
        if (states.has(wish.partition))
          throw new NaruError(
            'INVALID_REQUEST',
            `${topic.name}-${wish.partition} is named twice in this request`,
          )
        states.set(wish.partition, next({ topic, state, wish }))
        changed.set(topic, states)
        return { ok: true, ...place }
      } catch (thrown) {
        if (!(thrown instanceof NaruError)) throw thrown
        return { ok: false, ...place, error: thrown }
      }
    })
    const records = [...changed].flatMap(([topic, states]) => this.#recordsOf(topic, states))
    return { records, response }
  }

  /** With what follows for the others: a lower default of min.insync.replicas ends the ELR of all (C10). */
  #recordsOf(topic: TopicView, states: ReadonlyMap<PartitionId, PartitionState>): MetadataRecord[] {
    const all = [...topic.partitions()].map(([partition, state]) => states.get(partition) ?? state)
    const settings = this.#resolve(topic, Math.min(...all.map(settledFactor)))
    const { minInsyncReplicas } = electionFacts(this.#image, settings)
    return changePartitions(topic, (before, partition) => {
      const state = states.get(partition) ?? before
      return { ...state, elr: electable(state.elr, { isr: state.isr, minInsyncReplicas }) }
    })
  }

  #checkTarget(topic: TopicView, { partition, replicas }: Reassignment): void {
    const problem = (text: string) =>
      new NaruError(
        'INVALID_REQUEST',
        `replicas [${replicas.slice(0, 20)}] of ${topic.name}-${partition}: ${text}`,
      )
    if (replicas.length === 0 || replicas.length > REPLICAS_MAX)
      throw problem(`name 1 to ${REPLICAS_MAX} nodes, preferred leader first`)
    if (new Set(replicas).size !== replicas.length) throw problem('a node is named twice')
    for (const nodeId of replicas)
      if (this.#image.nodes.get(nodeId) === undefined)
        throw problem(`node ${nodeId} is not registered (naru cluster nodes lists those that are)`)
  }

  /** As they hold with so many replicas. Throws INVALID_SETTING if that is less than the topic insists on. */
  #settingsWith(topic: TopicView, replicationFactor: number) {
    const settings = this.#resolve(topic, replicationFactor)
    checkTopicSettings(settings, replicationFactor)
    return settings
  }

  #resolve(topic: TopicView, replicationFactor: number) {
    const defaults = this.#options.topicDefaults ?? {}
    return resolveTopicSettings(topic.settings, { replicationFactor, defaults })
  }
}

export function reassignmentsUnderWay(
  image: MetadataImage,
): { topic: TopicView; partition: PartitionId; state: PartitionState }[] {
  return [...image.topics.all()]
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .flatMap(topic =>
      [...topic.partitions()]
        .filter(([, state]) => state.reassignment !== undefined)
        .map(([partition, state]) => ({ topic, partition, state })),
    )
}

export interface PartitionPlace {
  readonly topic: string
  readonly topicId?: Uuid | undefined
  readonly partition: PartitionId
}

export interface Reassignment extends PartitionPlace {
  /** Preferred leader first. */
  readonly replicas: readonly NodeId[]
}

export type ReassignmentResult =
  | { readonly ok: true; readonly topic: string; readonly partition: PartitionId }
  | {
      readonly ok: false
      readonly topic: string
      readonly partition: PartitionId
      readonly error: NaruError
    }

function isSameList(a: readonly NodeId[], b: readonly NodeId[]): boolean {
  return a.length === b.length && a.every((nodeId, index) => nodeId === b[index])
}

export function unknownPartition(topic: TopicView, partition: PartitionId): NaruError {
  return new NaruError(
    'UNKNOWN_PARTITION',
    `topic "${topic.name}" has no partition ${partition}: it has ${topic.partitionCount} (0 to ${topic.partitionCount - 1})`,
    { details: { topic: topic.name, partition: String(partition) } },
  )
}

function stillNeeded(topic: TopicView, partition: PartitionId): NaruError {
  return new NaruError(
    'NOT_ENOUGH_REPLICAS',
    `${topic.name}-${partition} cannot let go of replicas that are needed to stay in sync: wait until more of the others are (naru topics describe ${topic.name})`,
    { details: { topic: topic.name, partition: String(partition) } },
  )
}

function checkCount(count: number): void {
  if (count > REASSIGNMENTS_MAX)
    throw new NaruError(
      'REQUEST_TOO_LARGE',
      `${count} partitions in one request, at most ${REASSIGNMENTS_MAX} are taken (split it)`,
    )
}
