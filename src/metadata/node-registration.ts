import type { Epoch, NodeId, Uuid } from '../base/brands.ts'
import { NaruError } from '../base/errors.ts'
import type { MetadataImage } from './metadata-image.ts'
import type { NodeImage } from './node-image.ts'

/** What a process says of its node when it registers (A5). */
export interface NodeRegistration {
  readonly clusterId: Uuid
  readonly nodeId: NodeId
  readonly incarnation: Uuid
  readonly directoryId: Uuid
  readonly rack: string
  readonly clientAddress: string
  readonly peerAddress: string
  readonly release: string
  /** The epoch that this process has, if it registered before. */
  readonly nodeEpoch?: Epoch | undefined
  /** The epoch under which the node ran until its last stop, if that was orderly (B7). */
  readonly cleanStopEpoch?: Epoch | undefined
  /** The last one under which the directory took part, as it remembers it; undefined: of a release that does not note it. */
  readonly directoryEpoch?: Epoch | undefined
}

/** Node ids are int32 on the wire and in protobuf. */
const NODE_ID_MAX = 2 ** 31 - 1
const NAME_LENGTH_MAX = 255
/** A DNS name (253) and a port, or an IPv6 address in brackets. */
const ADDRESS_LENGTH_MAX = 260
const ID_PATTERN = /^[A-Za-z0-9_-]{1,64}$/

/** Throws what is wrong with a registration whatever the state of the cluster, but for its id. */
export function checkRegistration(request: NodeRegistration, clusterId: Uuid | undefined): void {
  const { nodeId, rack } = request
  // Nothing is wrong with the node: an address has come to belong to another cluster, and it looks on for its own.
  if (request.clusterId !== clusterId)
    throw new NaruError(
      'INVALID_REQUEST',
      `node ${nodeId} belongs to cluster ${request.clusterId}, this is cluster ${clusterId} (check cluster.peers and data.dir of the node)`,
    )
  if (!Number.isInteger(nodeId) || nodeId < 0 || nodeId > NODE_ID_MAX)
    throw new NaruError('INVALID_CONFIG', `node.id ${nodeId} is not a whole number of 0 to ${NODE_ID_MAX}`)
  if (rack.length > NAME_LENGTH_MAX || request.release.length > NAME_LENGTH_MAX)
    throw new NaruError(
      'INVALID_CONFIG',
      `${rack.length > NAME_LENGTH_MAX ? 'rack' : 'release'} of node ${nodeId} is longer than ${NAME_LENGTH_MAX} characters`,
    )
  for (const id of [request.directoryId, request.incarnation])
    if (!ID_PATTERN.test(id))
      throw new NaruError(
        'INVALID_REQUEST',
        `node ${nodeId} registers with ${JSON.stringify(id.slice(0, 70))}, which is no id of a directory or process`,
      )
  for (const address of [request.clientAddress, request.peerAddress])
    if (address.length > ADDRESS_LENGTH_MAX || !/^\S+:\d{1,5}$/.test(address))
      throw new NaruError(
        'INVALID_CONFIG',
        `address ${JSON.stringify(address.slice(0, 60))} of node ${nodeId} is not host:port (check advertised.address)`,
      )
}

/**
 * The directory does not remember that it took part as late as it did: an old copy of it was put back, and what its node
 * acknowledged since is lost.
 */
export function isOldCopy(before: NodeImage | undefined, request: NodeRegistration): boolean {
  if (before?.directoryId !== request.directoryId) return false
  return (request.directoryEpoch ?? 0) < (before.directoryEpoch ?? 0)
}

/** Throws unless this process may take the place of what is registered under its node id (A1, A5). */
export function checkPlace(
  image: MetadataImage,
  request: NodeRegistration,
  { isSessionAlive }: { isSessionAlive: boolean },
): void {
  const { nodeId, directoryId, incarnation } = request
  const before = image.nodes.get(nodeId)
  if (before === undefined) {
    if (image.nodes.removed(nodeId)?.directoryId === directoryId) throw nodeRemoved(nodeId)
    return
  }
  // A process that was replaced must not take its place back: the two would take turns for ever.
  if (request.nodeEpoch !== undefined && before.incarnation !== incarnation)
    throw new NaruError(
      'STALE_NODE_EPOCH',
      `node ${nodeId} was taken over by another process (epoch ${before.nodeEpoch}, at ${before.peerAddress}): this one, of epoch ${request.nodeEpoch}, must stop`,
      { details: { node_id: String(nodeId), node_epoch: String(before.nodeEpoch) } },
    )
  if (before.directoryId !== directoryId && isSessionAlive) throw nodeIdInUse(before)
}

/** The node as registered with this epoch. Throws STALE_NODE_EPOCH: only its newest process may speak for it. */
export function requireNode(
  image: MetadataImage,
  { nodeId, nodeEpoch }: { nodeId: NodeId; nodeEpoch: Epoch },
): NodeImage {
  const node = image.nodes.get(nodeId)
  if (node !== undefined && node.nodeEpoch === nodeEpoch) return node
  const found = node === undefined ? 'is not registered' : `is registered with epoch ${node.nodeEpoch}`
  throw new NaruError(
    'STALE_NODE_EPOCH',
    `node ${nodeId} spoke with epoch ${nodeEpoch}, it ${found} (it must register again)`,
  )
}

/** Throws UNKNOWN_NODE, for those who name a node. */
export function requireKnownNode(image: MetadataImage, nodeId: NodeId): NodeImage {
  const node = image.nodes.get(nodeId)
  if (node !== undefined) return node
  const what = image.nodes.removed(nodeId) === undefined ? 'does not exist' : 'was removed already'
  throw new NaruError('UNKNOWN_NODE', `node ${nodeId} ${what} (see those there are: naru cluster nodes)`, {
    details: { node_id: String(nodeId) },
  })
}

function nodeIdInUse(node: NodeImage): NaruError {
  return new NaruError(
    'NODE_ID_IN_USE',
    `node.id ${node.nodeId} is in use by the node at ${node.peerAddress} with another data directory (stop that one, or choose another node.id)`,
    { details: { node_id: String(node.nodeId), directory_id: node.directoryId } },
  )
}

function nodeRemoved(nodeId: NodeId): NaruError {
  return new NaruError(
    'NODE_REMOVED',
    `node ${nodeId} was removed from the cluster (to let it join anew, start it with an empty data directory)`,
    { details: { node_id: String(nodeId) } },
  )
}
