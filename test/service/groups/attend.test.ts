import { beforeEach, describe, expect, it } from 'vitest'
import { Groups } from '../../../src/wire/methods.ts'
import { GroupCluster } from './group-cluster.ts'

let groups: GroupCluster

beforeEach(() => {
  groups = new GroupCluster()
  groups.makeTopic('orders', { highWatermark: 10 })
})

describe('a member', () => {
  it('makes __groups with the first group, joins, and gets all partitions with their starts', async () => {
    expect(groups.cluster.hasTopic('__groups')).toBe(false)
    const member = groups.attend(1, { group: 'g', topics: ['orders'], member: 'm', start: { at: 'LATEST' } })
    await member.until(({ owned }) => owned.length === 2)
    expect(groups.cluster.hasTopic('__groups')).toBe(true)
    expect(member.joined).toMatchObject({ member: 'm', sessionTimeoutMs: 10_000, warnings: [] })
    expect(member.owned).toEqual(['orders/0@10', 'orders/1@10'])
    const [assigned] = member.frames.flatMap(frame => frame.assigned?.partitions ?? [])
    expect(assigned?.topicId).toBe('id-of-orders')
  })

  it('is served at any node alike', async () => {
    const members = [1, 2, 3].map(nodeId =>
      groups.attend(nodeId, { group: 'g', topics: ['orders'], member: `m${nodeId}` }),
    )
    for (const member of members) await member.until(({ joined }) => joined !== undefined)
    await groups.cluster.scheduler.runFor(5_000)
    expect(members.flatMap(({ owned }) => owned).sort()).toEqual(['orders/0@0', 'orders/1@0'])
    const { members: described } = await groups.call(2, Groups.describeGroup, { group: 'g' })
    expect(described.map(({ member, address, disconnected }) => ({ member, address, disconnected }))).toEqual(
      ['m1', 'm2', 'm3'].map(member => ({ member, address: 'client', disconnected: false })),
    )
  })
})
