import type { ClusterNode } from '../harness/sim-broker-cluster.ts'

/**
 * R12: a leader changes no membership before it has committed an entry of its own. Drivers ask for nothing until then, so
 * that the core would refuse is never seen: here each is asked right after its election. Nothing comes of it.
 */
export class EarlyChanges {
  readonly #elected: ClusterNode[] = []

  onElected(member: ClusterNode): void {
    this.#elected.push(member)
  }

  /** Between two events: the election is through with its own. */
  ask(): void {
    for (const { node } of this.#elected.splice(0)) {
      const { quorum } = node ?? {}
      if (quorum?.status.role !== 'leader' || quorum.status.isReady) continue
      const { self, membership } = quorum.status
      const other = membership.voters.find(voter => voter !== self)
      if (other === undefined) continue
      // What the core does about it, `ClusterQuorumOracle` judges.
      quorum.changeMembership({ op: 'demote', member: other }).catch(() => {})
    }
  }
}
