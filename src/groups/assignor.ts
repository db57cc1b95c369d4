import type { Uuid } from '../base/brands.ts'
import type { TopicPartitions } from './group-record.ts'

/**
 * Decides which member should have which partition. Every partition that somebody subscribes to goes to exactly
 * one of its subscribers. Depends on its input alone.
 */
export type Assignor = (input: AssignorInput) => Map<string, TopicPartitions[]>

export interface AssignorInput {
  /** Sorted by name. */
  readonly members: readonly AssignorMember[]
  readonly partitionCounts: ReadonlyMap<Uuid, number>
}

export interface AssignorMember {
  readonly member: string
  /** Of topics in `partitionCounts`, no one twice. Members that subscribe to the same topics share one array. */
  readonly topicIds: readonly Uuid[]
  /** What it should have so far. */
  readonly current: readonly TopicPartitions[]
}
