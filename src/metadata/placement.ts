import { assert } from '../base/assert.ts'
import type { NodeId } from '../base/brands.ts'
import type { PartitionState } from './metadata-record.ts'
import { isActive, type NodeImage } from './node-image.ts'
import type { TopicView } from './topic-image.ts'

/**
 * Chooses the nodes of new partitions, one partition after another: racks first, then fewest replicas, then
 * fewest leaders. The first of the chosen, the preferred leader, is the active one with the fewest leaders.
 * Nodes that are fenced or draining are taken only where no active one would do as well for the racks.
 *
 * Deterministic: equal nodes are told apart by how rarely they share a partition with those chosen so far (so that
 * the load of a lost node is spread over many), then by id. A node without a rack is a rack of its own.
 * Lives for one request: it counts what it has placed, not what happens meanwhile.
 */
export class Placement {
  readonly #nodes: readonly Load[]

  /** `partitions` are those that are placed already, of all topics. */
  constructor(nodes: readonly NodeImage[], partitions: Iterable<PartitionState>) {
    const loads = nodes.map(makeLoad)
    const byId = new Map(loads.map(load => [load.nodeId, load]))
    for (const { replicas } of partitions) {
      for (const nodeId of replicas) {
        const load = byId.get(nodeId)
        if (load !== undefined) load.replicaCount++
      }
      const leader = byId.get(replicas[0] as NodeId)
      if (leader !== undefined) leader.leaderCount++
    }
    this.#nodes = loads
  }

  /** The replicas of one more partition, preferred leader first. At least one node must be active. */
  place(replicationFactor: number): NodeId[] {
    assert(
      replicationFactor >= 1 && replicationFactor <= this.#nodes.length,
      `${replicationFactor} replicas on ${this.#nodes.length} nodes`,
    )
    const chosen: Load[] = []
    while (chosen.length < replicationFactor) chosen.push(this.#next(chosen))
    const leader = chosen.filter(load => load.isActive).reduce(withFewerLeaders)
    const replicas = [leader, ...chosen.filter(load => load !== leader)]
    this.#count(replicas)
    return replicas.map(load => load.nodeId)
  }

  /** A node to hold the partition beside these; undefined: there is no other. */
  placeAnother(replicas: readonly NodeId[]): NodeId | undefined {
    const chosen = this.#nodes.filter(load => replicas.includes(load.nodeId))
    if (chosen.length === 0 || chosen.length === this.#nodes.length) return undefined
    const another = this.#next(chosen)
    another.replicaCount++
    return another.nodeId
  }

  #next(chosen: readonly Load[]): Load {
    let best: Load | undefined
    for (const candidate of this.#nodes) {
      // The first one must be able to lead.
      const isUsable = chosen.length > 0 ? !chosen.includes(candidate) : candidate.isActive
      if (isUsable && (best === undefined || isBetter(candidate, { than: best, chosen }))) best = candidate
    }
    assert(best !== undefined, 'no active node to place a partition on')
    return best
  }

  #count(replicas: readonly Load[]): void {
    for (const load of replicas) {
      load.replicaCount++
      for (const other of replicas)
        if (other !== load) load.sharedWith.set(other.nodeId, shared(load, other) + 1)
    }
    ;(replicas[0] as Load).leaderCount++
  }
}

export function* allPartitions(topics: Iterable<TopicView>): Iterable<PartitionState> {
  for (const topic of topics) for (const [, state] of topic.partitions()) yield state
}

interface Load {
  readonly nodeId: NodeId
  readonly rack: string
  readonly isActive: boolean
  replicaCount: number
  /** Partitions whose first replica is here. */
  leaderCount: number
  /** How many of the partitions placed by this request are on that node too. */
  readonly sharedWith: Map<NodeId, number>
}

function makeLoad(node: NodeImage): Load {
  const rack = node.rack === '' ? `node ${node.nodeId}` : `rack ${node.rack}`
  const counts = { replicaCount: 0, leaderCount: 0, sharedWith: new Map() }
  return { nodeId: node.nodeId, rack, isActive: isActive(node), ...counts }
}

function isBetter(candidate: Load, choice: { than: Load; chosen: readonly Load[] }): boolean {
  const { than, chosen } = choice
  const fewerLeaders = candidate.leaderCount - than.leaderCount
  const difference =
    inRack(candidate, chosen) - inRack(than, chosen) ||
    Number(than.isActive) - Number(candidate.isActive) ||
    candidate.replicaCount - than.replicaCount ||
    // The first one chosen will lead. As followers those with many leaders do best: they leave the others to lead.
    (chosen.length === 0 ? fewerLeaders : -fewerLeaders) ||
    sharedWithAll(candidate, chosen) - sharedWithAll(than, chosen) ||
    candidate.nodeId - than.nodeId
  return difference < 0
}

function withFewerLeaders(a: Load, b: Load): Load {
  return b.leaderCount < a.leaderCount ? b : a
}

function inRack(load: Load, chosen: readonly Load[]): number {
  return chosen.filter(other => other.rack === load.rack).length
}

function sharedWithAll(load: Load, chosen: readonly Load[]): number {
  return chosen.reduce((sum, other) => sum + shared(load, other), 0)
}

function shared(load: Load, other: Load): number {
  return load.sharedWith.get(other.nodeId) ?? 0
}
