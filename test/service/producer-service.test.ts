import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Admin, Consumer, Producer } from '../../src/wire/methods.ts'
import { batchOf, ServiceNodeHarness } from '../harness/service-node.ts'

let node: ServiceNodeHarness

beforeEach(async () => {
  node = await ServiceNodeHarness.start()
})

afterEach(async () => {
  expect(node.bugs).toEqual([])
  await node.stop()
})

const record = (value: string, key?: string) => ({
  value: Buffer.from(value),
  ...(key !== undefined && { key: Buffer.from(key) }),
})

async function valuesOf(topic: string, partition = 0): Promise<string[]> {
  const { partitions, failures } = await node.call(Consumer.fetch, { partitions: [{ topic, partition }] })
  expect(failures).toEqual([])
  return (partitions[0]?.records ?? []).map(one => String(one.value))
}

describe('Produce', () => {
  it('stores ready batches and answers one result per batch, in order', async () => {
    await node.createTopic('logs', 2)
    const { results } = await node.call(Producer.produce, {
      topic: 'logs',
      batches: [
        { partition: 1, batch: batchOf(['a', 'b']) },
        { partition: 0, batch: batchOf(['c']) },
        { partition: 1, batch: batchOf(['d']) },
      ],
    })
    expect(results.map(({ partition, offset }) => [partition, offset])).toEqual([
      [1, 0],
      [0, 0],
      [1, 2],
    ])
    expect(await valuesOf('logs', 1)).toEqual(['a', 'b', 'd'])
  })

  it('spreads records by key as Kafka does, and keeps those without a key together', async () => {
    await node.createTopic('logs', 8)
    const keys = ['21', 'foobar', 'a-little-bit-long-string', undefined, undefined, '21']
    const { results } = await node.call(Producer.produce, {
      topic: 'logs',
      records: keys.map((key, index) => record(`v${index}`, key)),
    })
    // murmur2: 21 -> -973932308, foobar -> -790332482, a-little-bit-long-string -> -985981536
    const expected = [-973932308, -790332482, -985981536].map(hash => (hash & 0x7fffffff) % 8)
    expect(results.slice(0, 3).map(one => one.partition)).toEqual(expected)
    expect(results[3]?.partition).toBe(results[4]?.partition)
    expect(results[5]?.partition).toBe(results[0]?.partition)
    for (const one of results) expect(one.failure).toBeUndefined()
    const at = results[5]
    expect((await valuesOf('logs', at?.partition)).at(at?.offset ?? -1)).toBe('v5')
  })

  it('refuses single bad records and stores the others', async () => {
    await node.createTopic('logs', 1, { 'max.message.bytes': '1024' })
    const { results } = await node.call(Producer.produce, {
      topic: 'logs',
      records: [
        record('ok1'),
        record('x'.repeat(2000)),
        { ...record('future'), timestampMs: 4_000_000_000_000 },
        { ...record('past'), timestampMs: -5 },
        record('ok2'),
      ],
    })
    expect(results.map(one => one.failure?.reason ?? one.offset)).toEqual([
      0,
      'RECORD_TOO_LARGE',
      'INVALID_TIMESTAMP',
      'INVALID_TIMESTAMP',
      1,
    ])
    expect(await valuesOf('logs')).toEqual(['ok1', 'ok2'])
  })

  it('answers what 4 MiB take, also when thousands fail in different ways', async () => {
    const topic = 'x'.repeat(249)
    await node.createTopic(topic)
    const batches = Array.from({ length: 10_000 }, (_, index) => ({
      partition: index + 1,
      batch: Buffer.alloc(1),
    }))
    const answer = await node.run(node.send(Producer.produce, { topic, batches }))
    expect(answer.length).toBeLessThan(4 * 1024 * 1024)
    const { results } = Producer.produce.response.decode(answer)
    expect(results.every(one => one.failure?.reason === 'UNKNOWN_PARTITION')).toBe(true)
  })

  it('cuts many records into batches of max.message.bytes', async () => {
    await node.createTopic('logs', 1, { 'max.message.bytes': '1024' })
    const values = Array.from({ length: 50 }, (_, index) => `value-${index}-${'x'.repeat(100)}`)
    const { results } = await node.call(Producer.produce, {
      topic: 'logs',
      partition: 0,
      records: values.map(value => record(value)),
    })
    expect(results.map(one => one.offset)).toEqual(values.map((_, index) => index))
    expect(await valuesOf('logs')).toEqual(values)
  })

  it('recognises a repeated sequence of records', async () => {
    await node.createTopic('logs')
    const { producerId, producerEpoch } = await node.call(Producer.initProducer, {})
    const request = {
      topic: 'logs',
      partition: 0,
      records: [record('a'), record('b')],
      producer: { producerId, producerEpoch, baseSequence: 0 },
    }
    const first = await node.call(Producer.produce, request)
    const again = await node.call(Producer.produce, request)
    expect(again).toEqual(first)
    expect(first.results.map(one => one.offset)).toEqual([0, 1])
    const gap = await node.call(Producer.produce, {
      ...request,
      producer: { producerId, producerEpoch, baseSequence: 7 },
    })
    expect(gap.results.map(one => one.failure?.reason)).toEqual([
      'OUT_OF_ORDER_SEQUENCE',
      'OUT_OF_ORDER_SEQUENCE',
    ])
    // Only the first tells the story.
    expect(gap.results[0]?.failure?.message).not.toBe('')
    expect(gap.results[1]?.failure?.message).toBe('')
    expect(await valuesOf('logs')).toEqual(['a', 'b'])
  })

  it('gives every producer an id of its own', async () => {
    const ids = new Set<number>()
    for (let i = 0; i < 5; i++) ids.add((await node.call(Producer.initProducer, {})).producerId)
    expect(ids.size).toBe(5)
  })

  it('answers without offsets where the client wants no acknowledgement', async () => {
    await node.createTopic('logs')
    const { results } = await node.call(Producer.produce, {
      topic: 'logs',
      acks: 'NONE',
      records: [record('a')],
    })
    expect(results).toEqual([{ partition: 0 }])
  })

  it('makes the topic when that is all that is asked for', async () => {
    const { results, warnings } = await node.call(Producer.produce, { topic: 'new' })
    expect(results).toEqual([])
    expect(warnings).toHaveLength(1)
    const again = await node.call(Producer.produce, { topic: 'new' })
    expect(again).toEqual({ results: [], warnings: [] })
  })

  it.each([
    [
      'a partition with neither records nor batches',
      { topic: 'logs', partition: 0, records: [] },
      'INVALID_REQUEST',
    ],
    [
      'both',
      { topic: 'logs', records: [record('a')], batches: [{ partition: 0, batch: batchOf(['a']) }] },
      'INVALID_REQUEST',
    ],
    ['no topic', { topic: '', records: [record('a')] }, 'INVALID_REQUEST'],
    ['a bad name', { topic: 'a b', records: [record('a')] }, 'INVALID_TOPIC_NAME'],
    ['an internal name', { topic: '__groups', records: [record('a')] }, 'INVALID_TOPIC_NAME'],
    ['a timeout of 0', { topic: 'logs', timeoutMs: 0, records: [record('a')] }, 'INVALID_REQUEST'],
    [
      'a sequence without a partition',
      {
        topic: 'logs',
        records: [record('a')],
        producer: { producerId: 1, producerEpoch: 0, baseSequence: 0 },
      },
      'INVALID_REQUEST',
    ],
    ['a partition too high', { topic: 'logs', partition: 3, records: [record('a')] }, 'UNKNOWN_PARTITION'],
    ['a partition below 0', { topic: 'logs', partition: -1, records: [record('a')] }, 'UNKNOWN_PARTITION'],
    ['another topic id', { topic: 'logs', topicId: 'other', records: [record('a')] }, 'UNKNOWN_TOPIC'],
    ['a topic id of no topic', { topic: 'new', topicId: 'other', records: [record('a')] }, 'UNKNOWN_TOPIC'],
    [
      'a new topic, partition too high',
      { topic: 'new', partition: 3, records: [record('a')] },
      'UNKNOWN_PARTITION',
    ],
    [
      'a new topic, bad batch',
      { topic: 'new', batches: [{ partition: 0, batch: Buffer.alloc(80) }] },
      'INVALID_BATCH',
    ],
  ])('refuses %s, and changes nothing', async (_, request, reason) => {
    await node.createTopic('logs', 3)
    expect((await node.refusal(Producer.produce, request)).reason).toBe(reason)
    const { topics } = await node.call(Admin.listTopics, {})
    expect(topics.map(topic => topic.topic)).toEqual(['logs'])
    for (const partition of [0, 1, 2]) expect(await valuesOf('logs', partition)).toEqual([])
  })

  it('names what is wrong with a partition', async () => {
    await node.createTopic('logs', 3)
    const error = await node.refusal(Producer.produce, {
      topic: 'logs',
      partition: 3,
      records: [record('a')],
    })
    expect(error.message).toBe('topic "logs" has no partition 3: it has 3, numbered from 0')
  })

  it('makes a topic on the first produce, and says so in log and answer', async () => {
    const { results, warnings } = await node.call(Producer.produce, {
      topic: 'fresh',
      records: [record('a', 'k')],
    })
    expect(results[0]?.failure).toBeUndefined()
    expect(warnings).toHaveLength(1)
    expect(warnings[0]).toContain('topic "fresh" did not exist and was created with 3 partitions')
    expect(node.warnings).toContain(warnings[0])
    const again = await node.call(Producer.produce, { topic: 'fresh', records: [record('b', 'k')] })
    expect(again.warnings).toEqual([])
    expect(again.results[0]?.offset).toBe(1)
  })

  it('reports UNKNOWN_OUTCOME when the disk does not answer in time', async () => {
    await node.createTopic('logs')
    node.machine.image.stall()
    const { results } = await node.call(Producer.produce, {
      topic: 'logs',
      timeoutMs: 250,
      records: [record('a')],
    })
    expect(results[0]?.failure).toMatchObject({ reason: 'UNKNOWN_OUTCOME', outcome: 'UNKNOWN' })
    node.machine.image.unstall()
  })

  it('reports a batch with a wrong checksum', async () => {
    await node.createTopic('logs')
    const batch = batchOf(['a'])
    batch[batch.length - 1] = 0xff
    const { results } = await node.call(Producer.produce, {
      topic: 'logs',
      batches: [{ partition: 0, batch }],
    })
    expect(results[0]?.failure).toMatchObject({ reason: 'CORRUPT_BATCH', outcome: 'NONE' })
  })
})

describe('Produce where topics are not made by themselves', () => {
  it('refuses with the way out and what was probably meant', async () => {
    await node.stop()
    node = await ServiceNodeHarness.start({ settings: { 'auto.create.topics.enable': false } })
    await node.createTopic('orders')
    const error = await node.refusal(Producer.produce, { topic: 'ordres', records: [record('a')] })
    expect(error.reason).toBe('UNKNOWN_TOPIC')
    expect(error.message).toBe(
      'topic "ordres" does not exist (did you mean "orders"?) (create it: naru topics create ordres)',
    )
  })
})
