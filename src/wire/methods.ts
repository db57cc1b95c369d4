import * as internalServices from './generated/internal-services.ts'
import * as services from './generated/services.ts'
import type { Method } from './method.ts'

export {
  Admin,
  Consumer,
  Groups,
  Health,
  Metadata,
  Producer,
  ServerReflection,
} from './generated/services.ts'
export type { Method } from './method.ts'

/** Every method by its path. */
export const METHODS: ReadonlyMap<string, Method<unknown, unknown>> = new Map(
  [...Object.values(services), ...Object.values(internalServices)]
    .flatMap(service => Object.values(service) as Method<unknown, unknown>[])
    .map(method => [method.path, method]),
)
