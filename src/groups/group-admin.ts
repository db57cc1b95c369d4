import type { Epoch } from '../base/brands.ts'
import { requireGroup } from './group-checks.ts'
import { groupNotEmpty } from './group-errors.ts'
import type { GroupState } from './group-image.ts'
import type { GroupLifecycle } from './group-lifecycle.ts'
import type { AssignorName, OwnedPartition, TopicPartitions } from './group-record.ts'
import { type GroupResult, readOnly } from './group-result.ts'
import type { GroupsImage } from './groups-image.ts'
import type { GroupOffsetView, OffsetControl } from './offset-control.ts'

/** Handlers for who looks at groups, and deletes them. */
export class GroupAdmin {
  readonly #image: GroupsImage
  readonly #lifecycle: GroupLifecycle
  readonly #offsets: OffsetControl

  constructor(image: GroupsImage, parts: { lifecycle: GroupLifecycle; offsets: OffsetControl }) {
    this.#image = image
    this.#lifecycle = parts.lifecycle
    this.#offsets = parts.offsets
  }

  /** A page of groups, by name. */
  list(request: ListRequest): GroupResult<GroupListingView[]> {
    const { states = [], namePrefix = '', after = '', limit } = request
    const views: GroupListingView[] = []
    for (const name of this.#image.names()) {
      if (views.length >= limit) break
      if (name <= after || !name.startsWith(namePrefix)) continue
      const group = requireGroup(this.#image, name)
      if (states.length > 0 && !states.includes(group.state)) continue
      views.push({ group: name, state: group.state, memberCount: group.members.size })
    }
    return readOnly(views)
  }

  /** Whether a member's stream is broken at present is for the driver to add, and the ends of the logs. */
  describe(name: string): GroupResult<GroupDescription> {
    const group = requireGroup(this.#image, name)
    const members = [...group.members.entries()].sort(([a], [b]) => (a < b ? -1 : 1))
    return readOnly({
      group: name,
      state: group.state,
      groupEpoch: group.header?.groupEpoch ?? 0,
      assignor: group.header?.assignor ?? 'uniform',
      topicNames: new Map([...group.topics.entries()].map(([topicId, topic]) => [topicId, topic.name])),
      members: members.map(([member, info]) => ({
        member,
        attachEpoch: info.attachEpoch,
        clientId: info.clientId,
        address: info.address,
        memberEpoch: group.assignments.get(member)?.memberEpoch ?? info.attachEpoch,
        topics: info.subscription.topics,
        topicPattern: info.subscription.topicPattern,
        assigned: group.assignments.get(member)?.partitions ?? [],
        target: group.targets.get(member) ?? [],
      })),
      offsets: this.#offsets.offsetViews(group),
    })
  }

  /**
   * Deletes a group without members. Very many offsets take several writes: not done means to call again, once
   * this one is committed.
   */
  delete(name: string): GroupResult<{ isDone: boolean }> {
    const group = requireGroup(this.#image, name)
    if (group.members.size > 0) throw groupNotEmpty(name, 'deletion', group.members.size)
    const { records, isDone } = this.#lifecycle.deletion(group)
    return { records, response: { isDone }, timers: [], changed: [] }
  }
}

export interface ListRequest {
  /** Empty: all. */
  readonly states?: readonly GroupState[]
  readonly namePrefix?: string
  /** The last one of the page before. */
  readonly after?: string
  readonly limit: number
}

export interface GroupListingView {
  readonly group: string
  readonly state: GroupState
  readonly memberCount: number
}

export interface GroupDescription {
  readonly group: string
  readonly state: GroupState
  readonly groupEpoch: Epoch
  readonly assignor: AssignorName
  readonly topicNames: ReadonlyMap<string, string>
  readonly members: readonly MemberDescription[]
  readonly offsets: readonly GroupOffsetView[]
}

export interface MemberDescription {
  readonly member: string
  readonly attachEpoch: Epoch
  readonly clientId: string
  readonly address: string
  readonly memberEpoch: Epoch
  readonly topics: readonly string[]
  readonly topicPattern: string | null
  readonly assigned: readonly OwnedPartition[]
  readonly target: readonly TopicPartitions[]
}
