import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { ConsumedRecord, ReaderOptions, SkippedOffsets } from '../../../src/client/index.ts'
import { Consumer } from '../../../src/wire/methods.ts'
import { cutOffLog, readAll, SdkHarness, unhandledIn } from '../sdk-harness.ts'

const PATH = Consumer.read.path

let sdk: SdkHarness

beforeEach(async () => {
  sdk = await SdkHarness.start()
})

afterEach(async () => {
  await sdk.stop()
  expect(sdk.node.bugs).toEqual([])
})

describe('a reader whose streams break', () => {
  it.each([1, 2, 3, 5])('resumes without gap or repeat (every %i frames)', async every => {
    const wanted = await fill('logs', { partitions: 2, records: 400, batchBytesMax: 300 })
    let count = 0
    sdk.faults.toClient = path => (path === PATH && ++count % (every + 1) === 0 ? 'break' : 'pass')
    const records = await sdk.run(
      readAll(sdk.client.reader({ topic: 'logs', stop: 'currentEnd', creditBytesMax: 64 * 1024 })),
    )
    expect(byPartition(records)).toEqual(wanted)
  })

  it('leaves a node that falls silent', async () => {
    const wanted = await fill('logs', { partitions: 1, records: 50 })
    let streams = 0
    sdk.faults.toNode = (path, message) => {
      if (path === PATH && Consumer.read.request.decode(Buffer.from(message)).options) streams++
      return 'pass'
    }
    // The first stream stays open and brings nothing more.
    sdk.faults.toClient = path => (path === PATH && streams === 1 ? 'drop' : 'pass')
    const startMs = sdk.nowMs
    const records = await sdk.run(readAll(sdk.client.reader({ topic: 'logs', stop: 'currentEnd' })))
    expect(byPartition(records)).toEqual(wanted)
    expect(streams).toBe(2)
    expect(sdk.nowMs - startMs).toBeLessThan(3_000)
  })

  it('tells the error after retryTimeoutMs without progress', async () => {
    await fill('logs', { partitions: 1, records: 1 })
    sdk.faults.toClient = path => (path === PATH ? 'break' : 'pass')
    const reading = readAll(sdk.client.reader({ topic: 'logs', retryTimeoutMs: 5_000 }))
    await expect(sdk.run(reading)).rejects.toMatchObject({ reason: 'CONNECTION_FAILED' })
  })

  it('stays at the end that it had at first', async () => {
    const wanted = await fill('logs', { partitions: 1, records: 100, batchBytesMax: 200 })
    let count = 0
    sdk.faults.toClient = path => (path === PATH && ++count === 2 ? 'break' : 'pass')
    const reader = sdk.client.reader({ topic: 'logs', stop: 'currentEnd' })
    await sdk.node.until(() => count >= 1)
    await fill('logs', { partitions: 1, records: 50 })
    expect(byPartition(await sdk.run(readAll(reader)))).toEqual(wanted)
  })
})

describe('what a reader holds', () => {
  it('asks for no more than its credit while nobody takes records', async () => {
    const creditBytesMax = 64 * 1024
    const batchBytesMax = 8 * 1024
    await fill('logs', { partitions: 1, records: 500, valueBytes: 1_000, batchBytesMax })
    let received = 0
    sdk.faults.toClient = (path, message) => {
      if (path === PATH) received += message.length
      return 'pass'
    }
    const reader = sdk.client.reader({ topic: 'logs', creditBytesMax })
    await sdk.node.forMs(10_000)
    expect(received).toBeGreaterThan(creditBytesMax / 2)
    expect(received).toBeLessThan(creditBytesMax + 2 * batchBytesMax)
    const records = reader[Symbol.asyncIterator]()
    for (let i = 0; i < 500; i++) expect((await sdk.run(records.next())).value.offset).toBe(i)
    expect(reader.lag()).toBe(0)
    await sdk.run(reader.close())
    expect(await records.next()).toEqual({ value: undefined, done: true })
  })

  it('gives out records and batches from one place', async () => {
    await fill('logs', { partitions: 1, records: 10 })
    const reader = sdk.client.reader({ topic: 'logs', stop: 'currentEnd' })
    const offsets: number[] = []
    for (let i = 0; i < 3; i++)
      offsets.push((await sdk.run(reader[Symbol.asyncIterator]().next())).value.offset)
    expect(reader.partitions()).toMatchObject([{ partition: 0, nextOffset: 3, lag: 7, ended: false }])
    const batches = reader.batches()
    for (;;) {
      const { value, done } = await sdk.run(batches.next())
      if (done) break
      offsets.push(...value.records.map((record: ConsumedRecord) => record.offset))
    }
    expect(offsets).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
    expect(reader.partitions()).toMatchObject([{ nextOffset: 10, lag: 0, ended: true }])
  })

  it('goes to loops that wait at once with each record given to one of them', async () => {
    const wanted = await fill('logs', { partitions: 1, records: 100, batchBytesMax: 200 })
    const reader = sdk.client.reader({ topic: 'logs', stop: 'currentEnd' })
    const loops = await sdk.run(Promise.all([readAll(reader), readAll(reader), readAll(reader)]))
    const records = loops.flat().sort((a, b) => a.offset - b.offset)
    expect(byPartition(records)).toEqual(wanted)
  })

  it('refuses bytes that changed on the way', async () => {
    await fill('logs', { partitions: 1, records: 10, valueBytes: 100 })
    sdk.faults.toClient = (path, message) => {
      if (path !== PATH) return 'pass'
      const spoiled = Buffer.from(message)
      if (spoiled.length > 1_000) spoiled.writeUInt8(spoiled.readUInt8(500) ^ 1, 500)
      return spoiled
    }
    const reading = readAll(sdk.client.reader({ topic: 'logs', stop: 'currentEnd' }))
    await expect(sdk.run(reading)).rejects.toMatchObject({ reason: 'CORRUPT_DATA' })
  })
})

describe('what changes while a reader reads', () => {
  it('says which offsets were gone, and goes on behind them', async () => {
    await fill('logs', { partitions: 1, records: 10, batchBytesMax: 100 })
    await sdk.run(sdk.client.admin().deleteRecords('logs', { 0: 6 }))
    const skipped: SkippedOffsets[] = []
    const options: ReaderOptions = {
      topic: 'logs',
      start: { offset: 2 },
      stop: 'currentEnd',
      onSkipped: one => skipped.push(one),
    }
    const records = await sdk.run(readAll(sdk.client.reader(options)))
    expect(records.map(record => record.offset)).toEqual([6, 7, 8, 9])
    expect(skipped).toEqual([{ topic: 'logs', partition: 0, from: 2, to: 6 }])
  })

  it('goes on whatever its own onSkipped throws', async () => {
    await fill('logs', { partitions: 1, records: 10, batchBytesMax: 100 })
    await sdk.run(sdk.client.admin().deleteRecords('logs', { 0: 6 }))
    const mine = new Error('from the program')
    const onSkipped = () => {
      throw mine
    }
    const unhandled = await unhandledIn(async () => {
      const start = { offset: 2 }
      const reader = sdk.client.reader({ topic: 'logs', start, stop: 'currentEnd', onSkipped })
      const records = await sdk.run(readAll(reader))
      expect(records.map(record => record.offset)).toEqual([6, 7, 8, 9])
    })
    expect(unhandled).toEqual([mine])
  })

  it('goes on where the log ends if its end was given up, and says so', async () => {
    await fill('logs', { partitions: 1, records: 10 })
    const skipped: SkippedOffsets[] = []
    const reader = sdk.client.reader({ topic: 'logs', onSkipped: one => skipped.push(one) })
    const offsets: number[] = []
    void (async () => {
      for await (const { offset } of reader) offsets.push(offset)
    })()
    await sdk.node.until(() => offsets.length === 10)
    cutOffLog(sdk.faults, 7)
    await sdk.node.until(() => skipped.length > 0 && offsets.length === 13)
    expect(offsets.slice(10)).toEqual([7, 8, 9])
    expect(skipped).toEqual([{ topic: 'logs', partition: 0, from: 10, to: 7 }])
    await sdk.run(reader.close())
  })

  it('reads again what it had received and not given out where its end was given up', async () => {
    await fill('logs', { partitions: 1, records: 10, batchBytesMax: 100 })
    const skipped: SkippedOffsets[] = []
    const reader = sdk.client.reader({ topic: 'logs', onSkipped: one => skipped.push(one) })
    const loop = reader[Symbol.asyncIterator]()
    expect((await sdk.run(loop.next())).value).toMatchObject({ offset: 0 })
    await sdk.node.forMs(1_000)
    cutOffLog(sdk.faults, 7)
    await sdk.node.forMs(2_000)
    for (let offset = 1; offset < 10; offset++)
      expect((await sdk.run(loop.next())).value).toMatchObject({ offset })
    expect(skipped).toEqual([])
    await sdk.run(reader.close())
  })

  it('fails where it is told to begin behind the end', async () => {
    await fill('logs', { partitions: 1, records: 10 })
    const reading = readAll(sdk.client.reader({ topic: 'logs', start: { offset: 11 } }))
    await expect(sdk.run(reading)).rejects.toMatchObject({ reason: 'OFFSET_OUT_OF_RANGE' })
  })

  it('takes up partitions that are added, from their first record', async () => {
    await fill('logs', { partitions: 1, records: 1 })
    const reader = sdk.client.reader({ topic: 'logs', start: 'latest' })
    const next = reader[Symbol.asyncIterator]().next()
    await sdk.node.until(() => reader.lag() !== undefined)
    await sdk.run(sdk.client.admin().createPartitions('logs', 2))
    const producer = sdk.client.producer()
    await sdk.run(producer.send({ topic: 'logs', partition: 1, value: 'new' }))
    expect((await sdk.run(next)).value).toMatchObject({ partition: 1, offset: 0 })
  })

  it('fails when its topic is deleted', async () => {
    await fill('logs', { partitions: 1, records: 1 })
    const reading = readAll(sdk.client.reader({ topic: 'logs', start: 'latest' }))
    reading.catch(() => {})
    await sdk.node.forMs(100)
    await sdk.run(sdk.client.admin().deleteTopics(['logs']))
    await expect(sdk.run(reading)).rejects.toMatchObject({ reason: 'UNKNOWN_TOPIC' })
  })
})

it('refuses options of wrong types by name', () => {
  const wrong = (options: object) => () => sdk.client.reader(options as ReaderOptions)
  expect(wrong({})).toThrow(/topic must be the name of a topic/)
  expect(wrong({ topic: 'a', start: 'beginning' })).toThrow(/start must be 'earliest', 'latest'/)
  expect(wrong({ topic: 'a', start: { offset: -1 } })).toThrow(/start must be/)
  expect(wrong({ topic: 'a', partition: 1 })).toThrow(/no option "partition" \(did you mean "partitions"\?\)/)
  expect(wrong({ topic: 'a', partitions: [0, 0] })).toThrow(/partitions must be/)
})

async function fill(
  topic: string,
  of: { partitions: number; records: number; valueBytes?: number; batchBytesMax?: number },
): Promise<Map<number, string[]>> {
  const known = await sdk.run(sdk.client.admin().listTopics())
  if (!known.some(one => one.name === topic)) await sdk.node.createTopic(topic, of.partitions)
  const producer = sdk.client.producer({ batchBytesMax: of.batchBytesMax ?? 1024 * 1024 })
  for (let i = 0; i < of.records; i++) {
    const value = `value-${i}`.padEnd(of.valueBytes ?? 0, '.')
    producer.enqueue({ topic, partition: i % of.partitions, value })
  }
  await sdk.run(producer.close())
  return byPartition(await sdk.stored(topic))
}

function byPartition(records: readonly ConsumedRecord[]): Map<number, string[]> {
  const found = new Map<number, string[]>()
  for (const { partition, offset, value } of records) {
    const values = found.get(partition) ?? []
    expect(offset).toBe(values.length)
    values.push(String(value))
    found.set(partition, values)
  }
  return new Map([...found].sort(([a], [b]) => a - b))
}
