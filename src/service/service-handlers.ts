import type { ServiceHandlers } from '../ports/transport.ts'
import { adminService } from './admin-service.ts'
import { consumerService } from './consumer-service.ts'
import { groupsService } from './groups-service.ts'
import { metadataService } from './metadata-service.ts'
import { producerService } from './producer-service.ts'
import type { ServiceNode } from './service-node.ts'

/** Every method of the public API on this node, by its path. */
export function serviceHandlers(node: ServiceNode): ServiceHandlers {
  return new Map([
    ...producerService(node),
    ...consumerService(node),
    ...adminService(node),
    ...metadataService(node),
    ...groupsService(),
  ])
}
