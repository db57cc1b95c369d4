import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { NaruError } from '../../../src/base/errors.ts'
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
})
