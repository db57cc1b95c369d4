import type { ServiceHandlers } from '../ports/transport.ts'
import { Controller } from '../wire/generated/services.ts'
import { adminService } from './admin-service.ts'
import { consumerService } from './consumer-service.ts'
import { ControllerCalls } from './controller-calls.ts'
import { forwardService } from './forward-service.ts'
import { Forwarder } from './forwarder.ts'
import { FreshMetadata } from './fresh-metadata.ts'
import { groupsService } from './groups-service.ts'
import { unary } from './handlers.ts'
import { metadataService } from './metadata-service.ts'
import { describeReplicas } from './partition-recovery.ts'
import { producerService } from './producer-service.ts'
import { countWithin } from './request-checks.ts'
import type { ServiceNode, ServiceOptions } from './service-node.ts'

/** What a node serves, each method by its path. */
export interface NodeServices {
  /** The public API, for the clients' port. */
  readonly handlers: ServiceHandlers
  /** What other nodes hand on to this one, for the peers' port. */
  readonly peerHandlers: ServiceHandlers
  /** Ends the channels to other nodes. */
  close(): void
}

const REPLICAS_DESCRIBED_MAX = 1000

export function nodeServices(options: ServiceOptions): NodeServices {
  const { controller: quorum, clock, prng, cluster } = options
  const forwarder = new Forwarder({ quorum, clock, prng, cluster })
  const controllerCalls = new ControllerCalls(forwarder)
  const freshMetadata = new FreshMetadata({ quorum, clock })
  const node: ServiceNode = { ...options, controllerCalls, freshMetadata }
  return {
    handlers: new Map([
      ...producerService(node),
      ...consumerService(node),
      ...adminService(node),
      ...metadataService(node),
      ...groupsService(),
    ]),
    peerHandlers: new Map([
      ...forwardService(quorum, controllerCalls),
      unary(Controller.describeReplicas, request => {
        countWithin(request.replicas.length, { name: 'replicas', max: REPLICAS_DESCRIBED_MAX })
        return { replicas: describeReplicas(node, request.replicas) }
      }),
    ]),
    close: () => forwarder.close(),
  }
}
