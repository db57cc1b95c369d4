import type { Offset } from '../base/brands.ts'
import type { LogCore } from './log-core.ts'
import { type Segment, unlessReplaced } from './segment.ts'

/**
 * Where the log should start now by `retention.ms` and `retention.bytes`. Whole segments go, oldest first, and only
 * below the high watermark. The last segment goes too when all of it is too old: `rollLast` then closes it first,
 * unless what was judged has changed when its turn comes.
 */
export async function startAfterRetention(
  core: LogCore,
  wallMs: number,
  rollLast: (isAsJudged: () => boolean) => Promise<boolean>,
): Promise<Offset> {
  let start = core.logStartOffset
  let sizeBytes = core.segments.sizeBytes
  const { cuts } = core
  // Cut, or replaced by one that may hold newer records, too: the next time tells.
  const isThere = (segment: Segment) =>
    !core.failure && !core.closed && cuts === core.cuts && core.segments.all.includes(segment)
  for (const segment of core.isMade ? [...core.segments.all] : []) {
    if (!isThere(segment)) break
    const { logEndOffset } = core
    const end = core.segments.limitOf(segment)
    if ((end ?? logEndOffset) > core.highWatermark) break
    const tooLarge =
      core.config.retentionBytes !== undefined && sizeBytes - segment.sizeBytes >= core.config.retentionBytes
    if (!tooLarge && !(await unlessReplaced(() => isTooOld(core, segment, wallMs)))) break
    if (!isThere(segment) || core.segments.limitOf(segment) !== end) break
    if (end === undefined) {
      // By size the last segment always stays: without it the log is empty, which is below any limit.
      if (tooLarge || segment.sizeBytes === 0) break
      const isAsJudged = () => isThere(segment) && core.logEndOffset === logEndOffset
      if (await rollLast(isAsJudged)) start = core.segments.last.baseOffset
      break
    }
    start = Math.max(start, end)
    sizeBytes -= segment.sizeBytes
  }
  return start
}

/**
 * No segment goes by what an index file says alone: a turned bit there would take, with the log start that followers
 * hear of, the records of all replicas. Its batches are read once more before it goes, if this life has not seen them.
 */
async function isTooOld(core: LogCore, segment: Segment, wallMs: number): Promise<boolean> {
  const { retentionMs } = core.config
  if (retentionMs === undefined) return false
  const isOver = async (newest: number) => {
    // Without timestamps the file's own time counts, as in Kafka.
    const timestamp = newest >= 0 ? newest : ((await core.disk.stat(segment.path))?.modifiedWallMs ?? wallMs)
    return wallMs - timestamp > retentionMs
  }
  const found = await core.newestTimestampOf(segment)
  if (!(await isOver(found.timestamp))) return false
  if (found.isProven) return true
  const newest = (await core.scanIndexes(segment)).newest?.timestamp ?? -1
  if (newest !== found.timestamp) await core.replaceIndexes(segment)
  return isOver(newest)
}
