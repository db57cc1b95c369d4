import type { Epoch, NodeId, Uuid } from '../base/brands.ts'
import { NaruError } from '../base/errors.ts'
import type { MachineResult } from '../machine/state-machine.ts'
import type { ControllerOptions } from './controller-options.ts'
import type { MetadataImage } from './metadata-image.ts'
import type { MetadataRecord, NodeRegisteredRecord } from './metadata-record.ts'
import type { NodeImage } from './node-image.ts'
import { elect, removeFromIsr } from './partition-election.ts'
import { changePartitions, electionFacts, settingsOf } from './topic-elections.ts'

/**
 * Handlers for nodes that come and go. Each returns one batch of records in which the node's state and its place
 * in every partition change together: no log position exists at which a fenced node leads or is in an ISR.
 */
export class NodeControl {
  readonly #image: MetadataImage
  readonly #options: ControllerOptions

  constructor(image: MetadataImage, options: ControllerOptions) {
    this.#image = image
    this.#options = options
  }

  /**
   * A process registers its node (A5). The same incarnation again gets the node epoch that it has. Another one with
   * the same directory takes the place of the process before it; with another directory only once the old session
   * is over, and then the node is in no ISR and no ELR any more, because what it acknowledged is lost (A1).
   * The node is fenced until `unfence`.
   */
  register(
    request: NodeRegistration,
    { isSessionAlive }: { isSessionAlive: boolean },
  ): MachineResult<MetadataRecord, { nodeEpoch: Epoch }> {
    const { clusterId, ...registration } = request
    const { nodeId, directoryId } = registration
    this.#checkRegistration(request)
    const before = this.#image.nodes.get(nodeId)
    const isSameDirectory = before?.directoryId === directoryId
    if (before !== undefined && isSameDirectory && before.incarnation === registration.incarnation)
      return { records: [], response: { nodeEpoch: before.nodeEpoch } }
    if (before !== undefined && !isSameDirectory && isSessionAlive) throw nodeIdInUse(before)
    const nodeEpoch = this.#image.nodes.lastEpoch(nodeId) + 1
    const left = before === undefined ? [] : this.#leave(nodeId, { keepsRecords: isSameDirectory })
    const registered: NodeRegisteredRecord = {
      type: 'nodeRegistered',
      version: 0,
      ...registration,
      nodeEpoch,
    }
    return { records: [...left, registered], response: { nodeEpoch } }
  }

  /** The node has caught up with the metadata: it may lead, and leads what waits for it. */
  unfence(node: { nodeId: NodeId; nodeEpoch: Epoch }): MachineResult<MetadataRecord, undefined> {
    const { nodeId, nodeEpoch } = node
    const registered = requireNode(this.#image, node)
    if (!registered.isFenced) return { records: [], response: undefined }
    const elections = registered.isDraining ? [] : this.#electWith(nodeId)
    return {
      records: [{ type: 'nodeUnfenced', version: 0, nodeId, nodeEpoch }, ...elections],
      response: undefined,
    }
  }

  /** The node's session is over: it leaves every ISR, and what it led gets other leaders where there are any. */
  fence(node: { nodeId: NodeId; nodeEpoch: Epoch }): MachineResult<MetadataRecord, undefined> {
    const { nodeId, nodeEpoch } = node
    if (requireNode(this.#image, node).isFenced) return { records: [], response: undefined }
    return {
      records: [
        { type: 'nodeFenced', version: 0, nodeId, nodeEpoch },
        ...this.#leave(nodeId, { keepsRecords: true }),
      ],
      response: undefined,
    }
  }

  #leave(nodeId: NodeId, { keepsRecords }: { keepsRecords: boolean }): MetadataRecord[] {
    const removal = { isRemoved: (other: NodeId) => other === nodeId, keepsRecords }
    return [...this.#image.topics.all()].sort(byName).flatMap(topic => {
      const facts = electionFacts(this.#image, settingsOf(topic, this.#options.topicDefaults))
      const factsThen = { ...facts, isActive: (other: NodeId) => other !== nodeId && facts.isActive(other) }
      return changePartitions(topic, state => {
        const isConcerned = state.isr.includes(nodeId) || state.elr.includes(nodeId)
        return isConcerned ? removeFromIsr(state, removal, factsThen) : state
      })
    })
  }

  #electWith(nodeId: NodeId): MetadataRecord[] {
    return [...this.#image.topics.all()].sort(byName).flatMap(topic => {
      const facts = electionFacts(this.#image, settingsOf(topic, this.#options.topicDefaults))
      const factsThen = { ...facts, isActive: (other: NodeId) => other === nodeId || facts.isActive(other) }
      return changePartitions(topic, state => elect(state, factsThen))
    })
  }

  #checkRegistration(request: NodeRegistration): void {
    const { clusterId, nodeId, rack } = request
    const known = this.#image.clusterId
    if (clusterId !== known)
      throw new NaruError(
        'INVALID_CONFIG',
        `node ${nodeId} belongs to cluster ${clusterId}, this is cluster ${known} (check cluster.peers and data.dir of the node)`,
      )
    if (!Number.isInteger(nodeId) || nodeId < 0 || nodeId > NODE_ID_MAX)
      throw new NaruError('INVALID_CONFIG', `node.id ${nodeId} is not a whole number of 0 to ${NODE_ID_MAX}`)
    if (rack.length > NAME_LENGTH_MAX)
      throw new NaruError(
        'INVALID_CONFIG',
        `rack of node ${nodeId} is longer than ${NAME_LENGTH_MAX} characters`,
      )
    for (const address of [request.clientAddress, request.peerAddress])
      if (address.length > ADDRESS_LENGTH_MAX || !/^\S+:\d{1,5}$/.test(address))
        throw new NaruError(
          'INVALID_CONFIG',
          `address ${JSON.stringify(address.slice(0, 60))} of node ${nodeId} is not host:port (check advertised.address)`,
        )
  }
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

export interface NodeRegistration {
  readonly clusterId: Uuid
  readonly nodeId: NodeId
  readonly incarnation: Uuid
  readonly directoryId: Uuid
  readonly rack: string
  readonly clientAddress: string
  readonly peerAddress: string
}

/** Node ids are int32 on the wire and in protobuf. */
const NODE_ID_MAX = 2 ** 31 - 1
const NAME_LENGTH_MAX = 255
/** A DNS name (253) and a port, or an IPv6 address in brackets. */
const ADDRESS_LENGTH_MAX = 260

function nodeIdInUse(node: NodeImage): NaruError {
  return new NaruError(
    'NODE_ID_IN_USE',
    `node.id ${node.nodeId} is in use by the node at ${node.peerAddress} with another data directory (stop that one, or choose another node.id)`,
    { details: { node_id: String(node.nodeId), directory_id: node.directoryId } },
  )
}

/** Records must not depend on the order of a map (see TimelineMap). */
function byName(a: { readonly name: string }, b: { readonly name: string }): number {
  return a.name < b.name ? -1 : 1
}
