import type { Epoch, NodeId, PartitionId, ProducerId, Uuid } from '../base/brands.ts'

/**
 * What the metadata log holds: every change of the cluster's metadata is one of these, and replaying them in
 * order (`MetadataImage.replay`) is the only way in which the metadata changes. They are encoded by
 * `naru.internal.v1.MetadataRecord`.
 *
 * A record states results (the new epoch, the new ISR), never requests: replay decides nothing, so every node
 * comes to the same image. `version` is the format of that type of record; a node that meets a higher one than
 * it knows refuses to go on (`RECORD_VERSION_MAX`), because guessing would make its image differ from the others'.
 */
export type MetadataRecord =
  | FeatureLevelRecord
  | ClusterRecord
  | NodeRegisteredRecord
  | NodeUnfencedRecord
  | NodeFencedRecord
  | NodeDrainingRecord
  | NodeRemovedRecord
  | TopicRecord
  | TopicDeletedRecord
  | PartitionRecord
  | PartitionChangedRecord
  | TopicSettingsRecord
  | ProducerIdsRecord

export type MetadataRecordType = MetadataRecord['type']

/** What all nodes of the cluster can read and do; raised once all of them run a release that can. */
export interface FeatureLevelRecord {
  readonly type: 'featureLevel'
  readonly version: 0
  readonly level: number
}

/** The first record of a cluster's log. */
export interface ClusterRecord {
  readonly type: 'cluster'
  readonly version: 0
  readonly clusterId: Uuid
}

/**
 * A process of a node has registered (A5). The node is fenced until a `nodeUnfenced`, and not draining.
 * It takes the place of an earlier registration of the same node id.
 */
export interface NodeRegisteredRecord {
  readonly type: 'nodeRegistered'
  readonly version: 0
  readonly nodeId: NodeId
  /** Rises with each registration of this node id, across removals: an older process is known by its lower one. */
  readonly nodeEpoch: Epoch
  /** Random, drawn by the process at its start: the same one registering again is no new registration. */
  readonly incarnation: Uuid
  /** Identity of the storage (A1): ISR and ELR membership belong to (node id, directory id). */
  readonly directoryId: Uuid
  /** Failure domain, '' when not set: replicas of a partition are kept on different racks. */
  readonly rack: string
  /** `host:port` for clients. */
  readonly clientAddress: string
  /** `host:port` for the other nodes. */
  readonly peerAddress: string
  /** Of Naru, as the process runs it. */
  readonly release: string
  /** Wall time of the controller. */
  readonly registeredAtMs: number
  /**
   * The last epoch under which this directory took part before; a whole directory remembers that much. Undefined: of a
   * release that does not note it.
   */
  readonly directoryEpoch?: Epoch | undefined
}

/** The node may lead partitions and join ISRs. */
export interface NodeUnfencedRecord {
  readonly type: 'nodeUnfenced'
  readonly version: 0
  readonly nodeId: NodeId
  readonly nodeEpoch: Epoch
  /** What the directory remembers from now on; undefined: as before. */
  readonly directoryEpoch?: Epoch | undefined
}

/** The node's session is over: it leads nothing and is in no ISR (the same batch of records sees to that). */
export interface NodeFencedRecord {
  readonly type: 'nodeFenced'
  readonly version: 0
  readonly nodeId: NodeId
  readonly nodeEpoch: Epoch
}

/** The node hands over and stops (C11): no new leadership, no ISR entry. Ends with its next registration. */
export interface NodeDrainingRecord {
  readonly type: 'nodeDraining'
  readonly version: 0
  readonly nodeId: NodeId
  readonly nodeEpoch: Epoch
}

/**
 * The node is no longer of this cluster, and in no list of replicas. Its last epoch is remembered, so that epochs of
 * its id only rise, and its directory, which may not come back.
 */
export interface NodeRemovedRecord {
  readonly type: 'nodeRemoved'
  readonly version: 0
  readonly nodeId: NodeId
  readonly nodeEpoch: Epoch
  readonly directoryId: Uuid
}

/** A new topic; its partitions follow in the same batch of records. */
export interface TopicRecord {
  readonly type: 'topic'
  readonly version: 0
  /** Never reused: a topic that is made anew under the same name is another topic. */
  readonly topicId: Uuid
  readonly name: string
  /** Only what was set for this topic; all else follows the defaults. */
  readonly settings: SettingOverrides
  /** Absent: none. */
  readonly cachedNodes?: readonly CachedNode[]
}

/** A process that may have acknowledged records of a topic on its page cache, though the topic syncs first by now (C10). */
export interface CachedNode {
  readonly nodeId: NodeId
  readonly nodeEpoch: Epoch
}

/** The topic is gone, with its partitions and settings. */
export interface TopicDeletedRecord {
  readonly type: 'topicDeleted'
  readonly version: 0
  readonly topicId: Uuid
}

/** A new partition, whole. */
export interface PartitionRecord extends PartitionState {
  readonly type: 'partition'
  readonly version: 0
  readonly topicId: Uuid
  readonly partition: PartitionId
}

export interface PartitionState {
  /** In order of preference: the first is the preferred leader. No node twice. */
  readonly replicas: readonly NodeId[]
  /** In-sync replicas: each holds every committed record. A subset of `replicas`; empty only without a leader. */
  readonly isr: readonly NodeId[]
  /**
   * Eligible leader replicas (KIP-966, C10): not in the ISR, yet holding every committed record, because they left
   * it when it fell below min.insync.replicas, since when the high watermark stands still.
   * Invariant: no member of the ISR; empty whenever the ISR has min.insync.replicas members.
   */
  readonly elr: readonly NodeId[]
  /** null: nobody may lead now, the partition is offline. Otherwise a member of the ISR. */
  readonly leader: NodeId | null
  /** Rises by 1 with each change of `leader`, null included; what an older leader says is refused. */
  readonly leaderEpoch: Epoch
  /** Rises by 1 with each change of this partition: what changes are compared and set against. */
  readonly partitionEpoch: Epoch
  /** The leader epoch that the last unclean election began; null: there was none. Committed records may end there (C6). */
  readonly lastUncleanEpoch: Epoch | null
  /** The partition is on its way to other replicas. Absent: it is not. */
  readonly reassignment?: PartitionReassignment
}

/**
 * A move of a partition to other replicas (KIP-455). While it lasts `replicas` are the original ones, then those that are
 * added; those that are removed stay replicas, in sync if they can, until the added ones are in sync.
 */
export interface PartitionReassignment {
  /** The replicas before, which they are again if it is cancelled. In order of preference. */
  readonly original: readonly NodeId[]
  /** The replicas to come, preferred leader first. */
  readonly target: readonly NodeId[]
  /** Bytes per second that each node may copy for moves; absent: what live traffic leaves. */
  readonly throttleBytesPerSecond?: number
}

/** Some of the partition's state is new; what is absent stays. */
export interface PartitionChangedRecord extends Partial<Omit<PartitionState, 'reassignment'>> {
  readonly type: 'partitionChanged'
  readonly version: 0
  readonly topicId: Uuid
  readonly partition: PartitionId
  /** The new one. Replay asserts that it is the next. */
  readonly partitionEpoch: Epoch
  /** null: it is over, or cancelled. */
  readonly reassignment?: PartitionReassignment | null
}

/** Settings of a topic are set, or removed so that they follow the default again. */
export interface TopicSettingsRecord {
  readonly type: 'topicSettings'
  readonly version: 0
  readonly topicId: Uuid
  readonly set: SettingOverrides
  readonly removed: readonly string[]
  /** In place of those before; absent: they stay. */
  readonly cachedNodes?: readonly CachedNode[]
}

/** Key -> value as text, as users write them; read through `topic-settings.ts`. */
export type SettingOverrides = Readonly<Record<string, string>>

/** A block of producer ids went to a node: all ids below `nextProducerId` are taken. */
export interface ProducerIdsRecord {
  readonly type: 'producerIds'
  readonly version: 0
  readonly nodeId: NodeId
  readonly nextProducerId: ProducerId
}

/** The newest format of each type of record that this release reads. */
export const RECORD_VERSION_MAX: Readonly<Record<MetadataRecordType, number>> = {
  featureLevel: 0,
  cluster: 0,
  nodeRegistered: 0,
  nodeUnfenced: 0,
  nodeFenced: 0,
  nodeDraining: 0,
  nodeRemoved: 0,
  topic: 0,
  topicDeleted: 0,
  partition: 0,
  partitionChanged: 0,
  topicSettings: 0,
  producerIds: 0,
}

/** The newest feature level that this release reads; new clusters start with it. */
export const FEATURE_LEVEL_MAX = 1
