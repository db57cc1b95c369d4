import { failureToError } from '../../wire/failure.ts'
import type { Failure } from '../../wire/messages.ts'
import { Admin as AdminService } from '../../wire/methods.ts'
import type { Connection } from '../connection.ts'
import type {
  MovesAdmin,
  PartitionPlace,
  PlannedMove,
  ReassignmentProgress,
  RebalanceOptions,
  Recovery,
  ReplicaAssignment,
} from './moves-types.ts'

const TIMEOUT_MS = 30_000
const PAGE_REASSIGNMENTS = 1000

/** The part of the admin client that moves partitions and leaderships. */
export class ClusterMoves implements MovesAdmin {
  readonly #connection: Connection

  constructor(connection: Connection) {
    this.#connection = connection
  }

  async reassignPartitions(
    assignments: readonly ReplicaAssignment[],
    options: { readonly throttleBytesPerSecond?: number } = {},
  ): Promise<void> {
    const reassignments = assignments.map(({ topic, partition, replicas }) => ({
      topic,
      partition,
      replicas,
    }))
    const { results } = await this.#connection.call(
      AdminService.reassignPartitions,
      { reassignments, ...options },
      { timeoutMs: TIMEOUT_MS },
    )
    throwFirst(results)
  }

  async listReassignments(): Promise<ReassignmentProgress[]> {
    const found: ReassignmentProgress[] = []
    let pageToken = ''
    do {
      const page = await this.#connection.call(
        AdminService.listReassignments,
        { pageSize: PAGE_REASSIGNMENTS, pageToken },
        { repeatable: true },
      )
      for (const { topic, partition, replicas, addingReplicas, removingReplicas } of page.reassignments)
        found.push({ topic, partition, replicas, addingReplicas, removingReplicas })
      pageToken = page.nextPageToken
    } while (pageToken !== '')
    return found
  }

  async cancelReassignments(places: readonly PartitionPlace[] = []): Promise<PartitionPlace[]> {
    const { results } = await this.#connection.call(
      AdminService.cancelReassignments,
      { partitions: places.map(placeOf) },
      { timeoutMs: TIMEOUT_MS },
    )
    throwFirst(results)
    return results.map(placeOf)
  }

  async changeReplicationFactor(name: string, replicationFactor: number): Promise<number> {
    const { started } = await this.#connection.call(
      AdminService.changeReplicationFactor,
      { topic: name, replicationFactor },
      { timeoutMs: TIMEOUT_MS },
    )
    return started
  }

  async rebalance(options: RebalanceOptions = {}): Promise<PlannedMove[]> {
    const { moves } = await this.#connection.call(AdminService.rebalance, options, { timeoutMs: TIMEOUT_MS })
    return moves.map(({ topic, partition, fromReplicas, toReplicas, started }) => ({
      topic,
      partition,
      from: fromReplicas,
      to: toReplicas,
      started,
    }))
  }

  async electPreferredLeaders(places: readonly PartitionPlace[] = []): Promise<PartitionPlace[]> {
    const { results } = await this.#connection.call(
      AdminService.electLeaders,
      { partitions: places.map(placeOf) },
      { timeoutMs: TIMEOUT_MS },
    )
    throwFirst(results)
    return results.map(placeOf)
  }

  async recoverPartitions(
    name: string,
    options: { readonly partition?: number; readonly nodeId?: number; readonly dryRun?: boolean } = {},
  ): Promise<Recovery[]> {
    const { partition, nodeId, dryRun = false } = options
    const partitions = [{ topic: name, ...(partition !== undefined && { partition }) }]
    const { results, recoveries } = await this.#connection.call(
      AdminService.electLeaders,
      { kind: 'UNCLEAN', partitions, dryRun, ...(nodeId !== undefined && { nodeId }) },
      { timeoutMs: TIMEOUT_MS },
    )
    throwFirst(results)
    return recoveries.map(recovery => ({
      ...placeOf(recovery),
      nodeId: recovery.nodeId,
      clean: recovery.clean,
      replicas: recovery.replicas.map(({ nodeId: replica, alive, logEndOffset, highWatermark, damaged }) => ({
        nodeId: replica,
        alive,
        logEndOffset,
        highWatermark,
        damaged,
      })),
    }))
  }
}

function placeOf({ topic, partition }: PartitionPlace): PartitionPlace {
  return { topic, partition }
}

function throwFirst(results: readonly { readonly failure?: Failure }[]): void {
  for (const { failure } of results) if (failure) throw failureToError(failure)
}
