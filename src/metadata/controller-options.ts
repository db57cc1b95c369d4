import type { TopicSettings } from './topic-settings.ts'

/** What the settings of the node that runs the controller decide. */
export interface ControllerOptions {
  /** Nodes that the configuration names, registered or not: a cluster that is starting is not a small one. */
  readonly nodesListed: number
  /** `num.partitions`: of topics made without a number. */
  readonly defaultPartitions: number
  /** `default.replication.factor`, 3 if absent: never more than there are nodes, listed or registered, alive or not. */
  readonly defaultReplicationFactorMax?: number
  /** Settings of all topics that do not override them. */
  readonly topicDefaults?: Partial<TopicSettings>
  readonly limits?: Partial<ControllerLimits>
}

export interface ControllerLimits {
  /** A request is one entry of the metadata log. */
  readonly topicsPerRequestMax: number
  /** As above: this many records fit into an entry, and replay within one turn of the event loop. */
  readonly partitionsPerRequestMax: number
  readonly partitionsPerTopicMax: number
  /** All nodes keep all metadata in memory, and a snapshot of it is written in one turn. */
  readonly partitionsPerClusterMax: number
}

export const CONTROLLER_LIMITS: ControllerLimits = {
  topicsPerRequestMax: 100,
  partitionsPerRequestMax: 10_000,
  partitionsPerTopicMax: 10_000,
  partitionsPerClusterMax: 100_000,
}
