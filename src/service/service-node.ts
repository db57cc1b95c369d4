import type { NodeId } from '../base/brands.ts'
import type { Logger } from '../base/logger.ts'
import type { MetadataQuorum } from '../drivers/controller/metadata-quorum.ts'
import type { ProducerIds } from '../drivers/controller/producer-ids.ts'
import type { GroupCoordinators } from '../drivers/groups/coordination.ts'
import type { ReplicaSet } from '../drivers/replicas/replica-set.ts'
import type { ControllerOptions } from '../metadata/controller-options.ts'
import type { Clock } from '../ports/clock.ts'
import type { Prng } from '../ports/prng.ts'
import type { ControllerCalls } from './controller-calls.ts'
import type { FreshMetadata } from './fresh-metadata.ts'
import type { LeaderForwarding } from './leader-forwarding.ts'
import type { RateLimit } from './rate-limit.ts'
import type { ServiceCluster } from './service-cluster.ts'

/** What the composition root gives to the services of a node. */
export interface ServiceOptions {
  readonly nodeId: NodeId
  readonly clock: Clock
  readonly prng: Prng
  readonly logger: Logger
  readonly controller: MetadataQuorum
  /** Absent: this node is all of its cluster. */
  readonly cluster?: ServiceCluster
  /** What holds for topics that are made while this node is the controller. */
  readonly controllerOptions: ControllerOptions
  readonly replicas: ReplicaSet
  readonly groups: GroupCoordinators
  readonly producerIds: ProducerIds
  /** How often an unknown topic is answered with the name that was probably meant. */
  readonly suggestions: RateLimit
  /** `auto.create.topics.enable` */
  readonly autoCreateTopics: boolean
  /** Limits of the whole node; defaults beside their use. */
  readonly produceBytesInFlightMax?: number
  readonly readBytesInFlightMax?: number
}

/** The node as its services see it. */
export interface ServiceNode extends ServiceOptions {
  readonly freshMetadata: FreshMetadata
  readonly controllerCalls: ControllerCalls
  /** The way to partitions that other nodes lead; undefined: there are none. */
  readonly leaders: LeaderForwarding | undefined
}
