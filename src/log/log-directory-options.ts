import type { PartitionId, Uuid } from '../base/brands.ts'
import type { Clock } from '../ports/clock.ts'
import type { Disk } from '../ports/disk.ts'
import { APPEND_PENDING_BYTES_MAX, type LogConfig } from './log-config.ts'
import type { LogEvent, LogProgress } from './log-core.ts'

export interface LogDirectoryOptions {
  readonly disk: Disk
  readonly clock: Clock
  readonly dataDirectory: string
  /** Topics whose syncs go before the others': `__groups`. */
  readonly isUrgent?: (topic: string) => boolean
  /** Whether space is short: then deleted partitions are removed at once. */
  readonly isSpaceLow?: () => boolean
  /** A background task met an error that is not one log's; the task goes on at its next turn. */
  readonly onError: (error: unknown) => void
  readonly limits?: Partial<LogDirectoryLimits>
}

/** Bounds and paces of one data directory. */
export interface LogDirectoryLimits {
  /** Syncs of partitions that run at a time (`SyncScheduler`). */
  readonly syncsInFlightMax: number
  /** Unwritten bytes of one log. */
  readonly appendPendingBytesMax: number
  /** Descriptors of segment files. */
  readonly openFilesMax: number
  /** Memory for indexes of closed segments. */
  readonly indexBytesMax: number
  /** Memory for the last appended batches, of one log and of all. */
  readonly tailBytesMax: number
  readonly tailsTotalBytesMax: number
  /** Logs opened (and so perhaps scanned) at a time. */
  readonly opensInFlightMax: number
  readonly checkpointIntervalMs: number
  readonly retentionIntervalMs: number
  /** Silence after which a producer is forgotten. */
  readonly producerIdExpirationMs: number
  readonly scrubBytesPerSecond: number
  readonly scrubRestMs: number
  /** How often the cleaner looks for compacted logs that are dirty enough. */
  readonly cleanerIntervalMs: number
  /** Bytes that the cleaner reads and writes. */
  readonly cleanerBytesPerSecond: number
  /** Memory for the keys of the log that is being cleaned: 24 bytes for each, so 1.2 million in one pass. */
  readonly cleanerKeyMapBytesMax: number
  /** Deleted partitions stay this long under their new name. */
  readonly deletedKeepMs: number
}

export const LOG_DIRECTORY_LIMITS: LogDirectoryLimits = {
  syncsInFlightMax: 8,
  appendPendingBytesMax: APPEND_PENDING_BYTES_MAX,
  openFilesMax: 8192,
  indexBytesMax: 64 * 1024 * 1024,
  tailBytesMax: 2 * 1024 * 1024,
  tailsTotalBytesMax: 128 * 1024 * 1024,
  opensInFlightMax: 16,
  checkpointIntervalMs: 60_000,
  retentionIntervalMs: 60_000,
  producerIdExpirationMs: 24 * 3600 * 1000,
  scrubBytesPerSecond: 4 * 1024 * 1024,
  scrubRestMs: 60_000,
  cleanerIntervalMs: 15_000,
  cleanerBytesPerSecond: 32 * 1024 * 1024,
  cleanerKeyMapBytesMax: 32 * 1024 * 1024,
  deletedKeepMs: 3600 * 1000,
}

export interface PartitionOpenOptions {
  readonly topic: string
  readonly topicId: Uuid
  readonly partition: PartitionId
  readonly config: LogConfig
  readonly onProgress: (progress: LogProgress) => void
  readonly onEvent: (event: LogEvent) => void
  /** The loss of this partition's directory is known to the controller (rule A1): begin with an empty one. */
  readonly afterLoss?: boolean
}

/** A partition by what its directory says. */
export interface UnopenedPartition {
  readonly topic: string
  readonly partition: PartitionId
  /** undefined: a crash came before anything was stored. */
  readonly topicId: Uuid | undefined
}
