import { Admin } from '../wire/methods.ts'
import { AdminCluster } from './admin-cluster.ts'
import { AdminConfigs } from './admin-configs.ts'
import { AdminMoves } from './admin-moves.ts'
import { AdminNodes, drainTimeoutMs } from './admin-nodes.ts'
import { AdminQuorum } from './admin-quorum.ts'
import { AdminTopics } from './admin-topics.ts'
import type { ConcurrencyLimit } from './concurrency-limit.ts'
import { deleteRecords } from './delete-records.ts'
import { type HandlerEntry, notImplemented, unary } from './handlers.ts'
import { isDirect } from './leader-attempts.ts'
import { timeoutMsOf } from './request-checks.ts'
import type { ServiceNode } from './service-node.ts'

/** A voter that is added must catch up first, and a leader that is removed hands over first. */
const QUORUM_CHANGE_MS = 25_000
/** How long the controller is looked for before a node tells what it knows of the quorum itself. */
const QUORUM_VIEW_MS = 2_000

/** naru.v1.Admin */
export function adminService(node: ServiceNode, deletions: ConcurrencyLimit): HandlerEntry[] {
  return [...topicCalls(node, deletions), ...clusterCalls(node), ...moveCalls(node), ...notImplementedYet()]
}

function topicCalls(node: ServiceNode, deletions: ConcurrencyLimit): HandlerEntry[] {
  const { controllerCalls: calls } = node
  const topics = new AdminTopics(node)
  const configs = new AdminConfigs(node)
  const timeoutMs = (request: { readonly timeoutMs?: number }) => timeoutMsOf(request.timeoutMs)
  return [
    calls.entry(Admin.createTopics, (request, leftMs) => topics.create(request, leftMs), { timeoutMs }),
    calls.entry(Admin.deleteTopics, request => topics.delete(request), { timeoutMs }),
    calls.entry(Admin.addPartitions, (request, leftMs) => topics.addPartitions(request, leftMs), {
      timeoutMs,
    }),
    calls.entry(Admin.alterConfigs, request => configs.alter(request)),
    unary(Admin.listTopics, request => topics.list(request)),
    unary(Admin.describeTopics, request => topics.describe(request)),
    unary(Admin.describeConfigs, request => configs.describe(request)),
    unary(Admin.deleteRecords, (request, { metadata }) =>
      deleteRecords(node, deletions, { request, isEntry: !isDirect(metadata) }),
    ),
  ]
}

function clusterCalls(node: ServiceNode): HandlerEntry[] {
  const { controllerCalls: calls } = node
  const cluster = new AdminCluster(node)
  const quorum = new AdminQuorum(node)
  const nodes = new AdminNodes(node)
  const changeMs = { timeoutMs: () => QUORUM_CHANGE_MS }
  return [
    unary(Admin.describeCluster, () => cluster.describe()),
    unary(Admin.listNodes, request => cluster.listNodes(request)),
    calls.readEntry(Admin.describeQuorum, () => quorum.describe(), { withinMs: QUORUM_VIEW_MS }),
    calls.entry(Admin.addVoter, request => quorum.addVoter(request), changeMs),
    calls.entry(Admin.removeVoter, request => quorum.removeVoter(request), changeMs),
    calls.entry(Admin.drainNode, (request, leftMs) => nodes.drain(request, leftMs), {
      timeoutMs: drainTimeoutMs,
    }),
    calls.entry(Admin.removeNode, request => nodes.remove(request)),
  ]
}

function moveCalls(node: ServiceNode): HandlerEntry[] {
  const { controllerCalls: calls } = node
  const moves = new AdminMoves(node)
  return [
    calls.entry(Admin.reassignPartitions, request => moves.reassign(request)),
    calls.entry(Admin.cancelReassignments, request => moves.cancel(request)),
    calls.entry(Admin.changeReplicationFactor, request => moves.changeReplicationFactor(request)),
    calls.entry(Admin.rebalance, request => moves.rebalance(request)),
    calls.entry(Admin.electLeaders, (request, leftMs) => moves.elect(request, leftMs)),
    unary(Admin.listReassignments, request => moves.list(request)),
  ]
}

function notImplementedYet(): HandlerEntry[] {
  return [
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
