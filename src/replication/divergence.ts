import type { Offset } from '../base/brands.ts'
import type { Diverged, Follow, FollowAnswer } from './follow.ts'
import type { LogView } from './log-view.ts'

/**
 * Where two logs of one partition part. A record is known by its offset and the leader epoch that wrote it, and a
 * leader's log never changes within its epoch; so two logs that agree on the epoch of one offset agree on all below
 * it (KIP-101). The high watermark says nothing here: a follower's may lag behind what is committed.
 *
 * Leader and follower narrow it down in turns (KIP-279): the leader names its largest epoch <= the follower's last one
 * and that epoch's end; the follower cuts to the smaller of that and its own end of the largest epoch <= the named
 * one, and asks again with what it has then. Each turn makes the follower's log shorter, so it ends.
 */

/** The leader's answer to a follower of its epoch. Members of ISR and ELR hold every committed record, others may not. */
export function answerFollow(
  log: LogView,
  follow: Pick<Follow, 'fetchOffset' | 'lastFetchedEpoch' | 'removals'>,
  { mayBeElected }: { mayBeElected: boolean },
): FollowAnswer {
  const { fetchOffset, lastFetchedEpoch } = follow
  const { logStartOffset, logEndOffset } = log
  const without = { kind: 'refused', reason: mayBeElected ? 'DAMAGED' : 'RESET', logStartOffset } as const
  // The log start lies below the high watermark, and who may be elected has all of that.
  if (fetchOffset < logStartOffset) return without
  if (lastFetchedEpoch === undefined) {
    // It holds nothing. Beginning above the log start would leave out records that it may have to serve one day.
    const fits = fetchOffset === logStartOffset || (mayBeElected && fetchOffset <= logEndOffset)
    return fits ? { kind: 'accepted' } : without
  }
  // Never of one that may be elected: tombstones are removed below the high watermark, and it has all of that. A new
  // leader's may lag behind that: it says nothing of the others.
  const hasMissedNone = follow.removals === log.removals
  const missedBelow = mayBeElected
    ? Math.min(log.removedTombstonesEnd, log.highWatermark)
    : log.removedTombstonesEnd
  if (!hasMissedNone && fetchOffset < missedBelow) return without
  // All epochs here are later: what is before the log start cannot be compared, what is behind it differs.
  const here = log.endOffsetForEpoch(lastFetchedEpoch) ?? {
    epoch: lastFetchedEpoch,
    endOffset: logStartOffset,
  }
  if (here.epoch === lastFetchedEpoch && here.endOffset >= fetchOffset) return { kind: 'accepted' }
  return { kind: 'diverged', ...here, logStartOffset }
}

/** Where the follower's log must be cut; `isPossible` is false where nothing that it holds is the leader's. */
export function truncationTarget(
  log: LogView,
  diverged: Diverged,
): { readonly offset: Offset; readonly isPossible: boolean } {
  const own = log.endOffsetForEpoch(diverged.epoch)
  const offset = Math.min(own?.endOffset ?? log.logStartOffset, diverged.endOffset)
  // An epoch entry may stand at the end of a log whose records retention took: cutting would not remove it.
  return { offset, isPossible: offset >= log.logStartOffset && offset < log.logEndOffset }
}
