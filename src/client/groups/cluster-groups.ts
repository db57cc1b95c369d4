import { failureToError } from '../../wire/failure.ts'
import type {
  MessageInit,
  ResetOffsetsRequest,
  TopicSelector,
  DescribeGroupResponse as WireDescription,
  GroupState as WireGroupState,
  GroupOffset as WireOffset,
} from '../../wire/messages.ts'
import { Groups as GroupsService } from '../../wire/methods.ts'
import { wirePosition } from '../admin/wire-position.ts'
import type { Connection } from '../connection.ts'
import type { OffsetToCommit } from '../consumer/types.ts'
import { shown } from '../option-check.ts'
import type {
  GroupDescription,
  GroupList,
  GroupListing,
  GroupOffset,
  GroupStateName,
  Groups,
  ResetOffset,
  ResetTarget,
  TopicPartitions,
} from './types.ts'

const PAGE_GROUPS = 1_000
const PAGE_OFFSETS = 10_000
/** As many as one request may hold. */
const COMMITTED_MAX = 10_000

/** What only reads is repeated after any failure; a change only if it did not happen. */
export class ClusterGroups implements Groups {
  readonly #connection: Connection

  constructor(connection: Connection) {
    this.#connection = connection
  }

  async list(
    options: { readonly prefix?: string; readonly states?: readonly GroupStateName[] } = {},
  ): Promise<GroupList> {
    const groups: GroupListing[] = []
    const missing = new Map<number, GroupList['missing'][number]>()
    const states = (options.states ?? []).map(wireState)
    let pageToken = ''
    do {
      const page = await this.#connection.call(
        GroupsService.listGroups,
        { namePrefix: options.prefix ?? '', states, pageSize: PAGE_GROUPS, pageToken },
        { repeatable: true },
      )
      for (const { group, state, memberCount, coordinatorId } of page.groups)
        groups.push({ group, state: stateName(state), members: memberCount, coordinator: coordinatorId })
      for (const { partition, failure } of page.failures)
        if (failure) missing.set(partition, { partition, error: failureToError(failure) })
      pageToken = page.nextPageToken
    } while (pageToken !== '')
    return { groups, missing: [...missing.values()] }
  }

  async describe(group: string): Promise<GroupDescription> {
    return description(
      await this.#connection.call(GroupsService.describeGroup, { group }, { repeatable: true }),
    )
  }

  async fetchOffsets(group: string, topics: readonly TopicPartitions[] = []): Promise<GroupOffset[]> {
    const found: GroupOffset[] = []
    let pageToken = ''
    do {
      const page = await this.#connection.call(
        GroupsService.fetchOffsets,
        { group, partitions: selectors(topics), pageSize: PAGE_OFFSETS, pageToken },
        { repeatable: true },
      )
      found.push(...page.offsets.map(groupOffset))
      pageToken = page.nextPageToken
    } while (pageToken !== '')
    return found
  }

  async commitOffsets(group: string, offsets: readonly OffsetToCommit[]): Promise<void> {
    if (!Array.isArray(offsets)) throw new TypeError(`commitOffsets takes an array, not ${shown(offsets)}`)
    let first: Error | undefined
    for (let at = 0; at < offsets.length; at += COMMITTED_MAX) {
      const { results } = await this.#connection.call(GroupsService.commitOffsets, {
        group,
        offsets: offsets.slice(at, at + COMMITTED_MAX),
      })
      const failed = results.find(({ failure }) => failure !== undefined)
      if (failed?.failure) first ??= failureToError(failed.failure)
    }
    if (first !== undefined) throw first
  }

  async resetOffsets(
    group: string,
    target: ResetTarget,
    options: { readonly topics?: readonly TopicPartitions[]; readonly dryRun?: boolean } = {},
  ): Promise<ResetOffset[]> {
    const { topics = [], dryRun = false } = options
    const request = { group, dryRun, partitions: selectors(topics), ...wireTarget(target) }
    const { offsets } = await this.#connection.call(GroupsService.resetOffsets, request, {
      repeatable: dryRun,
    })
    return offsets.map(({ topic, partition, oldNextOffset, newNextOffset, failure }) => ({
      topic,
      partition,
      before: oldNextOffset,
      after: newNextOffset,
      error: failure && failureToError(failure),
    }))
  }

  async delete(group: string): Promise<void> {
    await this.#connection.call(GroupsService.deleteGroup, { group })
  }
}

function wireTarget(target: ResetTarget): Partial<MessageInit<ResetOffsetsRequest>> {
  if ('shiftBy' in target) return { shiftBy: target.shiftBy }
  if ('offsets' in target) return { offsets: target.offsets }
  const { to } = target
  if (to === 'committed') return { to: { at: 'COMMITTED' } }
  if (typeof to === 'object' && 'offset' in to) return { to: { offset: to.offset } }
  return { to: wirePosition('resetOffsets', to) }
}

function selectors(topics: readonly TopicPartitions[]): MessageInit<TopicSelector>[] {
  return topics.flatMap(({ topic, partitions }): MessageInit<TopicSelector>[] =>
    partitions === undefined ? [{ topic }] : partitions.map(partition => ({ topic, partition })),
  )
}

function wireState(state: GroupStateName): WireGroupState {
  const name = state.toUpperCase()
  if (name === 'EMPTY' || name === 'RECONCILING' || name === 'STABLE') return name
  throw new TypeError(`a group is never ${shown(state)}: it is empty, reconciling or stable`)
}

function stateName(state: WireGroupState): GroupStateName {
  return state.toLowerCase() as GroupStateName
}

function description(of: WireDescription): GroupDescription {
  return {
    group: of.group,
    state: stateName(of.state),
    groupEpoch: of.groupEpoch,
    assignor: of.assignor,
    coordinator: of.coordinatorId,
    members: of.members.map(({ topicPattern, ...member }) => ({ ...member, topicPattern })),
    offsets: of.offsets.map(groupOffset),
  }
}

function groupOffset(of: WireOffset): GroupOffset {
  const { nextOffset, highWatermark } = of
  const isKnown = nextOffset !== undefined && highWatermark !== undefined
  return {
    topic: of.topic,
    topicId: of.topicId,
    partition: of.partition,
    nextOffset,
    committedAtMs: of.committedAtMs,
    metadata: of.metadata,
    highWatermark,
    logStartOffset: of.logStartOffset,
    lag: isKnown ? Math.max(0, highWatermark - nextOffset) : undefined,
    member: of.member,
  }
}
