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

async function write(
  topic: string,
  values: readonly string[],
  options: { partition?: number; valueBytes?: number; timestampMs?: number } = {},
) {
  const { partition = 0, ...rest } = options
  const batches = values.map(value => ({ partition, batch: batchOf([value], rest) }))
  await node.call(Producer.produce, { topic, batches })
}

const at = (topic: string, partition = 0, offset = 0) => ({ topic, partition, start: { offset } })

describe('Fetch', () => {
  it('answers every partition in the order asked, also those with nothing new', async () => {
    await node.createTopic('logs', 3)
    await write('logs', ['a', 'b'], { partition: 2 })
    const { partitions, failures } = await node.call(Consumer.fetch, {
      partitions: [at('logs', 2), at('logs', 0), at('logs', 2, 1), at('logs', 9)],
    })
    expect(
      partitions.map(one => [one.partition, one.nextOffset, one.highWatermark, one.records.length]),
    ).toEqual([
      [2, 2, 2, 2],
      [0, 0, 0, 0],
      [2, 2, 2, 1],
    ])
    expect(failures.map(one => [one.partition, one.failure?.reason])).toEqual([[9, 'UNKNOWN_PARTITION']])
  })

  it('waits for records, and answers with the first', async () => {
    await node.createTopic('logs')
    const fetching = node.send(Consumer.fetch, { partitions: [at('logs')], maxWaitMs: 30_000 })
    await node.forMs(100)
    const startMs = node.machine.clock.monotonicMs()
    await write('logs', ['late'])
    const { partitions } = Consumer.fetch.response.decode(await node.run(fetching))
    expect(String(partitions[0]?.records[0]?.value)).toBe('late')
    expect(node.machine.clock.monotonicMs() - startMs).toBeLessThan(100)
  })

  it('waits for min_bytes, but no longer than max_wait_ms', async () => {
    await node.createTopic('logs')
    const fetching = node.send(Consumer.fetch, {
      partitions: [at('logs')],
      maxWaitMs: 5_000,
      minBytes: 2_500,
    })
    for (const value of ['a', 'b', 'c']) {
      await node.forMs(100)
      await write('logs', [value], { valueBytes: 1000 })
    }
    const enough = Consumer.fetch.response.decode(await node.run(fetching))
    expect(enough.partitions[0]?.records).toHaveLength(3)
    const startMs = node.machine.clock.monotonicMs()
    const few = await node.call(Consumer.fetch, {
      partitions: [at('logs', 0, 2)],
      maxWaitMs: 700,
      minBytes: 9_000,
    })
    expect(few.partitions[0]?.records).toHaveLength(1)
    expect(Math.round(node.machine.clock.monotonicMs() - startMs)).toBeGreaterThanOrEqual(700)
  })

  it('keeps to the sizes of answer and partition, and always gets on', async () => {
    await node.createTopic('logs', 2)
    for (const partition of [0, 1]) await write('logs', 'abcdefgh'.split(''), { partition, valueBytes: 1000 })
    for (const format of ['RECORDS', 'BATCHES'] as const) {
      const bytes = await node.run(
        node.send(Consumer.fetch, {
          partitions: [at('logs', 0), at('logs', 1)],
          format,
          maxFrameBytes: 4096,
        }),
      )
      expect(bytes.length).toBeLessThanOrEqual(4096)
      const { partitions } = await node.call(Consumer.fetch, {
        partitions: [{ ...at('logs', 0), maxBytes: 10 }, at('logs', 1)],
        format,
      })
      expect(partitions.map(one => one.nextOffset)).toEqual([1, 8])
    }
  })

  it('refuses an offset that is not there, and says what is', async () => {
    await node.createTopic('logs')
    await write('logs', ['a', 'b', 'c'])
    await node.call(Admin.deleteRecords, {
      partitions: [{ topic: 'logs', partition: 0, before: { offset: 1 } }],
    })
    const { failures } = await node.call(Consumer.fetch, { partitions: [at('logs', 0, 0), at('logs', 0, 4)] })
    expect(failures.map(one => one.failure?.reason)).toEqual(['OFFSET_OUT_OF_RANGE', 'OFFSET_OUT_OF_RANGE'])
    expect(failures[0]?.failure?.message).toContain('it holds 1 up to 3')
  })

  it('refuses an older leader epoch, too many partitions, and odd numbers', async () => {
    await node.createTopic('logs')
    const fenced = await node.call(Consumer.fetch, { partitions: [{ ...at('logs'), leaderEpoch: -1 }] })
    expect(fenced.failures[0]?.failure?.reason).toBe('FENCED_LEADER_EPOCH')
    for (const request of [
      { partitions: [] },
      { partitions: Array.from({ length: 1001 }, () => at('logs')) },
      { partitions: [at('logs')], maxWaitMs: 60_001 },
      { partitions: [at('logs')], maxFrameBytes: 100 },
      { partitions: Array.from({ length: 50 }, () => at('logs')), maxFrameBytes: 1024 },
    ])
      expect((await node.refusal(Consumer.fetch, request)).reason).toBe('INVALID_REQUEST')
  })

  it('answers at once when no more fits, whatever min_bytes asks for', async () => {
    await node.createTopic('logs', 2)
    for (const partition of [0, 1]) await write('logs', ['a', 'b', 'c'], { partition, valueBytes: 1000 })
    const startMs = node.machine.clock.monotonicMs()
    const waiting = { maxWaitMs: 60_000, minBytes: 1_000_000 }
    const byPartition = await node.call(Consumer.fetch, {
      partitions: [{ ...at('logs'), maxBytes: 500 }],
      ...waiting,
    })
    expect(byPartition.partitions[0]?.nextOffset).toBe(1)
    const byFrame = await node.call(Consumer.fetch, {
      partitions: [at('logs', 0), at('logs', 1)],
      maxFrameBytes: 2500,
      ...waiting,
    })
    expect(byFrame.partitions[0]?.nextOffset).toBe(2)
    expect(node.machine.clock.monotonicMs() - startMs).toBeLessThan(1000)
  })

  it('suggests names for a few of many topics that do not exist', async () => {
    const names = Array.from({ length: 200 }, (_, index) => `${'topic-of-a-long-name-'.repeat(4)}${index}`)
    for (let from = 0; from < names.length; from += 100)
      await node.call(Admin.createTopics, {
        topics: names.slice(from, from + 100).map(topic => ({ topic, partitions: 1 })),
      })
    const partitions = names.map(name => at(name.replace('long', 'lnog')))
    const { failures } = await node.call(Consumer.fetch, { partitions })
    expect(failures[0]?.failure?.message).toContain(`did you mean "${names[0]}"`)
    const suggested = failures.filter(({ failure }) => failure?.message?.includes('did you mean'))
    expect(failures).toHaveLength(names.length)
    // Each costs a look at every name there is.
    expect(suggested.length).toBeLessThan(names.length / 2)
  })

  it('leaves nothing behind when the caller goes away', async () => {
    await node.createTopic('logs')
    const fetching = node.send(
      Consumer.fetch,
      { partitions: [at('logs')], maxWaitMs: 60_000 },
      { timeoutMs: 300 },
    )
    await expect(node.run(fetching)).rejects.toMatchObject({ reason: 'DEADLINE_EXCEEDED' })
    await write('logs', ['a'])
  })
})

describe('ListOffsets', () => {
  it('refuses too many partitions before it looks at any', async () => {
    await node.createTopic('wide', 400)
    const partitions = Array.from({ length: 1000 }, () => ({ topic: 'wide' }))
    const error = await node.refusal(Consumer.listOffsets, { partitions })
    expect(error.message).toContain('400000 in all')
  })

  it('finds places, of one partition or of all', async () => {
    await node.createTopic('logs', 2)
    for (const [index, value] of ['a', 'b', 'c'].entries())
      await write('logs', [value], { partition: 1, timestampMs: 1_700_000_000_000 + index })
    const { offsets } = await node.call(Consumer.listOffsets, {
      partitions: [
        { topic: 'logs' },
        { topic: 'logs', partition: 1, position: { at: 'EARLIEST' } },
        { topic: 'logs', partition: 1, position: { timestampMs: 1_700_000_000_001 } },
        { topic: 'logs', partition: 1, position: { timestampMs: 1_900_000_000_000 } },
        { topic: 'logs', partition: 1, position: { last: 1 } },
        { topic: 'logs', partition: 1, position: { offset: 2 } },
        { topic: 'logs', partition: 1, position: { offset: 20 } },
        { topic: 'logs', partition: 1, position: { at: 'COMMITTED' } },
        { topic: 'none' },
      ],
    })
    expect(offsets.map(one => one.failure?.reason ?? one.offset)).toEqual([
      0,
      3,
      0,
      1,
      3,
      2,
      2,
      'OFFSET_OUT_OF_RANGE',
      'INVALID_REQUEST',
      'UNKNOWN_TOPIC',
    ])
    expect(offsets[3]?.timestampMs).toBe(1_700_000_000_001)
    expect(offsets[4]?.timestampMs).toBeUndefined()
  })
})
