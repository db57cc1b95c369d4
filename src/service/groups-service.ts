import { Groups } from '../wire/methods.ts'
import { type HandlerEntry, notImplemented } from './handlers.ts'

/** naru.v1.Groups */
export function groupsService(): HandlerEntry[] {
  return notImplemented('consumer groups', Object.values(Groups))
}
