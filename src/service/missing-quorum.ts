import type { MetadataQuorum } from '../drivers/controller/metadata-quorum.ts'
import { quorumMembers } from '../drivers/controller/quorum-members.ts'
import type { ServiceCluster } from './service-cluster.ts'

/**
 * Why no other leader comes, for the end of a message: nobody leads the metadata quorum, and these of its voters this node
 * does not reach. Empty where there is a controller, as far as this node knows.
 */
export function missingQuorum(of: {
  readonly controller: MetadataQuorum
  readonly cluster?: ServiceCluster
}): string {
  const { controller, cluster } = of
  const { leaderId, nodeId, image } = controller
  if (leaderId !== undefined || cluster === undefined) return ''
  const voters = quorumMembers(controller).flatMap(one => (one.isVoter ? one.nodeId : []))
  const unreached = cluster.unreachableNodes()
  // Fenced nodes are not asked whether they are there.
  const isMissing = (voter: number) =>
    voter !== nodeId && (unreached.includes(voter) || image.nodes.get(voter)?.isFenced === true)
  const missing = voters.filter(isMissing)
  const whom = missing.length > 0 ? `does not reach ${missing.join(', ')}` : 'knows no leader yet'
  return `; the metadata quorum has no leader, so no other one can be elected: of its voters ${voters.join(', ')} this node ${whom}`
}
