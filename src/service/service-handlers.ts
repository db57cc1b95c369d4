import type { ServiceHandlers } from '../ports/transport.ts'
import { nodeServices } from './node-services.ts'
import type { ServiceOptions } from './service-node.ts'

/** The public API of a node that is all of its cluster. */
export function serviceHandlers(options: ServiceOptions): ServiceHandlers {
  return nodeServices(options).handlers
}
