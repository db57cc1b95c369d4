import type { NodeId } from '../base/brands.ts'
import { NaruError } from '../base/errors.ts'
import { readNodeFile } from '../log/node-file.ts'
import { type Disk, DiskError } from '../ports/disk.ts'

/** What lies where in a data directory. */
export function dataPaths(dataDirectory: string): DataPaths {
  const state = `${dataDirectory}/state`
  return { raft: `${dataDirectory}/raft`, state, stateOutdated: `${state}-outdated` }
}

export interface DataPaths {
  /** The metadata log. */
  readonly raft: string
  /** LevelDB; its lock keeps a second process out of the whole data directory. */
  readonly state: string
  /** A file: what is in `state` must not be believed. */
  readonly stateOutdated: string
}

/**
 * Refuses the data directory of another node, and one that has a part of a node's data and not the rest: it must never
 * look fresh, or it would come up empty in the place of what it lost (D3).
 */
export async function checkDataDirectory(disk: Disk, dataDirectory: string, nodeId: NodeId): Promise<void> {
  const { raft } = dataPaths(dataDirectory)
  const identity = await readNodeFile(disk, dataDirectory)
  const raftFiles = await namesIn(disk, raft)
  if (raftFiles.includes('recovery-point') && !raftFiles.includes('quorum-state'))
    throw madeBeforeRelease(dataDirectory)
  if (identity) {
    if (identity.nodeId !== nodeId) throw otherNode(dataDirectory, identity.nodeId, nodeId)
    // What was put aside as damaged is dealt with by who opens raft/.
    const hasRaft = raftFiles.length > 0 || (await namesIn(disk, `${raft}.damaged`)).length > 0
    if (!hasRaft) throw incomplete(dataDirectory, 'it has node.json, but no metadata log in raft/')
    return
  }
  const hasTopics = (await namesIn(disk, `${dataDirectory}/topics`)).length > 0
  if (hasTopics) throw incomplete(dataDirectory, 'it has topics/, but no node.json')
  // A formatted raft/ without a log: the first start ended before node.json was written.
  if (raftFiles.some(name => name === 'log-state' || name.endsWith('.log')))
    throw incomplete(dataDirectory, 'it has a metadata log in raft/, but no node.json')
}

async function namesIn(disk: Disk, directory: string): Promise<string[]> {
  try {
    return (await disk.list(directory)).map(entry => entry.name)
  } catch (thrown) {
    if (thrown instanceof DiskError && thrown.code === 'ENOENT') return []
    throw thrown
  }
}

function madeBeforeRelease(dataDirectory: string): NaruError {
  return new NaruError(
    'DATA_DIRECTORY_VERSION',
    `the data directory ${dataDirectory} was made by a version of Naru from before its first release, whose metadata log no release reads: use an empty data.dir`,
  )
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
