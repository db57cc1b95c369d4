import { expect, test } from 'vitest'
import { NaruError } from '../../../src/base/errors.ts'
import { CoordinatorFixture, SESSION_MS } from './coordinator-fixture.ts'

test('members have their whole session from when the coordinator may answer them, not before (D1)', async () => {
  const fixture = await CoordinatorFixture.withMember('m')
  const { scheduler, leader } = fixture
  leader.elect(0)
  fixture.coordinate()
  // In-sync replicas are slow: nothing can be answered, for longer than the session of the member.
  await scheduler.runFor(SESSION_MS + 2_000)
  leader.commit()
  await scheduler.runFor(SESSION_MS - 500)
  expect(await fixture.members()).toEqual(['m'])
  await scheduler.runFor(1_000)
  expect(await fixture.members()).toEqual([])
})

test('nothing is answered before the high watermark is at the start of the epoch (D1)', async () => {
  const fixture = await CoordinatorFixture.withMember('m')
  const { scheduler, leader } = fixture
  leader.elect(0)
  const groups = fixture.coordinate()
  const answers: unknown[] = []
  groups
    .run(({ admin }) => admin.list({ limit: 1 }))
    .then(
      found => answers.push(found.length),
      thrown => answers.push(NaruError.from(thrown).reason),
    )
  await scheduler.runFor(1_000)
  expect(answers).toEqual([])
  leader.commit()
  await scheduler.runFor(100)
  expect(answers).toEqual([1])
})

test('a takeover takes as long as the slowest that it waits for, not as all of them', async () => {
  const fixture = await CoordinatorFixture.withMember('m')
  const { scheduler, leader } = fixture
  leader.elect(0)
  fixture.readIndexMs = 400
  const groups = fixture.coordinate()
  const answers: number[] = []
  void groups.run(({ admin }) => admin.list({ limit: 1 })).then(found => answers.push(found.length))
  await scheduler.runFor(350)
  leader.commit()
  expect(answers).toEqual([])
  await scheduler.runFor(100)
  expect(answers).toEqual([1])
})

test('one whose leader has asked for a successor, and not heard of it, answers nothing and expels nobody (C12)', async () => {
  const fixture = await CoordinatorFixture.withMember('m')
  const { scheduler, leader, groups } = fixture
  leader.noLease = new NaruError('LEADER_NOT_AVAILABLE', 'another may lead')
  await scheduler.runFor(SESSION_MS + 1_000)
  const read = groups.run(({ admin }) => admin.list({ limit: 1 })).catch(thrown => NaruError.from(thrown))
  expect(await scheduler.finish(read)).toMatchObject({ reason: 'LEADER_NOT_AVAILABLE', retriable: true })
  expect(leader.logEndOffset).toBe(leader.highWatermark)
  // It was not deposed: the same coordinator goes on.
  leader.noLease = undefined
  expect(groups.ended).toBeUndefined()
  expect(await fixture.members()).toEqual(['m'])
  await scheduler.runFor(500)
  expect(await fixture.members()).toEqual([])
})

test('one that has ended takes no notice of topics that change', async () => {
  const { groups } = await CoordinatorFixture.withMember('m')
  groups.end(new NaruError('NOT_LEADER', 'another node leads'))
  expect(() => groups.onTopicsChanged([{ id: 'A'.repeat(22), name: 'logs' }])).not.toThrow()
})

test('a process that stood still expels nobody for what it has not read (A8)', async () => {
  const fixture = await CoordinatorFixture.withMember('m')
  const { scheduler } = fixture
  fixture.isTicking = false
  await scheduler.runFor(10 * SESSION_MS)
  fixture.isTicking = true
  expect(await fixture.members()).toEqual(['m'])
  await scheduler.runFor(SESSION_MS - 1_000)
  expect(await fixture.members()).toEqual(['m'])
  await scheduler.runFor(2_000)
  expect(await fixture.members()).toEqual([])
})

test('a member whose expulsion the log refuses for a while is expelled once it takes it', async () => {
  const fixture = await CoordinatorFixture.withMember('m')
  const { scheduler, leader } = fixture
  leader.refusal = new NaruError('NOT_ENOUGH_REPLICAS', 'too few replicas')
  await scheduler.runFor(2 * SESSION_MS)
  expect(await fixture.members()).toEqual(['m'])
  leader.refusal = undefined
  await scheduler.runFor(500)
  expect(await fixture.members()).toEqual([])
})

test('of the time of a member that was gone before, what has passed is over, but for a moment to come back', async () => {
  for (const [disconnectedMs, leftMs] of [
    [4_000, 1_000],
    [SESSION_MS + 1_000, 500],
  ] as const) {
    const fixture = await CoordinatorFixture.withMember('m')
    const { scheduler, leader } = fixture
    await fixture.disconnect('m')
    leader.elect()
    fixture.disconnectedMs = disconnectedMs
    fixture.coordinate()
    await scheduler.runFor(leftMs - 100)
    expect(await fixture.members()).toEqual(['m'])
    await scheduler.runFor(200)
    expect(await fixture.members()).toEqual([])
  }
})

test('a member whose stream was whole until then has its whole time, whatever is said of it', async () => {
  const fixture = await CoordinatorFixture.withMember('m')
  const { scheduler, leader } = fixture
  leader.elect()
  fixture.disconnectedMs = SESSION_MS
  fixture.coordinate()
  await scheduler.runFor(SESSION_MS - 100)
  expect(await fixture.members()).toEqual(['m'])
})
