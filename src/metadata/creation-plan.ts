import type { NodeId } from '../base/brands.ts'
import { NaruError } from '../base/errors.ts'
import type { MetadataImage } from './metadata-image.ts'
import type { MetadataRecord, SettingOverrides } from './metadata-record.ts'
import { isActive } from './node-image.ts'
import { allPartitions, Placement } from './placement.ts'
import { topicCollisionKey } from './topic-name.ts'

/** The nodes of each partition, preferred leader first. */
export type Assignments = readonly (readonly NodeId[])[]

/**
 * What one request is about to create, so that its later topics take the earlier ones into account: their names,
 * their number of partitions, the nodes they were placed on.
 */
export class CreationPlan {
  readonly records: MetadataRecord[] = []
  readonly #image: MetadataImage
  readonly #nodesListed: number
  readonly #askedTwice: ReadonlySet<string>
  readonly #namesByCollisionKey = new Map<string, string>()
  #placement: Placement | undefined
  #partitionCount = 0

  constructor(image: MetadataImage, topics: readonly { readonly name: string }[], nodesListed: number) {
    this.#image = image
    this.#nodesListed = nodesListed
    const names = topics.map(topic => topic.name)
    this.#askedTwice = new Set(names.filter((name, index) => names.indexOf(name) !== index))
  }

  get partitionCount(): number {
    return this.#partitionCount
  }

  checkIsFree(name: string): void {
    // None of them is made: which of two different wishes was meant is not known.
    if (this.#askedTwice.has(name))
      throw new NaruError('INVALID_REQUEST', `topic "${name}" is named twice in this request`)
    const other =
      this.#image.topics.colliding(name)?.name ?? this.#namesByCollisionKey.get(topicCollisionKey(name))
    if (other === undefined) return
    if (other === name)
      throw new NaruError(
        'TOPIC_ALREADY_EXISTS',
        `topic "${name}" exists already (see it: naru topics describe ${name})`,
        {
          details: { topic: name },
        },
      )
    throw new NaruError(
      'INVALID_TOPIC_NAME',
      `"${name}" and the topic "${other}" differ only by "." and "_", which metrics cannot tell apart (use another name)`,
    )
  }

  add(name: string, records: readonly MetadataRecord[]): void {
    this.#namesByCollisionKey.set(topicCollisionKey(name), name)
    for (const record of records) this.records.push(record)
    this.#partitionCount += records.filter(record => record.type === 'partition').length
  }

  /** Throws unless the new partitions can be assigned, or placed, as wanted. */
  checkReplicas(wanted: WantedReplicas): void {
    if (wanted.assignments === undefined) this.#checkReplicationFactor(wanted.name, wanted.replicationFactor)
    else this.#checkAssignments(wanted, wanted.assignments)
  }

  /** Where the new partitions go: as assigned, else as placed. They pass `checkReplicas`, and are made for sure. */
  replicaLists(wanted: WantedReplicas): Assignments {
    if (wanted.assignments !== undefined) return wanted.assignments
    this.#placement ??= new Placement(this.#image.nodes.all(), allPartitions(this.#image.topics.all()))
    const placement = this.#placement
    return Array.from({ length: wanted.count }, () => placement.place(wanted.replicationFactor))
  }

  #checkReplicationFactor(name: string, replicationFactor: number): void {
    const { nodes } = this.#image
    const nodeCount = Math.max(this.#nodesListed, nodes.count)
    if (!Number.isSafeInteger(replicationFactor) || replicationFactor < 1 || replicationFactor > nodeCount)
      throw new NaruError(
        'INVALID_REPLICATION_FACTOR',
        `topic "${name}" cannot have ${replicationFactor} replicas: the cluster has ${nodeCount} ${nodeCount === 1 ? 'node' : 'nodes'} (ask for 1 to ${nodeCount})`,
        { details: { topic: name, nodes: String(nodeCount) } },
      )
    if (replicationFactor > nodes.count)
      throw new NaruError(
        'NOT_ENOUGH_REPLICAS',
        `topic "${name}" needs ${replicationFactor} nodes, ${nodes.count} of ${nodeCount} have registered so far (start the others, then try again)`,
      )
    if (!nodes.all().some(isActive))
      throw new NaruError(
        'LEADER_NOT_AVAILABLE',
        `no node can lead a partition of topic "${name}" now: all are down or draining (try again when one has started)`,
      )
  }

  #checkAssignments(wanted: WantedReplicas, assignments: Assignments): void {
    const { name, count, replicationFactor } = wanted
    const problem = (text: string) =>
      new NaruError('INVALID_REQUEST', `assignments of topic "${name}": ${text}`, {
        details: { topic: name },
      })
    if (assignments.length !== count) throw problem(`${assignments.length} are given for ${count} partitions`)
    for (const replicas of assignments) {
      if (replicas.length !== replicationFactor || replicas.length === 0)
        throw problem(
          `[${replicas.slice(0, 20)}] must name ${Math.max(1, replicationFactor)} nodes, like the other partitions`,
        )
      if (new Set(replicas).size !== replicas.length)
        throw problem(`[${replicas.slice(0, 20)}] names a node twice`)
      for (const nodeId of replicas)
        if (this.#image.nodes.get(nodeId) === undefined)
          throw problem(`node ${nodeId} is not registered (DescribeCluster names those that are)`)
      if (!replicas.some(nodeId => isActive(this.#image.nodes.get(nodeId))))
        throw problem(`none of the nodes [${replicas.slice(0, 20)}] can lead now: all are down or draining`)
    }
  }
}

export interface NewTopic {
  readonly name: string
  /** Default: `num.partitions`. */
  readonly partitions?: number
  /** Default: see `ControllerOptions`. */
  readonly replicationFactor?: number
  /** Instead of the two above: the nodes of each partition, from 0, preferred leader first. */
  readonly assignments?: Assignments
  readonly settings?: SettingOverrides
}

export interface WantedReplicas {
  readonly name: string
  /** New partitions. */
  readonly count: number
  readonly replicationFactor: number
  readonly assignments: Assignments | undefined
}
