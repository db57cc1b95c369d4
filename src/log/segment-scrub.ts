import type { Offset } from '../base/brands.ts'
import { DiskError } from '../ports/disk.ts'
import type { LogCore } from './log-core.ts'
import { type Segment, SegmentReplaced } from './segment.ts'
import type { Defect } from './segment-scan.ts'

/** Checks all of the first closed segment that begins at or above `from`; says where to go on, or that none is left. */
export async function scrubSegment(
  core: LogCore,
  from: Offset,
  beforeChunk: (sizeBytes: number) => Promise<void>,
): Promise<{ nextFrom: Offset } | undefined> {
  const segment = core.segments.all.find(one => one.baseOffset >= from && one !== core.segments.last)
  if (!segment) return undefined
  const defect = await findDefect(core, segment, beforeChunk)
  // Removed or cut meanwhile: what was read then proves nothing.
  const stillThere = core.segments.all.includes(segment) && segment !== core.segments.last
  if (defect && stillThere && !core.failure && !core.closed) core.quarantine(defect)
  return { nextFrom: segment.baseOffset + 1 }
}

async function findDefect(
  core: LogCore,
  segment: Segment,
  beforeChunk: (sizeBytes: number) => Promise<void>,
): Promise<Defect | undefined> {
  const limit = core.offsetLimitOf(segment)
  try {
    const result = await core.scan(segment, { beforeChunk, onBatch: () => !core.failure && !core.closed })
    if (result.defect || core.failure || core.closed || result.nextOffset === limit) return result.defect
    const offset = result.nextOffset ?? segment.baseOffset
    const what = `it ends at offset ${offset}, the next segment begins at ${limit}`
    return { file: segment.path, position: result.endPosition, offset, what }
  } catch (thrown) {
    // Closed while this waited or read, as the logs of a deleted topic are: nothing is known of it, nor need be.
    if (core.failure || core.closed || thrown instanceof SegmentReplaced) return undefined
    if (!(thrown instanceof DiskError)) throw thrown
    if (thrown.code !== 'ENOENT') return undefined
    return { file: segment.path, position: 0, offset: segment.baseOffset, what: 'the file is gone' }
  }
}
