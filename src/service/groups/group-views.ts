import { NaruError } from '../../base/errors.ts'
import type { GroupDescription, GroupListingView } from '../../groups/group-admin.ts'
import type { GroupOffsetView } from '../../groups/offset-control.ts'
import { CLIENT_FRAME_BYTES_DEFAULT } from '../../wire/limits.ts'
import type { DescribeGroupResponse, GroupMember, GroupOffset, GroupState } from '../../wire/messages.ts'
import { Groups } from '../../wire/methods.ts'
import type { PartitionEnds } from './leader-knowledge.ts'

/** What the coordinator of a group knows, in the form of the API. */

export function groupState(state: GroupListingView['state']): GroupState {
  return STATES[state]
}

const STATES = { empty: 'EMPTY', reconciling: 'RECONCILING', stable: 'STABLE' } as const

/** undefined: one that no group of this release is ever in. */
export function stateOf(state: GroupState): GroupListingView['state'] | undefined {
  const found = Object.entries(STATES).find(([, name]) => name === state)
  return found?.[0] as GroupListingView['state'] | undefined
}

export function groupOffset(view: GroupOffsetView, ends: PartitionEnds | undefined): GroupOffset {
  const { topic, topicId, partition, committed, member } = view
  return {
    topic,
    topicId,
    partition,
    metadata: committed?.metadata ?? '',
    ...(committed && { nextOffset: committed.nextOffset, committedAtMs: committed.committedAtMs }),
    ...(committed && committed.leaderEpoch !== null && { leaderEpoch: committed.leaderEpoch }),
    ...ends,
    ...(member !== undefined && { member }),
  }
}

export function groupMember(
  member: GroupDescription['members'][number],
  of: { topicName: (topicId: string) => string; disconnected: boolean },
): GroupMember {
  const { topicName, disconnected } = of
  return {
    member: member.member,
    clientId: member.clientId,
    address: member.address,
    memberEpoch: member.memberEpoch,
    topics: member.topics,
    ...(member.topicPattern !== null && { topicPattern: member.topicPattern }),
    assigned: member.assigned.map(({ topicId, partition }) => ({ topic: topicName(topicId), partition })),
    target: member.target.flatMap(({ topicId, partitions }) =>
      partitions.map(partition => ({ topic: topicName(topicId), partition })),
    ),
    disconnected,
  }
}

/** Fits into what generated stubs accept: first without the texts of the commits, which FetchOffsets tells page by page. */
export function boundedDescription(description: DescribeGroupResponse): DescribeGroupResponse {
  if (fits(description)) return description
  const brief = { ...description, offsets: description.offsets.map(one => ({ ...one, metadata: '' })) }
  if (fits(brief)) return brief
  const { group, members, offsets } = description
  throw new NaruError(
    'REQUEST_TOO_LARGE',
    `the description of group "${group}", with ${members.length} members and ${offsets.length} partitions, does not fit into one answer of ${CLIENT_FRAME_BYTES_DEFAULT} bytes: ask for its offsets page by page (FetchOffsets)`,
    { details: { group } },
  )
}

function fits(description: DescribeGroupResponse): boolean {
  return Groups.describeGroup.response.encode(description).length <= CLIENT_FRAME_BYTES_DEFAULT
}
