import type { NodeId } from '../../base/brands.ts'
import type { NodeContact, PartitionRef } from '../../metadata/isr-control.ts'
import type { Clock } from '../../ports/clock.ts'
import { nodeIdOf } from '../../raft/membership.ts'
import type { MetadataQuorum } from './metadata-quorum.ts'
import { decodeNodeReport } from './node-report.ts'

/** Between two elections of one partition because its leader is cut off: each stops its writes for a moment. */
const ELECTION_INTERVAL_MS = 5000

/**
 * Who is cut off from whom (rule C8), for one leadership of the controller: what nodes report through Raft's answers,
 * and which partitions got another leader because of it just now.
 */
export class NodeContacts implements NodeContact {
  readonly #quorum: MetadataQuorum
  readonly #clock: Clock
  readonly #ownUnreachable: () => readonly NodeId[]
  /** By partition, oldest first. Each entry is dropped once it counts no more. */
  readonly #electedMs = new Map<string, number>()

  constructor(options: {
    readonly quorum: MetadataQuorum
    readonly clock: Clock
    readonly unreachableNodes?: () => readonly NodeId[]
  }) {
    this.#quorum = options.quorum
    this.#clock = options.clock
    this.#ownUnreachable = options.unreachableNodes ?? (() => [])
  }

  readonly isInContact = (a: NodeId, b: NodeId): boolean => {
    const unreachableFromA = this.#unreachableFrom(a)
    const unreachableFromB = this.#unreachableFrom(b)
    if (unreachableFromA === undefined || unreachableFromB === undefined) return false
    return !unreachableFromA.includes(b) && !unreachableFromB.includes(a)
  }

  readonly mayElect = (of: PartitionRef): boolean => {
    this.#forget()
    return !this.#electedMs.has(keyOf(of))
  }

  onElected(of: PartitionRef): void {
    this.#electedMs.delete(keyOf(of))
    this.#electedMs.set(keyOf(of), this.#clock.monotonicMs())
  }

  #forget(): void {
    const sinceMs = this.#clock.monotonicMs() - ELECTION_INTERVAL_MS
    for (const [key, electedMs] of this.#electedMs) {
      if (electedMs > sinceMs) return
      this.#electedMs.delete(key)
    }
  }

  /** Undefined: it has told nothing, so it vouches for nobody. */
  #unreachableFrom(nodeId: NodeId): readonly NodeId[] | undefined {
    if (nodeId === this.#quorum.nodeId) return this.#ownUnreachable()
    const nodeEpoch = this.#quorum.image.nodes.get(nodeId)?.nodeEpoch
    for (const { member, attachment } of this.#quorum.status.members) {
      if (nodeIdOf(member) !== nodeId) continue
      const report = decodeNodeReport(attachment)
      if (report?.nodeEpoch === nodeEpoch) return report?.unreachableNodeIds
    }
    return undefined
  }
}

function keyOf({ topicId, partition }: PartitionRef): string {
  return `${topicId} ${partition}`
}
