import type { Offset } from '../base/brands.ts'
import { removeCleanedFiles } from './cleaned-segment.ts'
import { checkOffsets, type LogCore } from './log-core.ts'
import { writeEpochCheckpoint } from './log-epochs.ts'
import { LOG_SUFFIX, parseOffsetFileName } from './log-file-names.ts'
import { replayProducers } from './log-producers.ts'
import { Segment } from './segment.ts'
import { createSegment } from './segment-roll.ts'

/**
 * Cutting a log at its end, at its start, or starting it over. Each runs under the log's lock.
 * Order at the end (rule B3): the recovery point is lowered durably; later files go highest first, each removal synced
 * before the next (else a power cut could undo one in the middle and leave a gap); the rest is cut and synced; the
 * epoch checkpoint is rewritten; only then may anything be appended. At the start: log start durably first, then
 * lowest files first, each removal synced as well.
 */

/** Cuts the files so that the log ends at `endOffset`, or below where a batch straddles it. Returns the end. */
export async function truncateFiles(core: LogCore, endOffset: Offset): Promise<Offset> {
  const { disk, directory } = core
  const segment = core.segments.containing(endOffset - 1) ?? core.segments.first
  const cut = await findCut(core, segment, endOffset)
  const indexes = await core.indexesOf(segment)
  core.syncedEndOffset = Math.min(core.syncedEndOffset, cut.offset)
  await core.checkpoint()
  await core.compaction.lowerCleaned(cut.offset)
  while (core.segments.last !== segment) {
    await core.segments.last.remove()
    core.segments.removeLast()
    await disk.syncDirectory(directory)
  }
  await segment.reopenForAppends(indexes)
  await disk.syncDirectory(directory)
  await segment.cutTo(cut.position)
  await core.compaction.lowerRemovedTombstones(cut.offset)
  indexes.truncateTo(cut.position)
  const noted = await core.noteRest(segment, indexes, cut.offset)
  if (noted?.defect) throw core.quarantine(noted.defect)
  if (!noted) segment.useIndexes(await core.rebuildIndexes(segment))
  // What waits to be written behind the files stays, and its epoch with it; behind a batch that straddled the end nothing does.
  core.epochs.truncateFromEnd(cut.offset === core.writtenEndOffset ? endOffset : cut.offset)
  await writeEpochCheckpoint(core)
  await core.producers.removeSnapshotsAbove(cut.offset)
  return cut.offset
}

/** Empties the log, whatever the directory holds, and lets it begin at `offset`. */
export async function restartFiles(core: LogCore, offset: Offset): Promise<void> {
  // Of a log that was in quarantine from its start nobody has looked yet.
  if (core.config.compacted) await core.allowGaps()
  await core.checkpoint()
  await core.compaction.lowerCleaned(0)
  const { disk, directory } = core
  await removeCleanedFiles(core)
  const names = (await disk.list(directory)).map(entry => entry.name)
  const offsets = names.map(parseOffsetFileName).filter(parsed => parsed?.suffix === LOG_SUFFIX)
  for (const parsed of offsets.reverse()) {
    if (!parsed) continue
    await new Segment(core.context, parsed.offset, 0).remove()
    await disk.syncDirectory(directory)
  }
  await core.compaction.clear()
  for (const segment of core.segments.all) core.context.indexCache.forget(segment)
  await core.producers.removeSnapshotsAbove(-1)
  core.epochs.clear()
  await writeEpochCheckpoint(core)
  core.producers.reset()
  core.segments.replaceAll(await createSegment(core, offset))
}

/** Removes segments that lie wholly below the log start. The last one always stays. */
export async function removeSegmentsBelowStart(core: LogCore): Promise<void> {
  let bytes = 0
  let count = 0
  for (;;) {
    const first = core.segments.first
    const limit = core.segments.limitOf(first)
    if (limit === undefined || limit > core.logStartOffset) break
    await first.remove()
    core.segments.removeFirst()
    await core.disk.syncDirectory(core.directory)
    bytes += first.sizeBytes
    count++
  }
  core.epochs.truncateFromStart(core.logStartOffset)
  core.producers.dropBelow(core.logStartOffset)
  if (count === 0) return
  const { name: log, logStartOffset } = core
  core.emit({ kind: 'segmentsRemoved', log, count, bytes, logStartOffset })
}

/** Producer state of the log as it is now: from a snapshot and the batches behind it, then those not yet written. */
export async function rebuildProducers(core: LogCore): Promise<void> {
  await replayProducers(core, core.writtenEndOffset, { isLocked: true })
  for (const batch of core.tail.from(core.writtenEndOffset)) core.producers.note(batch.buffer, 0)
  checkOffsets(core)
}

/** Behind the last batch that ends before: where offsets are missing a start finds no other end. */
async function findCut(
  core: LogCore,
  segment: Segment,
  endOffset: Offset,
): Promise<{ position: number; offset: Offset }> {
  let cut = { position: 0, offset: segment.baseOffset }
  const result = await core.scanFrom(segment, endOffset - 1, {
    isLocked: true,
    offsetLimit: Number.POSITIVE_INFINITY,
    // Epochs of what is cut away may be gone from the cache already.
    agrees: (epoch, from, to) => to >= endOffset || core.epochAgrees(epoch, from, to),
    onBatch: batch => {
      if (batch.lastOffset >= endOffset) return false
      cut = { position: batch.position + batch.sizeBytes, offset: batch.lastOffset + 1 }
      return true
    },
  })
  if (result.defect && cut.offset < endOffset) throw core.quarantine(result.defect)
  return cut
}
