import type { NodeId, PartitionId } from '../base/brands.ts'
import { NaruError } from '../base/errors.ts'
import type { MetadataImage } from './metadata-image.ts'
import { isActive, type NodeImage } from './node-image.ts'
import { targetOf } from './partition-reassignment.ts'
import type { TopicView } from './topic-image.ts'

/** One answer; a cluster that needs more is asked again when these are done. */
const MOVES_MAX = 1000

export interface RebalanceWish {
  /** Nodes that shall hold nothing. */
  readonly evacuate: readonly NodeId[]
}

export interface PlannedMove {
  readonly topic: TopicView
  readonly partition: PartitionId
  readonly from: readonly NodeId[]
  readonly to: readonly NodeId[]
}

/**
 * The moves that even out a cluster, in the order in which they matter: off the nodes that are evacuated; off racks
 * that hold two replicas of a partition while another rack has none; from the nodes with most replicas to those with
 * fewest, until they differ by one; and the preferred leaders, by changing the order of replicas, which copies nothing.
 *
 * Deterministic: equal states give equal plans. It counts partitions as they will be once what moves has arrived, and
 * leaves those alone. A partition moves one replica at a time. Nodes that are fenced or draining get nothing.
 */
export function planRebalance(image: MetadataImage, wish: RebalanceWish): PlannedMove[] {
  for (const nodeId of wish.evacuate)
    if (image.nodes.get(nodeId) === undefined)
      throw new NaruError(
        'UNKNOWN_NODE',
        `node ${nodeId} does not exist (see those there are: naru cluster nodes)`,
      )
  const receivers = image.nodes.all().filter(node => isActive(node) && !wish.evacuate.includes(node.nodeId))
  return new RebalancePlan(image, receivers, wish).moves()
}

interface Place {
  readonly topic: TopicView
  readonly partition: PartitionId
  readonly before: readonly NodeId[]
  replicas: readonly NodeId[]
  /** It moves already. */
  readonly isFixed: boolean
}

class RebalancePlan {
  readonly #nodes: ReadonlyMap<NodeId, NodeImage>
  readonly #receivers: readonly NodeImage[]
  readonly #evacuate: readonly NodeId[]
  readonly #places: readonly Place[]
  readonly #replicaCounts = new Map<NodeId, number>()
  #changed = 0

  constructor(image: MetadataImage, receivers: readonly NodeImage[], wish: RebalanceWish) {
    this.#nodes = new Map(image.nodes.all().map(node => [node.nodeId, node]))
    this.#receivers = receivers
    this.#evacuate = wish.evacuate
    const topics = [...image.topics.all()].sort((a, b) => (a.name < b.name ? -1 : 1))
    this.#places = topics.flatMap(topic =>
      [...topic.partitions()].map(([partition, state]): Place => {
        const before = targetOf(state)
        const isFixed = state.reassignment !== undefined
        return { topic, partition, before, replicas: before, isFixed }
      }),
    )
    for (const { replicas } of this.#places) for (const nodeId of replicas) this.#count(nodeId, 1)
  }

  moves(): PlannedMove[] {
    if (this.#receivers.length > 0) {
      this.#evacuateNodes()
      this.#spreadOverRacks()
      this.#evenReplicas()
      this.#evenLeaders()
    }
    const moved = this.#places.filter(place => place.replicas !== place.before)
    return moved
      .slice(0, MOVES_MAX)
      .map(({ topic, partition, before, replicas }) => ({ topic, partition, from: before, to: replicas }))
  }

  #evacuateNodes(): void {
    for (const place of this.#places) {
      if (place.isFixed) continue
      for (const nodeId of place.replicas) {
        if (!this.#evacuate.includes(nodeId)) continue
        const to = this.#bestFor(place, nodeId)
        if (to !== undefined) this.#move(place, nodeId, to)
      }
    }
  }

  #spreadOverRacks(): void {
    for (const place of this.#places) {
      if (this.#isFull || place.isFixed || place.replicas !== place.before) continue
      const crowded = [...place.replicas]
        .reverse()
        .find(nodeId => this.#inRackOf(nodeId, place.replicas, nodeId) > 0)
      if (crowded === undefined) continue
      const to = this.#bestFor(place, crowded)
      if (to !== undefined && this.#inRackOf(to, place.replicas, crowded) === 0)
        this.#move(place, crowded, to)
    }
  }

  #evenReplicas(): void {
    const byNode = new Map<NodeId, Place[]>(this.#receivers.map(({ nodeId }) => [nodeId, []]))
    for (const place of this.#places)
      if (!place.isFixed && place.replicas === place.before)
        for (const nodeId of place.replicas) byNode.get(nodeId)?.push(place)
    const ids = this.#receivers.map(node => node.nodeId)
    /** Nodes from which nothing can move to where it is needed. */
    const stuck = new Set<NodeId>()
    while (!this.#isFull) {
      const givers = ids
        .filter(nodeId => !stuck.has(nodeId))
        .sort((a, b) => this.#has(b) - this.#has(a) || a - b)
      const [giver] = givers
      if (giver === undefined) return
      const takers = ids
        .filter(id => this.#has(id) < this.#has(giver) - 1)
        .sort((a, b) => this.#has(a) - this.#has(b) || a - b)
      if (!this.#giveOne(giver, takers, byNode.get(giver) ?? [])) stuck.add(giver)
    }
  }

  #giveOne(giver: NodeId, takers: readonly NodeId[], places: readonly Place[]): boolean {
    for (const taker of takers) {
      const place = places.find(
        one =>
          one.replicas === one.before &&
          !one.replicas.includes(taker) &&
          this.#inRackOf(taker, one.replicas, giver) <= this.#inRackOf(giver, one.replicas, giver),
      )
      if (place === undefined) continue
      this.#move(place, giver, taker)
      return true
    }
    return false
  }

  /** Who leads most gives its lead to the replica that leads fewest, until no swap brings two nodes closer. */
  #evenLeaders(): void {
    const leads = new Map<NodeId, number>()
    for (const { replicas } of this.#places)
      leads.set(replicas[0] as NodeId, (leads.get(replicas[0] as NodeId) ?? 0) + 1)
    const of = (nodeId: NodeId) => leads.get(nodeId) ?? 0
    const isReceiver = (nodeId: NodeId) => this.#receivers.some(node => node.nodeId === nodeId)
    for (const place of this.#places) {
      if (this.#isFull || place.isFixed) continue
      const first = place.replicas[0] as NodeId
      const others = place.replicas.filter(nodeId => nodeId !== first && isReceiver(nodeId))
      const least = others.sort((a, b) => of(a) - of(b) || a - b)[0]
      if (least === undefined || of(first) - of(least) < 2) continue
      leads.set(first, of(first) - 1)
      leads.set(least, of(least) + 1)
      this.#set(place, [least, ...place.replicas.filter(nodeId => nodeId !== least)])
    }
  }

  get #isFull(): boolean {
    return this.#changed >= MOVES_MAX
  }

  /** Where a replica goes that leaves this node. */
  #bestFor(place: Place, leaving: NodeId): NodeId | undefined {
    const candidates = this.#receivers.map(node => node.nodeId).filter(id => !place.replicas.includes(id))
    const rank = (nodeId: NodeId) => this.#inRackOf(nodeId, place.replicas, leaving)
    return candidates.sort((a, b) => rank(a) - rank(b) || this.#has(a) - this.#has(b) || a - b)[0]
  }

  /** How many of the replicas, less the one that leaves, share the node's rack. */
  #inRackOf(nodeId: NodeId, replicas: readonly NodeId[], leaving: NodeId): number {
    const rack = this.#nodes.get(nodeId)?.rack
    if (!rack) return 0
    return replicas.filter(id => id !== leaving && id !== nodeId && this.#nodes.get(id)?.rack === rack).length
  }

  #move(place: Place, from: NodeId, to: NodeId): void {
    this.#count(from, -1)
    this.#count(to, 1)
    this.#set(
      place,
      place.replicas.map(nodeId => (nodeId === from ? to : nodeId)),
    )
  }

  #set(place: Place, replicas: readonly NodeId[]): void {
    if (place.replicas === place.before) this.#changed++
    place.replicas = replicas
  }

  #has(nodeId: NodeId): number {
    return this.#replicaCounts.get(nodeId) ?? 0
  }

  #count(nodeId: NodeId, by: number): void {
    this.#replicaCounts.set(nodeId, this.#has(nodeId) + by)
  }
}
