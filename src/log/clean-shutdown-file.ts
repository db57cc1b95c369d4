import { NaruError } from '../base/errors.ts'
import type { Disk } from '../ports/disk.ts'
import { readJsonFile, writeJsonFile } from './json-file.ts'

const FILE_NAME = 'clean-shutdown'
const VERSION = 1

/**
 * The mark of an orderly stop (B7): written last, when all logs are synced and closed, with the node epoch under which
 * this life was registered. It says that no log can have a torn tail, and, if the controller finds the same epoch in
 * its own records, that this directory lost nothing since.
 */
export async function writeCleanShutdown(
  disk: Disk,
  dataDirectory: string,
  mark: { readonly nodeEpoch: number },
): Promise<void> {
  await writeJsonFile(disk, `${dataDirectory}/${FILE_NAME}`, {
    version: VERSION,
    fields: { nodeEpoch: mark.nodeEpoch },
  })
}

/**
 * Reads the mark and removes it, durably, before anything else may be written: a crash after this is not an orderly
 * stop. Undefined where there is none, and where it cannot be read: then this start recovers like after a crash,
 * which is always right.
 */
export async function takeCleanShutdown(
  disk: Disk,
  dataDirectory: string,
): Promise<{ readonly nodeEpoch: number } | undefined> {
  const path = `${dataDirectory}/${FILE_NAME}`
  if (!(await disk.stat(path))) return undefined
  const nodeEpoch = await readEpoch(disk, path)
  await disk.remove(path)
  await disk.syncDirectory(dataDirectory)
  return nodeEpoch === undefined ? undefined : { nodeEpoch }
}

async function readEpoch(disk: Disk, path: string): Promise<number | undefined> {
  try {
    const nodeEpoch = (await readJsonFile(disk, path, VERSION))?.['nodeEpoch']
    return typeof nodeEpoch === 'number' && Number.isSafeInteger(nodeEpoch) ? nodeEpoch : undefined
  } catch (error) {
    if (error instanceof NaruError) return undefined
    throw error
  }
}
