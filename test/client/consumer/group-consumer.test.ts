import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { TopicPartition } from '../../../src/client/index.ts'
import { ConsumerHarness } from './consumer-harness.ts'

let harness: ConsumerHarness

beforeEach(async () => {
  harness = await ConsumerHarness.start()
})

afterEach(async () => {
  await harness.stop()
  expect(harness.sdk.node.bugs).toEqual([])
})

describe('the members of one group', () => {
  it('fewer than partitions: one has several, and reads everything once', async () => {
    await harness.sdk.node.createTopic('logs', 3)
    await harness.fill('logs', 30, 3)
    const a = await harness.member('a')
    await harness.until(() => harness.deliveries.length === 30)
    expect(a.partitions).toEqual(['logs/0', 'logs/1', 'logs/2'])
    expect(harness.values()).toEqual({
      'logs/0': steps(0, 30),
      'logs/1': steps(1, 30),
      'logs/2': steps(2, 30),
    })
    await harness.until(() => sum(harness.groups.committed('g')) === 30)
  })

  it('as many: each has one; more: the extra one is idle, and takes over when one leaves', async () => {
    await harness.sdk.node.createTopic('logs', 2)
    const members = [await harness.member('a'), await harness.member('b'), await harness.member('c')]
    // Whichever of them joined last.
    const idle = () => members.filter(({ partitions }) => partitions.length === 0)
    await harness.until(() => members.filter(({ partitions }) => partitions.length === 1).length === 2)
    const [extra] = idle()
    const [leaving, staying] = members.filter(member => member !== extra)
    expect(idle()).toHaveLength(1)
    await leaving?.close()
    await harness.until(() => extra?.partitions.length === 1)
    await harness.fill('logs', 10, 2)
    await harness.until(() => harness.deliveries.length === 10)
    expect(new Set(harness.deliveries.map(({ member }) => member))).toEqual(
      new Set([extra?.name, staying?.name]),
    )
  })

  it('each group gets everything', async () => {
    await harness.sdk.node.createTopic('logs', 2)
    await harness.fill('logs', 20, 2)
    await harness.member('a', { group: 'one' })
    await harness.member('b', { group: 'two' })
    await harness.until(() => harness.deliveries.length === 40)
    expect(harness.values('a')).toEqual(harness.values('b'))
  })

  it('hands partitions on at a leave with nothing read twice, and at a join', async () => {
    await harness.sdk.node.createTopic('logs', 4)
    await harness.fill('logs', 200, 4)
    const a = await harness.member('a', { handleMs: 5 })
    await harness.until(() => harness.deliveries.length >= 20)
    const b = await harness.member('b', { handleMs: 5 })
    await harness.until(() => b.partitions.length === 2)
    await harness.until(() => harness.deliveries.length >= 100)
    await a.close(1_000)
    await harness.until(() => harness.deliveries.length === 200)
    expect(harness.values()).toEqual({
      'logs/0': steps(0, 200, 4),
      'logs/1': steps(1, 200, 4),
      'logs/2': steps(2, 200, 4),
      'logs/3': steps(3, 200, 4),
    })
    expect(a.isOver).toBe(true)
  })

  it('others have what a closed member had within 200 ms', async () => {
    await harness.sdk.node.createTopic('logs', 2)
    const [a, b] = [await harness.member('a'), await harness.member('b')]
    await harness.until(() => a.partitions.length === 1 && b.partitions.length === 1)
    const closing = a.consumer.close()
    const startMs = harness.nowMs
    await harness.until(() => b.partitions.length === 2)
    expect(harness.nowMs - startMs).toBeLessThan(200)
    await harness.sdk.run(closing)
  })
})

describe('what is committed', () => {
  it('is what the loop has come back from, and no more', async () => {
    await harness.sdk.node.createTopic('logs', 1)
    await harness.fill('logs', 10, 1)
    const a = await harness.member('a', { isIdle: true })
    const loop = a.consumer[Symbol.asyncIterator]()
    for (let i = 0; i < 4; i++) await harness.sdk.run(loop.next())
    await harness.sdk.node.forMs(5_000)
    expect(harness.groups.committed('g')).toEqual({ 'logs/0': 3 })
    await a.close()
    expect(harness.groups.committed('g')).toEqual({ 'logs/0': 3 })
    await harness.member('b')
    await harness.until(() => harness.deliveries.length === 7)
    expect(harness.values()).toEqual({ 'logs/0': [3, 4, 5, 6, 7, 8, 9] })
  })

  it('is gathered: at most one commit a second', async () => {
    await harness.sdk.node.createTopic('logs', 1)
    await harness.fill('logs', 500, 1)
    const a = await harness.member('a', { handleMs: 10 })
    let commits = 0
    const { run } = harness.groups
    harness.groups.run = handler => {
      if (handler.toString().includes('offsets.commit')) commits++
      return run.call(harness.groups, handler) as never
    }
    await harness.until(() => harness.deliveries.length === 500)
    expect(commits).toBeGreaterThan(2)
    expect(commits).toBeLessThanOrEqual(6)
    expect(a.error).toBeUndefined()
  })

  it('by hand: commit() takes the record in hand, commit(offsets) what it is given', async () => {
    await harness.sdk.node.createTopic('logs', 1)
    await harness.fill('logs', 10, 1)
    const a = await harness.member('a', { isIdle: true, autoCommit: false })
    const loop = a.consumer[Symbol.asyncIterator]()
    for (let i = 0; i < 4; i++) await harness.sdk.run(loop.next())
    await harness.sdk.node.forMs(5_000)
    expect(harness.groups.committed('g')).toEqual({ 'logs/0': 0 })
    await harness.sdk.run(a.consumer.commit())
    expect(harness.groups.committed('g')).toEqual({ 'logs/0': 4 })
    await harness.sdk.run(
      a.consumer.commit([{ topic: 'logs', partition: 0, nextOffset: 2, metadata: 'two' }]),
    )
    expect(harness.groups.committed('g')).toEqual({ 'logs/0': 2 })
    await a.close()
    expect(harness.groups.committed('g')).toEqual({ 'logs/0': 2 })
  })

  it('of batches, what came back whole', async () => {
    await harness.sdk.node.createTopic('logs', 1)
    await harness.fill('logs', 10, 1)
    const a = await harness.member('a', { isIdle: true })
    await harness.sdk.run(a.consumer[Symbol.asyncIterator]().return?.() as Promise<unknown>)
    const batches = a.consumer.batches()
    let count = 0
    while (count < 10) count += (await harness.sdk.run(batches.next())).value.records.length
    const lastBatch = harness.groups.committed('g')['logs/0'] ?? 0
    expect(lastBatch).toBeLessThan(10)
    const more = batches.next()
    await harness.until(() => harness.groups.committed('g')['logs/0'] === 10)
    await a.close()
    expect(await more).toEqual({ value: undefined, done: true })
  })

  it('has one loop at a time', async () => {
    await harness.sdk.node.createTopic('logs', 1)
    await harness.fill('logs', 10, 1)
    const a = await harness.member('a', { isIdle: true })
    const first = a.consumer[Symbol.asyncIterator]()
    expect((await harness.sdk.run(first.next())).value.offset).toBe(0)
    const second = a.consumer.batches()
    await expect(harness.sdk.run(second.next())).rejects.toThrow(TypeError)
    // Left by `break`: the second one may go on, and what the first had in hand is covered by what follows it.
    await first.return?.()
    expect((await harness.sdk.run(second.next())).value.records[0].offset).toBe(1)
  })
})

describe('a member that is slow, silent or gone', () => {
  it('takes ten minutes over one record, and keeps all its partitions', async () => {
    await harness.sdk.node.createTopic('logs', 2)
    await harness.fill('logs', 4, 2)
    const a = await harness.member('a', {
      handleMs: record => (record.value?.toString() === '0' ? 600_000 : 0),
    })
    await harness.until(() => harness.values()['logs/0']?.length === 1)
    await harness.sdk.node.forMs(599_000)
    expect(a.told).toEqual(['assigned logs/0', 'assigned logs/1'])
    await harness.until(() => harness.deliveries.length === 4)
  })

  it('killed: others go on from its last commit', async () => {
    await harness.sdk.node.createTopic('logs', 2)
    await harness.fill('logs', 100, 2)
    const a = await harness.member('a', { handleMs: 50 })
    await harness.until(() => harness.deliveries.length === 30)
    a.kill()
    await harness.sdk.node.forMs(100)
    const done = harness.groups.committed('g')
    harness.deliveries.length = 0
    await harness.member('b')
    await harness.until(() => harness.deliveries.length === 100 - sum(done))
    expect(harness.values()).toEqual({
      'logs/0': steps(0, 100, 2).slice(done['logs/0']),
      'logs/1': steps(1, 100, 2).slice(done['logs/1']),
    })
  })

  it('comes back after others were further: takes nothing back that they have committed', async () => {
    await harness.sdk.node.createTopic('logs', 1)
    await harness.fill('logs', 10, 1)
    const a = await harness.member('a', { isIdle: true })
    const inHand = (await harness.sdk.run(a.consumer.batches().next())).value.records
    a.faults.isCut = true
    const b = await harness.member('b', { isIdle: true, autoCommit: false })
    await harness.until(() => b.partitions.length === 1)
    const nextOffset = inHand.length
    await harness.sdk.run(b.consumer.commit([{ topic: 'logs', partition: 0, nextOffset }]))
    await b.close()
    a.faults.isCut = false
    await harness.until(() => a.told.length === 3)
    expect(a.told).toEqual(['assigned logs/0', 'lost logs/0', 'assigned logs/0'])
    await harness.sdk.node.forMs(5_000)
    expect(harness.groups.committed('g')).toEqual({ 'logs/0': nextOffset })
  })

  it('keeps what it has when its stream breaks, and reads nothing twice', async () => {
    await harness.sdk.node.createTopic('logs', 2)
    await harness.fill('logs', 400, 2)
    const a = await harness.member('a', { handleMs: 20 })
    for (let at = 40; at <= 360; at += 40) {
      await harness.until(() => harness.deliveries.length >= at)
      harness.groups.breakStreams()
    }
    await harness.until(() => harness.deliveries.length === 400)
    expect(harness.values()).toEqual({ 'logs/0': steps(0, 400, 2), 'logs/1': steps(1, 400, 2) })
    expect(a.told).toEqual(['assigned logs/0', 'assigned logs/1'])
  })

  it('stops before the coordinator can have given its partitions away (D4)', async () => {
    await harness.sdk.node.createTopic('logs', 1)
    await harness.fill('logs', 2_000, 1)
    const a = await harness.member('a', { handleMs: 20 })
    await harness.until(() => harness.deliveries.length > 20)
    // It reads on from the leader, but neither it nor the coordinator hears of the other.
    const isOfGroups = (path: string) => path.includes('Groups')
    a.faults.toNode = path => (isOfGroups(path) ? 'drop' : 'pass')
    a.faults.toClient = path => (isOfGroups(path) ? 'drop' : 'pass')
    const b = await harness.member('b', { handleMs: 20 })
    await harness.until(() => b.partitions.length === 1)
    await harness.sdk.node.forMs(10_000)
    expectNoneAfterItsOwnership()
    expect(a.told).toContain('lost logs/0')
    a.faults.toNode = () => 'pass'
    a.faults.toClient = () => 'pass'
    await b.close()
    await harness.until(() => a.partitions.length === 1)
  })

  it('that was lost takes with it what waited to be committed', async () => {
    await harness.sdk.node.createTopic('logs', 1)
    await harness.fill('logs', 20, 1)
    const a = await harness.member('a', { isIdle: true, sessionTimeoutMs: 2_000 })
    const loop = a.consumer[Symbol.asyncIterator]()
    for (let i = 0; i < 11; i++) await harness.sdk.run(loop.next())
    // It is heard and hears nothing: its commit of 10 waits for a stream, and outlasts what it is of.
    a.faults.toClient = path => (path.includes('Groups') ? 'drop' : 'pass')
    harness.groups.breakStreams()
    await harness.until(() => a.told.includes('lost logs/0'))
    a.faults.toClient = () => 'pass'
    await harness.until(() => a.partitions.length === 1)
    // Less than it takes to commit again where the member begins anew.
    await harness.sdk.node.forMs(500)
    expect(harness.groups.committed('g')).toEqual({ 'logs/0': 0 })
    for (let i = 0; i < 4; i++) await harness.sdk.run(loop.next())
    await harness.sdk.node.forMs(5_000)
    expect(harness.groups.committed('g')).toEqual({ 'logs/0': 3 })
  })

  it('that is not heard has nothing of what it was asked for unheard once another one has it', async () => {
    await harness.sdk.node.createTopic('logs', 2)
    // All in the partition that will be another one's.
    const producer = harness.sdk.client.producer()
    for (let i = 0; i < 1_000; i++) void producer.send({ topic: 'logs', partition: 1, value: String(i) })
    await harness.sdk.run(producer.close())
    const a = await harness.member('a', { handleMs: 20 })
    await harness.until(() => harness.deliveries.length > 20)
    // That it is asked for a partition does not reach it, nor what is said to its next stream.
    a.faults.toClient = path => (path.includes('Groups') ? 'drop' : 'pass')
    const b = await harness.member('b', { handleMs: 20 })
    await harness.sdk.node.forMs(500)
    expect(b.partitions).toEqual([])
    harness.groups.breakStreams()
    await harness.until(() => b.partitions.length === 1)
    await harness.sdk.node.forMs(1_000)
    expectNoneAfterItsOwnership()
    a.faults.toClient = () => 'pass'
    await harness.until(() => a.partitions.length === 1 && b.partitions.length === 1)
    await harness.until(() => harness.deliveries.length > 200)
    expectNoneAfterItsOwnership()
  })

  it('is fenced by another one of its name', async () => {
    await harness.sdk.node.createTopic('logs', 1)
    const a = await harness.member('a')
    await harness.until(() => a.partitions.length === 1)
    const other = await harness.member('a')
    await harness.until(() => a.isOver && other.partitions.length === 1)
    expect(a.error).toMatchObject({ reason: 'MEMBER_FENCED' })
  })
})

describe('a partition that is asked back', () => {
  it('is kept until the loop has come back from its record', async () => {
    await harness.sdk.node.createTopic('logs', 2)
    await harness.fill('logs', 1, 2, 1)
    const a = await harness.member('a', { handleMs: 20_000 })
    await harness.until(() => harness.values()['logs/1']?.length === 1)
    const b = await harness.member('b')
    await harness.until(() => a.told.includes('revoked logs/1'))
    await harness.sdk.node.forMs(5_000)
    expect(b.partitions).toEqual([])
    await harness.until(() => b.partitions.length === 1)
    await harness.sdk.node.forMs(1_000)
    expect(harness.values()).toEqual({ 'logs/1': [1] })
    expect(harness.groups.committed('g')['logs/1']).toBe(1)
    expect(a.told.filter(line => line.startsWith('lost'))).toEqual([])
  })

  it('is lost after the deadline, with what was in hand refused', async () => {
    await harness.stop()
    harness = await ConsumerHarness.start({ releaseTimeoutMs: 2_000 })
    await harness.sdk.node.createTopic('logs', 1)
    await harness.sdk.node.createTopic('more', 1)
    await harness.fill('logs', 2, 1)
    const a = await harness.member('a', { topics: ['logs', 'more'], handleMs: 20_000 })
    await harness.until(() => harness.deliveries.length === 1)
    const b = await harness.member('b', { topics: ['logs', 'more'] })
    await harness.until(() => a.partitions.length === 1 && b.partitions.length === 1)
    await harness.until(() => harness.deliveries.length >= 3 || a.partitions[0] === 'logs/0')
    expectNoneAfterItsOwnership()
  })

  it('is not given to others while its member, which has not heard of it, comes back', async () => {
    await harness.sdk.node.createTopic('logs', 2)
    let count = 0
    const flowFor = async (ms: number) => {
      for (let passedMs = 0; passedMs < ms; passedMs += 20) {
        await harness.fill('logs', 2, 2, count)
        count += 2
        await harness.sdk.node.forMs(20)
      }
    }
    const a = await harness.member('a')
    await flowFor(500)
    const isOfGroups = (path: string) => path.includes('Groups')
    a.faults.toClient = path => (isOfGroups(path) ? 'drop' : 'pass')
    const b = await harness.member('b')
    await flowFor(300)
    expect(harness.owners()).toEqual({ 'logs/0': 'a', 'logs/1': 'a' })
    // It attends anew, and reads on until it hears that it is back.
    harness.groups.breakStreams()
    const before = harness.deliveries.length
    await flowFor(500)
    expect(harness.deliveries.length).toBeGreaterThan(before + 30)
    a.faults.toClient = () => 'pass'
    await harness.until(() => b.partitions.length === 1)
    await flowFor(500)
    expectNoneAfterItsOwnership()
    expect(a.told).toEqual(['assigned logs/0', 'assigned logs/1', 'revoked logs/1'])
    await harness.until(() => harness.deliveries.length >= count)
    expect(harness.values()).toEqual({ 'logs/0': steps(0, count, 2), 'logs/1': steps(1, count, 2) })
  })

  it('waits for onRevoked, which may commit', async () => {
    await harness.sdk.node.createTopic('logs', 2)
    await harness.fill('logs', 20, 2)
    let asked: readonly TopicPartition[] = []
    let finish = () => {}
    const a = await harness.member('a', {
      autoCommit: false,
      onRevoked: async partitions => {
        asked = partitions
        await new Promise<void>(resolve => {
          finish = resolve
        })
        await a.consumer.commit()
      },
    })
    await harness.until(() => harness.deliveries.length === 20)
    const b = await harness.member('b')
    await harness.until(() => asked.length === 1)
    await harness.fill('logs', 20, 2, 20)
    await harness.sdk.node.forMs(3_000)
    expect(b.partitions).toEqual([])
    // Nothing more of the one that goes; the other one goes on.
    const [going, staying] = asked[0]?.partition === 0 ? ['logs/0', 'logs/1'] : ['logs/1', 'logs/0']
    expect(harness.values()[going]).toHaveLength(10)
    expect(harness.values()[staying]).toHaveLength(20)
    finish()
    await harness.until(() => harness.deliveries.length === 40)
    expect(b.partitions).toEqual([going])
    expect(harness.values('b')[going]).toHaveLength(10)
  })
})

describe('single partitions', () => {
  it('paused ones rest, wherever the loop is, and go on where they were', async () => {
    await harness.sdk.node.createTopic('logs', 2)
    await harness.fill('logs', 200, 2)
    const a = await harness.member('a', { handleMs: 10 })
    await harness.until(() => harness.deliveries.some(({ record }) => record.partition === 0))
    a.consumer.pause([{ topic: 'logs', partition: 0 }])
    const before = harness.values()['logs/0']?.length
    await harness.until(() => harness.values()['logs/1']?.length === 100)
    expect(harness.values()['logs/0']).toHaveLength(before ?? 0)
    a.consumer.resume([{ topic: 'logs', partition: 0 }])
    await harness.until(() => harness.deliveries.length === 200)
    expect(harness.values()['logs/0']).toEqual(steps(0, 200, 2))
  })

  it('seek goes anywhere, and is committed', async () => {
    await harness.sdk.node.createTopic('logs', 1)
    await harness.fill('logs', 10, 1)
    const a = await harness.member('a')
    await harness.until(() => harness.deliveries.length === 10)
    a.consumer.seek({ topic: 'logs', partition: 0 }, 7)
    await harness.until(() => harness.deliveries.length === 13)
    expect(harness.values()['logs/0']).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 7, 8, 9])
    await harness.until(() => harness.groups.committed('g')['logs/0'] === 10)
  })

  it('a position that retention has passed is announced', async () => {
    await harness.sdk.node.createTopic('logs', 1)
    await harness.fill('logs', 10, 1)
    const a = await harness.member('a', { isIdle: true })
    const loop = a.consumer[Symbol.asyncIterator]()
    for (let i = 0; i < 4; i++) await harness.sdk.run(loop.next())
    await a.close()
    await harness.sdk.run(harness.sdk.client.admin().deleteRecords('logs', { 0: 10 }))
    await harness.fill('logs', 2, 1, 10)
    const b = await harness.member('b')
    await harness.until(() => harness.deliveries.length === 2)
    expect(b.told).toContain('skipped logs/0 3-10')
    expect(harness.values()).toEqual({ 'logs/0': [10, 11] })
  })

  it('topics of a pattern are taken up as they are made', async () => {
    const a = await harness.member('a', { topics: [], topicPattern: 'log*' })
    await harness.sdk.node.createTopic('logs', 1)
    await harness.sdk.node.createTopic('other', 1)
    await harness.sdk.node.createTopic('logs-2', 1)
    await harness.until(() => a.partitions.length === 2)
    expect(a.partitions).toEqual(['logs-2/0', 'logs/0'])
  })
})

function expectNoneAfterItsOwnership(): void {
  for (const { member, record, atMs } of harness.deliveries) {
    const periods = harness.groups.ownerships.get(`g ${record.topic}/${record.partition}`) ?? []
    const isOwned = periods.some(
      period => period.member === member && period.fromMs <= atMs && atMs <= (period.toMs ?? atMs),
    )
    expect(isOwned, `${member} was given ${record.offset} at ${atMs}, ${JSON.stringify(periods)}`).toBe(true)
  }
}

function steps(from: number, end: number, step = 3): number[] {
  const values: number[] = []
  for (let value = from; value < end; value += step) values.push(value)
  return values
}

function sum(offsets: Record<string, number>): number {
  return Object.values(offsets).reduce((total, one) => total + one, 0)
}
