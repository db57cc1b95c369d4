import type { MetadataIndex, NodeId, Uuid } from '../../base/brands.ts'
import { nodeIdOf } from '../../raft/membership.ts'
import type { MetadataQuorum } from './metadata-quorum.ts'
import { decodeNodeReport } from './node-report.ts'

/** A member of the quorum as this node knows it; what only the leader knows is undefined elsewhere. */
export interface QuorumMemberView {
  readonly nodeId: NodeId
  readonly directoryId: Uuid
  readonly isVoter: boolean
  /** Exclusive end of what its log is known to share with the leader's. */
  readonly matchEndIndex: number | undefined
  /** When it last answered the leader, monotonic; undefined for the leader itself. */
  readonly heardMs: number | undefined
  /** How far it has applied the log, by what it last told the leader. */
  readonly appliedIndex: MetadataIndex | undefined
}

/** By node id, voters first. */
export function quorumMembers({ status, image }: MetadataQuorum): QuorumMemberView[] {
  const known = new Map(status.members.map(member => [member.member, member]))
  const viewOf = (member: string, isVoter: boolean): QuorumMemberView => {
    const progress = known.get(member)
    const isSelf = member === status.self
    const matchIndex = isSelf ? status.persistedIndex : progress?.matchIndex
    return {
      nodeId: nodeIdOf(member),
      directoryId: member.slice(member.indexOf('@') + 1),
      isVoter,
      matchEndIndex: matchIndex === undefined ? undefined : matchIndex + 1,
      heardMs: progress?.heardMs,
      appliedIndex: isSelf ? image.appliedEndIndex : decodeNodeReport(progress?.attachment)?.appliedIndex,
    }
  }
  const { voters, learners } = status.membership
  return [
    ...voters.map(member => viewOf(member, true)).sort(byNodeId),
    ...learners.map(member => viewOf(member, false)).sort(byNodeId),
  ]
}

function byNodeId(a: QuorumMemberView, b: QuorumMemberView): number {
  return a.nodeId - b.nodeId
}
