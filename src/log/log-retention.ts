import type { Offset } from '../base/brands.ts'
import type { LogCore } from './log-core.ts'
import type { Segment } from './segment.ts'

/**
 * Where the log should start now by `retention.ms` and `retention.bytes`. Whole segments go, oldest first, and only
 * below the high watermark. The last segment goes too when all of it is too old: `rollLast` then closes it first.
 */
export async function startAfterRetention(
  core: LogCore,
  wallMs: number,
  rollLast: () => Promise<boolean>,
): Promise<Offset> {
  let start = core.logStartOffset
  let sizeBytes = core.segments.sizeBytes
  for (const segment of core.isMade ? [...core.segments.all] : []) {
    const tooLarge =
      core.config.retentionBytes !== undefined && sizeBytes - segment.sizeBytes >= core.config.retentionBytes
    if (!tooLarge && !(await isTooOld(core, segment, wallMs))) break
    // Replaced meanwhile by one that may hold newer records, too: the next time tells.
    if (core.failure || core.closed || !core.segments.all.includes(segment)) break
    const end = core.segments.limitOf(segment)
    if (end === undefined) {
      // By size the last segment always stays: without it the log is empty, which is below any limit.
      if (tooLarge || segment.sizeBytes === 0 || core.logEndOffset > core.highWatermark) break
      if (await rollLast()) start = core.segments.last.baseOffset
      break
    }
    if (end > core.highWatermark) break
    start = Math.max(start, end)
    sizeBytes -= segment.sizeBytes
  }
  return start
}

async function isTooOld(core: LogCore, segment: Segment, wallMs: number): Promise<boolean> {
  const { retentionMs } = core.config
  if (retentionMs === undefined) return false
  const newest = await segment.newestTimestamp(() => core.rebuildIndexes(segment))
  // Without timestamps the file's own time counts, as in Kafka.
  const timestamp = newest >= 0 ? newest : ((await core.disk.stat(segment.path))?.modifiedWallMs ?? wallMs)
  return wallMs - timestamp > retentionMs
}
