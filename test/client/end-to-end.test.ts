import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Client, type ConsumedRecord, connect, type Reader } from '../../src/server/client.ts'
import { startNode, type TestNode } from '../../src/server/testing.ts'

let node: TestNode
let client: Client

beforeAll(async () => {
  node = await startNode()
  client = await connect(node.address)
})

afterAll(async () => {
  await client.close()
  await node.close()
})

describe('the SDK with a node', () => {
  it('stores records and reads them back in order', async () => {
    await client.admin().createTopics([{ name: 'logs', partitions: 3 }])
    await using producer = client.producer()
    const sent = await Promise.all(
      Array.from({ length: 1_000 }, (_, i) =>
        producer.send({
          topic: 'logs',
          key: `key-${i % 50}`,
          value: `value-${i}`,
          headers: [{ key: 'n', value: `${i}` }],
          timestampMs: 1_700_000_000_000 + i,
        }),
      ),
    )
    await using reader = client.reader({ topic: 'logs', stop: 'currentEnd' })
    const records = await all(reader)
    expect(records).toHaveLength(1_000)
    for (const [i, { partition, offset }] of sent.entries()) {
      const stored = records.find(one => one.partition === partition && one.offset === offset)
      expect(stored?.value?.toString()).toBe(`value-${i}`)
      expect(stored?.key?.toString()).toBe(`key-${i % 50}`)
      expect(stored?.headers).toEqual([{ key: 'n', value: Buffer.from(`${i}`) }])
      expect(stored?.timestampMs).toBe(1_700_000_000_000 + i)
    }
    expect(reader.lag()).toBe(0)
  })

  it.each(['none', 'gzip', 'snappy', 'lz4', 'zstd'] as const)('carries %s batches', async compression => {
    const topic = `packed-${compression}`
    await client.admin().createTopics([{ name: topic, partitions: 1 }])
    await using producer = client.producer({ compression, batchBytesMax: 16 * 1024 })
    const values = Array.from({ length: 2_000 }, (_, i) => `${compression} ${i} `.repeat(5))
    for (const value of values) if (!producer.enqueue({ topic, value })) await producer.ready()
    await producer.flush()
    await using reader = client.reader({ topic, stop: 'currentEnd' })
    expect((await all(reader)).map(record => record.value?.toString())).toEqual(values)
  })

  it('makes a topic by sending to it, and puts each key where its hash says', async () => {
    const warnings: string[] = []
    await using producer = client.producer({ onWarning: warning => warnings.push(warning) })
    const first = await producer.send({ topic: 'made-by-send', key: 'a', value: '1' })
    const second = await producer.send({ topic: 'made-by-send', key: 'a', value: '2' })
    expect(second).toEqual({ ...first, offset: 1 })
    const [topic] = await client.admin().describeTopics(['made-by-send'])
    expect(topic?.partitions).toHaveLength(3)
    expect(warnings).toEqual([expect.stringContaining('topic "made-by-send" did not exist and was created')])
  })

  it('starts and stops at offsets and times', async () => {
    await client.admin().createTopics([{ name: 'places', partitions: 1 }])
    await using producer = client.producer()
    for (let i = 0; i < 20; i++)
      await producer.send({ topic: 'places', value: `${i}`, timestampMs: 1_000 * i })
    const read = async (options: Omit<Parameters<Client['reader']>[0], 'topic'>) => {
      await using reader = client.reader({ topic: 'places', ...options })
      return (await all(reader)).map(record => Number(record.value))
    }
    expect(await read({ start: { offset: 5 }, stop: { offset: 8 } })).toEqual([5, 6, 7])
    expect(await read({ start: { timestampMs: 2_500 }, stop: { timestampMs: 5_000 } })).toEqual([3, 4])
    expect(await read({ start: { lastN: 2 }, stop: 'currentEnd' })).toEqual([18, 19])
    expect(await read({ start: 'latest', stop: 'currentEnd' })).toEqual([])
    expect(await read({ start: 'earliest', stop: { offset: 0 } })).toEqual([])
    expect(await read({ start: { partitions: { 0: { offset: 18 } } }, stop: 'currentEnd' })).toEqual([18, 19])
  })

  it('gives out what comes later to a reader at the end', async () => {
    await client.admin().createTopics([{ name: 'live', partitions: 1 }])
    await using producer = client.producer()
    await producer.send({ topic: 'live', value: 'before' })
    await using reader = client.reader({ topic: 'live', start: 'latest' })
    const records = reader[Symbol.asyncIterator]()
    const next = records.next()
    while (reader.lag() === undefined) await new Promise(resolve => setImmediate(resolve))
    await producer.send({ topic: 'live', value: 'after' })
    expect((await next).value?.value?.toString()).toBe('after')
  })

  it('refuses a record that is too large alone, before sending it', async () => {
    await client
      .admin()
      .createTopics([{ name: 'small', partitions: 1, settings: { 'max.message.bytes': '2000' } }])
    await using producer = client.producer()
    const results = await Promise.allSettled(
      [10, 5_000, 20].map(size => producer.send({ topic: 'small', value: 'x'.repeat(size) })),
    )
    expect(results.map(one => one.status)).toEqual(['fulfilled', 'rejected', 'fulfilled'])
    expect(results[1]).toMatchObject({ reason: { reason: 'RECORD_TOO_LARGE', outcome: 'none' } })
  })

  it('says what is wrong with a topic, a partition, an offset', async () => {
    await client.admin().createTopics([{ name: 'errors', partitions: 2 }])
    await using producer = client.producer()
    await expect(producer.send({ topic: 'errors', partition: 2, value: 'x' })).rejects.toMatchObject({
      reason: 'UNKNOWN_PARTITION',
    })
    await expect(all(client.reader({ topic: 'no-such-topic' }))).rejects.toMatchObject({
      reason: 'UNKNOWN_TOPIC',
    })
    await expect(all(client.reader({ topic: 'errors', start: { offset: 7 } }))).rejects.toMatchObject({
      reason: 'OFFSET_OUT_OF_RANGE',
    })
    await expect(client.admin().deleteTopics(['no-such-topic'])).rejects.toMatchObject({
      reason: 'UNKNOWN_TOPIC',
    })
  })

  it('administers topics', async () => {
    const admin = client.admin()
    await admin.createTopics([{ name: 'managed', partitions: 1 }])
    await admin.createPartitions('managed', 4)
    await admin.alterTopicSettings('managed', { set: { 'retention.ms': '60000' } })
    const [described] = await admin.describeTopics(['managed'])
    expect(described?.partitions.map(one => one.partition)).toEqual([0, 1, 2, 3])
    expect(described?.settings.find(one => one.name === 'retention.ms')).toMatchObject({
      value: '60000',
      source: 'topic',
    })
    await using producer = client.producer()
    await producer.send({ topic: 'managed', partition: 3, value: 'a' })
    await producer.send({ topic: 'managed', partition: 3, value: 'b' })
    expect(await admin.listOffsets('managed', 'latest', { partitions: [3] })).toMatchObject([{ offset: 2 }])
    expect(await admin.deleteRecords('managed', { 3: 1 })).toEqual([{ partition: 3, logStartOffset: 1 }])
    expect((await admin.listTopics({ prefix: 'managed' })).map(one => one.partitions)).toEqual([4])
    const cluster = await admin.describeCluster()
    expect(cluster.clusterId).toBe(client.clusterId)
    expect(cluster.nodes).toHaveLength(1)
    await admin.deleteTopics(['managed'])
    expect(await admin.listTopics({ prefix: 'managed' })).toEqual([])
  })
})

async function all(reader: Reader): Promise<ConsumedRecord[]> {
  const records: ConsumedRecord[] = []
  for await (const record of reader) records.push(record)
  return records
}
