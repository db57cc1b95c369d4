import { NaruError } from '../base/errors.ts'
import { quorumMembers } from '../drivers/controller/quorum-members.ts'
import type { AddVoterRequest, DescribeQuorumResponse, RemoveVoterRequest } from '../wire/messages.ts'
import type { ServiceCluster } from './service-cluster.ts'
import type { ServiceNode } from './service-node.ts'

/** The calls of naru.v1.Admin that show and change the metadata quorum. Changes are made on the controller. */
export class AdminQuorum {
  readonly #node: ServiceNode

  constructor(node: ServiceNode) {
    this.#node = node
  }

  /** As this node knows it. On the controller that is all there is to know. */
  describe(): DescribeQuorumResponse {
    const { controller, clock } = this.#node
    const { leaderId, metadataAgeMs, status } = controller
    const nowMs = clock.monotonicMs()
    return {
      ...(leaderId !== undefined && { leaderId }),
      term: status.term,
      committedIndex: status.commitIndex + 1,
      members: quorumMembers(controller).map(({ nodeId, directoryId, isVoter, matchEndIndex, heardMs }) => ({
        nodeId,
        directoryId,
        voter: isVoter,
        ...(matchEndIndex !== undefined && { matchIndex: matchEndIndex }),
        ...(heardMs !== undefined && { lastContactMs: Math.max(0, Math.round(nowMs - heardMs)) }),
      })),
      ...(metadataAgeMs !== undefined && { ageMs: Math.round(metadataAgeMs) }),
    }
  }

  async addVoter({ nodeId }: AddVoterRequest): Promise<{ voters: number[] }> {
    await this.#cluster().addVoter(nodeId)
    return { voters: this.#voters() }
  }

  async removeVoter({ nodeId, directoryId }: RemoveVoterRequest): Promise<{ voters: number[] }> {
    await this.#cluster().removeVoter(nodeId, directoryId)
    return { voters: this.#voters() }
  }

  #voters(): number[] {
    return quorumMembers(this.#node.controller)
      .filter(member => member.isVoter)
      .map(member => member.nodeId)
  }

  #cluster(): ServiceCluster {
    const { cluster } = this.#node
    if (cluster !== undefined) return cluster
    throw new NaruError(
      'QUORUM_CHANGE_REFUSED',
      'this node is all of its cluster, and its quorum cannot change (list the nodes of a cluster in cluster.peers)',
    )
  }
}
