import type { NodeState } from '../../wire/messages.ts'

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
  readonly nodes: readonly ClusterNode[]
  readonly topics: number
  readonly partitions: number
  readonly underReplicatedPartitions: number
  readonly underMinIsrPartitions: number
  readonly offlinePartitions: number
}

export interface ClusterNode {
  readonly nodeId: number
  /** `host:port` for clients. */
  readonly address: string
  readonly rack: string
  readonly state: Lowercase<NodeState>
  readonly version: string
  readonly isController: boolean
  readonly isVoter: boolean
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
export interface Admin {
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
  /** Offsets of a place in all partitions of a topic, or in those named. */
  listOffsets(
    name: string,
    position: OffsetPosition,
    options?: { readonly partitions?: readonly number[] },
  ): Promise<ListedOffset[]>
}
