import { afterEach, beforeEach, expect, it } from 'vitest'
import type { AttendResponse } from '../../../src/wire/messages.ts'
import { Consumer, Groups, Producer } from '../../../src/wire/methods.ts'
import { ThinClient, type ThinStream } from '../thin-client.ts'

/** Whole nodes with the driver of the coordinators, which the other tests of groups do without. */
let client: ThinClient

beforeEach(async () => {
  client = await ThinClient.start()
  await client.createTopic('orders', { partitions: 4 })
  for (const partition of [0, 1, 2, 3])
    await client.call(0, Producer.produce, {
      topic: 'orders',
      partition,
      records: Array.from({ length: 10 }, (_, index) => ({ value: Buffer.from(String(index)) })),
    })
})

afterEach(async () => {
  for (const member of client.cluster.running) await client.cluster.stop(member)
})

const commit = (nodeId: number, group = 'g') =>
  client.call(nodeId, Groups.commitOffsets, {
    group,
    offsets: [0, 1, 2, 3].map(partition => ({ topic: 'orders', partition, nextOffset: 4 + partition })),
  })

/** `partition@offset`, as told. */
function owned({ frames }: { frames: readonly AttendResponse[] }): string[] {
  return frames
    .flatMap(({ assigned }) => assigned?.partitions ?? [])
    .map(({ partition, nextOffset }) => `${partition}@${nextOffset}`)
    .sort()
}

function attend(nodeId: number, member: string): ThinStream<object, AttendResponse> {
  const stream = client.stream(nodeId, Groups.attend)
  stream.send({ join: { group: 'g', topics: ['orders'], member } })
  return stream
}

it('keeps offsets and members, whichever node is asked', async () => {
  await commit(0)
  const member = attend(1, 'm')
  await member.until(() => owned(member).length === 4)
  expect(owned(member)).toEqual(['0@4', '1@5', '2@6', '3@7'])
  for (const nodeId of [0, 1, 2]) {
    const described = await client.call(nodeId, Groups.describeGroup, { group: 'g' })
    expect(described.state).toBe('STABLE')
    expect(described.members).toMatchObject([{ member: 'm', disconnected: false }])
    expect(described.offsets.map(({ nextOffset, highWatermark }) => [nextOffset, highWatermark])).toEqual([
      [4, 10],
      [5, 10],
      [6, 10],
      [7, 10],
    ])
    const { groups, failures } = await client.call(nodeId, Groups.listGroups, {})
    expect(failures).toEqual([])
    expect(groups.map(({ group, memberCount }) => [group, memberCount])).toEqual([['g', 1]])
  }
})

it('lets readers begin where a group has got', async () => {
  await commit(0)
  for (const nodeId of [0, 1, 2]) {
    const fetched = await client.call(nodeId, Consumer.fetch, {
      group: 'g',
      partitions: [{ topic: 'orders', partition: 2, start: { at: 'COMMITTED' } }],
    })
    expect(fetched.partitions[0]?.records[0]?.offset).toBe(6)
    const read = client.stream(nodeId, Consumer.read)
    read.send({
      options: { group: 'g' },
      add: [{ topic: 'orders', start: { at: 'COMMITTED' }, stop: { at: 'CURRENT_END' } }],
    })
    read.stream.end()
    await read.until(() => false)
    const first = new Map<number, number>()
    for (const { records } of read.frames)
      for (const { partition, records: some } of records)
        if (!first.has(partition)) first.set(partition, some[0]?.offset ?? -1)
    expect(Object.fromEntries(first)).toEqual({ 0: 4, 1: 5, 2: 6, 3: 7 })
    const other = await client.call(nodeId, Consumer.fetch, {
      group: 'nobody',
      partitions: [{ topic: 'orders', partition: 2, start: { at: 'COMMITTED' } }],
    })
    expect(other.partitions[0]?.records[0]?.offset).toBe(0)
  }
})

it('loses nothing with the coordinator: its members come back to what they had', async () => {
  await commit(0)
  const { coordinatorId } = await client.call(0, Groups.describeGroup, { group: 'g' })
  const at = client.otherThan(coordinatorId)
  const member = attend(at, 'm')
  await member.until(() => owned(member).length === 4)
  const node = client.cluster.members[coordinatorId]
  if (node === undefined) throw new Error('no such node')
  client.cluster.kill(node)
  await client.cluster.until(() => member.closed !== undefined, 10_000)
  expect(member.closed?.error?.reason).toBe('LEADER_NOT_AVAILABLE')
  const back = attend(at, 'm')
  await back.until(() => owned(back).length === 4, 20_000)
  expect(owned(back)).toEqual(['0@4', '1@5', '2@6', '3@7'])
  const epoch = Math.max(...back.frames.map(frame => frame.assigned?.memberEpoch ?? 0))
  const { results } = await client.call(at, Groups.commitOffsets, {
    group: 'g',
    member: 'm',
    memberEpoch: epoch,
    offsets: [{ topic: 'orders', partition: 0, nextOffset: 9 }],
  })
  expect(results[0]?.failure).toBeUndefined()
  back.stream.end()
  await back.until(() => false)
  expect(back.closed?.error).toBeUndefined()
})
