import type { Epoch, Offset } from '../base/brands.ts'
import { leaderEpochAt } from '../records/batch-header.ts'
import type { LogCore } from './log-core.ts'
import { firstRecordAtOrAfter } from './record-timestamps.ts'
import { SegmentReplaced } from './segment.ts'

export interface TimestampedOffset {
  readonly offset: Offset
  readonly timestamp: number
  readonly leaderEpoch: Epoch
}

/** The same, anew where the cleaner has put another segment in the place of the one that was searched. */
export async function searchTimestamp(
  core: LogCore,
  target: { timestamp: number; upTo: Offset },
): Promise<TimestampedOffset | undefined> {
  for (;;) {
    const { replacements } = core
    try {
      const found = await search(core, target)
      if (replacements === core.replacements) return found
    } catch (thrown) {
      if (!(thrown instanceof SegmentReplaced)) throw thrown
    }
  }
}

/**
 * The first record at or above the log start and below `upTo` whose timestamp is at least `timestamp`: the first
 * segment that has one, its time index, then the batches from there on, then the records of one batch.
 */
async function search(
  core: LogCore,
  target: { timestamp: number; upTo: Offset },
): Promise<TimestampedOffset | undefined> {
  core.ensureServing()
  const { generation } = core
  for (const segment of [...core.segments.all]) {
    if (segment.baseOffset >= target.upTo) return undefined
    const limit = core.segments.limitOf(segment)
    if (limit !== undefined && limit <= core.logStartOffset) continue
    const newest = await core.newestTimestampOf(segment)
    if (newest.timestamp < target.timestamp) continue
    const indexes = await core.indexesOf(segment)
    const from = Math.max(indexes.times.lookup(target.timestamp)?.offset ?? 0, core.logStartOffset)
    let found: TimestampedOffset | undefined
    const isBeingCut = core.cutting > 0
    const result = await core.scanFrom(segment, from, {
      isLocked: false,
      onBatch: batch => {
        if (batch.baseOffset >= target.upTo) return false
        if (batch.maxTimestamp < target.timestamp || batch.lastOffset < core.logStartOffset) return true
        const record = firstRecordAtOrAfter(batch, { ...target, from: core.logStartOffset })
        if (record) found = { ...record, leaderEpoch: leaderEpochAt(batch.buffer, batch.at) }
        return found === undefined
      },
    })
    core.ensureServing()
    if (generation !== core.generation) return search(core, target)
    if (result.defect && isBeingCut) {
      // What looks damaged may have been read while the file was cut: look again behind that.
      await core.lock.run(async () => {})
      return search(core, target)
    }
    if (result.defect) throw core.quarantine(result.defect)
    if (found) return found
  }
  return searchPending(core, target)
}

/** Batches that are not written yet. */
function searchPending(
  core: LogCore,
  target: { timestamp: number; upTo: Offset },
): TimestampedOffset | undefined {
  for (const batch of core.tail.from(core.writtenEndOffset)) {
    if (batch.baseOffset >= target.upTo) return undefined
    if (batch.maxTimestamp < target.timestamp) continue
    const range = { ...target, from: core.logStartOffset }
    const record = firstRecordAtOrAfter({ buffer: batch.buffer, at: 0 }, range)
    if (record) return { ...record, leaderEpoch: batch.leaderEpoch }
  }
  return undefined
}
