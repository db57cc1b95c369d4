import { assert } from '../base/assert.ts'
import type { Epoch, NodeId, Uuid } from '../base/brands.ts'
import type { SnapshotRegistry } from '../machine/snapshot-registry.ts'
import { TimelineMap } from '../machine/timeline-map.ts'
import type { MetadataDelta } from './metadata-delta.ts'
import type {
  MetadataRecord,
  NodeRegisteredRecord,
  NodeRemovedRecord,
  NodeUnfencedRecord,
} from './metadata-record.ts'
import type { NodeImage } from './node-image.ts'

/** The nodes of the cluster. Changed only by the `replay...` methods, which `MetadataImage.replay` calls. */
export class NodesImage {
  readonly #nodes: TimelineMap<NodeId, NodeImage>
  /** Epochs of a node id never come again, nor does the directory of a removed node. */
  readonly #removed: TimelineMap<NodeId, RemovedNode>

  constructor(registry: SnapshotRegistry) {
    this.#nodes = new TimelineMap(registry)
    this.#removed = new TimelineMap(registry)
  }

  get count(): number {
    return this.#nodes.size
  }

  get(nodeId: NodeId): NodeImage | undefined {
    return this.#nodes.get(nodeId)
  }

  /** By node id. */
  all(): NodeImage[] {
    return [...this.#nodes.values()].sort((a, b) => a.nodeId - b.nodeId)
  }

  /** The last epoch that this node id had, also if it was removed; 0: none. */
  lastEpoch(nodeId: NodeId): Epoch {
    return this.#nodes.get(nodeId)?.nodeEpoch ?? this.#removed.get(nodeId)?.nodeEpoch ?? 0
  }

  /** The node as it was removed, unless it has registered again since. */
  removed(nodeId: NodeId): RemovedNode | undefined {
    return this.#removed.get(nodeId)
  }

  replayRegistered(record: NodeRegisteredRecord, delta?: MetadataDelta): void {
    const { type: _type, version: _version, ...node } = record
    const { nodeId, nodeEpoch } = node
    assert(
      nodeEpoch > this.lastEpoch(nodeId),
      `node ${nodeId}: epoch ${nodeEpoch} after ${this.lastEpoch(nodeId)}`,
    )
    this.#removed.delete(nodeId)
    this.#nodes.set(nodeId, { ...node, isFenced: true, isDraining: false })
    delta?.onNodeChanged(nodeId)
  }

  replayState(
    record: { nodeId: NodeId; nodeEpoch: Epoch },
    state: { isFenced: boolean; directoryEpoch?: Epoch | undefined } | { isDraining: boolean },
    delta?: MetadataDelta,
  ): void {
    const node = this.#nodes.get(record.nodeId)
    assert(
      node !== undefined && node.nodeEpoch === record.nodeEpoch,
      `node ${record.nodeId}: a change of epoch ${record.nodeEpoch}, which is not registered`,
    )
    this.#nodes.set(record.nodeId, { ...node, ...state })
    delta?.onNodeChanged(record.nodeId)
  }

  replayUnfenced(record: NodeUnfencedRecord, delta?: MetadataDelta): void {
    const directoryEpoch = record.directoryEpoch ?? this.#nodes.get(record.nodeId)?.directoryEpoch
    this.replayState(
      record,
      { isFenced: false, ...(directoryEpoch !== undefined && { directoryEpoch }) },
      delta,
    )
  }

  /** In a snapshot it also stands for a node that was removed long ago. */
  replayRemoved(record: NodeRemovedRecord, delta?: MetadataDelta): void {
    const { nodeId, nodeEpoch, directoryId } = record
    assert(nodeEpoch >= this.lastEpoch(nodeId), `node ${nodeId}: its epoch went back`)
    this.#nodes.delete(nodeId)
    this.#removed.set(nodeId, { nodeEpoch, directoryId })
    delta?.onNodeChanged(nodeId)
  }

  clear(): void {
    this.#nodes.clear()
    this.#removed.clear()
  }

  /** Records that make these nodes. */
  *records(): Iterable<MetadataRecord> {
    for (const [nodeId, removed] of [...this.#removed.entries()].sort((a, b) => a[0] - b[0]))
      yield { type: 'nodeRemoved', version: 0, nodeId, ...removed }
    for (const { isFenced, isDraining, ...node } of this.all()) {
      const { nodeId, nodeEpoch } = node
      yield { type: 'nodeRegistered', version: 0, ...node }
      if (!isFenced) yield { type: 'nodeUnfenced', version: 0, nodeId, nodeEpoch }
      if (isDraining) yield { type: 'nodeDraining', version: 0, nodeId, nodeEpoch }
    }
  }
}

interface RemovedNode {
  readonly nodeEpoch: Epoch
  readonly directoryId: Uuid
}
