import type { Offset } from '../base/brands.ts'
import type { LogCore } from './log-core.ts'
import { RELATIVE_MAX } from './offset-index.ts'
import type { Segment } from './segment.ts'

/** What the owner of a log knows of cleaning it; asked anew for each round. */
export interface CleaningLimits {
  /** Nothing at or above is cleaned, as of the high watermark. For a view of the log that has not read further. */
  readonly cleanableEnd?: (() => Offset) | undefined
  /** Tombstones at or above stay: somebody is being sent the log, and has not come to them. */
  readonly tombstonesKeptFrom?: (() => Offset) | undefined
}

export interface CleaningPlan {
  /** First offset that was not cleaned before. */
  readonly from: Offset
  /** Where a segment begins; what is cleaned lies below. */
  readonly endOffset: Offset
  /** Bytes from `from` to `endOffset` as a share of all below `endOffset`. */
  readonly dirtyRatio: number
}

/**
 * Which part of a log may be cleaned now: whole segments, never the last one, below the high watermark and what the owner
 * allows, and none with records younger than `min.compaction.lag.ms`. Undefined: nothing new.
 */
export async function planCleaning(
  core: LogCore,
  limits: CleaningLimits,
  wallMs: number,
): Promise<CleaningPlan | undefined> {
  const from = Math.max(core.compaction.cleanedEndOffset, core.logStartOffset)
  const bound = Math.min(core.highWatermark, limits.cleanableEnd?.() ?? core.highWatermark)
  let endOffset = from
  let totalBytes = 0
  let dirtyBytes = 0
  for (const segment of [...core.segments.all]) {
    const limit = core.segments.limitOf(segment)
    if (limit === undefined || limit > bound) break
    const isDirty = limit > from
    if (isDirty && (await isTooYoung(core, segment, wallMs))) break
    totalBytes += segment.sizeBytes
    if (!isDirty) continue
    dirtyBytes += segment.sizeBytes
    endOffset = limit
  }
  if (endOffset <= from) return undefined
  return { from, endOffset, dirtyRatio: dirtyBytes / Math.max(1, totalBytes) }
}

/** Neighbours that become one segment: together within `segment.bytes` and the range of an index (as Kafka groups). */
export function groupSegments(core: LogCore, endOffset: Offset): Segment[][] {
  const groups: Segment[][] = []
  let sizeBytes = 0
  for (const segment of core.segments.all) {
    const limit = core.segments.limitOf(segment)
    if (limit === undefined || segment.baseOffset >= endOffset) break
    const group = groups.at(-1)
    const fits =
      group?.[0] !== undefined &&
      sizeBytes + segment.sizeBytes <= core.config.segmentBytes &&
      limit - group[0].baseOffset <= RELATIVE_MAX
    if (fits) group.push(segment)
    else groups.push([segment])
    sizeBytes = (fits ? sizeBytes : 0) + segment.sizeBytes
  }
  return groups
}

async function isTooYoung(core: LogCore, segment: Segment, wallMs: number): Promise<boolean> {
  const { minCompactionLagMs } = core.config
  if (minCompactionLagMs === 0) return false
  return (await core.newestTimestampOf(segment)).timestamp > wallMs - minCompactionLagMs
}
