import type { NodeId, Uuid } from '../base/brands.ts'
import type { Disk } from '../ports/disk.ts'
import { damaged, type JsonFields, readJsonFile, writeJsonFile } from './json-file.ts'

/** Format of the whole data directory. A release that changes what lies in it raises this and says how to upgrade. */
const DATA_FORMAT_VERSION = 1

const FILE_NAME = 'node.json'

/** Whose data directory this is; made once, when the node joins or forms a cluster (A1, A2). */
export interface NodeIdentity {
  readonly clusterId: Uuid
  readonly nodeId: NodeId
  /** Drawn for this directory alone and never used again: an emptied disk is another member than the one it was. */
  readonly directoryId: Uuid
}

export async function writeNodeFile(
  disk: Disk,
  dataDirectory: string,
  identity: NodeIdentity,
): Promise<void> {
  const { clusterId, nodeId, directoryId } = identity
  await writeJsonFile(disk, `${dataDirectory}/${FILE_NAME}`, {
    version: DATA_FORMAT_VERSION,
    fields: { clusterId, nodeId, directoryId },
  })
}

/** Undefined where the directory was never formatted. Anything unreadable is an error: it must not look unformatted. */
export async function readNodeFile(disk: Disk, dataDirectory: string): Promise<NodeIdentity | undefined> {
  const path = `${dataDirectory}/${FILE_NAME}`
  const fields = await readJsonFile(disk, path, DATA_FORMAT_VERSION)
  return fields && identityOf(fields, path)
}

function identityOf(fields: JsonFields, path: string): NodeIdentity {
  const { clusterId, nodeId, directoryId } = fields
  if (typeof clusterId !== 'string' || clusterId === '') throw damaged(path, 'it has no clusterId')
  if (typeof directoryId !== 'string' || directoryId === '') throw damaged(path, 'it has no directoryId')
  if (typeof nodeId !== 'number' || !Number.isSafeInteger(nodeId) || nodeId < 0)
    throw damaged(path, 'it has no nodeId')
  return { clusterId, nodeId, directoryId }
}
