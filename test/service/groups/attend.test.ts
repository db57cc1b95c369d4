import { beforeEach, describe, expect, it } from 'vitest'
import { type ErrorReason, NaruError } from '../../../src/base/errors.ts'
import { Groups } from '../../../src/wire/methods.ts'
import { GroupCluster, type TestMember } from './group-cluster.ts'

let groups: GroupCluster

beforeEach(() => {
  groups = new GroupCluster()
  groups.makeTopic('orders', { highWatermark: 10 })
})

const forMs = (ms: number) => groups.cluster.scheduler.runFor(ms)
const join = { group: 'g', topics: ['orders'] }
const both = ({ owned }: TestMember) => owned.length === 2

describe('a member', () => {
  it('makes __groups with the first group, joins, and gets all partitions with their starts', async () => {
    expect(groups.cluster.hasTopic('__groups')).toBe(false)
    const member = groups.attend(1, { ...join, member: 'm', start: { at: 'LATEST' } })
    await member.until(both)
    expect(groups.cluster.hasTopic('__groups')).toBe(true)
    expect(member.joined).toMatchObject({ member: 'm', sessionTimeoutMs: 10_000, warnings: [] })
    expect(member.owned).toEqual(['orders/0@10', 'orders/1@10'])
    const [assigned] = member.frames.flatMap(frame => frame.assigned?.partitions ?? [])
    expect(assigned?.topicId).toBe('id-of-orders')
  })

  it('is served at any node alike', async () => {
    const members = [1, 2, 3].map(nodeId => groups.attend(nodeId, { ...join, member: `m${nodeId}` }))
    for (const member of members) await member.until(({ joined }) => joined !== undefined)
    await forMs(5_000)
    expect(members.flatMap(({ owned }) => owned).sort()).toEqual(['orders/0@0', 'orders/1@0'])
    const { members: described } = await groups.call(2, Groups.describeGroup, { group: 'g' })
    expect(described.map(({ member, address, disconnected }) => ({ member, address, disconnected }))).toEqual(
      ['m1', 'm2', 'm3'].map(member => ({ member, address: 'client', disconnected: false })),
    )
  })

  it('is given a name if it has none, and warned of what is not as it wishes', async () => {
    const first = groups.attend(1, join)
    const second = groups.attend(2, { ...join, assignor: 'range' })
    await first.until(({ joined }) => joined !== undefined)
    await second.until(({ joined }) => joined !== undefined)
    expect(first.joined?.member).not.toBe(second.joined?.member)
    expect(first.joined?.member.length).toBeGreaterThan(10)
    expect(second.joined?.warnings).toHaveLength(1)
  })

  it('hears an answer to each heartbeat, with its number', async () => {
    const member = groups.attend(2, join)
    await member.until(both)
    member.send({ heartbeat: { number: 7 } })
    member.send({ heartbeat: { number: 9 } })
    await member.until(({ frames }) => frames.filter(one => one.heartbeat).length === 2)
    const answers = member.frames.flatMap(({ heartbeat }) => heartbeat ?? [])
    expect(answers.map(({ number }) => number)).toEqual([7, 9])
    expect(answers[0]?.memberEpoch).toBe(member.epoch)
  })

  it('wants other topics from now on', async () => {
    groups.makeTopic('bills')
    const member = groups.attend(1, join)
    await member.until(both)
    member.send({ topics: { topics: ['bills'] } })
    await member.until(({ owned }) => owned.every(one => one.startsWith('bills/')) && owned.length === 2)
  })
})

describe('a partition', () => {
  it('is asked back with a deadline, and goes to the other once it is released', async () => {
    const first = groups.attend(1, { ...join, member: 'a' })
    first.releases = false
    await first.until(both)
    const second = groups.attend(2, { ...join, member: 'b' })
    await first.until(({ frames }) => frames.some(({ revoking }) => revoking))
    await forMs(5_000)
    expect(second.owned).toEqual([])
    const revoking = first.frames.flatMap(one => one.revoking ?? [])[0]
    expect(revoking).toMatchObject({ deadlineMs: 60_000 })
    const { partitions = [], memberEpoch = 0 } = revoking ?? {}
    first.send({ release: { partitions, memberEpoch } })
    await second.until(({ owned }) => owned.length === 1)
    // What it gave back itself it is not told to have lost.
    await forMs(1_000)
    expect(first.frames.some(({ lost }) => lost)).toBe(false)
  })

  it('is asked for anew on a new stream, and nobody has it before', async () => {
    const first = groups.attend(1, { ...join, member: 'a' })
    first.releases = false
    await first.until(both)
    const other = groups.attend(2, { ...join, member: 'b' })
    await first.until(({ frames }) => frames.some(({ revoking }) => revoking))
    const back = groups.attend(3, { ...join, member: 'a' })
    back.releases = false
    await back.until(({ frames }) => frames.some(({ revoking }) => revoking))
    expect(back.owned).toHaveLength(2)
    await forMs(5_000)
    expect(other.owned).toEqual([])
    const { partitions = [], memberEpoch = 0 } = back.frames.flatMap(one => one.revoking ?? [])[0] ?? {}
    back.send({ release: { partitions, memberEpoch } })
    await other.until(({ owned }) => owned.length === 1)
  })

  it('is taken at the deadline, and its commits are refused then', async () => {
    const first = groups.attend(1, { ...join, member: 'a' })
    first.releases = false
    await first.until(both)
    const second = groups.attend(2, { ...join, member: 'b' })
    await first.until(({ frames }) => frames.some(({ lost }) => lost))
    await second.until(({ owned }) => owned.length === 1)
    const lost = first.frames.flatMap(one => one.lost ?? [])[0]
    expect(lost?.cause?.reason).toBe('PARTITION_NOT_OWNED')
    const partition = lost?.partitions[0]?.partition ?? 0
    const { results } = await groups.call(3, Groups.commitOffsets, {
      group: 'g',
      member: 'a',
      memberEpoch: first.epoch,
      offsets: [0, 1].map(one => ({ topic: 'orders', partition: one, nextOffset: 5 })),
    })
    expect(results.map(({ failure }) => failure?.reason)[partition]).toBe('PARTITION_NOT_OWNED')
    expect(results.map(({ failure }) => failure?.reason)[1 - partition]).toBeUndefined()
  })

  it('without a leader is waited for, while the others are read', async () => {
    groups.moveLeader('orders', 1, null)
    const member = groups.attend(1, { ...join, start: { at: 'LATEST' } })
    await member.until(({ owned }) => owned.length === 1)
    await forMs(30_000)
    expect(member.owned).toEqual(['orders/0@10'])
    groups.ends('orders', 1).highWatermark = 12
    groups.moveLeader('orders', 1, 2)
    await member.until(both)
    expect(member.owned).toEqual(['orders/0@10', 'orders/1@12'])
  })

  it.each<ErrorReason>(['CORRUPT_DATA', 'CLOSED'])(
    'is found a start for, though its leader fails with %s in the midst of looking',
    async reason => {
      let failures = 3
      groups.ends('orders', 1).offsetOfTime = () => {
        if (failures-- > 0) throw new NaruError(reason, 'a test says so')
        return 5
      }
      const member = groups.attend(1, { ...join, start: { timestampMs: 1 } })
      await member.until(both)
      expect(member.owned).toEqual(['orders/0@0', 'orders/1@5'])
    },
  )

  it('starts at the nearest offset that is there', async () => {
    Object.assign(groups.ends('orders', 0), { logStartOffset: 8 })
    Object.assign(groups.ends('orders', 1), { highWatermark: 4 })
    const member = groups.attend(1, { ...join, start: { offset: 6 } })
    await member.until(both)
    expect(member.owned).toEqual(['orders/0@8', 'orders/1@4'])
  })
})

describe('a session', () => {
  it('is kept by the connection alone, for as long as that answers', async () => {
    const member = groups.attend(1, { ...join, sessionTimeoutMs: 1_000 })
    await member.until(both)
    await forMs(600_000)
    expect(member.closed).toBeUndefined()
    expect(both(member)).toBe(true)
  })

  it.each([1, 2, 3])('ends when the connection to node %i answers no pings', async nodeId => {
    const member = groups.attend(nodeId, { ...join, sessionTimeoutMs: 2_000 })
    await member.until(both)
    // Its process stands still: what it is sent arrives, and nobody answers.
    groups.cluster.network.cut('client', `host-${nodeId}`)
    const described = () => groups.coordinators.get(groups.coordinatorOf('g'))?.of('g')
    const members = async () => {
      const description = await groups.cluster.run(
        described()?.run(({ admin }) => admin.describe('g')) ?? Promise.reject(new Error('no coordinator')),
      )
      return description.members.length
    }
    await forMs(1_200)
    expect(await members()).toBe(1)
    await forMs(1_500)
    expect(await members()).toBe(0)
  })

  it('goes on at another node within the grace, with all that the member had', async () => {
    const first = groups.attend(1, { ...join, member: 'a' })
    await first.until(both)
    const other = groups.attend(3, { ...join, member: 'b' })
    await other.until(({ owned }) => owned.length === 1)
    const [kept] = first.owned
    groups.cluster.network.reset('client', 'host-1')
    await first.untilClosed()
    await forMs(2_000)
    const back = groups.attend(2, { ...join, member: 'a' })
    await back.until(({ owned }) => owned.length === 1)
    expect(back.owned).toEqual([kept])
    expect(other.frames.some(({ lost, revoking }) => lost || revoking)).toBe(false)
  })

  it('runs out after a break, and others take over', async () => {
    const first = groups.attend(1, { ...join, member: 'a' })
    await first.until(both)
    const other = groups.attend(3, { ...join, member: 'b' })
    await other.until(({ owned }) => owned.length === 1)
    first.stream.fail(new Error('gone'))
    await forMs(2_900)
    expect(other.owned).toHaveLength(1)
    await forMs(1_000)
    expect(other.owned).toHaveLength(2)
  })

  it('ends at once with a half-close, after what was asked before', async () => {
    const first = groups.attend(2, { ...join, member: 'a' })
    await first.until(both)
    first.send({ heartbeat: { number: 1 } })
    first.stream.end()
    expect(await first.untilClosed()).toBeUndefined()
    expect(first.frames.some(({ heartbeat }) => heartbeat)).toBe(true)
    const { members, state } = await groups.call(1, Groups.describeGroup, { group: 'g' })
    expect({ members, state }).toEqual({ members: [], state: 'EMPTY' })
  })

  it('is over for a stream whose name another one takes', async () => {
    const first = groups.attend(1, { ...join, member: 'a' })
    await first.until(both)
    const second = groups.attend(2, { ...join, member: 'a' })
    await second.until(both)
    expect((await first.untilClosed())?.reason).toBe('MEMBER_FENCED')
    expect(first.frames.at(-1)?.lost?.partitions).toHaveLength(2)
    expect(first.frames.at(-1)?.lost?.cause?.reason).toBe('MEMBER_FENCED')
    await forMs(20_000)
    expect(both(second)).toBe(true)
  })
})

describe('a join that comes late', () => {
  type Join = Parameters<GroupCluster['attend']>[1]
  const own = { ...join, member: 'a', instance: 'p' }
  let coordinator: number
  let other: number

  beforeEach(async () => {
    await groups.begin()
    coordinator = groups.coordinatorOf('g')
    other = groups.otherThan(coordinator)
    const first = groups.attend(other, { ...own, attempt: 1 })
    await first.until(both)
  })

  /** By the node from which nothing reaches the coordinator now: its client gives up, and the join is on its way. */
  async function joinLate(late: Join): Promise<void> {
    groups.cluster.network.cut(`host-${other}`, `host-${coordinator}`)
    const member = groups.attend(other, late)
    await forMs(500)
    member.stream.fail(new Error('gone'))
    await member.untilClosed()
  }

  async function expectToStay(member: TestMember): Promise<void> {
    await member.until(both)
    groups.cluster.network.heal()
    await forMs(10_000)
    expect(member.closed).toBeUndefined()
    expect(both(member)).toBe(true)
  }

  it('changes nothing for a process that has joined another way', async () => {
    await joinLate({ ...own, attempt: 2 })
    await expectToStay(groups.attend(coordinator, { ...own, attempt: 3 }))
  })

  it.each<Join>([
    { ...own, attempt: 2 },
    { ...join, member: 'a' },
  ])('changes nothing for the process that has taken the name: %j', async late => {
    await joinLate(late)
    await expectToStay(groups.attend(coordinator, { ...own, instance: 'q' }))
  })

  it('changes nothing where the coordinator has moved in between', async () => {
    const second = groups.attend(coordinator, { ...own, attempt: 3 })
    await second.until(both)
    groups.moveCoordinator('g', other)
    await second.untilClosed()
    const late = groups.attend(coordinator, { ...own, attempt: 2 })
    expect((await late.untilClosed())?.reason).toBe('MEMBER_FENCED')
    const third = groups.attend(coordinator, { ...own, attempt: 4 })
    await third.until(both)
  })
})

describe('a coordinator that moves', () => {
  it.each(['its node', 'another node'])(
    'ends the stream of a member of %s, which keeps its partitions',
    async where => {
      const warmUp = groups.attend(1, { ...join, member: 'b' })
      await warmUp.until(both)
      const coordinator = groups.coordinatorOf('g')
      const at = where === 'its node' ? coordinator : groups.otherThan(coordinator)
      const member = groups.attend(at, { ...join, member: 'a' })
      await member.until(({ owned }) => owned.length === 1)
      const before = member.owned
      groups.moveCoordinator('g', groups.otherThan(coordinator))
      const error = await member.untilClosed()
      expect(error?.reason).toBe('LEADER_NOT_AVAILABLE')
      expect(error?.retriable).toBe(true)
      expect(error?.message).toContain('attend again as member "a"')
      const back = groups.attend(at, { ...join, member: 'a' })
      await back.until(({ owned }) => owned.length === 1)
      expect(back.owned).toEqual(before)
    },
  )

  it('is waited for by who joins meanwhile', async () => {
    const warmUp = groups.attend(1, join)
    await warmUp.until(both)
    groups.moveCoordinator('g', null)
    await warmUp.untilClosed()
    const member = groups.attend(1, { ...join, member: 'a' })
    await forMs(3_000)
    expect(member.frames).toEqual([])
    groups.moveCoordinator('g', 2)
    await member.until(({ joined }) => joined !== undefined)
  })

  it('is waited for no longer than ten seconds', async () => {
    const warmUp = groups.attend(1, join)
    await warmUp.until(both)
    groups.moveCoordinator('g', null)
    const member = groups.attend(2, { ...join, member: 'a' })
    const error = await member.untilClosed()
    expect(error?.reason).toBe('LEADER_NOT_AVAILABLE')
    expect(error?.outcome).toBe('none')
  })

  it('hangs: the member hears of it with the metadata', async () => {
    const warmUp = groups.attend(1, join)
    await warmUp.until(both)
    const coordinator = groups.coordinatorOf('g')
    const at = groups.otherThan(coordinator)
    const member = groups.attend(at, { ...join, member: 'a' })
    await member.until(({ joined }) => joined !== undefined)
    groups.cluster.network.cut(`host-${coordinator}`, `host-${at}`)
    groups.cluster.network.cut(`host-${at}`, `host-${coordinator}`)
    groups.moveCoordinator('g', groups.otherThan(at) === coordinator ? at : groups.otherThan(at))
    const error = await member.untilClosed()
    expect(error?.reason).toBe('LEADER_NOT_AVAILABLE')
    // Before the connection is given up.
    expect(error?.message).toContain(`node ${coordinator} is not the coordinator any more`)
  })
})

describe('what is wrong', () => {
  const first = async (frame: Parameters<TestMember['send']>[0]) => {
    const member = groups.attend(1, {})
    const stream = groups.cluster.node(1).channel.stream(Groups.attend.path)
    let error: unknown
    stream.setHandlers({
      onMessage() {},
      onClose: closed => {
        error = closed
      },
    })
    stream.write(Groups.attend.request.encode(frame))
    await member.untilClosed()
    await groups.cluster.scheduler.runUntil(() => error !== undefined, { timeMsMax: 10_000 })
    return error
  }

  it('with the first frame ends the stream', async () => {
    for (const frame of [
      {},
      { heartbeat: { number: 1 } },
      { join: { group: '', topics: ['orders'] } },
      { join: { group: 'g', topics: [] } },
      { join: { ...join, sessionTimeoutMs: 999 } },
      { join: { ...join, member: '' } },
      { join: { ...join, assignor: 'best' } },
      { join: { ...join, start: { offset: -1 } } },
    ])
      expect(await first(frame), JSON.stringify(frame)).toMatchObject({ reason: 'INVALID_REQUEST' })
  })

  it('with a later frame ends the stream as a break does', async () => {
    for (const nodeId of [1, 2, 3]) {
      const member = groups.attend(nodeId, { ...join, member: 'a' })
      await member.until(both)
      member.send({ join })
      expect((await member.untilClosed())?.reason).toBe('INVALID_REQUEST')
    }
    const { members } = await groups.call(1, Groups.describeGroup, { group: 'g' })
    expect(members.map(({ member, disconnected }) => ({ member, disconnected }))).toEqual([
      { member: 'a', disconnected: true },
    ])
  })

  it('is a release that nobody asked for', async () => {
    const member = groups.attend(1, join)
    await member.until(both)
    member.send({ release: { partitions: [{ topic: 'orders', partition: 0 }], memberEpoch: member.epoch } })
    expect((await member.untilClosed())?.reason).toBe('INVALID_REQUEST')
  })
})
