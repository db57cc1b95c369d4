import type { NodeId } from '../base/brands.ts'
import { NaruError } from '../base/errors.ts'
import { type NodeIdentity, readNodeFile, writeNodeFile } from '../log/node-file.ts'
import { type Disk, DiskError } from '../ports/disk.ts'
import { type Prng, randomUuid } from '../ports/prng.ts'

/** What lies where in a data directory. */
export function dataPaths(dataDirectory: string): DataPaths {
  return { raft: `${dataDirectory}/raft`, state: `${dataDirectory}/state` }
}

export interface DataPaths {
  /** The metadata log. */
  readonly raft: string
  /** LevelDB; its lock keeps a second process out of the whole data directory. */
  readonly state: string
}

/**
 * Whose data directory this is. A fresh one gets its identity here; one that has a part of a node's data and not
 * the rest is refused: it must never look fresh, or it would come up empty in the place of what it lost (D3).
 */
export async function identifyDataDirectory(
  disk: Disk,
  dataDirectory: string,
  options: { nodeId: NodeId; prng: Prng },
): Promise<{ identity: NodeIdentity; isNew: boolean }> {
  const { raft } = dataPaths(dataDirectory)
  const [known, hasRaft, hasTopics] = [
    await readNodeFile(disk, dataDirectory),
    await hasFiles(disk, raft),
    await hasFiles(disk, `${dataDirectory}/topics`),
  ]
  if (known) {
    if (known.nodeId !== options.nodeId) throw otherNode(dataDirectory, known.nodeId, options.nodeId)
    if (!hasRaft) throw incomplete(dataDirectory, 'it has node.json, but no metadata log in raft/')
    return { identity: known, isNew: false }
  }
  if (hasTopics) throw incomplete(dataDirectory, 'it has topics/, but no node.json')
  // A metadata log without topics and without node.json: the first start ended before node.json was written.
  const identity = {
    clusterId: randomUuid(options.prng),
    nodeId: options.nodeId,
    directoryId: randomUuid(options.prng),
  }
  return { identity, isNew: true }
}

/** Written once the metadata log holds the cluster: from here on the directory is this node's. */
export async function claimDataDirectory(
  disk: Disk,
  dataDirectory: string,
  identity: NodeIdentity,
): Promise<void> {
  await writeNodeFile(disk, dataDirectory, identity)
}

async function hasFiles(disk: Disk, directory: string): Promise<boolean> {
  try {
    return (await disk.list(directory)).length > 0
  } catch (thrown) {
    if (thrown instanceof DiskError && thrown.code === 'ENOENT') return false
    throw thrown
  }
}

function otherNode(dataDirectory: string, found: NodeId, asked: NodeId): NaruError {
  return new NaruError(
    'INVALID_CONFIG',
    `the data directory ${dataDirectory} belongs to node ${found}, but node.id is ${asked}: set node.id to ${found}, or use another data.dir`,
  )
}

function incomplete(dataDirectory: string, what: string): NaruError {
  return new NaruError(
    'DATA_DIRECTORY_DAMAGED',
    `the data directory ${dataDirectory} is incomplete: ${what}. Restore what is missing, or use an empty data.dir (see docs/operating.md)`,
    { details: { directory: dataDirectory } },
  )
}
