import { NaruError } from '../../base/errors.ts'
import type { Admin, ClusterDescription, QuorumDescription } from '../../client/index.ts'
import { type UnhealthyPartition, unhealthyPartitions } from './unhealthy-partitions.ts'

export interface ClusterStatus {
  readonly cluster: ClusterDescription
  /** Undefined: nobody could tell. */
  readonly quorum: QuorumDescription | undefined
  readonly unhealthy: readonly UnhealthyPartition[]
}

/** A cluster in trouble is looked at most, and then nobody waits long for a quorum that does not answer. */
const QUORUM_TIMEOUT_MS = 5_000

export async function clusterStatus(admin: Admin): Promise<ClusterStatus> {
  const [cluster, quorum] = await Promise.all([admin.describeCluster(), quorumIfKnown(admin)])
  return { cluster, quorum, unhealthy: await unhealthyPartitions(admin, cluster) }
}

/** A cluster without a quorum has a status, too. */
async function quorumIfKnown(admin: Admin): Promise<ClusterStatus['quorum']> {
  try {
    return await admin.describeQuorum({ timeoutMs: QUORUM_TIMEOUT_MS })
  } catch (thrown) {
    if (thrown instanceof NaruError && thrown.retriable) return undefined
    throw thrown
  }
}
