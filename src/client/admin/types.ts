import type { NodeState } from '../../wire/messages.ts'
import type { MovesAdmin, PartitionPlace } from './moves-types.ts'

export interface NewTopic {
  /** 1-249 characters of a-z A-Z 0-9 . _ - */
  readonly name: string
  /** Default: `num.partitions` of the node. */
  readonly partitions?: number
  /** Default: `default.replication.factor` of the node. */
  readonly replicationFactor?: number
  /** As in docs/settings.md: `{ 'retention.ms': '3600000' }`. */
  readonly settings?: Readonly<Record<string, string>>
}

export interface CreateTopicsOptions {
  /** Only checks. Default false. */
  readonly validateOnly?: boolean
  /** How long to wait until leaders serve all partitions, in ms. Default 30,000. */
  readonly timeoutMs?: number
}

export interface CreatedTopic {
  readonly name: string
  readonly topicId: string
  readonly partitions: number
  readonly replicationFactor: number
  /** The topic exists, but these partitions had no serving leader in time. */
  readonly notServing: readonly number[]
  readonly warnings: readonly string[]
}

export interface TopicListing {
  readonly name: string
  readonly topicId: string
  readonly partitions: number
  readonly replicationFactor: number
  /** Belongs to the cluster. */
  readonly internal: boolean
}

export interface ListTopicsOptions {
  /** Only names that begin so. */
  readonly prefix?: string
  /** Default false. */
  readonly includeInternal?: boolean
}

export interface TopicDescription {
  readonly name: string
  readonly topicId: string
  readonly internal: boolean
  readonly partitions: readonly PartitionDescription[]
  readonly settings: readonly TopicSetting[]
}

export interface PartitionDescription {
  readonly partition: number
  /** Node id; undefined: none now. */
  readonly leader: number | undefined
  readonly leaderEpoch: number
  /** Preferred leader first. */
  readonly replicas: readonly number[]
  /** In-sync replicas. */
  readonly isr: readonly number[]
  /** Left the in-sync replicas with everything that was committed. */
  readonly elr: readonly number[]
  readonly offlineReplicas: readonly number[]
  /** Of a move under way. */
  readonly addingReplicas: readonly number[]
  readonly removingReplicas: readonly number[]
}

export interface TopicSetting {
  readonly name: string
  readonly value: string
  readonly source: 'default' | 'cluster' | 'topic' | 'node'
  readonly defaultValue: string
  readonly description: string
  readonly readOnly: boolean
}

export interface ClusterDescription {
  readonly clusterId: string
  /** Node id of the controller; undefined: none is known now. */
  readonly controller: number | undefined
  /** How far the answering node has applied the metadata log. */
  readonly metadataIndex: number
  /** Since the answering node last heard from the controller: how old this may be. Undefined: not since its start. */
  readonly metadataAgeMs: number | undefined
  readonly nodes: readonly ClusterNode[]
  readonly topics: number
  readonly partitions: number
  /** Fewer in-sync replicas than replicas. */
  readonly underReplicatedPartitions: number
  /** Fewer in-sync replicas than `min.insync.replicas`. */
  readonly underMinIsrPartitions: number
  /** No leader that serves. */
  readonly offlinePartitions: number
  /** On their way to other nodes. */
  readonly reassigningPartitions: number
  /** The first 100 of these: offline ones, then those below `min.insync.replicas`, then the others. */
  readonly unhealthy: readonly PartitionPlace[]
}

export interface ClusterNode {
  readonly nodeId: number
  /** `host:port` for clients. */
  readonly address: string
  /** `host:port` for other nodes. */
  readonly peerAddress: string
  readonly rack: string
  /** `fenced`: registered, but not heard or not ready; it leads nothing. */
  readonly state: Lowercase<NodeState>
  readonly version: string
  readonly isController: boolean
  readonly isVoter: boolean
  /** Partitions that it leads. */
  readonly leaders: number
  readonly replicas: number
  /** How far it has applied the metadata log, as the controller heard; undefined: not heard. */
  readonly appliedIndex: number | undefined
}

/** The nodes that keep the metadata: what a majority of the voters has is committed. */
export interface QuorumDescription {
  /** Node id; undefined: none is known now. */
  readonly leader: number | undefined
  readonly term: number
  readonly committedIndex: number
  /** Since the answering node last heard from the leader: 0 if it leads itself. */
  readonly metadataAgeMs: number | undefined
  readonly members: readonly QuorumMember[]
}

export interface QuorumMember {
  readonly nodeId: number
  readonly directoryId: string
  /** Otherwise it follows without a vote. */
  readonly isVoter: boolean
  /** How far its log is known to agree; undefined where the answering node cannot know. */
  readonly matchIndex: number | undefined
  /** Since its last answer to the leader; undefined: the leader itself, or not known. */
  readonly lastContactMs: number | undefined
}

/** A place in a partition; see `StartPosition` of readers. */
export type OffsetPosition =
  | 'earliest'
  | 'latest'
  | { readonly timestampMs: number }
  | { readonly lastN: number }

export interface ListedOffset {
  readonly partition: number
  readonly offset: number
  /** Of the record there, if the position was a time and there is one. */
  readonly timestampMs: number | undefined
}

export interface DeletedRecords {
  readonly partition: number
  /** The first offset that is left. */
  readonly logStartOffset: number
}

/**
 * Topics and the cluster. Calls that name several things do all they can, then reject with the first error; where the
 * outcome of a change is unknown it is not tried again.
 */
export interface Admin extends MovesAdmin {
  createTopics(topics: readonly NewTopic[], options?: CreateTopicsOptions): Promise<CreatedTopic[]>
  deleteTopics(names: readonly string[]): Promise<void>
  /** By name; all pages. */
  listTopics(options?: ListTopicsOptions): Promise<TopicListing[]>
  /** In the order asked. */
  describeTopics(names: readonly string[]): Promise<TopicDescription[]>
  /** Grows a topic to `count` partitions in all. Keys move: what was hashed to one partition may go to another. */
  createPartitions(name: string, count: number): Promise<void>
  /** All of the change or nothing. `remove`: back to the default. */
  alterTopicSettings(
    name: string,
    change: { readonly set?: Readonly<Record<string, string>>; readonly remove?: readonly string[] },
    options?: { readonly validateOnly?: boolean },
  ): Promise<void>
  /** Deletes everything before an offset of each partition, or all there is now with `latest`. */
  deleteRecords(name: string, before: Readonly<Record<number, number | 'latest'>>): Promise<DeletedRecords[]>
  describeCluster(): Promise<ClusterDescription>
  /** Who keeps the metadata. Default timeout: `requestTimeoutMs`. */
  describeQuorum(options?: { readonly timeoutMs?: number }): Promise<QuorumDescription>
  /** Gives a node a vote once it has caught up; resolves with the ids of all voters. */
  addVoter(nodeId: number): Promise<readonly number[]>
  /** `directoryId`: which of two voters of one node id. Resolves with the ids of all voters. */
  removeVoter(nodeId: number, options?: { readonly directoryId?: string }): Promise<readonly number[]>
  /** Hands over what a node leads; resolves with the partitions that no other in-sync replica could take. Default timeout 25 s. */
  drainNode(nodeId: number, options?: { readonly timeoutMs?: number }): Promise<PartitionPlace[]>
  /** Forgets a node that is gone for good. `force`: also one that still holds replicas; they are placed anew where possible. */
  removeNode(nodeId: number, options?: { readonly force?: boolean }): Promise<void>
  /** Offsets of a place in all partitions of a topic, or in those named. */
  listOffsets(
    name: string,
    position: OffsetPosition,
    options?: { readonly partitions?: readonly number[] },
  ): Promise<ListedOffset[]>
}
