import { NaruError } from '../base/errors.ts'
import type { Disk } from '../ports/disk.ts'
import { type JsonFields, readJsonFile, writeJsonFile } from './json-file.ts'

export const QUARANTINE_FILE = 'quarantine.json'
const VERSION = 1

/** Why a partition directory is not served (B4). */
export interface QuarantineMark {
  /** What is wrong, for people. */
  readonly reason: string
  /** Name of the damaged file in the directory, and where in it; undefined where that is not known. */
  readonly file: string | undefined
  readonly position: number | undefined
  /** First offset that cannot be trusted. */
  readonly offset: number | undefined
  readonly wallMs: number
}

/**
 * The durable mark of a partition directory in which corruption was found: it is not served, and its bytes stay, until
 * the controller has taken this replica out of ISR and ELR; the mark goes with them.
 */
export async function writeQuarantine(disk: Disk, directory: string, mark: QuarantineMark): Promise<void> {
  const { reason, file, position, offset, wallMs } = mark
  await writeJsonFile(disk, `${directory}/${QUARANTINE_FILE}`, {
    version: VERSION,
    fields: { reason, file: file ?? null, position: position ?? null, offset: offset ?? null, wallMs },
  })
}

/** Undefined where there is none. A mark that cannot be read is a mark all the same. */
export async function readQuarantine(disk: Disk, directory: string): Promise<QuarantineMark | undefined> {
  try {
    const fields = await readJsonFile(disk, `${directory}/${QUARANTINE_FILE}`, VERSION)
    return fields && markOf(fields)
  } catch (error) {
    if (!(error instanceof NaruError)) throw error
    return markOf({ reason: `in quarantine for an unknown reason (${error.message})` })
  }
}

export async function removeQuarantine(disk: Disk, directory: string): Promise<void> {
  const path = `${directory}/${QUARANTINE_FILE}`
  if (!(await disk.stat(path))) return
  await disk.remove(path)
  await disk.syncDirectory(directory)
}

function markOf(fields: JsonFields): QuarantineMark {
  const { reason, file, position, offset, wallMs } = fields
  return {
    reason: typeof reason === 'string' ? reason : 'in quarantine for an unknown reason',
    file: typeof file === 'string' ? file : undefined,
    position: typeof position === 'number' ? position : undefined,
    offset: typeof offset === 'number' ? offset : undefined,
    wallMs: typeof wallMs === 'number' ? wallMs : 0,
  }
}
