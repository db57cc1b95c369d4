import type { MethodPath } from '../../ports/transport.ts'
import type {
  DeleteGroupRequest,
  DescribeGroupRequest,
  DescribeGroupResponse,
  FetchOffsetsRequest,
  FetchOffsetsResponse,
  GroupOffset,
  MessageInit,
} from '../../wire/messages.ts'
import { Groups, type Method } from '../../wire/methods.ts'
import type { ForwardedHandler } from '../forward-service.ts'
import { readToken, writeToken } from '../pages.ts'
import type { ReadMemory } from '../read-memory.ts'
import { countWithin, integerWithin, invalidRequest } from '../request-checks.ts'
import type { ServiceNode } from '../service-node.ts'
import { commitOffsets } from './commit-offsets.ts'
import type { GroupParts } from './group-parts.ts'
import { boundedDescription, groupMember, groupOffset, groupState } from './group-views.ts'
import { LeaderKnowledge } from './leader-knowledge.ts'
import { resetOffsets } from './reset-offsets.ts'
import { selectPartitions } from './selected-partitions.ts'

const SELECTORS_MAX = 1_000
const PAGE_OFFSETS_MAX = 10_000
const PAGE_OFFSETS_DEFAULT = 1_000
/** Of the offsets in one page, below what generated stubs accept: a page may be shorter than asked for. */
const PAGE_BYTES_MAX = 3 * 1024 * 1024

/** The calls of naru.v1.Groups as the node of the group's coordinator serves them, for whoever took them there. */
export function groupCalls(node: ServiceNode, memory: ReadMemory): ReadonlyMap<MethodPath, ForwardedHandler> {
  const parts = { node, memory, leaders: new LeaderKnowledge(node) }
  return new Map([
    served(Groups.commitOffsets, request => commitOffsets(parts, request)),
    served(Groups.fetchOffsets, request => fetchOffsets(parts, request)),
    served(Groups.describeGroup, request => describeGroup(parts, request)),
    served(Groups.resetOffsets, request => resetOffsets(parts, request)),
    served(Groups.deleteGroup, request => deleteGroup(parts, request)),
  ])
}

function served<Request, Response>(
  method: Method<Request, Response>,
  serve: (request: Request) => Promise<MessageInit<Response>>,
): [MethodPath, ForwardedHandler] {
  return [method.path, async bytes => method.response.encode(await serve(method.request.decode(bytes)))]
}

async function fetchOffsets(
  { node, leaders }: GroupParts,
  request: FetchOffsetsRequest,
): Promise<FetchOffsetsResponse> {
  const { group, pageToken } = request
  countWithin(request.partitions.length, { name: 'partitions', max: SELECTORS_MAX })
  const limit = integerWithin(request.pageSize, {
    name: 'page_size',
    min: 1,
    max: PAGE_OFFSETS_MAX,
    default: PAGE_OFFSETS_DEFAULT,
  })
  const after = pageToken === '' ? undefined : placeOfToken(pageToken)
  const partitions = await selectPartitions(node, request.partitions)
  const views = await node.groups
    .of(group)
    .run(({ offsets }) => offsets.fetch({ group, partitions, after, limit }))
  const ends = await leaders.endsOf(views)
  const offsets = withinBytes(views.map((view, index) => groupOffset(view, ends[index])))
  const last = offsets.at(-1)
  const isLast = last === undefined || (offsets.length === views.length && views.length < limit)
  return { offsets, nextPageToken: isLast ? '' : writeToken(`${last.topic}/${last.partition}`) }
}

/** Names of topics hold no slash. */
function placeOfToken(token: string): { topic: string; partition: number } {
  const [topic = '', number = '', ...rest] = readToken(token).split('/')
  const partition = Number(number)
  if (topic !== '' && rest.length === 0 && Number.isSafeInteger(partition) && partition >= 0)
    return { topic, partition }
  throw invalidRequest('page_token is not one that an earlier answer gave: start again without it')
}

function withinBytes(offsets: readonly GroupOffset[]): readonly GroupOffset[] {
  let bytes = 0
  const fitting = offsets.findIndex(offset => {
    bytes += Groups.fetchOffsets.response.encode({ offsets: [offset] }).length
    return bytes > PAGE_BYTES_MAX
  })
  return fitting < 0 ? offsets : offsets.slice(0, Math.max(1, fitting))
}

async function describeGroup(
  { node, leaders }: GroupParts,
  { group }: DescribeGroupRequest,
): Promise<DescribeGroupResponse> {
  const coordinator = node.groups.of(group)
  const found = await coordinator.run(({ admin }) => admin.describe(group))
  const ends = await leaders.endsOf(found.offsets)
  const topicName = (topicId: string) => found.topicNames.get(topicId) ?? ''
  return boundedDescription({
    group,
    state: groupState(found.state),
    groupEpoch: found.groupEpoch,
    assignor: found.assignor,
    coordinatorId: node.nodeId,
    members: found.members.map(member =>
      groupMember(member, {
        topicName,
        disconnected: !coordinator.isWatched({ group, member: member.member }),
      }),
    ),
    offsets: found.offsets.map((view, index) => groupOffset(view, ends[index])),
  })
}

/** Very many offsets take several writes; what was deleted before a failure stays deleted, and the group is there until the last. */
async function deleteGroup({ node }: GroupParts, { group }: DeleteGroupRequest): Promise<object> {
  for (;;) {
    const { isDone } = await node.groups.of(group).run(({ admin }) => admin.delete(group))
    if (isDone) return {}
  }
}
