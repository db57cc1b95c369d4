import { Admin } from '../wire/methods.ts'
import { AdminCluster } from './admin-cluster.ts'
import { AdminConfigs } from './admin-configs.ts'
import { AdminTopics } from './admin-topics.ts'
import { ConcurrencyLimit } from './concurrency-limit.ts'
import { deleteRecords } from './delete-records.ts'
import { type HandlerEntry, notImplemented, unary } from './handlers.ts'
import type { ServiceNode } from './service-node.ts'

/** Deletions of records that run at a time; each rewrites a checkpoint. */
const DELETIONS_MAX = 16
const DELETIONS_WAITING_MAX = 10_000

/** naru.v1.Admin */
export function adminService(node: ServiceNode): HandlerEntry[] {
  const topics = new AdminTopics(node)
  const configs = new AdminConfigs(node)
  const cluster = new AdminCluster(node)
  const deletions = new ConcurrencyLimit({
    what: 'deletions of records',
    runningMax: DELETIONS_MAX,
    waitingMax: DELETIONS_WAITING_MAX,
  })
  return [
    unary(Admin.createTopics, request => topics.create(request)),
    unary(Admin.deleteTopics, request => topics.delete(request)),
    unary(Admin.listTopics, request => topics.list(request)),
    unary(Admin.describeTopics, request => topics.describe(request)),
    unary(Admin.addPartitions, request => topics.addPartitions(request)),
    unary(Admin.describeConfigs, request => configs.describe(request)),
    unary(Admin.alterConfigs, request => configs.alter(request)),
    unary(Admin.deleteRecords, request => deleteRecords(node, deletions, request)),
    unary(Admin.describeCluster, () => cluster.describe()),
    unary(Admin.listNodes, request => cluster.listNodes(request)),
    ...notImplementedYet(),
  ]
}

function notImplementedYet(): HandlerEntry[] {
  return [
    ...notImplemented('clusters of several nodes', [
      Admin.changeReplicationFactor,
      Admin.describeQuorum,
      Admin.addVoter,
      Admin.removeVoter,
      Admin.drainNode,
      Admin.reassignPartitions,
      Admin.listReassignments,
      Admin.cancelReassignments,
      Admin.electLeaders,
      Admin.rebalance,
      Admin.removeNode,
    ]),
    ...notImplemented('users and access rules', [
      Admin.putUser,
      Admin.deleteUser,
      Admin.listUsers,
      Admin.addAccessRules,
      Admin.deleteAccessRules,
      Admin.listAccessRules,
    ]),
    ...notImplemented('quotas', [Admin.putQuota, Admin.deleteQuota, Admin.listQuotas]),
  ]
}
