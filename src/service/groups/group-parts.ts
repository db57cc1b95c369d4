import type { ReadMemory } from '../read-memory.ts'
import type { ServiceNode } from '../service-node.ts'
import type { LeaderKnowledge } from './leader-knowledge.ts'

/** What the calls of groups share at the node that coordinates them. */
export interface GroupParts {
  readonly node: ServiceNode
  readonly memory: ReadMemory
  readonly leaders: LeaderKnowledge
}
