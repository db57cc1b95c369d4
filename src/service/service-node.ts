import type { NodeId } from '../base/brands.ts'
import type { Logger } from '../base/logger.ts'
import type { ControllerDriver } from '../drivers/controller/controller-driver.ts'
import type { ProducerIds } from '../drivers/controller/producer-ids.ts'
import type { ReplicaSet } from '../drivers/replicas/replica-set.ts'
import type { ControllerOptions } from '../metadata/controller-options.ts'
import type { Clock } from '../ports/clock.ts'
import type { Prng } from '../ports/prng.ts'
import type { RateLimit } from './rate-limit.ts'
import type { ServiceCluster } from './service-cluster.ts'

/** The node as its services see it; the composition root makes it. */
export interface ServiceNode {
  readonly nodeId: NodeId
  /** Of the release that runs here. */
  readonly version: string
  readonly clock: Clock
  readonly prng: Prng
  readonly logger: Logger
  readonly controller: ControllerDriver
  /** Absent: this node is all of its cluster. */
  readonly cluster?: ServiceCluster
  /** What holds for topics made through this node. */
  readonly controllerOptions: ControllerOptions
  readonly replicas: ReplicaSet
  readonly producerIds: ProducerIds
  /** How often an unknown topic is answered with the name that was probably meant. */
  readonly suggestions: RateLimit
  /** `auto.create.topics.enable` */
  readonly autoCreateTopics: boolean
  /** Limits of the whole node; defaults beside their use. */
  readonly produceBytesInFlightMax?: number
  readonly readBytesInFlightMax?: number
}
