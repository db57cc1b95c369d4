import type { PartitionId } from '../../base/brands.ts'
import { NaruError } from '../../base/errors.ts'
import type { ListRequest } from '../../groups/group-admin.ts'
import type { TopicView } from '../../metadata/topic-image.ts'
import { failureToError } from '../../wire/failure.ts'
import type { CoordinationListGroupsRequest } from '../../wire/generated/coordination.ts'
import { Coordination } from '../../wire/generated/internal-services.ts'
import type {
  Failure,
  GroupListing,
  ListGroupsRequest,
  ListGroupsResponse,
  PartitionFailure,
} from '../../wire/messages.ts'
import { BoundedFailures } from '../failures.ts'
import { atLeader, GatheredCalls } from '../leader-calls.ts'
import { PAGE_SIZE_MAX, readToken, writeToken } from '../pages.ts'
import { countWithin, integerWithin, invalidRequest } from '../request-checks.ts'
import type { ServiceNode } from '../service-node.ts'
import { groupState, stateOf } from './group-views.ts'
import type { GroupsTopic } from './groups-topic.ts'

const PAGE_SIZE_DEFAULT = 100
const PARTITIONS_MAX = 1_000
/** A coordinator that is moving is looked for so long; then its groups are missing, and the answer says so. */
const LIST_MS_MAX = 3_000
const ATTEMPT_MS_MAX = 1_500

/** Groups.ListGroups: one page over all coordinators, by name; those that do not answer are named. */
export async function listGroups(
  node: ServiceNode,
  topic: GroupsTopic,
  request: ListGroupsRequest,
): Promise<ListGroupsResponse> {
  const size = integerWithin(request.pageSize, {
    name: 'page_size',
    min: 1,
    max: PAGE_SIZE_MAX,
    default: PAGE_SIZE_DEFAULT,
  })
  listRequestOf(request, size)
  const view = await topic.confirmed()
  if (view === undefined) return { groups: [], nextPageToken: '', failures: [] }
  const list = partitionLister(node, view, { ...request, pageSize: size })
  const failures: PartitionFailure[] = []
  const writer = new BoundedFailures()
  const lists = await Promise.all(
    Array.from({ length: view.partitionCount }, async (_, partition) => {
      try {
        return await list(partition)
      } catch (thrown) {
        if (!(thrown instanceof NaruError)) throw thrown
        failures.push({ topic: view.name, partition, failure: writer.write(thrown) })
        return []
      }
    }),
  )
  const all = lists.flat().sort((a, b) => (a.group < b.group ? -1 : 1))
  const groups = all.slice(0, size)
  const last = groups.at(-1)
  // Whoever told less than a page holds has told all.
  const isLast = last === undefined || (all.length <= size && lists.every(list => list.length < size))
  return { groups, nextPageToken: isLast ? '' : writeToken(last.group), failures }
}

/** Coordination.ListGroups: what this node itself coordinates. */
export async function listGroupsHere(
  node: ServiceNode,
  { clusterId, toNodeId, partitions, request }: CoordinationListGroupsRequest,
): Promise<ListGroupsResponse> {
  const { controller: quorum } = node
  if (clusterId !== quorum.clusterId || toNodeId !== quorum.nodeId)
    throw new NaruError(
      'NOT_LEADER',
      `a node looked for groups of node ${toNodeId} of cluster ${clusterId} here, at node ${quorum.nodeId} of cluster ${quorum.clusterId}`,
    )
  countWithin(partitions.length, { name: 'partitions', min: 1, max: PARTITIONS_MAX })
  if (request === undefined) throw invalidRequest('request is missing')
  const failures: PartitionFailure[] = []
  const writer = new BoundedFailures()
  const lists = await Promise.all(
    partitions.map(async partition => {
      try {
        return await groupsOf(node, partition, request)
      } catch (thrown) {
        if (!(thrown instanceof NaruError)) throw thrown
        failures.push({ topic: '', partition, failure: writer.write(thrown) })
        return []
      }
    }),
  )
  return { groups: lists.flat(), nextPageToken: '', failures }
}

async function groupsOf(
  node: ServiceNode,
  partition: PartitionId,
  request: ListGroupsRequest,
): Promise<GroupListing[]> {
  const coordinator = [...node.groups.led()].find(one => one.partition === partition)
  if (coordinator === undefined)
    throw new NaruError(
      'NOT_LEADER',
      `node ${node.nodeId} does not coordinate the groups of partition ${partition}`,
    )
  const asked = listRequestOf(request, request.pageSize ?? PAGE_SIZE_DEFAULT)
  const views = await coordinator.run(({ admin }) => admin.list(asked))
  return views.map(({ group, state, memberCount }) => ({
    group,
    state: groupState(state),
    memberCount,
    coordinatorId: node.nodeId,
  }))
}

function listRequestOf({ states, namePrefix, pageToken }: ListGroupsRequest, limit: number): ListRequest {
  const known = states.map(state => {
    const found = stateOf(state)
    if (found === undefined) throw invalidRequest(`states: ${state} is none that a group can be in`)
    return found
  })
  return { states: known, namePrefix, limit, ...(pageToken !== '' && { after: readToken(pageToken) }) }
}

/** The groups of one partition, wherever it is led; what goes to one node goes in one call. */
function partitionLister(
  node: ServiceNode,
  topic: TopicView,
  request: ListGroupsRequest,
): (partition: PartitionId) => Promise<readonly GroupListing[]> {
  const elsewhere = new GatheredCalls<PartitionId, PartitionList>(node, async (leaders, to, partitions) => {
    const { clusterId } = node.controller
    const asked = { clusterId, toNodeId: to, partitions, request }
    const call = { request: asked, timeoutMs: ATTEMPT_MS_MAX }
    const { groups, failures } = await leaders.ask(to, Coordination.listGroups, call)
    const failed = new Map(failures.map(({ partition, failure }) => [partition, failure]))
    // Which partition a group is of does not matter here.
    const first = partitions.find(partition => !failed.has(partition))
    return partitions.map(partition => ({
      groups: partition === first ? groups : [],
      failure: failed.get(partition),
    }))
  })
  return partition =>
    atLeader(node, {
      topic,
      partition,
      isEntry: true,
      repeatable: true,
      timeoutMs: LIST_MS_MAX,
      here: () => groupsOf(node, partition, request),
      there: async leaderId => {
        const { groups, failure } = await elsewhere.ask(leaderId, partition)
        if (failure !== undefined) throw failureToError(failure)
        return groups
      },
    })
}

interface PartitionList {
  readonly groups: readonly GroupListing[]
  readonly failure: Failure | undefined
}
