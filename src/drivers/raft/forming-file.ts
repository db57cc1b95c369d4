/**
 * `forming.json`: how far this data directory is on its way into a cluster, and the founding of that cluster if it was
 * there when it was made. Kept for good: a founder that got lost on the way is told by any other.
 *
 *     { "version": 1, "nodeId": 3, "directoryId": "r4...", "clusterId": "Qx...", "author": 1,
 *       "voters": "1@mE...=naru-1:7452 2@...", "learners": "", "crc32c": "..." }
 *
 *   { nodeId, directoryId }   before anybody is told of the directory: its id must outlive the process, since a
 *                             founding may name it already
 *   + clusterId               the directory belongs to that cluster, for good. With the founding (`author` and the
 *                             two lists) it was made by this node or handed on; without (null), this node joins
 *
 * What follows, `raft/` and then `node.json`, follows from it alone: a start that finds it goes on from here.
 */
import type { NodeId, Uuid } from '../../base/brands.ts'
import { damaged, type JsonFields, readJsonFile, writeJsonFile } from '../../log/json-file.ts'
import type { Disk } from '../../ports/disk.ts'
import {
  type ClusterFounding,
  type Founder,
  founderMember,
  foundingFlaw,
} from '../../raft/cluster-forming.ts'

export interface FormingState {
  readonly nodeId: NodeId
  readonly directoryId: Uuid
  readonly clusterId: Uuid | undefined
  /** Of that very cluster. */
  readonly founding: ClusterFounding | undefined
}

const VERSION = 1

function formingPath(dataDirectory: string): string {
  return `${dataDirectory}/forming.json`
}

export async function writeFormingFile(
  disk: Disk,
  dataDirectory: string,
  state: FormingState,
): Promise<void> {
  const { nodeId, directoryId, clusterId, founding } = state
  const fields = {
    nodeId,
    directoryId,
    clusterId: clusterId ?? null,
    author: founding?.author ?? null,
    voters: encodeFounders(founding, true),
    learners: encodeFounders(founding, false),
  }
  await writeJsonFile(disk, formingPath(dataDirectory), { version: VERSION, fields })
}

/** Undefined where there is none. */
export async function readFormingFile(disk: Disk, dataDirectory: string): Promise<FormingState | undefined> {
  const path = formingPath(dataDirectory)
  const fields = await readJsonFile(disk, path, VERSION)
  if (!fields) return undefined
  const { nodeId, directoryId, clusterId } = fields
  const isSound =
    typeof nodeId === 'number' &&
    Number.isSafeInteger(nodeId) &&
    typeof directoryId === 'string' &&
    directoryId !== '' &&
    (clusterId === null || (typeof clusterId === 'string' && clusterId !== ''))
  if (!isSound) throw damaged(path, 'it does not hold a node, its directory and its cluster')
  return { nodeId, directoryId, clusterId: clusterId ?? undefined, founding: foundingOf(fields, path) }
}

function foundingOf(fields: JsonFields, path: string): ClusterFounding | undefined {
  const { clusterId, author } = fields
  if (author === null || author === undefined) return undefined
  if (typeof author !== 'number' || typeof clusterId !== 'string')
    throw damaged(path, 'it does not hold the founding of a cluster')
  const founders = [
    ...decodeFounders(fields['voters'], true, path),
    ...decodeFounders(fields['learners'], false, path),
  ]
  const founding = { clusterId, author, founders: founders.sort((a, b) => a.nodeId - b.nodeId) }
  const flaw = foundingFlaw(founding)
  if (flaw !== undefined) throw damaged(path, flaw)
  return founding
}

function encodeFounders(founding: ClusterFounding | undefined, isVoter: boolean): string {
  const founders = founding?.founders.filter(founder => founder.isVoter === isVoter) ?? []
  return founders.map(founder => `${founderMember(founder)}=${founder.address}`).join(' ')
}

function decodeFounders(text: JsonFields[string] | undefined, isVoter: boolean, path: string): Founder[] {
  if (typeof text !== 'string') throw damaged(path, 'it does not hold the founders')
  const entries = text.split(' ').filter(entry => entry !== '')
  return entries.map(entry => {
    const [, nodeId, directoryId, address] = /^(\d+)@([^=]+)=(\S+)$/.exec(entry) ?? []
    if (nodeId === undefined || directoryId === undefined || address === undefined)
      throw damaged(path, `"${entry}" is no founder`)
    return { nodeId: Number(nodeId), directoryId, address, isVoter }
  })
}
