import type { Disk } from '../ports/disk.ts'
import { damaged, readJsonFile, writeJsonFile } from './json-file.ts'

const FILE_NAME = 'registration'
const VERSION = 1

/**
 * The node epoch under which this directory took part last. It is durable before the node may lead or be in sync under it;
 * so a directory that remembers less than the controller does is an old copy that was put back, and lacks what its
 * node acknowledged since.
 */
export async function writeRegistration(
  disk: Disk,
  dataDirectory: string,
  { nodeEpoch }: { readonly nodeEpoch: number },
): Promise<void> {
  await writeJsonFile(disk, pathIn(dataDirectory), { version: VERSION, fields: { nodeEpoch } })
}

/** 0: it never took part. Damage is an error: it must not look like an old copy, nor like a whole one. */
export async function readRegistration(disk: Disk, dataDirectory: string): Promise<number> {
  const fields = await readJsonFile(disk, pathIn(dataDirectory), VERSION)
  if (fields === undefined) return 0
  const { nodeEpoch } = fields
  if (typeof nodeEpoch !== 'number' || !Number.isSafeInteger(nodeEpoch) || nodeEpoch < 1)
    throw damaged(pathIn(dataDirectory), 'it has no nodeEpoch')
  return nodeEpoch
}

function pathIn(dataDirectory: string): string {
  return `${dataDirectory}/${FILE_NAME}`
}
