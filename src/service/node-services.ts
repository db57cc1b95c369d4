import type { ServiceHandlers } from '../ports/transport.ts'
import { adminService } from './admin-service.ts'
import { consumerService } from './consumer-service.ts'
import { ControllerCalls } from './controller-calls.ts'
import { forwardService } from './forward-service.ts'
import { Forwarder } from './forwarder.ts'
import { FreshMetadata } from './fresh-metadata.ts'
import { groupsService } from './groups-service.ts'
import { metadataService } from './metadata-service.ts'
import { producerService } from './producer-service.ts'
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
    peerHandlers: new Map(forwardService(quorum, controllerCalls)),
    close: () => forwarder.close(),
  }
}
