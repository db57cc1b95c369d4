import { NaruError } from '../base/errors.ts'
import { DiskError } from '../ports/disk.ts'

/** After a failed write or sync. */
export function offlineLog(name: string, cause: unknown): NaruError {
  const what = cause instanceof Error ? cause.message : String(cause)
  return new NaruError(
    'STORAGE_OFFLINE',
    `the log ${name} is offline after a failed disk operation (${what}): check the disk, then restart the node`,
    { details: { log: name }, cause, outcome: 'unknown' },
  )
}

/** A disk error that passes and has harmed nothing (no room, no descriptors); undefined for any other. */
export function shortage(
  name: string,
  thrown: unknown,
  outcome: 'none' | 'unknown' = 'unknown',
): NaruError | undefined {
  if (!(thrown instanceof DiskError)) return undefined
  if (thrown.code === 'ENOSPC')
    return new NaruError(
      'DISK_FULL',
      `the disk of the log ${name} is full (${thrown.message}): free some space or add some, then try again`,
      { details: { log: name }, cause: thrown, outcome },
    )
  if (thrown.code !== 'EMFILE') return undefined
  return new NaruError(
    'OVERLOADED',
    `the process has no descriptor left for the log ${name} (${thrown.message}): raise its limit (ulimit -n), or lower open.files.max`,
    { details: { log: name }, cause: thrown, outcome },
  )
}

/**
 * Runs a read. A disk error that is no damage (retention has just removed the file, no descriptor is left) is the
 * reader's to meet again or not: it says nothing of the log.
 */
export async function readable<Result>(name: string, read: () => Promise<Result>): Promise<Result> {
  try {
    return await read()
  } catch (thrown) {
    if (!(thrown instanceof DiskError)) throw thrown
    throw new NaruError('OVERLOADED', `the log ${name} cannot be read now (${thrown.message}): try again`, {
      details: { log: name },
      cause: thrown,
    })
  }
}

export function namelessPartition(name: string, directory: string): NaruError {
  return new NaruError(
    'CORRUPT_DATA',
    `${directory}/partition.metadata is gone, though the checkpoints name the partition ${name}: whose records lie there ` +
      'is not known. Restore the file from a backup and restart the node, or delete the topic (docs/operating.md)',
    { details: { log: name, file: directory } },
  )
}

export function lostPartition(name: string, directory: string): NaruError {
  return new NaruError(
    'CORRUPT_DATA',
    `the directory ${directory} of the partition ${name} is gone, though the checkpoints name it: its records are lost ` +
      'here. Put it back and restart the node, or delete the topic (docs/operating.md)',
    { details: { log: name, file: directory } },
  )
}
