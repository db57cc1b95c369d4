import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { NaruError } from '../../../src/base/errors.ts'
import { unhandledIn } from '../sdk-harness.ts'
import { ConsumerHarness } from './consumer-harness.ts'

const PLACE = { topic: 'logs', partition: 0 }

let harness: ConsumerHarness

beforeEach(async () => {
  harness = await ConsumerHarness.start()
  await harness.sdk.node.createTopic('logs', 1)
})

afterEach(async () => {
  await harness.stop()
  expect(harness.sdk.node.bugs).toEqual([])
})

describe('a commit', () => {
  it('whose outcome is unknown is made again', async () => {
    await harness.fill('logs', 10, 1)
    const a = await harness.member('a', { commitIntervalMs: 60_000 })
    await harness.until(() => harness.deliveries.length === 10)
    await harness.sdk.node.forMs(10)
    harness.groups.commitFailures.push(new NaruError('UNKNOWN_OUTCOME', 'the coordinator went away'))
    await a.close()
    expect(harness.groups.committed('g')).toEqual({ 'logs/0': 10 })
  })

  it('ends with the session while no coordinator answers, and so does close()', async () => {
    await harness.fill('logs', 10, 1)
    const a = await harness.member('a', { commitIntervalMs: 60_000, sessionTimeoutMs: 2_000 })
    await harness.until(() => harness.deliveries.length === 10)
    a.faults.toClient = path => (path.includes('Groups') ? 'drop' : 'pass')
    harness.groups.breakStreams()
    await harness.sdk.node.forMs(100)
    const ends: unknown[] = []
    const commit = a.consumer.commit([{ ...PLACE, nextOffset: 5 }])
    commit.catch((error: NaruError) => ends.push(error.reason))
    void a.consumer.close().then(() => ends.push('closed'))
    await harness.sdk.node.forMs(5_000)
    expect(ends).toEqual(['PARTITION_NOT_OWNED', 'closed'])
  })

  it('of what was passed over is not taken back with a record in hand', async () => {
    const { a } = await inHandBehindGap()
    await a.close()
    expect(harness.groups.committed('g')).toEqual({ 'logs/0': 10 })
  })

  it('of what was passed over is known as its own when the coordinator moves', async () => {
    const { a, loop } = await inHandBehindGap()
    harness.groups.breakStreams()
    await harness.sdk.node.forMs(1_000)
    expect(a.told).toEqual(['assigned logs/0', 'skipped logs/0 0-10'])
    expect((await harness.sdk.run(loop.next())).value).toMatchObject({ offset: 11 })
    await harness.until(() => harness.groups.committed('g')['logs/0'] === 11)
  })

  it('is not tried again by a consumer that has failed', async () => {
    await harness.fill('logs', 10, 1)
    const warnings: string[] = []
    const a = await harness.member('a', { onWarning: warning => warnings.push(warning) })
    await harness.until(() => harness.deliveries.length === 10)
    await harness.member('a', { isIdle: true })
    await harness.until(() => a.isOver)
    expect(a.error).toMatchObject({ reason: 'MEMBER_FENCED' })
    await harness.sdk.node.forMs(10_000)
    expect(warnings).toEqual([])
  })
})

it('comes back to its group whatever its own onWarning throws', async () => {
  const mine = new Error('from the program')
  const onWarning = () => {
    throw mine
  }
  const unhandled = await unhandledIn(async () => {
    const a = await harness.member('a', { onWarning })
    await harness.until(() => a.partitions.length === 1)
    harness.groups.breakStreams()
    await harness.fill('logs', 10, 1)
    await harness.until(() => harness.deliveries.length === 10)
    await harness.until(() => harness.groups.committed('g')['logs/0'] === 10)
    expect(a.error).toBeUndefined()
  })
  expect(new Set(unhandled)).toEqual(new Set([mine]))
})

/** A member that has committed behind records that retention has removed, and was given the first one that is there. */
async function inHandBehindGap() {
  await harness.fill('logs', 10, 1)
  await harness.commit('logs', 0)
  await harness.sdk.run(harness.sdk.client.admin().deleteRecords('logs', { 0: 10 }))
  const a = await harness.member('a', { isIdle: true })
  const loop = a.consumer[Symbol.asyncIterator]()
  const first = loop.next()
  await harness.until(() => a.consumer.partitions()[0]?.committedOffset === 10)
  await harness.fill('logs', 2, 1, 10)
  expect((await harness.sdk.run(first)).value).toMatchObject({ offset: 10 })
  return { a, loop }
}
