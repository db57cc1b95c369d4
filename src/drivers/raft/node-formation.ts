import type { NodeId, Uuid } from '../../base/brands.ts'
import { NaruError } from '../../base/errors.ts'
import { readNodeFile, writeNodeFile } from '../../log/node-file.ts'
import { type Disk, DiskError } from '../../ports/disk.ts'
import { type Prng, randomUuid } from '../../ports/prng.ts'
import { type ClusterFounding, foundingMembership } from '../../raft/cluster-forming.ts'
import { memberId, NO_MEMBERS } from '../../raft/membership.ts'
import type { FoundCluster } from './cluster-former.ts'
import { CorruptRaftData } from './corrupt-raft-data.ts'
import { type FormingState, readFormingFile, writeFormingFile } from './forming-file.ts'
import { formatRaft } from './open-raft-storage.ts'
import { readQuorumState } from './quorum-state-file.ts'

interface FormationPlace {
  readonly disk: Disk
  readonly dataDirectory: string
  readonly raftDirectory: string
  readonly nodeId: NodeId
}

/**
 * How far a data directory is on its way into a cluster. Each step is one file that is there whole or not at all, in
 * this order, and a start goes on from the last one that it finds:
 *
 *   nothing -> forming.json (directory id) -> forming.json (cluster, founding) -> raft/ -> node.json
 *
 * From the second `forming.json` on the node is bound to that cluster: it answers as one of its nodes, hands its
 * founding on, and never forms again.
 */
export class NodeFormation {
  readonly #place: FormationPlace
  #state: FormingState
  /** `node.json` is there. */
  #isDone: boolean

  constructor(place: FormationPlace, state: FormingState, isDone: boolean) {
    this.#place = place
    this.#state = state
    this.#isDone = isDone
  }

  get directoryId(): Uuid {
    return this.#state.directoryId
  }

  get clusterId(): Uuid | undefined {
    return this.#state.clusterId
  }

  get founding(): ClusterFounding | undefined {
    return this.#state.founding
  }

  get isDone(): boolean {
    return this.#isDone
  }

  /** From the moment it resolves, for good. */
  async belongTo({ clusterId, founding }: FoundCluster): Promise<void> {
    const { disk, dataDirectory } = this.#place
    const state = { ...this.#state, clusterId, founding }
    await writeFormingFile(disk, dataDirectory, state)
    this.#state = state
  }

  /** A founder knows the first voters; who joins learns them from the log. */
  async finish(): Promise<void> {
    const { disk, dataDirectory, raftDirectory, nodeId } = this.#place
    const { directoryId, clusterId, founding } = this.#state
    if (clusterId === undefined) throw new Error('finish() of a node without a cluster')
    const self = memberId(nodeId, directoryId)
    const membership = founding ? foundingMembership(founding) : NO_MEMBERS
    const place = { resources: { disk }, directory: raftDirectory }
    // What is there already is the last file of an earlier try; a log that was used would forget its votes.
    if (!(await hasQuorumState(this.#place))) await formatRaft(place, { self, membership })
    await writeNodeFile(disk, dataDirectory, { clusterId, nodeId, directoryId })
    this.#isDone = true
  }
}

/** Reads how far the directory is; a fresh one gets its id, which is on the disk before anybody learns of it. */
export async function openFormation(
  options: FormationPlace & { readonly prng: Prng },
): Promise<NodeFormation> {
  const { disk, dataDirectory, nodeId, prng } = options
  const known = await readNodeFile(disk, dataDirectory)
  const forming = await readFormingFile(disk, dataDirectory)
  const found = known ?? forming
  if (found && found.nodeId !== nodeId) throw otherNode(dataDirectory, { found: found.nodeId, asked: nodeId })
  if (known && !forming) return new NodeFormation(options, { ...known, founding: undefined }, true)
  if (known && forming) {
    if (known.directoryId !== forming.directoryId || known.clusterId !== forming.clusterId)
      throw damaged(dataDirectory, 'node.json and forming.json are not of the same directory')
    return new NodeFormation(options, forming, true)
  }
  if (forming) return new NodeFormation(options, forming, false)
  await refuseIfUsed(options)
  const state = { nodeId, directoryId: randomUuid(prng), clusterId: undefined, founding: undefined }
  await writeFormingFile(disk, dataDirectory, state)
  return new NodeFormation(options, state, false)
}

async function hasQuorumState({ disk, raftDirectory }: FormationPlace): Promise<boolean> {
  try {
    return (await readQuorumState(disk, raftDirectory)) !== undefined
  } catch (thrown) {
    if (thrown instanceof CorruptRaftData) throw damaged(raftDirectory, thrown.message)
    throw thrown
  }
}

/** A directory that has a part of a node's data must never look fresh: it would come up empty for what it lost (D3). */
async function refuseIfUsed({ disk, dataDirectory, raftDirectory }: FormationPlace): Promise<void> {
  for (const directory of [raftDirectory, `${dataDirectory}/topics`]) {
    if (!(await hasFiles(disk, directory))) continue
    throw damaged(dataDirectory, `there are files in ${directory}, but no node.json`)
  }
}

async function hasFiles(disk: Disk, directory: string): Promise<boolean> {
  try {
    return (await disk.list(directory)).length > 0
  } catch (thrown) {
    if (thrown instanceof DiskError && thrown.code === 'ENOENT') return false
    throw thrown
  }
}

function otherNode(dataDirectory: string, { found, asked }: { found: NodeId; asked: NodeId }): NaruError {
  return new NaruError(
    'INVALID_CONFIG',
    `the data directory ${dataDirectory} belongs to node ${found}, but node.id is ${asked}: set node.id to ${found}, or use another data.dir`,
  )
}

function damaged(directory: string, what: string): NaruError {
  return new NaruError(
    'DATA_DIRECTORY_DAMAGED',
    `the data directory ${directory} is incomplete: ${what}. Restore what is missing, or use an empty data.dir (see docs/operating.md)`,
    { details: { directory } },
  )
}
