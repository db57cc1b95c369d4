import type { LogCore } from './log-core.ts'
import { writeEpochCheckpoint } from './log-epochs.ts'
import { offsetFileName, PRODUCER_SNAPSHOT_SUFFIX } from './log-file-names.ts'
import { snapshotOffsets } from './producer-tracker.ts'
import type { Segment } from './segment.ts'

/**
 * What an orderly close writes, so that the next open reads the end of the last segment and nothing else. A log that was not
 * written to since its own open has these files still; and where the last segment is short, to read it is cheaper than
 * to write and read files about it: it gets none. Of thousands of partitions most are one or the other.
 */

/** So small that an index would have no entry: an open reads it whole, as it reads the rest behind the last entry elsewhere. */
export function isShort(core: LogCore, segment: Segment): boolean {
  return segment.sizeBytes <= core.config.indexIntervalBytes
}

/** Under the log's lock; all that was appended is written. */
export async function writeDerivedFiles(core: LogCore): Promise<void> {
  const { last } = core.segments
  const endOffset = core.writtenEndOffset
  if (core.epochs.dirty) await writeEpochCheckpoint(core)
  if (last.isIndexStored && core.producers.isStoredAt(endOffset)) return
  const names = await core.fileNames()
  // Index files that an earlier close left of a short segment are right as far as they go: a cut would have removed them.
  if (!isShort(core, last)) await last.writeIndexFiles()
  const keep = new Set(core.segments.all.map(segment => segment.baseOffset))
  if (!isReplayShort(core, names)) {
    keep.add(endOffset)
    await core.producers.writeSnapshot(endOffset, core.producers.encodeSnapshot())
  }
  // Those that no segment needs any more: of earlier closes, and of segments that are gone.
  for (const offset of snapshotOffsets(names))
    if (!keep.has(offset)) await core.producers.removeSnapshot(offset)
}

/** The producers of an open follow from the last segment alone, which is short. */
function isReplayShort(core: LogCore, names: ReadonlySet<string>): boolean {
  const { first, last } = core.segments
  if (!isShort(core, last)) return false
  return first === last || names.has(offsetFileName(last.baseOffset, PRODUCER_SNAPSHOT_SUFFIX))
}
