import type { NaruError } from '../../base/errors.ts'
import type { OffsetPosition } from '../admin/types.ts'
import type { OffsetToCommit } from '../consumer/types.ts'

/** `empty`: offsets only. `reconciling`: partitions are moving between members, the others go on. */
export type GroupStateName = 'empty' | 'reconciling' | 'stable'

export interface GroupListing {
  readonly group: string
  readonly state: GroupStateName
  readonly members: number
  /** Node id. */
  readonly coordinator: number
}

export interface GroupList {
  /** By name. */
  readonly groups: readonly GroupListing[]
  /** Why groups are missing: coordinators that did not answer, by their partition of `__groups`. */
  readonly missing: readonly { readonly partition: number; readonly error: NaruError }[]
}

export interface GroupDescription {
  readonly group: string
  readonly state: GroupStateName
  readonly groupEpoch: number
  readonly assignor: string
  /** Node id. */
  readonly coordinator: number
  readonly members: readonly GroupMember[]
  /** What is committed, and what a member has; by topic and partition. */
  readonly offsets: readonly GroupOffset[]
}

export interface GroupMember {
  readonly member: string
  readonly clientId: string
  /** Network address of the client. */
  readonly address: string
  readonly memberEpoch: number
  readonly topics: readonly string[]
  readonly topicPattern: string | undefined
  /** What it has. */
  readonly assigned: readonly { readonly topic: string; readonly partition: number }[]
  /** What it should have. */
  readonly target: readonly { readonly topic: string; readonly partition: number }[]
  /** Its stream is broken and its session is running out. */
  readonly disconnected: boolean
}

export interface GroupOffset {
  readonly topic: string
  readonly topicId: string
  readonly partition: number
  /** Where the group goes on; undefined: nothing is committed here. */
  readonly nextOffset: number | undefined
  readonly committedAtMs: number | undefined
  readonly metadata: string
  /** Ends of what is readable; undefined: the partition has no leader that answers. */
  readonly highWatermark: number | undefined
  readonly logStartOffset: number | undefined
  /** Records that the group has not done yet; undefined where one of the two ends is not known. */
  readonly lag: number | undefined
  /** Who has the partition now. */
  readonly member: string | undefined
}

/** Partitions of topics, by name: all of a topic, or some. */
export interface TopicPartitions {
  readonly topic: string
  readonly partitions?: readonly number[]
}

/** Where offsets shall go. `committed`: where they are (with a dry run, to look). */
export type ResetTarget =
  | { readonly to: OffsetPosition | 'committed' | { readonly offset: number } }
  | { readonly shiftBy: number }
  | { readonly offsets: readonly { topic: string; partition: number; nextOffset: number }[] }

export interface ResetOffset {
  readonly topic: string
  readonly partition: number
  readonly before: number | undefined
  /** Where it is now, or would be; undefined: `error` says why it was not moved. */
  readonly after: number | undefined
  readonly error: NaruError | undefined
}

/** Looks at consumer groups and changes what they have done. Any node takes these calls. */
export interface Groups {
  /** All pages. */
  list(options?: {
    readonly prefix?: string
    readonly states?: readonly GroupStateName[]
  }): Promise<GroupList>
  describe(group: string): Promise<GroupDescription>
  /** All pages. Without topics: all for which the group has an offset. */
  fetchOffsets(group: string, topics?: readonly TopicPartitions[]): Promise<GroupOffset[]>
  /** By hand, which is refused while the group has members. Stores all it can, then rejects with the first error. */
  commitOffsets(group: string, offsets: readonly OffsetToCommit[]): Promise<void>
  /**
   * Moves the offsets of a group that has no members: of the topics given, else all that it has. What cannot be moved is
   * told with its error; the others are moved together.
   */
  resetOffsets(
    group: string,
    target: ResetTarget,
    options?: { readonly topics?: readonly TopicPartitions[]; readonly dryRun?: boolean },
  ): Promise<ResetOffset[]>
  /** With all its offsets; refused while it has members. */
  delete(group: string): Promise<void>
}
