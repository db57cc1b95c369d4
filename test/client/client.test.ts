import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { ServiceNodeHarness } from '../harness/service-node.ts'
import { ADDRESS, connectTo } from './sdk-harness.ts'

let node: ServiceNodeHarness

beforeEach(async () => {
  node = await ServiceNodeHarness.start()
})

afterEach(async () => {
  await node.stop()
})

describe('connecting', () => {
  it('goes on to the next address where nobody answers', async () => {
    const faults = { deadAddresses: new Set(['127.0.0.1:1', '127.0.0.1:2']) }
    const client = await node.run(connectTo(node, ['127.0.0.1:1', '127.0.0.1:2', ADDRESS], faults))
    const cluster = await node.run(client.admin().describeCluster())
    expect(cluster.clusterId).toBe(client.clusterId)
    await node.run(client.close())
    expect(() => client.admin()).toThrow(/closed/)
  })

  it('fails with the addresses when none answers in time', async () => {
    const faults = { deadAddresses: new Set(['127.0.0.1:1']) }
    const connecting = connectTo(node, '127.0.0.1:1', faults, { connectTimeoutMs: 2_000 })
    await expect(node.run(connecting)).rejects.toMatchObject({
      reason: 'CONNECTION_FAILED',
      outcome: 'none',
      message: expect.stringMatching(/no node answers at 127\.0\.0\.1:1: connect ECONNREFUSED/),
    })
  })

  it('reaches a leader through another address when its own does not answer', async () => {
    await node.createTopic('logs')
    // What the node advertises is not where this client found it.
    const faults = { deadAddresses: new Set([ADDRESS]) }
    const client = await node.run(connectTo(node, 'entry:7450', faults))
    const producer = client.producer()
    expect(await node.run(producer.send({ topic: 'logs', value: 'a' }))).toMatchObject({ offset: 0 })
    const records = client.reader({ topic: 'logs' })[Symbol.asyncIterator]()
    expect((await node.run(records.next())).value.value.toString()).toBe('a')
    await node.run(client.close())
  })

  it('refuses addresses and options that are none', async () => {
    await expect(connectTo(node, 'nowhere', {})).rejects.toThrow(/"nowhere" is not host:port/)
    await expect(connectTo(node, [], {})).rejects.toThrow(TypeError)
    const options = { connectTimeoutMs: -1 }
    await expect(connectTo(node, ADDRESS, {}, options)).rejects.toThrow(/connectTimeoutMs must be/)
  })
})
