import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { MethodPath, ServiceHandler } from '../../../src/ports/transport.ts'
import { compressionAt } from '../../../src/records/batch-header.ts'
import { batchPositions } from '../../../src/records/batch-positions.ts'
import { ReadMemory } from '../../../src/service/read-memory.ts'
import { OwnClient } from '../../../src/service/subscribe/own-client.ts'
import { SubscribeSession } from '../../../src/service/subscribe/subscribe-session.ts'
import type {
  MessageInit,
  SubscribeJoin,
  SubscribeRequest,
  SubscribeResponse,
} from '../../../src/wire/messages.ts'
import { Consumer } from '../../../src/wire/methods.ts'
import { ConsumerHarness } from '../../client/consumer/consumer-harness.ts'
import { SeededPrng } from '../../harness/seeded-prng.ts'
import type { TestStream } from '../../harness/service-node.ts'

type Stream = TestStream<SubscribeRequest, SubscribeResponse>
type Frames = readonly SubscribeResponse[]

let harness: ConsumerHarness
let ownClient: OwnClient

beforeEach(async () => {
  await start()
})

afterEach(async () => {
  await stop()
})

async function start(settings = {}): Promise<void> {
  harness = await ConsumerHarness.start(settings)
  const { broker, machine } = harness.sdk.node
  const handlers = broker.handlers as Map<MethodPath, ServiceHandler>
  const logger = { debug() {}, info() {}, warn() {}, error() {} }
  const { clock } = machine
  ownClient = new OwnClient({ handlers, clock, logger, prng: new SeededPrng('own client') })
  const memory = new ReadMemory()
  handlers.set(Consumer.subscribe.path, {
    kind: 'stream',
    handle: stream => void new SubscribeSession({ clock, logger }, { memory, client: ownClient, stream }),
  })
}

async function stop(): Promise<void> {
  ownClient.close()
  await harness.stop()
  expect(harness.sdk.node.bugs).toEqual([])
}

function subscribe(join: Partial<MessageInit<SubscribeJoin>> = {}): Stream {
  const stream = harness.sdk.node.stream(Consumer.subscribe)
  stream.send({ join: { group: 'g', topics: ['logs'], member: 'm', ...join } })
  return stream
}

function recordFrames(frames: Frames): SubscribeResponse[] {
  return frames.filter(({ records }) => records !== undefined)
}

function values(frames: Frames): string[] {
  return frames.flatMap(({ records }) =>
    (records?.partitions ?? []).flatMap(one => one.records.map(({ value }) => value?.toString() ?? '')),
  )
}

function numbers(from: number, end: number): string[] {
  return Array.from({ length: end - from }, (_, index) => String(from + index))
}

describe('a client that sends Next', () => {
  it('is told of its membership and its partitions, then gets one Records per Next', async () => {
    const topicId = await harness.sdk.node.createTopic('logs', 1)
    await harness.fill('logs', 25, 1)
    const stream = subscribe({ maxFrameRecords: 10 })
    await stream.until(frames => frames.some(({ assigned }) => assigned !== undefined))
    expect(stream.frames[0]).toMatchObject({ number: 1, joined: { member: 'm', sessionTimeoutMs: 10_000 } })
    expect(stream.frames[1]?.assigned?.partitions).toEqual([
      { topic: 'logs', topicId, partition: 0, nextOffset: 0 },
    ])
    await harness.sdk.node.forMs(2_000)
    expect(recordFrames(stream.frames)).toEqual([])
    stream.send({ next: {} })
    await harness.sdk.node.forMs(2_000)
    expect(values(stream.frames)).toEqual(numbers(0, 10))
    stream.send({ next: {} })
    stream.send({ next: {} })
    await harness.sdk.node.forMs(2_000)
    expect(values(stream.frames)).toEqual(numbers(0, 25))
    expect(stream.frames.map(({ number }) => number)).toEqual(stream.frames.map((_, index) => index + 1))
    // Nothing was said to be done.
    expect(harness.groups.committed('g')).toEqual({ 'logs/0': 0 })
  })

  it('marks done exactly what done_frame covers, whatever is in flight', async () => {
    await harness.sdk.node.createTopic('logs', 1)
    await harness.fill('logs', 30, 1)
    const stream = subscribe({ maxFrameRecords: 10 })
    stream.send({ next: {} })
    stream.send({ next: {} })
    await stream.until(frames => recordFrames(frames).length === 2)
    const [first, second] = recordFrames(stream.frames).map(({ number }) => number)
    stream.send({ next: { doneFrame: first } })
    await stream.until(frames => frames.some(({ committed }) => committed !== undefined))
    expect(harness.groups.committed('g')).toEqual({ 'logs/0': 10 })
    expect(stream.frames.find(({ committed }) => committed)?.committed?.results).toEqual([
      { topic: 'logs', partition: 0, nextOffset: 10 },
    ])
    stream.send({ next: { doneFrame: second } })
    await harness.sdk.node.forMs(1_500)
    expect(harness.groups.committed('g')).toEqual({ 'logs/0': 20 })
    stream.send({ next: { doneFrame: 1_000_000 } })
    expect(await stream.untilClosed()).toMatchObject({ reason: 'INVALID_REQUEST' })
  })

  it('half-closes: what is done is committed, it has left, and the stream ends well', async () => {
    await harness.sdk.node.createTopic('logs', 1)
    await harness.fill('logs', 20, 1)
    const stream = subscribe({ maxFrameRecords: 10 })
    stream.send({ next: {} })
    await stream.until(frames => recordFrames(frames).length === 1)
    const [first] = recordFrames(stream.frames)
    stream.send({ next: { doneFrame: first?.number ?? 0 } })
    await stream.until(frames => recordFrames(frames).length === 2)
    stream.end()
    expect(await stream.untilClosed()).toBeUndefined()
    expect(harness.groups.committed('g')).toEqual({ 'logs/0': 10 })
    expect(harness.groups.members('g')).toEqual([])
  })

  it('breaks off: what is done is committed, and it finds its partitions again under its name', async () => {
    await harness.sdk.node.createTopic('logs', 1)
    await harness.fill('logs', 20, 1)
    const stream = subscribe({ maxFrameRecords: 10 })
    stream.send({ next: {} })
    await stream.until(frames => recordFrames(frames).length === 1)
    stream.send({ next: { doneFrame: recordFrames(stream.frames)[0]?.number ?? 0 } })
    await stream.until(frames => recordFrames(frames).length === 2)
    stream.stream.fail(new Error('gone'))
    await harness.until(() => harness.groups.committed('g')['logs/0'] === 10)
    expect(harness.groups.members('g')).toEqual(['m'])
    const again = subscribe()
    again.send({ next: {} })
    await again.until(frames => recordFrames(frames).length === 1)
    expect(values(again.frames)).toEqual(numbers(10, 20))
    expect(harness.groups.ownerships.get('g logs/0')).toHaveLength(1)
  })

  it('gives a partition back with the Next that covers Revoking, after its commit', async () => {
    await harness.sdk.node.createTopic('logs', 2)
    await harness.fill('logs', 20, 2)
    const stream = subscribe()
    stream.send({ next: {} })
    await stream.until(frames => values(frames).length > 0)
    const member = await harness.member('other', { isIdle: true })
    await stream.until(frames => frames.some(({ revoking }) => revoking !== undefined))
    const asked = stream.frames.find(({ revoking }) => revoking !== undefined)
    expect(asked?.revoking).toMatchObject({ deadlineMs: 60_000, partitions: [{ topic: 'logs' }] })
    await harness.sdk.node.forMs(5_000)
    expect(member.partitions).toEqual([])
    const given = values(stream.frames).length
    stream.send({ next: { doneFrame: asked?.number ?? 0 } })
    await harness.until(() => member.partitions.length === 1)
    const committed = harness.groups.committed('g')
    expect((committed['logs/0'] ?? 0) + (committed['logs/1'] ?? 0)).toBe(given)
  })

  it('is told of a loss at the deadline', async () => {
    await stop()
    await start({ releaseTimeoutMs: 3_000 })
    await harness.sdk.node.createTopic('logs', 2)
    const stream = subscribe()
    await stream.until(frames => frames.some(({ assigned }) => assigned !== undefined))
    const member = await harness.member('other', { isIdle: true })
    await stream.until(frames => frames.some(({ lost }) => lost !== undefined))
    await harness.until(() => member.partitions.length === 1)
  })

  it('hears how far it is every 500 ms, and of what is gone', async () => {
    await harness.sdk.node.createTopic('logs', 1)
    await harness.fill('logs', 10, 1)
    await harness.sdk.run(harness.sdk.client.admin().deleteRecords('logs', { 0: 4 }))
    const stream = subscribe()
    stream.send({ next: {} })
    await stream.until(frames => recordFrames(frames).length === 1)
    // A start at the earliest is behind what is gone; a commit may not be.
    expect(values(stream.frames)).toEqual(numbers(4, 10))
    const count = stream.frames.length
    await harness.sdk.node.forMs(2_100)
    const beats = stream.frames.slice(count).flatMap(({ heartbeat }) => heartbeat ?? [])
    expect(beats.length).toBeGreaterThanOrEqual(3)
    expect(beats.at(-1)?.statuses).toMatchObject([
      { topic: 'logs', partition: 0, nextOffset: 10, highWatermark: 10, logStartOffset: 4 },
    ])
  })

  it('goes on where retention has passed it, and is told so', async () => {
    await harness.sdk.node.createTopic('logs', 1)
    await harness.fill('logs', 10, 1)
    const first = subscribe({ maxFrameRecords: 2 })
    first.send({ next: {} })
    await first.until(frames => recordFrames(frames).length === 1)
    first.send({ next: { doneFrame: recordFrames(first.frames)[0]?.number ?? 0 } })
    await first.until(frames => frames.some(({ committed }) => committed !== undefined))
    first.end()
    await first.untilClosed()
    await harness.sdk.run(harness.sdk.client.admin().deleteRecords('logs', { 0: 7 }))
    const second = subscribe()
    second.send({ next: {} })
    await second.until(frames => recordFrames(frames).length === 1)
    expect(second.frames.flatMap(({ skipped }) => skipped ?? [])).toEqual([
      { topic: 'logs', partition: 0, from: 2, to: 7 },
    ])
    expect(values(second.frames)).toEqual(numbers(7, 10))
  })

  it('goes on at the end where that was given up, is told so, and that is committed', async () => {
    await harness.sdk.node.createTopic('logs', 1)
    await harness.fill('logs', 5, 1)
    await harness.commit('logs', 9)
    const stream = subscribe()
    stream.send({ next: {} })
    await stream.until(frames => frames.some(({ committed }) => committed !== undefined))
    expect(stream.frames.flatMap(({ skipped }) => skipped ?? [])).toEqual([
      { topic: 'logs', partition: 0, from: 9, to: 5 },
    ])
    expect(harness.groups.committed('g')).toEqual({ 'logs/0': 5 })
    await harness.fill('logs', 3, 1, 5)
    await stream.until(frames => recordFrames(frames).length === 1)
    expect(values(stream.frames)[0]).toBe('5')
  })
})

describe('a client with auto_next', () => {
  it('half-closes at once, gets all there is, and what was sent before the last frame is done', async () => {
    await harness.sdk.node.createTopic('logs', 1)
    await harness.fill('logs', 25, 1)
    const stream = subscribe({ autoNext: true, maxFrameRecords: 10 })
    stream.end()
    await stream.until(frames => values(frames).length === 25)
    await harness.until(() => (harness.groups.committed('g')['logs/0'] ?? 0) >= 10)
    expect(stream.closed).toBeUndefined()
    expect(harness.groups.committed('g')['logs/0']).toBeLessThan(25)
  })

  it('gives partitions back by itself', async () => {
    await harness.sdk.node.createTopic('logs', 2)
    await harness.fill('logs', 20, 2)
    const stream = subscribe({ autoNext: true })
    await stream.until(frames => values(frames).length === 20)
    const member = await harness.member('other')
    await harness.until(() => member.partitions.length === 1)
    expect(stream.frames.some(({ revoking }) => revoking !== undefined)).toBe(true)
    await harness.fill('logs', 20, 2, 20)
    await harness.until(() => values(stream.frames).length + harness.deliveries.length >= 40)
    expect(
      harness.deliveries.map(({ record }) => Number(record.value?.toString())).filter(one => one < 20),
    ).toEqual([])
  })
})

describe('a client that gives credit', () => {
  it('gets no more than that, commits by offset, and releases what is asked for', async () => {
    await harness.sdk.node.createTopic('logs', 2)
    await harness.fill('logs', 40, 2)
    const stream = subscribe({ credit: { records: 15 }, maxFrameRecords: 4 })
    await harness.sdk.node.forMs(3_000)
    expect(values(stream.frames)).toHaveLength(15)
    stream.send({ credit: { records: 10 } })
    await harness.sdk.node.forMs(3_000)
    expect(values(stream.frames)).toHaveLength(25)
    expect(harness.groups.committed('g')).toEqual({ 'logs/0': 0, 'logs/1': 0 })
    stream.send({ commit: { offsets: [{ topic: 'logs', partition: 0, nextOffset: 3, metadata: '' }] } })
    await stream.until(frames => frames.some(({ committed }) => committed !== undefined))
    expect(harness.groups.committed('g')).toEqual({ 'logs/0': 3, 'logs/1': 0 })
    const member = await harness.member('other', { isIdle: true })
    await stream.until(frames => frames.some(({ revoking }) => revoking !== undefined))
    const asked = stream.frames.flatMap(({ revoking }) => revoking?.partitions ?? [])
    await harness.sdk.node.forMs(2_000)
    expect(member.partitions).toEqual([])
    stream.send({ release: { partitions: asked } })
    await harness.until(() => member.partitions.length === 1)
    stream.send({ next: {} })
    expect(await stream.untilClosed()).toMatchObject({ reason: 'INVALID_REQUEST' })
  })
})

describe('frames', () => {
  it('stay below max_frame_bytes, and a record that fits into none fails its partition only', async () => {
    await harness.sdk.node.createTopic('logs', 2)
    const producer = harness.sdk.client.producer()
    for (let i = 0; i < 20; i++) void producer.send({ topic: 'logs', partition: 0, value: 'x'.repeat(400) })
    void producer.send({ topic: 'logs', partition: 1, value: 'y'.repeat(5_000) })
    await harness.sdk.run(producer.close())
    const stream = subscribe({ autoNext: true, maxFrameBytes: 2_048 })
    await stream.until(frames => values(frames).length === 20)
    await stream.until(frames => frames.some(({ failure }) => failure !== undefined))
    expect(Math.max(...stream.sizes)).toBeLessThanOrEqual(2_048)
    expect(stream.frames.flatMap(({ failure }) => failure ?? [])).toMatchObject([
      { topic: 'logs', partition: 1, failure: { reason: 'RECORD_TOO_LARGE_FOR_CLIENT' } },
    ])
    expect(stream.closed).toBeUndefined()
  })

  it('of batches hold them as they are stored', async () => {
    await harness.sdk.node.createTopic('logs', 1)
    const producer = harness.sdk.client.producer({ compression: 'gzip' })
    for (const value of ['a', 'b', 'c']) void producer.send({ topic: 'logs', partition: 0, value })
    await harness.sdk.run(producer.close())
    const stream = subscribe({ format: 'BATCHES' })
    stream.send({ next: {} })
    await stream.until(frames => recordFrames(frames).length === 1)
    const [partition] = recordFrames(stream.frames)[0]?.records?.partitions ?? []
    expect(partition).toMatchObject({ records: [], nextOffset: 3, highWatermark: 3 })
    const bytes = Buffer.concat([...(partition?.batches ?? [])])
    expect([...batchPositions(bytes)].map(at => compressionAt(bytes, at))).toContain('gzip')
  })

  it('wait while the client does not read', async () => {
    await harness.sdk.node.createTopic('logs', 1)
    const producer = harness.sdk.client.producer()
    for (let i = 0; i < 300; i++)
      void producer.send({ topic: 'logs', partition: 0, value: 'x'.repeat(100_000) })
    await harness.sdk.run(producer.close())
    const stream = subscribe({ autoNext: true })
    stream.stream.pause()
    await harness.sdk.node.forMs(10_000)
    // What it has not taken is not done: it may be sent again.
    const done = harness.groups.committed('g')['logs/0'] ?? 0
    expect(done).toBeLessThan(100)
    stream.stream.resume()
    await stream.until(
      frames =>
        recordFrames(frames).flatMap(({ records }) => records?.partitions.flatMap(p => p.records) ?? [])
          .length === 300,
    )
  })

  it.each([
    [{ next: {} }, 'join'],
    [{ join: { group: 'g', topics: ['logs'], autoNext: true, credit: { records: 1 } } }, 'auto_next'],
    [{ join: { group: 'g', topics: ['logs'], maxFrameRecords: 0 } }, 'max_frame_records'],
    [{ join: { group: 'g', topics: ['logs'], start: { at: 'COMMITTED' } } }, 'start'],
    [{ join: { group: '', topics: ['logs'] } }, 'group'],
    [{ join: { group: 'g', topics: [] } }, 'topic'],
  ] as [MessageInit<SubscribeRequest>, string][])('refuse what is wrong: %j', async (request, word) => {
    const stream = harness.sdk.node.stream(Consumer.subscribe)
    stream.send(request)
    const error = await stream.untilClosed()
    expect(error).toMatchObject({ reason: 'INVALID_REQUEST' })
    expect(error?.message).toContain(word)
  })
})
