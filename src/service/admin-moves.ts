import type { NodeId, PartitionId } from '../base/brands.ts'
import { NaruError } from '../base/errors.ts'
import type { PartitionState } from '../metadata/metadata-record.ts'
import { addingReplicas, removingReplicas } from '../metadata/partition-reassignment.ts'
import {
  type PartitionPlace,
  type ReassignmentResult,
  reassignmentsUnderWay,
} from '../metadata/reassignment-control.ts'
import { delay } from '../ports/clock.ts'
import { errorToFailure } from '../wire/failure.ts'
import type {
  CancelReassignmentsRequest,
  ChangeReplicationFactorRequest,
  ElectLeadersRequest,
  ElectLeadersResponse,
  ListReassignmentsRequest,
  ListReassignmentsResponse,
  PartitionResult,
  ReassignPartitionsRequest,
  RebalanceRequest,
  RebalanceResponse,
  TopicSelector,
} from '../wire/messages.ts'
import { changeMetadata } from './metadata-changes.ts'
import { pageOf } from './pages.ts'
import { planRecoveries, type Recovery } from './partition-recovery.ts'
import { countWithin, integerWithin, invalidRequest } from './request-checks.ts'
import type { ServiceNode } from './service-node.ts'
import { findTopic } from './topic-lookup.ts'

const REASSIGNMENTS_MAX = 1000
/** For leaders to hand over: longer than it takes one that has been asked in vain for a moment. */
const HANDOVERS_MS_MAX = 10_000
/** Between two looks at who leads. */
const LOOK_AGAIN_MS = 100
const MOVES_AT_A_TIME = { name: 'concurrent_moves_max', min: 1, max: 1000, default: 10 }

/** The calls of naru.v1.Admin that move partitions between nodes, and leaderships between replicas. On the controller. */
export class AdminMoves {
  readonly #node: ServiceNode

  constructor(node: ServiceNode) {
    this.#node = node
  }

  async reassign(request: ReassignPartitionsRequest): Promise<{ results: PartitionResult[] }> {
    const { reassignments, throttleBytesPerSecond } = request
    countWithin(reassignments.length, { name: 'reassignments', min: 1, max: REASSIGNMENTS_MAX })
    checkThrottle(throttleBytesPerSecond)
    const results = await changeMetadata(this.#node, controller =>
      controller.reassignments.reassign({ reassignments, throttleBytesPerSecond }),
    )
    return { results: results.map(partitionResult) }
  }

  list(request: ListReassignmentsRequest): ListReassignmentsResponse {
    const found = reassignmentsUnderWay(this.#node.controller.image)
    const keyOf = ({ topic, partition }: (typeof found)[number]) =>
      `${topic.name}/${String(partition).padStart(6, '0')}`
    const sorted = found.sort((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1))
    const { items, nextPageToken } = pageOf(sorted, keyOf, request)
    return {
      reassignments: items.map(({ topic, partition, state }) => ({
        topic: topic.name,
        partition,
        replicas: state.reassignment?.target ?? [],
        addingReplicas: addingReplicas(state),
        removingReplicas: removingReplicas(state),
      })),
      nextPageToken,
    }
  }

  async cancel({ partitions }: CancelReassignmentsRequest): Promise<{ results: PartitionResult[] }> {
    const places = partitions.length === 0 ? undefined : this.#places(partitions, state => state.isMoving)
    const results = await changeMetadata(this.#node, controller => controller.reassignments.cancel(places))
    return { results: results.map(partitionResult) }
  }

  changeReplicationFactor(request: ChangeReplicationFactorRequest): Promise<{ started: number }> {
    const { topic: name, topicId, replicationFactor } = request
    return changeMetadata(this.#node, controller =>
      controller.reassignments.changeReplicationFactor({ name, topicId, replicationFactor }),
    )
  }

  async rebalance(request: RebalanceRequest): Promise<RebalanceResponse> {
    const { dryRun, throttleBytesPerSecond, evacuateNodeIds } = request
    checkThrottle(throttleBytesPerSecond)
    const moves = await changeMetadata(this.#node, controller =>
      controller.reassignments.rebalance({
        isDryRun: dryRun,
        concurrentMovesMax: integerWithin(request.concurrentMovesMax, MOVES_AT_A_TIME),
        throttleBytesPerSecond,
        evacuate: evacuateNodeIds,
      }),
    )
    return {
      moves: moves.map(({ topic, partition, from, to, isStarted }) => ({
        topic: topic.name,
        partition,
        fromReplicas: from,
        toReplicas: to,
        started: isStarted,
      })),
    }
  }

  /** For preferred leaders: answers when they lead, or before `leftMs` with those that do not. */
  async elect(request: ElectLeadersRequest, leftMs: number): Promise<ElectLeadersResponse> {
    if (request.kind === 'UNCLEAN') return this.#recover(request)
    if (request.nodeId !== undefined || request.dryRun)
      throw invalidRequest(
        'node_id and dry_run are for ELECTION_KIND_UNCLEAN: preferred leaders are the first replicas',
      )
    const isNamed = request.partitions.length > 0
    const places = isNamed ? this.#places(request.partitions, state => !state.isPreferred) : undefined
    const deadlineMs = this.#node.clock.monotonicMs() + Math.min(HANDOVERS_MS_MAX, leftMs)
    const asked = await changeMetadata(this.#node, controller => controller.leaders.awaitPreferred(places))
    const results = await this.#whenHandedOver(asked, deadlineMs)
    return { results: results.map(partitionResult), recoveries: [] }
  }

  async #whenHandedOver(
    asked: readonly ReassignmentResult[],
    deadlineMs: number,
  ): Promise<readonly ReassignmentResult[]> {
    const { clock, controller } = this.#node
    for (;;) {
      const results = asked.map((result): ReassignmentResult => {
        const state = controller.image.topics.byName(result.topic)?.partition(result.partition)
        if (!result.ok || state === undefined || state.leader === state.replicas[0]) return result
        return { ...result, ok: false, error: notHandedOver(result, state) }
      })
      const isDone = results.every(({ ok }, at) => ok === asked[at]?.ok)
      if (isDone || clock.monotonicMs() + LOOK_AGAIN_MS > deadlineMs) return results
      await delay(clock, LOOK_AGAIN_MS)
    }
  }

  /** The replicas are asked first: whoever is elected is the one that has most, unless the request names one. */
  async #recover({ partitions, nodeId, dryRun }: ElectLeadersRequest): Promise<ElectLeadersResponse> {
    if (partitions.length === 0)
      throw invalidRequest(
        'partitions is empty: an election that loses records is held for named topics only',
      )
    const places = this.#places(partitions, state => state.isOffline)
    const recoveries = await planRecoveries(this.#node, places, nodeId)
    if (dryRun) return { results: [], recoveries: recoveries.map(recoveryToWire) }
    const wishes = recoveries.flatMap(({ topic, partition, elected }) =>
      elected === undefined ? [] : [{ topic: topic.name, topicId: topic.id, partition, nodeId: elected }],
    )
    const dead = recoveries.filter(recovery => recovery.elected === undefined).map(noneAlive)
    const results = await changeMetadata(this.#node, controller => controller.leaders.recover(wishes))
    return {
      results: [...results, ...dead].map(partitionResult),
      recoveries: recoveries.map(recoveryToWire),
    }
  }

  /** Those named one by one all, of whole topics those that need it. */
  #places(
    selectors: readonly TopicSelector[],
    needsIt: (state: { isMoving: boolean; isOffline: boolean; isPreferred: boolean }) => boolean,
  ): PartitionPlace[] {
    const places = selectors.flatMap(selector => {
      const topic = findTopic(this.#node, selector.topic, undefined)
      const place = (partition: PartitionId) => ({ topic: topic.name, topicId: topic.id, partition })
      if (selector.partition !== undefined) return [place(selector.partition)]
      return [...topic.partitions()]
        .filter(([, { reassignment, leader, replicas }]) =>
          needsIt({
            isMoving: reassignment !== undefined,
            isOffline: leader === null,
            isPreferred: leader === replicas[0],
          }),
        )
        .map(([partition]) => place(partition))
    })
    countWithin(places.length, { name: 'partitions', max: REASSIGNMENTS_MAX })
    return places
  }
}

function checkThrottle(throttle: number | undefined): void {
  if (throttle !== undefined && throttle < 1)
    throw invalidRequest(`throttle_bytes_per_second is ${throttle}: give at least 1, or leave it out`)
}

function partitionResult(result: ReassignmentResult): PartitionResult {
  const { topic, partition } = result
  return result.ok ? { topic, partition } : { topic, partition, failure: errorToFailure(result.error) }
}

function notHandedOver(of: PartitionPlace, { replicas }: PartitionState): NaruError {
  return new NaruError(
    'LEADER_NOT_AVAILABLE',
    `node ${replicas[0]} does not lead ${of.topic}-${of.partition} yet: its leader hands over when all replicas that are in sync have all records (look again later)`,
  )
}

function noneAlive({ topic, partition, replicas }: Recovery): ReassignmentResult {
  const nodes: NodeId[] = replicas.map(replica => replica.nodeId)
  const error = new NaruError(
    'LEADER_NOT_AVAILABLE',
    `${topic.name}-${partition} cannot be recovered: none of its replicas [${nodes}] is alive with an undamaged copy (start one of these nodes)`,
  )
  return { ok: false, topic: topic.name, partition, error }
}

function recoveryToWire({ topic, partition, elected, isClean, replicas }: Recovery) {
  return {
    topic: topic.name,
    partition,
    ...(elected !== undefined && { nodeId: elected }),
    clean: isClean,
    replicas: replicas.map(({ nodeId, state }) => ({
      nodeId,
      alive: state !== undefined,
      damaged: state?.damaged ?? false,
      ...(state && { logEndOffset: state.logEndOffset, highWatermark: state.highWatermark }),
      ...(state?.lastEpoch !== undefined && { lastEpoch: state.lastEpoch }),
    })),
  }
}
