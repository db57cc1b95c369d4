import { describe, expect, it } from 'vitest'
import type { OffsetToCommit } from '../../src/groups/offset-control.ts'
import { errorOf, GroupContext } from './group-context.ts'
import { recordsOf } from './group-records.ts'

const DAY_MS = 24 * 60 * 60 * 1000

function withTopic(options: ConstructorParameters<typeof GroupContext>[0] = {}) {
  const context = new GroupContext(options)
  context.catalog.put('logs', 2)
  const topicId = context.catalog.everSeen('logs').id
  const at = (partition: number, nextOffset: number, more: Partial<OffsetToCommit> = {}): OffsetToCommit => ({
    topic: 'logs',
    topicId,
    partition,
    nextOffset,
    leaderEpoch: null,
    metadata: '',
    ...more,
  })
  const commit = (offsets: OffsetToCommit[], member?: { member: string; memberEpoch: number }) =>
    context
      .run(() => context.coordinator.offsets.commit({ group: 'g', member, offsets }, context.nowMs))
      .map(({ error }) => error?.message ?? 'stored')
  const offset = (partition: number) => context.image.get('g')?.offset(topicId, partition)?.nextOffset
  return { context, topicId, at, commit, offset }
}

describe('a commit', () => {
  it('stores offset, leader epoch and text', () => {
    const { context, topicId, at, commit } = withTopic()
    expect(commit([at(0, 7, { leaderEpoch: 3, metadata: 'done' })])).toEqual(['stored'])
    expect(context.image.get('g')?.offset(topicId, 0)).toEqual({
      nextOffset: 7,
      leaderEpoch: 3,
      metadata: 'done',
      committedAtMs: context.nowMs,
    })
  })

  it('of a member is accepted while it has the partition, also while it is to release it', () => {
    const { context, at, commit, offset } = withTopic()
    context.attend('g', 'a', { topics: ['logs'], isSlow: true })
    const early = { member: 'a', memberEpoch: context.stream('g', 'a').memberEpoch }
    context.attend('g', 'b', { topics: ['logs'] })
    context.advance(200)
    expect(commit([at(0, 5), at(1, 6)], early)).toEqual(['stored', 'stored'])
    context.stream('g', 'a').release()
    context.commit()
    const results = commit([at(0, 8), at(1, 9)], early)
    expect(results.filter(result => result === 'stored')).toHaveLength(1)
    expect(results.find(result => result !== 'stored')).toContain(
      `is not member "a"'s of group "g" (any more): "b" has it`,
    )
    expect([offset(0), offset(1)].sort()).toEqual(results[0] === 'stored' ? [6, 8] : [5, 9])
  })

  it('of the process that was replaced is refused', () => {
    const { context, at, commit } = withTopic()
    context.attend('g', 'a', { topics: ['logs'] })
    const old = { member: 'a', memberEpoch: context.stream('g', 'a').memberEpoch }
    context.attend('g', 'a', { topics: ['logs'] })
    expect(commit([at(0, 5)], old)[0]).toContain('since a later epoch')
  })

  it('of one that is no member is refused', () => {
    const { at, commit } = withTopic()
    expect(errorOf(() => commit([at(0, 5)], { member: 'a', memberEpoch: 1 }))).toContain('UNKNOWN_MEMBER')
  })

  it('by hand is refused while the group has members', () => {
    const { context, at, commit } = withTopic()
    context.attend('g', 'a', { topics: ['logs'] })
    expect(errorOf(() => commit([at(0, 5)]))).toContain(
      'GROUP_NOT_EMPTY: a commit by hand of group "g" is refused',
    )
  })

  it.each([
    ['next_offset -1', { nextOffset: -1 }],
    ['has no partition 2, it has 2', { partition: 2 }],
    ['does not exist (any more)', { topicId: 'gone' }],
    ['has 4098 bytes, at most 4096', { metadata: '나'.repeat(1366) }],
  ])('that %s fails alone', (message, more) => {
    const { at, commit } = withTopic()
    const results = commit([at(0, 1, more), at(1, 2)])
    expect(results[0]).toContain(message)
    expect(results[1]).toBe('stored')
  })

  it('of too many offsets is refused', () => {
    const { at, commit } = withTopic({ limits: { offsetsPerRequestMax: 1 } })
    expect(errorOf(() => commit([at(0, 1), at(1, 1)]))).toContain('REQUEST_TOO_LARGE')
  })
})

describe('where a partition starts', () => {
  it('is committed once: what is there stays', () => {
    const { context, topicId, offset } = withTopic()
    const { stream } = context.attend('g', 'a', { topics: ['logs'], isUnresolved: true })
    if (stream === undefined) throw new Error('not attended')
    const start = (nextOffset: number) =>
      context.run(() =>
        context.coordinator.members.commitStarts(
          stream,
          [{ topicId, partition: 0, nextOffset, leaderEpoch: null }],
          context.nowMs,
        ),
      )
    start(5)
    start(9)
    expect(offset(0)).toBe(5)
    expect([...context.stream('g', 'a').believes.values()].map(one => one.nextOffset)).toEqual([5])
  })

  it('is nothing to say for who does not have it', () => {
    const { context, topicId, offset } = withTopic()
    const a = context.attend('g', 'a', { topics: ['logs'], isUnresolved: true })
    context.attend('g', 'b', { topics: ['logs'], isUnresolved: true })
    context.advance(200)
    const foreign = [0, 1].find(
      partition => context.image.get('g')?.owners.get(`${topicId}/${partition}`) === 'b',
    )
    const { stream } = a
    if (stream === undefined || foreign === undefined) throw new Error('not assigned')
    context.run(() =>
      context.coordinator.members.commitStarts(
        stream,
        [{ topicId, partition: foreign, nextOffset: 5, leaderEpoch: null }],
        context.nowMs,
      ),
    )
    expect(offset(foreign)).toBeUndefined()
  })
})

describe('a reset', () => {
  it('tells before it does', () => {
    const { context, at, commit, offset } = withTopic()
    commit([at(0, 7)])
    const reset = (isDryRun: boolean) =>
      context.run(() =>
        context.coordinator.offsets.reset(
          { group: 'g', offsets: [at(0, 1), at(1, 2)], isDryRun },
          context.nowMs,
        ),
      )
    expect(reset(true)).toEqual([{ before: 7 }, { before: undefined }])
    expect(offset(0)).toBe(7)
    reset(false)
    expect([offset(0), offset(1)]).toEqual([1, 2])
  })

  it('is refused while the group has members', () => {
    const { context, at } = withTopic()
    context.attend('g', 'a', { topics: ['logs'] })
    const reset = () =>
      context.coordinator.offsets.reset({ group: 'g', offsets: [at(0, 1)], isDryRun: true }, 0)
    expect(errorOf(reset)).toContain('GROUP_NOT_EMPTY: a reset of offsets of group "g" is refused')
  })
})

describe('a group', () => {
  it('without members expires after 7 days, counted from its last use, across coordinators', () => {
    const { context, at, commit } = withTopic()
    context.attend('g', 'a', { topics: ['logs'] }).leave()
    context.advance(4 * DAY_MS)
    commit([at(0, 7)])
    context.advance(4 * DAY_MS)
    context.moveCoordinator()
    context.advance(2 * DAY_MS)
    expect(context.image.get('g')).toBeDefined()
    context.advance(1 * DAY_MS + 1000)
    expect(context.image.get('g')).toBeUndefined()
    expect(recordsOf(context.image)).toEqual([])
  }, 30_000)

  it('with members never expires', () => {
    const { context } = withTopic({ settings: { offsetsRetentionMs: 60_000 } })
    context.attend('g', 'a', { topics: ['logs'] })
    context.advance(200_000)
    expect(context.image.get('g')?.members.size).toBe(1)
  })

  it('is deleted with its offsets, part by part, and only while it is empty', () => {
    const { context, at, commit } = withTopic({ limits: { offsetsDeletedPerWriteMax: 1 } })
    commit([at(0, 7), at(1, 7)])
    const remove = () => context.run(() => context.coordinator.admin.delete('g')).isDone
    expect([remove(), remove()]).toEqual([false, true])
    expect(context.image.count).toBe(0)
    expect(errorOf(remove)).toContain('UNKNOWN_GROUP: group "g" does not exist')
    context.attend('g', 'a', { topics: ['logs'] })
    expect(errorOf(remove)).toContain(
      'GROUP_NOT_EMPTY: deletion of group "g" is refused while it has members',
    )
  })

  it('is listed by name, state and page, and described', () => {
    const { context, at, commit, topicId } = withTopic()
    commit([at(0, 7)])
    context.attend('h', 'a', { topics: ['logs'] })
    const list = (more: object) => context.run(() => context.coordinator.admin.list({ limit: 10, ...more }))
    expect(list({}).map(({ group, state }) => `${group} ${state}`)).toEqual(['g empty', 'h stable'])
    expect(list({ after: 'g' }).map(({ group }) => group)).toEqual(['h'])
    expect(list({ states: ['empty'] }).map(({ group }) => group)).toEqual(['g'])
    expect(list({ namePrefix: 'h', limit: 1 })).toEqual([{ group: 'h', state: 'stable', memberCount: 1 }])
    const described = context.run(() => context.coordinator.admin.describe('h'))
    expect(described.members[0]).toMatchObject({
      member: 'a',
      topics: ['logs'],
      target: [{ topicId, partitions: [0, 1] }],
    })
    expect(described.offsets.map(({ partition, member }) => [partition, member])).toEqual([
      [0, 'a'],
      [1, 'a'],
    ])
  })

  it('shows its offsets by page and by selection', () => {
    const { context, at, commit, topicId } = withTopic()
    commit([at(0, 7), at(1, 8)])
    const fetch = (more: object) =>
      context
        .run(() => context.coordinator.offsets.fetch({ group: 'g', limit: 10, ...more }))
        .map(({ topic, partition, committed }) => [topic, partition, committed?.nextOffset])
    expect(fetch({})).toEqual([
      ['logs', 0, 7],
      ['logs', 1, 8],
    ])
    expect(fetch({ after: { topic: 'logs', partition: 0 } })).toEqual([['logs', 1, 8]])
    expect(fetch({ partitions: [{ topicId, partition: 1 }] })).toEqual([['logs', 1, 8]])
    expect(fetch({ partitions: [{ topicId }], limit: 1 })).toEqual([['logs', 0, 7]])
  })
})
