import { beforeEach, describe, expect, it } from 'vitest'
import { partitionForKey } from '../../src/records/murmur2.ts'
import type { ProduceAnswer, ReadResponse, StoredRecord } from '../../src/wire/messages.ts'
import { Admin, Consumer, Producer } from '../../src/wire/methods.ts'
import { batchOf } from '../harness/service-node.ts'
import { ThinClient, type ThinStream } from './thin-client.ts'

let client: ThinClient

beforeEach(async () => {
  client = await ThinClient.start()
})

const DIRECT = { metadata: { 'naru-direct': '1' } }

describe('a client that knows nothing of leaders', () => {
  it('writes by key, reads, measures and cuts through any node', async () => {
    await client.createTopic('logs', { partitions: 6, replicationFactor: 1 })
    expect(new Set([0, 1, 2, 3, 4, 5].map(one => client.leaderOf('logs', one)))).toEqual(new Set([0, 1, 2]))
    const keys = Array.from({ length: 30 }, (_, index) => `key-${index}`)
    for (const [entry, some] of [keys.slice(0, 10), keys.slice(10, 20), keys.slice(20)].entries()) {
      const records = some.map(key => ({ key: Buffer.from(key), value: Buffer.from(`of ${key}`) }))
      const { results } = await client.call(entry, Producer.produce, { topic: 'logs', records })
      expect(results.map(({ failure }) => failure)).toEqual(some.map(() => undefined))
      expect(results.map(({ partition }) => partition)).toEqual(
        some.map(key => partitionForKey(Buffer.from(key), 6)),
      )
    }
    for (const entry of [0, 1, 2]) {
      const { offsets } = await client.call(entry, Consumer.listOffsets, { partitions: [{ topic: 'logs' }] })
      expect(offsets.map(({ failure }) => failure)).toEqual(offsets.map(() => undefined))
      expect(offsets.reduce((sum, { offset = 0 }) => sum + offset, 0)).toBe(30)
      const partitions = [0, 1, 2, 3, 4, 5].map(partition => ({ topic: 'logs', partition }))
      const fetched = await client.call(entry, Consumer.fetch, { partitions })
      const read = fetched.partitions.flatMap(one => one.records.map(({ key }) => String(key)))
      expect(read.sort()).toEqual([...keys].sort())
    }
    const before = { at: 'LATEST' as const }
    const partitions = [0, 1, 2, 3, 4, 5].map(partition => ({ topic: 'logs', partition, before }))
    const { results } = await client.call(1, Admin.deleteRecords, { partitions })
    expect(results.reduce((sum, { logStartOffset }) => sum + logStartOffset, 0)).toBe(30)
  })

  it('follows a whole topic, from what there is to what comes', async () => {
    await client.createTopic('logs', { partitions: 3, replicationFactor: 1 })
    await write(['old'])
    for (const format of ['RECORDS', 'BATCHES'] as const) {
      const reading = client.stream(1, Consumer.read)
      reading.send({ options: { format }, add: [{ topic: 'logs', start: { at: 'EARLIEST' } }] })
      await reading.until(frames => frames.flatMap(({ records }) => records).length >= 3)
      await write([`new of ${format}`])
      await reading.until(
        () => endOffsets(reading).reduce((sum, one) => sum + one, 0) >= (format === 'RECORDS' ? 6 : 9),
      )
      expect(reading.closed).toBeUndefined()
      reading.stream.fail(new Error('enough'))
    }
  })

  it('stops at the end of then, and at a time', async () => {
    await client.createTopic('logs', { partitions: 3, replicationFactor: 1 })
    await write(['a', 'b'])
    for (const stop of [{ at: 'CURRENT_END' as const }, { timestampMs: 1_600_000_000_000 }]) {
      const reading = client.stream(2, Consumer.read)
      reading.send({ add: [{ topic: 'logs', stop }] })
      reading.stream.end()
      await reading.until(() => false)
      expect(reading.closed).toEqual({ error: undefined })
      const count = stop.at === undefined ? 0 : 6
      expect(reading.frames.flatMap(({ records }) => records.flatMap(one => one.records))).toHaveLength(count)
      expect(reading.frames.flatMap(({ ended }) => ended)).toHaveLength(3)
    }
  })

  it('reads as fast as it takes, and no faster', async () => {
    await client.createTopic('logs', { partitions: 1, replicationFactor: 1 })
    const leader = client.leaderOf('logs')
    for (let count = 0; count < 40; count++) {
      const batch = batchOf([`${count}`], { valueBytes: 100_000 })
      await client.call(leader as number, Producer.produce, {
        topic: 'logs',
        batches: [{ partition: 0, batch }],
      })
    }
    const reading = client.stream(client.otherThan(leader), Consumer.read)
    reading.send({ add: [{ topic: 'logs' }], credit: { records: 3 } })
    await reading.until(() => values(reading).length >= 3)
    await client.cluster.scheduler.runFor(1_000)
    expect(values(reading)).toHaveLength(3)
    for (let more = 0; more < 37; more++) reading.send({ credit: { records: 1 } })
    await reading.until(() => values(reading).length >= 40)
    expect(values(reading).map(({ offset }) => offset)).toEqual(
      Array.from({ length: 40 }, (_, offset) => offset),
    )
  })
})

it('tells a client that knows of leaders where the leader is', async () => {
  await client.createTopic('logs', { replicationFactor: 1 })
  const leader = client.leaderOf('logs')
  const entry = client.otherThan(leader)
  const hint = { leader_id: String(leader), leader_address: `n${leader}:7450` }
  const records = [{ value: Buffer.from('a') }]
  const refused = await client.refusal(
    entry,
    Producer.produce,
    { topic: 'logs', partition: 0, records },
    DIRECT,
  )
  expect(refused).toMatchObject({ reason: 'NOT_LEADER', outcome: 'none', details: hint })
  const fetched = await client.call(
    entry,
    Consumer.fetch,
    { partitions: [{ topic: 'logs', partition: 0 }] },
    DIRECT,
  )
  expect(fetched.failures[0]?.failure).toMatchObject({ reason: 'NOT_LEADER', details: hint })
  const listed = await client.call(entry, Consumer.listOffsets, { partitions: [{ topic: 'logs' }] }, DIRECT)
  expect(listed.offsets[0]?.failure).toMatchObject({ reason: 'NOT_LEADER', details: hint })
  const reading = client.stream(entry, Consumer.read, DIRECT)
  reading.send({ add: [{ topic: 'logs' }] })
  await reading.until(frames => frames.some(({ failures }) => failures.length > 0))
  const failures = reading.frames.flatMap(({ failures }) => failures)
  expect(failures[0]?.failure).toMatchObject({ reason: 'NOT_LEADER', details: hint })
  const writing = client.stream(entry, Producer.produceStream, DIRECT)
  writing.send({ seq: 1, entries: [{ topic: 'logs', partition: 0, batch: batchOf(['a']) }] })
  await writing.until(frames => frames.length > 0)
  expect(answers(writing)[0]?.results[0]?.failure).toMatchObject({ reason: 'NOT_LEADER', details: hint })
})

it('is told the reason of the leader, whichever node it called', async () => {
  await client.createTopic('logs', { replicationFactor: 3, settings: { 'min.insync.replicas': '3' } })
  const leader = client.leaderOf('logs') as number
  const entry = client.otherThan(leader)
  const [third] = client.cluster.running.filter(({ nodeId }) => nodeId !== leader && nodeId !== entry)
  client.cluster.kill(third as never)
  await client.cluster.scheduler.runFor(3_000)
  const write = (acks: 'ALL' | 'LEADER' | 'NONE') =>
    client.call(entry, Producer.produce, {
      topic: 'logs',
      acks,
      batches: [{ partition: 0, batch: batchOf([acks]) }],
    })
  const { results } = await write('ALL')
  expect(results[0]?.failure).toMatchObject({ reason: 'NOT_ENOUGH_REPLICAS', outcome: 'NONE' })
  expect((await write('LEADER')).results[0]).toMatchObject({ partition: 0, offset: 0 })
  expect((await write('NONE')).results[0]).toEqual({ partition: 0 })
})

describe('a leader that is killed in the middle of a stream', () => {
  const COUNT = 60

  it('with a producer id: every batch is stored, once, in order', async () => {
    await client.createTopic('logs', { replicationFactor: 3 })
    const leader = client.leaderOf('logs') as number
    const writing = client.stream(client.otherThan(leader), Producer.produceStream)
    const { producerId } = await client.call(client.otherThan(leader), Producer.initProducer, {})
    for (let seq = 1; seq <= COUNT; seq++) {
      const batch = batchOf([`${seq}`], { producerId, baseSequence: seq - 1 })
      writing.send({ seq, entries: [{ topic: 'logs', partition: 0, batch }] })
      if (seq % 3 === 0) await client.cluster.scheduler.runFor(1)
      if (seq === COUNT / 2) client.cluster.kill(client.cluster.members[leader] as never)
    }
    await writing.until(() => answers(writing).length >= COUNT)
    expect(answers(writing).flatMap(({ results }) => results.map(({ failure }) => failure?.message))).toEqual(
      Array.from({ length: COUNT }, () => undefined),
    )
    expect(answers(writing).map(({ results }) => results[0]?.offset)).toEqual(
      Array.from({ length: COUNT }, (_, index) => index),
    )
    expect(await stored()).toEqual(Array.from({ length: COUNT }, (_, index) => `${index + 1}`))
  })

  it('without one: what is not known is told, and nothing is stored twice or out of order', async () => {
    await client.createTopic('logs', { replicationFactor: 3 })
    const leader = client.leaderOf('logs') as number
    const writing = client.stream(client.otherThan(leader), Producer.produceStream)
    for (let seq = 1; seq <= COUNT; seq++) {
      writing.send({ seq, entries: [{ topic: 'logs', partition: 0, batch: batchOf([`${seq}`]) }] })
      if (seq % 3 === 0) await client.cluster.scheduler.runFor(1)
      if (seq === COUNT / 2) client.cluster.kill(client.cluster.members[leader] as never)
    }
    await writing.until(() => answers(writing).length >= COUNT)
    const told = new Map(answers(writing).map(({ seq, results }) => [seq, results[0]]))
    const unknown = [...told].filter(([, result]) => result?.failure !== undefined)
    expect(unknown.length).toBeLessThanOrEqual(1)
    for (const [, result] of unknown)
      expect(result?.failure).toMatchObject({ reason: 'UNKNOWN_OUTCOME', outcome: 'UNKNOWN' })
    const values = (await stored()).map(Number)
    expect(values).toEqual([...new Set(values)].sort((a, b) => a - b))
    for (const [seq, result] of told) if (!result?.failure) expect(values).toContain(seq)
  })

  it('readers go on at the next, without gap or repeat', async () => {
    await client.createTopic('logs', { replicationFactor: 3 })
    const leader = client.leaderOf('logs') as number
    const entry = client.otherThan(leader)
    const readings = [
      entry,
      client.cluster.running.map(one => one.nodeId).find(one => one !== entry && one !== leader),
    ].map(one => client.stream(one as number, Consumer.read))
    for (const reading of readings) reading.send({ add: [{ topic: 'logs' }] })
    for (let count = 0; count < 20; count++) {
      await client.call(entry, Producer.produce, {
        topic: 'logs',
        batches: [{ partition: 0, batch: batchOf([`${count}`]) }],
      })
      if (count === 10) client.cluster.kill(client.cluster.members[leader] as never)
    }
    for (const reading of readings) {
      await reading.until(() => values(reading).length >= 19)
      const offsets = values(reading).map(({ offset }) => offset)
      expect(offsets).toEqual(offsets.map((_, index) => index))
      expect(reading.frames.flatMap(({ failures }) => failures)).toEqual([])
    }
  })
})

async function write(some: readonly string[]): Promise<void> {
  for (const partition of [0, 1, 2]) {
    const { results } = await client.call(0, Producer.produce, {
      topic: 'logs',
      batches: [{ partition, batch: batchOf(some) }],
    })
    expect(results[0]?.failure).toBeUndefined()
  }
}

async function stored(): Promise<string[]> {
  const reading = client.stream(client.otherThan(null), Consumer.read)
  reading.send({ add: [{ topic: 'logs', stop: { at: 'CURRENT_END' } }] })
  reading.stream.end()
  await reading.until(() => false)
  return values(reading).map(({ value }) => String(value))
}

function values(reading: { readonly frames: readonly ReadResponse[] }): StoredRecord[] {
  return reading.frames.flatMap(({ records }) => records.flatMap(one => one.records))
}

function endOffsets(reading: { readonly frames: readonly ReadResponse[] }): number[] {
  const ends = new Map<number, number>()
  for (const { records } of reading.frames)
    for (const { partition, nextOffset } of records) ends.set(partition, nextOffset)
  return [...ends.values()]
}

function answers(
  writing: ThinStream<unknown, { readonly answers: readonly ProduceAnswer[] }>,
): ProduceAnswer[] {
  return writing.frames.flatMap(frame => frame.answers)
}
