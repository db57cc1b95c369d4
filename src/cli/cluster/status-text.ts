import type { ClusterDescription, QuorumDescription, QuorumMember } from '../../client/index.ts'
import { formatCount, plural } from '../output.ts'
import type { ClusterStatus } from './cluster-status.ts'
import { findings, lagText } from './findings.ts'
import { nodesTable } from './nodes-table.ts'
import { heardText } from './quorum-text.ts'

/** Health on one screen: where things are, then what is wrong and the way out. */
export function statusText(status: ClusterStatus): string {
  const { cluster } = status
  const found = findings(status)
  const verdict = found.length === 0 ? 'healthy' : `needs a look (${plural(found.length, 'finding')} below)`
  const lines = [
    `cluster     ${cluster.clusterId}: ${verdict}`,
    `controller  ${controllerText(cluster)}`,
    `quorum      ${quorumLine(status)}`,
    `partitions  ${partitionsText(cluster)}`,
    '',
    nodesTable(cluster.nodes),
    ...found.flatMap(({ what, action }) => ['', `! ${what}`, `  ${action}`]),
  ]
  return lines.join('\n')
}

function controllerText({ controller, metadataAgeMs, metadataIndex }: ClusterDescription): string {
  if (controller === undefined)
    return `none: ${heardText(metadataAgeMs)}; metadata as of index ${metadataIndex}`
  return `node ${controller}`
}

function quorumLine({ cluster, quorum }: ClusterStatus): string {
  if (quorum === undefined) return 'does not answer'
  const voters = quorum.members.filter(one => one.isVoter)
  const learners = quorum.members.length - voters.length
  return [
    `voters ${voters.map(one => one.nodeId).join(', ')}`,
    ...(learners > 0 ? [plural(learners, 'learner')] : []),
    `term ${quorum.term}`,
    quorum.leader === undefined ? 'no leader' : votersText(voters, quorum, cluster),
  ].join('; ')
}

function votersText(
  voters: readonly QuorumMember[],
  quorum: QuorumDescription,
  { nodes }: ClusterDescription,
): string {
  const lagging = voters.flatMap(voter => {
    const isFenced = nodes.some(one => one.nodeId === voter.nodeId && one.state === 'fenced')
    const lag = isFenced ? 'is fenced' : lagText(voter, quorum)
    return lag === undefined ? [] : [`node ${voter.nodeId} ${lag}`]
  })
  return lagging.length === 0 ? 'all keep up' : lagging.join(', ')
}

function partitionsText(cluster: ClusterDescription): string {
  const { topics, partitions, underReplicatedPartitions, underMinIsrPartitions, offlinePartitions } = cluster
  const all = `${formatCount(partitions)} of ${plural(topics, 'topic')}`
  const ailing = [
    ...(offlinePartitions > 0 ? [`${formatCount(offlinePartitions)} offline`] : []),
    ...(underMinIsrPartitions > 0 ? [`${formatCount(underMinIsrPartitions)} below min.insync.replicas`] : []),
    ...(underReplicatedPartitions > 0 ? [`${formatCount(underReplicatedPartitions)} under-replicated`] : []),
  ]
  if (ailing.length > 0) return `${all}: ${ailing.join(', ')}`
  return partitions === 0 ? all : `${all}, all in sync`
}
