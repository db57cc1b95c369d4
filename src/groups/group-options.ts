import type { TopicCatalog } from './subscription.ts'

export interface GroupOptions {
  readonly catalog: TopicCatalog
  readonly settings?: Partial<GroupSettings>
  readonly limits?: Partial<GroupLimits>
}

export interface GroupSettings {
  /** Of members that do not say. A member not heard for this long is expelled. */
  readonly sessionTimeoutMs: number
  /** The same once its stream is broken; a member that gave a session timeout of its own has that here too. */
  readonly brokenStreamTimeoutMs: number
  /** A partition that is not released this long after it was asked for is taken (D4). */
  readonly releaseTimeoutMs: number
  /** Offsets of a group without members are kept for this long. */
  readonly offsetsRetentionMs: number
  /** Targets of one group are computed at most so often: a thousand members that join at once are few targets. */
  readonly assignmentIntervalMs: number
}

export const GROUP_SETTINGS: GroupSettings = {
  sessionTimeoutMs: 10_000,
  brokenStreamTimeoutMs: 3_000,
  releaseTimeoutMs: 60_000,
  offsetsRetentionMs: 7 * 24 * 60 * 60 * 1000,
  assignmentIntervalMs: 100,
}

export interface GroupLimits {
  /** Groups of one `__groups` partition: all are in memory. */
  readonly groupsMax: number
  /** A target is computed, and its records are written, in one turn of the event loop. */
  readonly membersPerGroupMax: number
  readonly topicsPerSubscriptionMax: number
  /** Different ones; each is matched with every topic of the cluster whenever the group's topics are looked up. */
  readonly patternsPerGroupMax: number
  /** Names of groups and members, client ids and addresses: they are repeated in keys and lists. */
  readonly nameLengthMax: number
  /** Of what a client attaches to an offset. */
  readonly metadataBytesMax: number
  /** Offsets in one commit, one reset, one page: one batch of the log. */
  readonly offsetsPerRequestMax: number
  /** Offsets deleted by one write; the next write goes on. */
  readonly offsetsDeletedPerWriteMax: number
  readonly sessionTimeoutMinMs: number
  readonly sessionTimeoutMaxMs: number
}

export const GROUP_LIMITS: GroupLimits = {
  groupsMax: 10_000,
  membersPerGroupMax: 1_000,
  topicsPerSubscriptionMax: 1_000,
  patternsPerGroupMax: 20,
  nameLengthMax: 255,
  metadataBytesMax: 4_096,
  offsetsPerRequestMax: 10_000,
  offsetsDeletedPerWriteMax: 10_000,
  sessionTimeoutMinMs: 1_000,
  sessionTimeoutMaxMs: 30 * 60_000,
}
