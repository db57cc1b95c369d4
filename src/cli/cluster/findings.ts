import type { ClusterNode, QuorumDescription, QuorumMember } from '../../client/index.ts'
import { plural } from '../output.ts'
import type { ClusterStatus } from './cluster-status.ts'
import { placesText } from './partition-places.ts'
import { ageText, heardText } from './quorum-text.ts'
import type { Ailment } from './unhealthy-partitions.ts'

/** Something that is not as it should be, and what to do about it. */
export interface Finding {
  readonly what: string
  readonly action: string
}

/** A voter answers ten times a second; one that did not for this long counts as away. */
const CONTACT_LATE_MS = 2_000
/** Entries of the metadata log: fewer are on their way. */
const BEHIND_MAX = 1_000
/** From so many nodes on, one voter (or two) is a needless risk. */
const VOTERS_WISHED = 3

/** Worst first. */
export function findings(status: ClusterStatus): Finding[] {
  const { cluster, quorum } = status
  return [
    ...noController(status),
    ...partitionFindings(status),
    ...cluster.nodes.flatMap(node => nodeFindings(node, quorum)),
    ...(quorum?.leader === undefined ? [] : quorumFindings(quorum, cluster.nodes)),
  ]
}

export function isHealthy(status: ClusterStatus): boolean {
  return findings(status).length === 0
}

/** Why a member holds the quorum back; undefined if it does not. */
export function lagText(
  member: QuorumMember,
  { committedIndex, leader }: QuorumDescription,
): string | undefined {
  const { nodeId, lastContactMs, matchIndex } = member
  if (nodeId === leader) return undefined
  if (lastContactMs !== undefined && lastContactMs > CONTACT_LATE_MS)
    return `not heard for ${ageText(lastContactMs)}`
  const behind = matchIndex === undefined ? 0 : committedIndex - matchIndex
  return behind > BEHIND_MAX ? `${plural(behind, 'entry').replace('entrys', 'entries')} behind` : undefined
}

function noController({ cluster, quorum }: ClusterStatus): Finding[] {
  if (cluster.controller !== undefined) return []
  const voters =
    quorum?.members.filter(one => one.isVoter).length ?? cluster.nodes.filter(one => one.isVoter).length
  const majority = Math.floor(voters / 2) + 1
  const needed = voters > 0 ? `${majority} of the ${plural(voters, 'voter')}` : 'most of the voters'
  return [
    {
      what: `no controller: ${heardText(cluster.metadataAgeMs)}, and all that is shown here is of then; changes are refused`,
      action: `one is elected as soon as ${needed} run and reach each other: start those that are down`,
    },
  ]
}

const PARTITIONS: readonly { ailment: Ailment; what: string; action: (nodes: string) => string }[] = [
  {
    ailment: 'offline',
    what: 'without a leader: neither read nor written',
    action: nodes => `bring back ${nodes}: only a replica that has everything may lead`,
  },
  {
    ailment: 'underMinIsr',
    what: 'below min.insync.replicas: not written with acks=all',
    action: nodes => `bring back ${nodes}`,
  },
  {
    ailment: 'underReplicated',
    what: 'with fewer replicas in sync than they should have',
    action: nodes => `bring back ${nodes}; replicas that run catch up by themselves`,
  },
]

function partitionFindings({ cluster, unhealthy }: ClusterStatus): Finding[] {
  const counts: Record<Ailment, number> = {
    offline: cluster.offlinePartitions,
    underMinIsr: cluster.underMinIsrPartitions,
    underReplicated: underReplicatedOnly({ cluster, unhealthy }),
  }
  return PARTITIONS.flatMap(({ ailment, what, action }) => {
    const count = counts[ailment]
    if (count <= 0) return []
    const named = unhealthy.filter(one => one.ailment === ailment)
    const missing = [...new Set(named.flatMap(one => one.missing ?? []))].sort((a, b) => a - b)
    const nodes = missing.length > 0 ? nodesText(missing) : 'the nodes that hold them'
    return [
      { what: `${plural(count, 'partition')} ${what}: ${placesText(named, count)}`, action: action(nodes) },
    ]
  })
}

/** Of more than are named only the sum is known: with them, at most, whoever is offline or below the minimum. */
function underReplicatedOnly({ cluster, unhealthy }: Pick<ClusterStatus, 'cluster' | 'unhealthy'>): number {
  const { offlinePartitions, underMinIsrPartitions, underReplicatedPartitions } = cluster
  const named = unhealthy.filter(one => one.ailment === 'underReplicated').length
  return Math.max(named, underReplicatedPartitions - offlinePartitions - underMinIsrPartitions)
}

function nodesText(nodeIds: readonly number[]): string {
  return `node${nodeIds.length === 1 ? '' : 's'} ${nodeIds.join(', ')}`
}

function nodeFindings(node: ClusterNode, quorum: QuorumDescription | undefined): Finding[] {
  const { nodeId, state } = node
  if (state === 'draining') {
    return [
      {
        what: `node ${nodeId} is draining: it leads only what no other node could`,
        action: `stop it; its next start ends the drain`,
      },
    ]
  }
  if (state === 'active') return []
  const isVoter = quorum?.members.some(one => one.nodeId === nodeId && one.isVoter) ?? node.isVoter
  const forGood = isVoter
    ? `naru cluster quorum remove ${nodeId}, then naru cluster remove ${nodeId}`
    : `naru cluster remove ${nodeId}`
  return [
    {
      what: `node ${nodeId} (${node.address}) is ${state}: it is not heard, or not ready yet`,
      action: `start it, or look at its log; if it is gone for good: ${forGood}`,
    },
  ]
}

function quorumFindings(quorum: QuorumDescription, nodes: readonly ClusterNode[]): Finding[] {
  const voters = quorum.members.filter(one => one.isVoter)
  const lagging = voters.flatMap(member => {
    const isActive = nodes.some(one => one.nodeId === member.nodeId && one.state === 'active')
    const lag = lagText(member, quorum)
    // That a node is down is said above.
    return lag === undefined || !isActive ? [] : [{ nodeId: member.nodeId, lag }]
  })
  const found: Finding[] = lagging.map(({ nodeId, lag }) => ({
    what: `voter ${nodeId} does not keep up: ${lag}`,
    action: `look at the disk, the processor and the network of node ${nodeId}`,
  }))
  if (voters.length < VOTERS_WISHED && nodes.length >= VOTERS_WISHED) {
    const free = nodes.find(one => !voters.some(voter => voter.nodeId === one.nodeId))
    found.push({
      what: `only ${plural(voters.length, 'voter')} of ${plural(nodes.length, 'node')}: the loss of one stops all changes`,
      action: `naru cluster quorum add ${free?.nodeId ?? 'NODE'}, until there are ${VOTERS_WISHED}`,
    })
  }
  return found
}
