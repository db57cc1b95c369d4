import type { Epoch, NodeId, PartitionId, Uuid } from '../base/brands.ts'
import type { MachineResult } from '../machine/state-machine.ts'
import type { ControllerOptions } from './controller-options.ts'
import type { MetadataImage } from './metadata-image.ts'
import type { MetadataRecord, NodeRegisteredRecord } from './metadata-record.ts'
import { isActive, type NodeImage } from './node-image.ts'
import {
  checkPlace,
  checkRegistration,
  isOldCopy,
  type NodeRegistration,
  requireNode,
} from './node-registration.ts'
import { elect, removeFromIsr } from './partition-election.ts'
import { advanceReassignment } from './partition-reassignment.ts'
import { changePartitions, electionFacts, settingsOf } from './topic-elections.ts'
import type { TopicView } from './topic-image.ts'

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
   * is over, and then the node is in no ISR and no ELR any more, because what it acknowledged is lost (A1). So is it with an
   * old copy of the same directory. The node is fenced until `unfence`.
   */
  register(
    request: NodeRegistration,
    { isSessionAlive, wallMs }: { isSessionAlive: boolean; wallMs: number },
  ): MachineResult<MetadataRecord, { nodeEpoch: Epoch; isOldCopy?: boolean }> {
    const { nodeId, directoryId, incarnation, rack, clientAddress, peerAddress, release } = request
    checkRegistration(request, this.#image.clusterId)
    const before = this.#image.nodes.get(nodeId)
    const isSameDirectory = before?.directoryId === directoryId
    if (isSameDirectory && before.incarnation === incarnation)
      return { records: [], response: { nodeEpoch: before.nodeEpoch } }
    checkPlace(this.#image, request, { isSessionAlive })
    const nodeEpoch = this.#image.nodes.lastEpoch(nodeId) + 1
    const left = this.#leave([nodeId], isSameDirectory ? heldBy(before, request) : () => false)
    // From now on it remembers this one, or less than before.
    const directoryEpoch = isSameDirectory
      ? (before.directoryEpoch ?? request.directoryEpoch)
      : request.directoryEpoch
    const registered: NodeRegisteredRecord = {
      type: 'nodeRegistered',
      version: 0,
      nodeId,
      nodeEpoch,
      incarnation,
      directoryId,
      rack,
      clientAddress,
      peerAddress,
      release,
      registeredAtMs: wallMs,
      ...(directoryEpoch !== undefined && { directoryEpoch }),
    }
    return {
      records: [...left, registered],
      response: { nodeEpoch, ...(isOldCopy(before, request) && { isOldCopy: true }) },
    }
  }

  /** The node has caught up with the metadata: it may lead, and leads what waits for it, also while it drains. */
  unfence(
    node: NodeRef & { readonly directoryEpoch?: Epoch | undefined },
  ): MachineResult<MetadataRecord, undefined> {
    const { nodeId, nodeEpoch, directoryEpoch } = node
    const remembered = directoryEpoch === undefined ? {} : { directoryEpoch }
    const registered = requireNode(this.#image, node)
    if (!registered.isFenced) return { records: [], response: undefined }
    const unfenced: MetadataRecord = { type: 'nodeUnfenced', version: 0, nodeId, nodeEpoch, ...remembered }
    return { records: [unfenced, ...this.#electWith(registered)], response: undefined }
  }

  /** The node's session is over: it leaves every ISR, and what it led gets other leaders where there are any. */
  fence(node: NodeRef): MachineResult<MetadataRecord, undefined> {
    requireNode(this.#image, node)
    return this.fenceAll([node])
  }

  /**
   * Of those that are still registered so. Nodes that went together (a rack, a switch) are fenced together: none of them
   * is elected for a moment because another one went first.
   */
  fenceAll(nodes: readonly NodeRef[]): MachineResult<MetadataRecord, undefined> {
    const gone = nodes.filter(({ nodeId, nodeEpoch }) => {
      const node = this.#image.nodes.get(nodeId)
      return node?.nodeEpoch === nodeEpoch && !node.isFenced
    })
    if (gone.length === 0) return { records: [], response: undefined }
    const fenced = gone.map(
      ({ nodeId, nodeEpoch }): MetadataRecord => ({ type: 'nodeFenced', version: 0, nodeId, nodeEpoch }),
    )
    const ids = gone.map(({ nodeId }) => nodeId)
    return { records: [...fenced, ...this.#leave(ids, () => true)], response: undefined }
  }

  /**
   * The node is about to stop (C11): until its next registration it takes nothing new that another could. What it leads it
   * hands over itself, partition by partition, once all that it has is committed (`IsrChange.successorId`): elected from here, another
   * leader would leave in doubt what is under way. It stays in the ISRs that it is in, so that nothing falls below its
   * minimum before it must. The response: what it still leads.
   */
  drain(node: NodeRef): MachineResult<MetadataRecord, { remaining: readonly LedPartition[] }> {
    const { nodeId, nodeEpoch } = node
    const { isDraining } = requireNode(this.#image, node)
    const draining: MetadataRecord = { type: 'nodeDraining', version: 0, nodeId, nodeEpoch }
    return {
      records: isDraining ? [] : [draining],
      response: { remaining: [...partitionsLedBy(this.#image, nodeId)] },
    }
  }

  /** `keeps`: what it acknowledged of the partition, it still has. */
  #leave(nodeIds: readonly NodeId[], keeps: (of: ReplicaFacts) => boolean): MetadataRecord[] {
    const isRemoved = (nodeId: NodeId) => nodeIds.includes(nodeId)
    return this.#topics().flatMap(topic => {
      const settings = settingsOf(topic, this.#options.topicDefaults)
      const isCached = ({ nodeId, nodeEpoch }: NodeRef) =>
        settings['write.caching'] ||
        topic.cachedNodes.some(one => one.nodeId === nodeId && one.nodeEpoch === nodeEpoch)
      const facts = electionFacts(this.#image, settings)
      const factsThen = {
        ...facts,
        isActive: (nodeId: NodeId) => !isRemoved(nodeId) && facts.isActive(nodeId),
        isUp: (nodeId: NodeId) => !isRemoved(nodeId) && facts.isUp(nodeId),
      }
      return changePartitions(topic, state => {
        if (!state.isr.some(isRemoved) && !state.elr.some(isRemoved)) return state
        const isOnly = state.replicas.length === 1
        const keepsRecords = keeps({ isCached, isOnly })
        // A move may have waited for its leader to hand over.
        return advanceReassignment(removeFromIsr(state, { isRemoved, keepsRecords }, factsThen), factsThen)
      })
    })
  }

  #electWith({ nodeId, isDraining }: NodeImage): MetadataRecord[] {
    return this.#topics().flatMap(topic => {
      const facts = electionFacts(this.#image, settingsOf(topic, this.#options.topicDefaults))
      const factsThen = {
        ...facts,
        isActive: (other: NodeId) => (other === nodeId ? !isDraining : facts.isActive(other)),
        isUp: (other: NodeId) => other === nodeId || facts.isUp(other),
      }
      return changePartitions(topic, state => advanceReassignment(elect(state, factsThen), factsThen))
    })
  }

  /** Records must not depend on the order of a map (see TimelineMap). */
  #topics(): TopicView[] {
    return [...this.#image.topics.all()].sort((a, b) => (a.name < b.name ? -1 : 1))
  }
}

/** A node as one of its processes registered it. */
export interface NodeRef {
  readonly nodeId: NodeId
  readonly nodeEpoch: Epoch
}

export interface LedPartition {
  readonly topic: string
  readonly topicId: Uuid
  readonly partition: PartitionId
  /** The node has the only replica: nobody else will ever lead it. */
  readonly isSole: boolean
}

/** By topic. */
export function* partitionsLedBy(image: MetadataImage, nodeId: NodeId): Iterable<LedPartition> {
  for (const topic of [...image.topics.all()].sort((a, b) => (a.name < b.name ? -1 : 1)))
    for (const [partition, { leader, replicas }] of topic.partitions())
      if (leader === nodeId)
        yield { topic: topic.name, topicId: topic.id, partition, isSole: replicas.length === 1 }
}

/** Of some partition another node is in sync, too, and may lead: without this one it goes on. */
export function isReplaceable(image: MetadataImage, nodeId: NodeId): boolean {
  const isDeputy = (other: NodeId) => other !== nodeId && isActive(image.nodes.get(other))
  for (const topic of image.topics.all())
    for (const [, { isr }] of topic.partitions()) if (isr.includes(nodeId) && isr.some(isDeputy)) return true
  return false
}

interface ReplicaFacts {
  /** The topic acknowledges on page caches (`write.caching`), or did at any time since that process registered. */
  readonly isCached: (by: NodeRef) => boolean
  /** The partition has one replica. */
  readonly isOnly: boolean
}

/**
 * What a node still has that comes back with its directory: all that it acknowledged, except what an unclean stop may
 * have lost of a page cache (C10). A sole replica is taken as it is: nobody else could have more, and that is what
 * `write.caching` with one replica means. (A partition whose own directory is gone it reports once it has registered.) An
 * old copy has nothing of what was acknowledged since, with one replica or more.
 */
function heldBy(before: NodeImage, request: NodeRegistration): (of: ReplicaFacts) => boolean {
  if (isOldCopy(before, request)) return () => false
  const isClean = request.cleanStopEpoch === before.nodeEpoch
  return ({ isCached, isOnly }) => isClean || isOnly || !isCached(before)
}
