import { beforeEach, describe, expect, it } from 'vitest'
import { NaruError } from '../../../src/base/errors.ts'
import type { CommitOffset, MessageInit } from '../../../src/wire/messages.ts'
import { Consumer, Groups } from '../../../src/wire/methods.ts'
import { failureOf } from '../../harness/recorded-stream.ts'
import { GroupCluster } from './group-cluster.ts'

let groups: GroupCluster

beforeEach(() => {
  groups = new GroupCluster()
  groups.makeTopic('orders', { highWatermark: 100, logStartOffset: 10 })
})

type Offset = MessageInit<CommitOffset>
const at = (partition: number, nextOffset: number, more: Partial<Offset> = {}): Offset => ({
  topic: 'orders',
  partition,
  nextOffset,
  ...more,
})

async function commit(group: string, offsets: Offset[], nodeId = 1) {
  const { results } = await groups.call(nodeId, Groups.commitOffsets, { group, offsets })
  return results.map(({ failure }) => failure?.reason ?? 'ok')
}

async function offsets(group: string, nodeId = 1) {
  const fetched = await groups.call(nodeId, Groups.fetchOffsets, { group })
  return fetched.offsets.map(
    ({ topic, partition, nextOffset }) => `${topic}/${partition}@${nextOffset ?? '-'}`,
  )
}

async function member(group: string) {
  const attending = groups.attend(2, { group, topics: ['orders'], member: 'm' })
  await attending.until(({ owned }) => owned.length === 2)
  return attending
}

describe('commits', () => {
  it('are stored by hand, and seen at every node with what the leaders know', async () => {
    expect(await commit('g', [at(0, 40, { metadata: 'half', leaderEpoch: 3 }), at(1, 100)])).toEqual([
      'ok',
      'ok',
    ])
    for (const nodeId of [1, 2, 3]) {
      const fetched = await groups.call(nodeId, Groups.fetchOffsets, { group: 'g' })
      expect(fetched.nextPageToken).toBe('')
      expect(fetched.offsets).toMatchObject([
        { topicId: 'id-of-orders', partition: 0, nextOffset: 40, metadata: 'half', leaderEpoch: 3 },
        { partition: 1, nextOffset: 100, highWatermark: 100, logStartOffset: 10 },
      ])
    }
  })

  it('answer each offset for itself', async () => {
    const wrong = [
      at(0, 50),
      at(7, 50),
      at(0, 50, { topic: 'ordres' }),
      at(1, 50, { topicId: 'id-before' }),
      at(1, 101),
      at(1, -1),
      at(1, 60, { metadata: 'x'.repeat(4_097) }),
      // Retention has passed it: the group has done it all the same.
      at(1, 5),
    ]
    for (const nodeId of [1, 2, 3])
      expect(await commit('g', wrong, nodeId)).toEqual([
        'ok',
        'UNKNOWN_PARTITION',
        'UNKNOWN_TOPIC',
        'UNKNOWN_TOPIC',
        'OFFSET_OUT_OF_RANGE',
        'INVALID_REQUEST',
        'INVALID_REQUEST',
        'ok',
      ])
    expect(await offsets('g')).toEqual(['orders/0@50', 'orders/1@5'])
  })

  it('need no leader but the coordinator', async () => {
    await commit('g', [at(0, 50)])
    groups.moveLeader('orders', 0, null)
    expect(await commit('g', [at(0, 60)])).toEqual(['ok'])
    const { offsets: seen } = await groups.call(1, Groups.fetchOffsets, { group: 'g' })
    expect(seen[0]).toMatchObject({ nextOffset: 60 })
    expect(seen[0]?.highWatermark).toBeUndefined()
  })

  it('are a member’s while there are members', async () => {
    const { epoch } = await member('g')
    const refused = (of: object) =>
      groups.refusal(1, Groups.commitOffsets, { group: 'g', offsets: [at(0, 50)], ...of })
    expect((await refused({})).reason).toBe('GROUP_NOT_EMPTY')
    expect((await refused({ member: 'm' })).reason).toBe('INVALID_REQUEST')
    expect((await refused({ memberEpoch: epoch })).reason).toBe('INVALID_REQUEST')
    expect((await refused({ member: 'other', memberEpoch: epoch })).reason).toBe('UNKNOWN_MEMBER')
    expect((await refused({ offsets: [] })).reason).toBe('INVALID_REQUEST')
    const of = { group: 'g', member: 'm', memberEpoch: epoch, offsets: [at(0, 50)] }
    const { results } = await groups.call(3, Groups.commitOffsets, of)
    expect(results).toEqual([{ topic: 'orders', partition: 0, nextOffset: 50 }])
  })

  it('too large are refused before they are read', async () => {
    const many = Array.from({ length: 10_001 }, () => at(0, 50))
    const refused = (of: Offset[]) => groups.refusal(1, Groups.commitOffsets, { group: 'g', offsets: of })
    expect((await refused(many)).reason).toBe('INVALID_REQUEST')
    const metadata = 'x'.repeat(4_096)
    const large = Array.from({ length: 1_100 }, () => at(0, 50, { metadata }))
    expect((await refused(large)).reason).toBe('REQUEST_TOO_LARGE')
  })

  it('whose answer is lost have an unknown outcome', async () => {
    await commit('g', [at(0, 50)])
    const coordinator = groups.coordinatorOf('g')
    expect(await offsets('g', groups.otherThan(coordinator))).toEqual(['orders/0@50'])
    const held = groups.coordinators.get(coordinator)
    if (held !== undefined) held.isStalled = true
    const of = { group: 'g', offsets: [at(0, 60)] }
    const answer = failureOf(groups.cluster.send(groups.otherThan(coordinator), Groups.commitOffsets, of))
    await groups.cluster.scheduler.runFor(100)
    groups.cluster.node(coordinator).machine.kill()
    const error = await groups.cluster.run(answer)
    expect(error.reason).toBe('UNKNOWN_OUTCOME')
    expect(error.message).toContain('coordinator of group "g"')
  })

  it('wait for a coordinator that is moving', async () => {
    await commit('g', [at(0, 50)])
    groups.moveCoordinator('g', null)
    const waiting = groups.cluster.send(1, Groups.commitOffsets, { group: 'g', offsets: [at(0, 60)] })
    await groups.cluster.scheduler.runFor(3_000)
    groups.moveCoordinator('g', 3)
    await groups.cluster.run(waiting)
    expect(await offsets('g', 2)).toEqual(['orders/0@60'])
  })

  it('are refused with proof where no coordinator comes', async () => {
    await commit('g', [at(0, 50)])
    groups.moveCoordinator('g', null)
    const error = await groups.refusal(1, Groups.commitOffsets, { group: 'g', offsets: [at(0, 60)] })
    expect(error).toMatchObject({ reason: 'LEADER_NOT_AVAILABLE', outcome: 'none' })
  })
})

describe('offsets', () => {
  it('come in pages, of what is asked for', async () => {
    groups.makeTopic('bills', { highWatermark: 9 })
    await commit('g', [at(0, 50), at(1, 60), at(1, 7, { topic: 'bills' })])
    const seen: string[] = []
    let pageToken = ''
    do {
      const page = await groups.call(2, Groups.fetchOffsets, { group: 'g', pageSize: 2, pageToken })
      seen.push(...page.offsets.map(({ topic, partition }) => `${topic}/${partition}`))
      pageToken = page.nextPageToken
    } while (pageToken !== '')
    expect(seen).toEqual(['bills/1', 'orders/0', 'orders/1'])
    const some = await groups.call(3, Groups.fetchOffsets, {
      group: 'g',
      partitions: [{ topic: 'bills' }, { topic: 'orders', partition: 1 }],
    })
    expect(some.offsets.map(({ topic, nextOffset }) => `${topic}@${nextOffset ?? '-'}`)).toEqual([
      'bills@-',
      'bills@7',
      'orders@60',
    ])
  })

  it('that do not fit into one answer go on in the next', async () => {
    groups.makeTopic('wide')
    groups.cluster.addPartitions('wide', 1_000)
    const metadata = 'x'.repeat(4_000)
    for (const from of [0, 500]) {
      const some = Array.from({ length: 500 }, (_, index) => at(from + index, 0, { topic: 'wide', metadata }))
      expect(new Set(await commit('g', some))).toEqual(new Set(['ok']))
    }
    const first = await groups.call(2, Groups.fetchOffsets, { group: 'g' })
    expect(first.offsets.length).toBeLessThan(1_000)
    const second = await groups.call(2, Groups.fetchOffsets, { group: 'g', pageToken: first.nextPageToken })
    expect(first.offsets.length + second.offsets.length).toBe(1_000)
    const described = await groups.call(2, Groups.describeGroup, { group: 'g' })
    expect(described.offsets).toHaveLength(1_000)
  })

  it('of nothing that exists are refused', async () => {
    const refused = async (of: object) => (await groups.refusal(1, Groups.fetchOffsets, of)).reason
    expect(await refused({ group: 'none' })).toBe('UNKNOWN_GROUP')
    expect(groups.cluster.hasTopic('__groups')).toBe(false)
    await commit('g', [at(0, 50)])
    expect(await refused({ group: 'none' })).toBe('UNKNOWN_GROUP')
    expect(await refused({ group: '' })).toBe('INVALID_REQUEST')
    expect(await refused({ group: 'g', partitions: [{ topic: 'none' }] })).toBe('UNKNOWN_TOPIC')
    expect(await refused({ group: 'g', partitions: [{ topic: 'orders', partition: 2 }] })).toBe(
      'UNKNOWN_PARTITION',
    )
    expect(await refused({ group: 'g', pageToken: 'x' })).toBe('INVALID_REQUEST')
    expect(await refused({ group: 'g', pageSize: 0 })).toBe('INVALID_REQUEST')
  })

  it('are places for who reads beside the group', async () => {
    await commit('g', [at(0, 50)])
    const listed = async (group?: string) => {
      const partitions = [{ topic: 'orders', position: { at: 'COMMITTED' as const } }]
      const answer = await groups.call(2, Consumer.listOffsets, { partitions, ...(group && { group }) })
      return answer.offsets.map(({ offset, failure }) => failure?.reason ?? offset)
    }
    expect(await listed('g')).toEqual([50, undefined])
    expect(await listed('none')).toEqual([undefined, undefined])
    expect(await listed()).toEqual(['INVALID_REQUEST', 'INVALID_REQUEST'])
  })

  it('are not those of a topic that is made anew', async () => {
    await commit('g', [at(0, 50)])
    const fetched = await groups.call(1, Consumer.listOffsets, {
      group: 'g',
      partitions: [{ topic: 'orders', topicId: 'id-before', partition: 0, position: { at: 'COMMITTED' } }],
    })
    expect(fetched.offsets[0]?.failure?.reason).toBe('UNKNOWN_TOPIC')
  })
})

describe('a list of groups', () => {
  const names = Array.from({ length: 40 }, (_, index) => `group-${String(index).padStart(2, '0')}`)

  async function pages(request: object): Promise<string[]> {
    const seen: string[] = []
    let pageToken = ''
    do {
      const page = await groups.call(2, Groups.listGroups, { ...request, pageToken })
      expect(page.failures).toEqual([])
      seen.push(...page.groups.map(({ group }) => group))
      pageToken = page.nextPageToken
    } while (pageToken !== '')
    return seen
  }

  it('is empty where there is none', async () => {
    expect(await pages({})).toEqual([])
    expect(groups.cluster.hasTopic('__groups')).toBe(false)
  })

  it('goes over all coordinators, in order', async () => {
    for (const name of names) await commit(name, [at(0, 50)])
    expect(await pages({})).toEqual(names)
    expect(await pages({ pageSize: 7 })).toEqual(names)
    expect(await pages({ namePrefix: 'group-1', pageSize: 10 })).toEqual(names.slice(10, 20))
    await member('group-05')
    expect(await pages({ states: ['STABLE', 'RECONCILING'] })).toEqual(['group-05'])
    const { groups: listed } = await groups.call(1, Groups.listGroups, { namePrefix: 'group-05' })
    expect(listed).toEqual([
      { group: 'group-05', state: 'STABLE', memberCount: 1, coordinatorId: groups.coordinatorOf('group-05') },
    ])
  })

  it('names the coordinators whose groups are missing', async () => {
    for (const name of names) await commit(name, [at(0, 50)])
    const gone = groups.coordinators.get(1)?.partitionOf('group-05') ?? -1
    groups.moveCoordinator('group-05', null)
    const { groups: listed, failures } = await groups.call(2, Groups.listGroups, {})
    expect(failures).toMatchObject([
      { topic: '__groups', partition: gone, failure: { reason: 'LEADER_NOT_AVAILABLE' } },
    ])
    expect(listed.length).toBeLessThan(names.length)
    expect(listed.length).toBeGreaterThan(30)
  })

  it('refuses what cannot be', async () => {
    const refused = async (of: object) => (await groups.refusal(1, Groups.listGroups, of)).reason
    expect(await refused({ pageSize: 1_001 })).toBe('INVALID_REQUEST')
    expect(await refused({ states: ['UNKNOWN'] })).toBe('INVALID_REQUEST')
    expect(await refused({ pageToken: '*' })).toBe('INVALID_REQUEST')
  })
})

describe('a description', () => {
  it('tells of members and of offsets with their ends', async () => {
    const attending = await member('g')
    await groups.call(1, Groups.commitOffsets, {
      group: 'g',
      member: 'm',
      memberEpoch: attending.epoch,
      offsets: [at(0, 70)],
    })
    for (const nodeId of [1, 2, 3]) {
      const described = await groups.call(nodeId, Groups.describeGroup, { group: 'g' })
      expect(described).toMatchObject({ state: 'STABLE', assignor: 'uniform', groupEpoch: attending.epoch })
      expect(described.coordinatorId).toBe(groups.coordinatorOf('g'))
      expect(described.members).toMatchObject([
        {
          member: 'm',
          topics: ['orders'],
          assigned: [
            { topic: 'orders', partition: 0 },
            { topic: 'orders', partition: 1 },
          ],
          target: [
            { topic: 'orders', partition: 0 },
            { topic: 'orders', partition: 1 },
          ],
        },
      ])
      expect(described.offsets).toMatchObject([
        { partition: 0, nextOffset: 70, highWatermark: 100, member: 'm' },
        { partition: 1, nextOffset: 10, highWatermark: 100, member: 'm' },
      ])
    }
  })
})

describe('a reset', () => {
  const reset = async (request: object) => {
    const { offsets: moved } = await groups.call(3, Groups.resetOffsets, { group: 'g', ...request })
    return moved.map(
      ({ partition, oldNextOffset = '-', newNextOffset = '-', failure }) =>
        `${partition}: ${oldNextOffset} > ${failure?.reason ?? newNextOffset}`,
    )
  }

  beforeEach(async () => {
    await commit('g', [at(0, 50), at(1, 60)])
    groups.ends('orders', 1).offsetOfTime = () => 77
  })

  it('only tells what would be, when it is a dry run', async () => {
    expect(await reset({ to: { at: 'LATEST' }, dryRun: true })).toEqual(['0: 50 > 100', '1: 60 > 100'])
    expect(await offsets('g')).toEqual(['orders/0@50', 'orders/1@60'])
  })

  it('moves to places, times and by counts', async () => {
    expect(await reset({ to: { at: 'EARLIEST' } })).toEqual(['0: 50 > 10', '1: 60 > 10'])
    expect(await reset({ to: { at: 'LATEST' }, partitions: [{ topic: 'orders', partition: 1 }] })).toEqual([
      '1: 10 > 100',
    ])
    expect(await reset({ to: { timestampMs: 5 }, partitions: [{ topic: 'orders', partition: 1 }] })).toEqual([
      '1: 100 > 77',
    ])
    expect(await reset({ shiftBy: -30 })).toEqual(['0: 10 > 10', '1: 77 > 47'])
    expect(await reset({ shiftBy: 60 })).toEqual(['0: 10 > 70', '1: 47 > 100'])
    expect(await reset({ to: { last: 5 } })).toEqual(['0: 70 > 95', '1: 100 > 95'])
    expect(await reset({ to: { at: 'COMMITTED' } })).toEqual(['0: 95 > 95', '1: 95 > 95'])
    expect(await offsets('g')).toEqual(['orders/0@95', 'orders/1@95'])
  })

  it('gives each partition its own offset', async () => {
    const moved = [
      { topic: 'orders', partition: 1, nextOffset: 20 },
      { topic: 'orders', partition: 0, nextOffset: 30 },
    ]
    expect(await reset({ offsets: moved })).toEqual(['0: 50 > 30', '1: 60 > 20'])
    expect(await offsets('g')).toEqual(['orders/0@30', 'orders/1@20'])
  })

  it('tells what cannot be moved, and moves the others', async () => {
    groups.ends('orders', 1).highWatermark = 70
    expect(await reset({ to: { offset: 80 } })).toEqual(['0: 50 > 80', '1: 60 > OFFSET_OUT_OF_RANGE'])
    groups.moveLeader('orders', 0, null)
    expect(await reset({ to: { at: 'EARLIEST' } })).toEqual(['0: 80 > LEADER_NOT_AVAILABLE', '1: 60 > 10'])
  })

  it('makes a group of the partitions that it names', async () => {
    expect(await reset({ group: 'new', to: { at: 'LATEST' }, partitions: [{ topic: 'orders' }] })).toEqual([
      '0: - > 100',
      '1: - > 100',
    ])
    expect(await offsets('new')).toEqual(['orders/0@100', 'orders/1@100'])
    expect(
      await reset({ group: 'newer', shiftBy: 1, partitions: [{ topic: 'orders', partition: 0 }] }),
    ).toEqual(['0: - > INVALID_REQUEST'])
  })

  it('is refused while there are members, and without a group or a target', async () => {
    const refused = async (of: object) => (await groups.refusal(1, Groups.resetOffsets, of)).reason
    expect(await refused({ group: 'g' })).toBe('INVALID_REQUEST')
    expect(await refused({ group: 'none', to: { at: 'LATEST' } })).toBe('UNKNOWN_GROUP')
    expect(await refused({ group: 'g', to: { offset: -3 } })).toBe('INVALID_REQUEST')
    const one = { topic: 'orders', partition: 0, nextOffset: 1 }
    expect(await refused({ group: 'g', shiftBy: 1, offsets: [one] })).toBe('INVALID_REQUEST')
    await member('g')
    expect(await refused({ group: 'g', to: { at: 'LATEST' } })).toBe('GROUP_NOT_EMPTY')
    expect(await refused({ group: 'g', to: { at: 'LATEST' }, dryRun: true })).toBe('GROUP_NOT_EMPTY')
  })
})

describe('a deletion', () => {
  it('takes the group with its offsets, unless it has members', async () => {
    await commit('g', [at(0, 50)])
    await groups.call(2, Groups.deleteGroup, { group: 'g' })
    expect((await groups.refusal(1, Groups.describeGroup, { group: 'g' })).reason).toBe('UNKNOWN_GROUP')
    expect((await groups.refusal(3, Groups.deleteGroup, { group: 'g' })).reason).toBe('UNKNOWN_GROUP')
    await member('h')
    expect(await groups.refusal(1, Groups.deleteGroup, { group: 'h' })).toBeInstanceOf(NaruError)
    expect((await groups.refusal(1, Groups.deleteGroup, { group: 'h' })).reason).toBe('GROUP_NOT_EMPTY')
  })
})
