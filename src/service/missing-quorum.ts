import { nodeIdOf } from '../raft/membership.ts'
import type { ServiceNode } from './service-node.ts'

/**
 * Why no other leader comes, for the end of a message: nobody leads the metadata quorum, and these of its voters this node
 * does not reach. Empty where there is a controller, as far as this node knows.
 */
export function missingQuorum({ controller, cluster }: Pick<ServiceNode, 'controller' | 'cluster'>): string {
  const { leaderId, nodeId, image, status } = controller
  if (leaderId !== undefined || cluster === undefined) return ''
  const voters = status.membership.voters.map(nodeIdOf)
  const unreached = cluster.unreachableNodes()
  // Fenced nodes are not asked whether they are there.
  const isMissing = (voter: number) =>
    voter !== nodeId && (unreached.includes(voter) || image.nodes.get(voter)?.isFenced === true)
  const missing = voters.filter(isMissing)
  const whom = missing.length > 0 ? `does not reach ${missing.join(', ')}` : 'knows no leader yet'
  return `; the metadata quorum has no leader, so no other one can be elected: of its voters ${voters.join(', ')} this node ${whom}`
}
