import { assert } from '../base/assert.ts'
import type { Offset } from '../base/brands.ts'
import type { LogCore } from './log-core.ts'
import { writeEpochCheckpoint } from './log-epochs.ts'
import type { SegmentRoll } from './log-tail.ts'
import { Segment } from './segment.ts'
import { SegmentIndexes } from './segment-indexes.ts'

/**
 * Closes the last segment and makes the next one; under the log's lock. Order (rules B2, B3): the old bytes are synced;
 * then its indexes, the epoch checkpoint and the producer snapshot are on disk; only then does the new file exist,
 * its name synced before any byte in it counts. So after a crash everything derived below the last segment is there.
 * Safe to repeat after a full disk.
 */
export async function rollSegment(core: LogCore, roll: SegmentRoll, baseOffset: Offset): Promise<void> {
  const old = core.segments.last
  assert(baseOffset > old.baseOffset, 'a new segment begins above the last one')
  if (core.syncedEndOffset < core.writtenEndOffset || old.sizeBytes === 0) {
    const generation = core.generation
    await core.context.files.use(old.path, file => file.sync())
    if (generation === core.generation) core.syncedEndOffset = core.writtenEndOffset
  }
  await old.closeForAppends()
  await writeEpochCheckpoint(core)
  await core.producers.writeSnapshot(baseOffset, roll.snapshot)
  const segment = await createSegment(core, baseOffset)
  core.segments.add(segment)
  old.lendIndexes()
  core.emit({ kind: 'rolled', log: core.name, baseOffset })
}

/** A new empty segment whose name survives a power cut. */
export async function createSegment(
  core: Pick<LogCore, 'context' | 'disk'>,
  baseOffset: Offset,
): Promise<Segment> {
  const segment = new Segment(core.context, baseOffset, 0)
  // A late reader of a file that had this name once (a deleted topic's) may have left it open.
  core.context.files.forget(segment.path)
  const file = await core.disk.open(segment.path, 'create')
  try {
    assert(file.sizeBytes === 0, 'no other file has the name of a new segment')
    await file.sync()
  } finally {
    await file.close()
  }
  await core.disk.syncDirectory(core.context.directory)
  segment.useIndexes(SegmentIndexes.empty(baseOffset, core.context.indexIntervalBytes))
  return segment
}
