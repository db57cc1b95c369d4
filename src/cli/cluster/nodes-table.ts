import type { ClusterNode } from '../../client/index.ts'
import { formatTable } from '../output.ts'

export function nodesTable(nodes: readonly ClusterNode[]): string {
  const columns = [
    { title: 'NODE', value: (one: ClusterNode) => one.nodeId },
    { title: 'STATE', value: (one: ClusterNode) => one.state },
    { title: 'ROLE', value: roleOf },
    { title: 'CLIENTS', value: (one: ClusterNode) => one.address },
    { title: 'PEERS', value: (one: ClusterNode) => one.peerAddress },
    { title: 'LEADS', value: (one: ClusterNode) => one.leaders },
    { title: 'REPLICAS', value: (one: ClusterNode) => one.replicas },
    // Columns that say nothing in most clusters are left out there.
    ...(nodes.some(one => one.rack !== '') ? [{ title: 'RACK', value: (one: ClusterNode) => one.rack }] : []),
    ...(new Set(nodes.map(one => one.version)).size > 1
      ? [{ title: 'VERSION', value: (one: ClusterNode) => one.version || '?' }]
      : []),
  ]
  return formatTable(columns, nodes)
}

function roleOf({ isController, isVoter }: ClusterNode): string {
  if (isController) return 'controller'
  return isVoter ? 'voter' : 'learner'
}
