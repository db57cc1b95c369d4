import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { cutOffLog } from '../sdk-harness.ts'
import { ConsumerHarness } from './consumer-harness.ts'

let harness: ConsumerHarness

beforeEach(async () => {
  harness = await ConsumerHarness.start()
})

afterEach(async () => {
  await harness.stop()
  expect(harness.sdk.node.bugs).toEqual([])
})

describe('a member whose log has lost its end', () => {
  it('goes on at the end where that lies before what is committed, and that is announced and committed', async () => {
    await harness.sdk.node.createTopic('logs', 1)
    await harness.fill('logs', 5, 1)
    await harness.commit('logs', 9)
    const a = await harness.member('a', { start: 'earliest' })
    await harness.until(() => harness.groups.committed('g')['logs/0'] === 5)
    expect(a.told).toContain('skipped logs/0 9-5')
    await harness.fill('logs', 3, 1, 5)
    await harness.until(() => harness.deliveries.length === 3)
    expect(harness.values()).toEqual({ 'logs/0': [5, 6, 7] })
    expect(a.error).toBeUndefined()
  })

  it('under a batch in hand: what is left of it is done with it', async () => {
    await harness.sdk.node.createTopic('logs', 1)
    await harness.fill('logs', 10, 1)
    const a = await harness.member('a', { isIdle: true })
    const batches = a.consumer.batches()
    await harness.sdk.run(batches.next())
    cutOffLog(a.faults, 7)
    await harness.until(() => a.told.includes('skipped logs/0 10-7'))
    await harness.sdk.node.forMs(5_000)
    expect(harness.groups.committed('g')).toEqual({ 'logs/0': 0 })
    const { value } = await harness.sdk.run(batches.next())
    expect(value.records[0]).toMatchObject({ offset: 7 })
    await harness.until(() => harness.groups.committed('g')['logs/0'] === 7)
    await a.close()
  })

  it('found by a commit: it ends there, also at the close', async () => {
    await harness.sdk.node.createTopic('logs', 1)
    await harness.fill('logs', 10, 1)
    const a = await harness.member('a', { commitIntervalMs: 60_000 })
    await harness.until(() => harness.deliveries.length === 10)
    await harness.sdk.node.forMs(10)
    harness.groups.endOffset = 7
    await a.close()
    expect(harness.groups.committed('g')).toEqual({ 'logs/0': 7 })
    expect(a.told).toContain('skipped logs/0 10-7')
  })
})
