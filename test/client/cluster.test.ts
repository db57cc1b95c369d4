import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { connectClient } from '../../src/client/client.ts'
import type { Client } from '../../src/client/index.ts'
import { initCompression } from '../../src/records/compression.ts'
import { SeededPrng } from '../harness/seeded-prng.ts'
import { SimBrokerCluster } from '../harness/sim-broker-cluster.ts'
import { SimMachine } from '../harness/sim-machine.ts'
import { SimTransport } from '../harness/sim-transport.ts'
import { readAll } from './sdk-harness.ts'

let cluster: SimBrokerCluster
let client: Client

beforeEach(async () => {
  await initCompression()
  cluster = await SimBrokerCluster.start({ seed: 11, nodes: 3 })
  const { scheduler, network } = cluster
  const machine = new SimMachine(0, { name: 'client', scheduler, prng: new SeededPrng('client') })
  client = await cluster.run(
    connectClient(
      ['n0:7450', 'n1:7450', 'n2:7450'],
      {},
      {
        transport: new SimTransport(network, machine.incarnation, 'client'),
        clock: machine.clock,
        prng: new SeededPrng('client'),
      },
    ),
  )
})

afterEach(async () => {
  await cluster.run(client.close().catch(() => {}))
})

const SPREAD = { name: 'logs', partitions: 6, replicationFactor: 1 }

describe('partitions that are led by several nodes', () => {
  it('are written, read, measured and cut, each at its leader', async () => {
    const admin = client.admin()
    await cluster.run(admin.createTopics([SPREAD]))
    const [topic] = await cluster.run(admin.describeTopics(['logs']))
    expect(new Set(topic?.partitions.map(one => one.leader))).toEqual(new Set([0, 1, 2]))
    const producer = client.producer()
    const values = Array.from({ length: 60 }, (_, index) => `v${index}`)
    await cluster.run(Promise.all(values.map(value => producer.send({ topic: 'logs', key: value, value }))))
    const latest = await cluster.run(admin.listOffsets('logs', 'latest'))
    expect(latest.map(one => one.partition)).toEqual([0, 1, 2, 3, 4, 5])
    expect(latest.reduce((sum, { offset }) => sum + offset, 0)).toBe(60)
    const read = await cluster.run(
      readAll(client.reader({ topic: 'logs', start: 'earliest', stop: 'currentEnd' })),
    )
    expect(read.map(({ value }) => String(value)).sort()).toEqual([...values].sort())
    const deleted = await cluster.run(admin.deleteRecords('logs', { 1: 'latest', 2: 'latest', 3: 'latest' }))
    expect(deleted.map(({ logStartOffset }) => logStartOffset)).toEqual(
      latest.slice(1, 4).map(({ offset }) => offset),
    )
  })

  it('are asked for with an error that names what does not exist', async () => {
    const admin = client.admin()
    await cluster.run(admin.createTopics([SPREAD]))
    const failed = (work: Promise<unknown>) =>
      cluster.run(
        work.then(
          () => 'nothing failed',
          (error: { reason: string }) => error.reason,
        ),
      )
    expect(await failed(admin.listOffsets('logs', 'latest', { partitions: [0, 6] }))).toBe(
      'UNKNOWN_PARTITION',
    )
    expect(await failed(admin.listOffsets('lost', 'latest'))).toBe('UNKNOWN_TOPIC')
  })
})

describe('the node that a client is connected to', () => {
  it('dies: the client goes on with the next, changes included', async () => {
    const admin = client.admin()
    for (const name of ['a', 'b', 'c']) {
      const [first, ...others] = cluster.running
      if (first === undefined || others.length < 1) throw new Error('too few nodes run')
      cluster.kill(first)
      // A change that is sent before the client knows of the end would have an unknown outcome.
      await cluster.scheduler.runFor(50)
      await cluster.run(admin.createTopics([{ name, replicationFactor: 1 }]))
      const listed = await cluster.run(admin.listTopics())
      expect(listed.map(topic => topic.name)).toContain(name)
      cluster.boot(first)
      await cluster.serving(first)
    }
  })

  it('is cut off from the others: the client finds one that is not', async () => {
    const admin = client.admin()
    for (const other of ['n1', 'n2']) {
      cluster.network.cut('n0', other)
      cluster.network.cut(other, 'n0')
    }
    // A controller gives up by itself; what it took before that has an unknown outcome.
    await cluster.scheduler.runFor(5_000)
    await cluster.run(admin.createTopics([{ name: 'late', replicationFactor: 1 }]))
    const [described] = await cluster.run(admin.describeTopics(['late']))
    expect(described?.name).toBe('late')
    cluster.network.heal()
  })
})
