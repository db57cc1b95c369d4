import { NaruError } from '../base/errors.ts'
import type { FoundFiles } from './found-files.ts'
import { LEADER_EPOCH_CHECKPOINT, type LeaderEpochEntry } from './leader-epoch-checkpoint.ts'
import type { LogCore } from './log-core.ts'

/** Entries of the checkpoint; undefined where there is none or it is damaged: it is derived, a scan replaces it. */
export async function readEpochCheckpoint(
  core: LogCore,
  files: FoundFiles,
): Promise<readonly LeaderEpochEntry[] | undefined> {
  try {
    const entries = core.epochFile.decode(await files.read(LEADER_EPOCH_CHECKPOINT))
    return entries && rises(entries) ? entries : undefined
  } catch (thrown) {
    if (thrown instanceof NaruError && thrown.reason.startsWith('DATA_DIRECTORY')) return undefined
    throw thrown
  }
}

/** Written where a power cut could otherwise cost a scan of more than the last segment: roll, truncation, close. */
export async function writeEpochCheckpoint(core: LogCore): Promise<void> {
  core.epochs.dirty = false
  try {
    await core.epochFile.write(() => core.epochs.entries)
  } catch (thrown) {
    core.epochs.dirty = true
    throw thrown
  }
}

function rises(entries: readonly LeaderEpochEntry[]): boolean {
  return entries.every((entry, at) => {
    const before = entries[at - 1]
    return !before || (before.epoch < entry.epoch && before.startOffset < entry.startOffset)
  })
}
