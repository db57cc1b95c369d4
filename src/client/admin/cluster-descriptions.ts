import type { DescribeClusterResponse, DescribeQuorumResponse, NodeDescription } from '../../wire/messages.ts'
import type { ClusterDescription, ClusterNode, QuorumDescription } from './types.ts'

export function clusterDescription(cluster: DescribeClusterResponse): ClusterDescription {
  return {
    clusterId: cluster.clusterId,
    controller: cluster.controllerId,
    metadataIndex: cluster.metadataIndex,
    metadataAgeMs: cluster.ageMs,
    nodes: cluster.nodes.map(clusterNode),
    topics: cluster.topicCount,
    partitions: cluster.partitionCount,
    underReplicatedPartitions: cluster.underReplicatedCount,
    underMinIsrPartitions: cluster.underMinIsrCount,
    offlinePartitions: cluster.offlineCount,
    reassigningPartitions: cluster.reassigningCount,
    unhealthy: cluster.unhealthy.map(({ topic, partition }) => ({ topic, partition })),
  }
}

function clusterNode(node: NodeDescription): ClusterNode {
  return {
    nodeId: node.nodeId,
    address: node.address,
    peerAddress: node.peerAddress,
    rack: node.rack,
    state: node.state.toLowerCase() as Lowercase<typeof node.state>,
    version: node.version,
    isController: node.controller,
    isVoter: node.voter,
    leaders: node.leaderCount,
    replicas: node.replicaCount,
    appliedIndex: node.appliedIndex,
  }
}

export function quorumDescription(quorum: DescribeQuorumResponse): QuorumDescription {
  return {
    leader: quorum.leaderId,
    term: quorum.term,
    committedIndex: quorum.committedIndex,
    metadataAgeMs: quorum.ageMs,
    members: quorum.members.map(({ nodeId, directoryId, voter, matchIndex, lastContactMs }) => ({
      nodeId,
      directoryId,
      isVoter: voter,
      matchIndex,
      lastContactMs,
    })),
  }
}
