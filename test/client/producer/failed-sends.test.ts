import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { SdkHarness } from '../sdk-harness.ts'

let sdk: SdkHarness

beforeEach(async () => {
  sdk = await SdkHarness.start({ settings: { 'auto.create.topics.enable': false } })
  await sdk.node.createTopic('logs', 1)
})

afterEach(async () => {
  await sdk.stop()
  expect(sdk.node.bugs).toEqual([])
})

describe('a record whose place is not there', () => {
  it.each([
    [{ topic: 'logs', partition: 5 }, 'UNKNOWN_PARTITION'],
    [{ topic: 'nowhere' }, 'UNKNOWN_TOPIC'],
  ])('fails each time that it is sent (%o)', async (place, reason) => {
    const producer = sdk.client.producer()
    const ends: unknown[] = []
    // At once, in the handler of the failure before.
    const send = (times: number): Promise<unknown> =>
      producer.send({ ...place, value: 'a' }).catch(error => {
        ends.push(error.reason)
        return times > 1 ? send(times - 1) : undefined
      })
    void send(3)
    await sdk.node.forMs(5_000)
    expect(ends).toEqual([reason, reason, reason])
    await sdk.run(producer.close())
  })

  it('is looked for again when onError sends another one', async () => {
    const ends: unknown[] = []
    const producer = sdk.client.producer({
      onError: ({ error }) => {
        ends.push(error.reason)
        if (ends.length < 3) producer.enqueue({ topic: 'logs', partition: 5, value: 'a' })
      },
    })
    producer.enqueue({ topic: 'logs', partition: 5, value: 'a' })
    await sdk.node.forMs(5_000)
    expect(ends).toEqual(['UNKNOWN_PARTITION', 'UNKNOWN_PARTITION', 'UNKNOWN_PARTITION'])
    await sdk.run(producer.close().catch(() => {}))
  })
})

it('a record that waits for its leader in vain is told why', async () => {
  const producer = sdk.client.producer({ deliveryTimeoutMs: 2_000 })
  await sdk.run(producer.send({ topic: 'logs', value: 'a' }))
  await sdk.run(sdk.client.admin().deleteTopics(['logs']))
  // The client hears of it.
  await sdk.node.forMs(1_000)
  const sent = producer.send({ topic: 'logs', value: 'b' })
  await expect(sdk.run(sent)).rejects.toMatchObject({
    reason: 'UNKNOWN_TOPIC',
    outcome: 'none',
    message: expect.stringContaining('topic "logs" does not exist'),
  })
  await sdk.run(producer.close())
})
