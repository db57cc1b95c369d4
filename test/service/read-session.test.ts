import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { batchPositions } from '../../src/records/batch-positions.ts'
import { decodeBatch } from '../../src/records/decode-batch.ts'
import type { MessageInit, ReadPartition, ReadRequest, ReadResponse } from '../../src/wire/messages.ts'
import { Admin, Consumer, Producer } from '../../src/wire/methods.ts'
import { batchOf, ServiceNodeHarness, type TestStream } from '../harness/service-node.ts'

let node: ServiceNodeHarness
type Reading = TestStream<ReadRequest, ReadResponse>

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
  options: { partition?: number; timestampMs?: number; valueBytes?: number } = {},
) {
  const { partition = 0, ...rest } = options
  const batches = values.map(value => ({ partition, batch: batchOf([value], rest) }))
  const { results } = await node.call(Producer.produce, { topic, batches })
  for (const { failure } of results) expect(failure).toBeUndefined()
}

function read(add: MessageInit<ReadPartition>[], rest: MessageInit<ReadRequest> = {}): Reading {
  const stream = node.stream(Consumer.read)
  stream.send({ add, ...rest })
  return stream
}

/** `partition:offset=value` of all that came, in whichever format. */
function got(stream: Reading): string[] {
  return stream.frames.flatMap(frame =>
    frame.records.flatMap(({ partition, records, batches }) => [
      ...records.map(one => `${partition}:${one.offset}=${one.value}`),
      ...batches.flatMap(buffer =>
        [...batchPositions(buffer)].flatMap(at =>
          decodeBatch(buffer, at).map(one => `${partition}:${one.offset}=${one.value}`),
        ),
      ),
    ]),
  )
}

const ended = (stream: Reading) => stream.frames.flatMap(frame => frame.ended)
const failures = (stream: Reading) => stream.frames.flatMap(frame => frame.failures)
const skipped = (stream: Reading) => stream.frames.flatMap(frame => frame.skipped)
const letters = ['a', 'b', 'c', 'd', 'e']
const CURRENT_END = { at: 'CURRENT_END' as const }

describe('Read', () => {
  it.each(['RECORDS', 'BATCHES'] as const)('delivers what is there and what comes, as %s', async format => {
    await node.createTopic('logs')
    await write('logs', ['a', 'b'])
    const stream = read([{ topic: 'logs', partition: 0 }], { options: { format } })
    await stream.until(() => got(stream).length === 2)
    await write('logs', ['c'])
    await stream.until(() => got(stream).length === 3)
    expect(got(stream)).toEqual(['0:0=a', '0:1=b', '0:2=c'])
    const status = stream.frames[0]?.statuses[0]
    expect(status).toMatchObject({ topic: 'logs', partition: 0, nextOffset: 0, highWatermark: 2 })
    expect(stream.frames.at(-1)?.records[0]).toMatchObject({ nextOffset: 3, highWatermark: 3 })
  })

  it('reads a topic to its end with one half-closed frame', async () => {
    await node.createTopic('logs', 3)
    for (const partition of [0, 1, 2]) await write('logs', letters, { partition })
    const stream = read([{ topic: 'logs', stop: CURRENT_END }])
    stream.end()
    expect(await stream.untilClosed()).toBeUndefined()
    expect(got(stream)).toHaveLength(15)
    expect(ended(stream).map(one => one.nextOffset)).toEqual([5, 5, 5])
  })

  it.each([
    ['earliest', { at: 'EARLIEST' as const }, 0],
    ['nothing said', undefined, 0],
    ['an offset', { offset: 3 }, 3],
    ['the end', { offset: 5 }, 5],
    ['latest', { at: 'LATEST' as const }, 5],
    ['a time', { timestampMs: 1_700_000_000_002 }, 2],
    ['a time between', { timestampMs: 1_600_000_000_000 }, 0],
    ['a time to come', { timestampMs: 1_800_000_000_000 }, 5],
    ['the last two', { last: 2 }, 3],
    ['more than there are', { last: 99 }, 0],
  ])('starts at %s', async (_, start, first) => {
    await node.createTopic('logs')
    for (const [index, letter] of letters.entries())
      await write('logs', [letter], { timestampMs: 1_700_000_000_000 + index })
    const stream = read([{ topic: 'logs', partition: 0, ...(start && { start }) }])
    await stream.until(frames => frames.some(frame => frame.statuses.length > 0))
    await write('logs', ['new'])
    await stream.until(() => got(stream).some(line => line.endsWith('=new')))
    expect(got(stream)[0]).toBe(`0:${first}=${[...letters, 'new'][first]}`)
    expect(got(stream)).toHaveLength(6 - first)
  })

  it.each([
    ['the current end', CURRENT_END, 5],
    ['an offset', { offset: 2 }, 2],
    ['a time', { timestampMs: 1_700_000_000_003 }, 3],
    ['a time to come', { timestampMs: 1_900_000_000_000 }, 5],
    ['where it starts', { offset: 0 }, 0],
  ])('stops at %s', async (_, stop, end) => {
    await node.createTopic('logs')
    for (const [index, letter] of letters.entries())
      await write('logs', [letter], { timestampMs: 1_700_000_000_000 + index })
    for (const format of ['RECORDS', 'BATCHES'] as const) {
      const stream = read([{ topic: 'logs', partition: 0, stop }], { options: { format } })
      await stream.until(() => ended(stream).length === 1)
      expect(got(stream)).toHaveLength(end)
      expect(ended(stream)).toEqual([{ topic: 'logs', partition: 0, nextOffset: end }])
    }
  })

  it('stops within a batch, and starts within one', async () => {
    await node.createTopic('logs')
    const batches = [
      { partition: 0, batch: batchOf(letters) },
      { partition: 0, batch: batchOf(letters) },
    ]
    await node.call(Producer.produce, { topic: 'logs', batches })
    const add = [{ topic: 'logs', partition: 0, start: { offset: 2 }, stop: { offset: 4 } }]
    const records = read(add)
    await records.until(() => ended(records).length === 1)
    expect(got(records)).toEqual(['0:2=c', '0:3=d'])
    const whole = read(add, { options: { format: 'BATCHES' } })
    await whole.until(() => ended(whole).length === 1)
    // The client drops what it did not ask for; the second batch does not come.
    expect(got(whole)).toHaveLength(5)
    expect(ended(whole)[0]?.nextOffset).toBe(4)
    expect(whole.frames.flatMap(frame => frame.records)[0]?.nextOffset).toBe(4)
  })

  it('picks up partitions that are added to the topic, from their first record', async () => {
    await node.createTopic('logs', 1)
    await write('logs', letters)
    const stream = read([{ topic: 'logs', start: { offset: 5 } }])
    await stream.until(frames => frames.some(frame => frame.statuses.length > 0))
    await node.call(Admin.addPartitions, { topic: 'logs', partitionCount: 3 })
    await write('logs', ['x'], { partition: 2 })
    await stream.until(() => got(stream).length === 1)
    expect(got(stream)).toEqual(['2:0=x'])
  })

  it('skips what retention has removed, and says so', async () => {
    await node.createTopic('logs')
    await write('logs', letters)
    await node.call(Admin.deleteRecords, {
      partitions: [{ topic: 'logs', partition: 0, before: { offset: 3 } }],
    })
    const stream = read([{ topic: 'logs', partition: 0, start: { offset: 1 } }])
    await stream.until(() => got(stream).length === 2)
    expect(skipped(stream)).toEqual([{ topic: 'logs', partition: 0, from: 1, to: 3 }])
    expect(got(stream)).toEqual(['0:3=d', '0:4=e'])
  })

  it('adds and removes partitions while it runs', async () => {
    await node.createTopic('logs', 2)
    await write('logs', ['a'])
    await write('logs', ['b'], { partition: 1 })
    const stream = read([{ topic: 'logs', partition: 0 }])
    await stream.until(() => got(stream).length === 1)
    stream.send({ add: [{ topic: 'logs', partition: 1 }], remove: [{ topic: 'logs', partition: 0 }] })
    await stream.until(() => got(stream).length === 2 && ended(stream).length === 1)
    await write('logs', ['never'])
    await write('logs', ['c'], { partition: 1 })
    await stream.until(() => got(stream).length === 3)
    expect(got(stream)).toEqual(['0:0=a', '1:0=b', '1:1=c'])
    stream.send({ remove: [{ topic: 'logs' }] })
    stream.end()
    expect(await stream.untilClosed()).toBeUndefined()
  })

  it('reports what is wrong with a partition, and reads the others', async () => {
    await node.createTopic('logs', 1)
    await write('logs', ['a'])
    const stream = read([
      { topic: 'lgos', partition: 0 },
      { topic: 'logs', partition: 7 },
      { topic: 'logs', topicId: 'other' },
      { topic: 'logs', partition: 0, start: { at: 'COMMITTED' } },
    ])
    await stream.until(() => failures(stream).length === 4)
    stream.send({
      add: [
        { topic: 'logs', partition: 0, start: { offset: 99 } },
        { topic: 'logs', partition: 0 },
        { topic: 'logs', partition: 0, start: { offset: -4 } },
      ],
      remove: [{ topic: 'none' }],
    })
    await stream.until(() => failures(stream).length === 8)
    stream.send({ add: [{ topic: 'logs', partition: 0 }] })
    await stream.until(() => got(stream).length === 1)
    expect(
      failures(stream)
        .map(one => one.failure?.reason)
        .sort(),
    ).toEqual([
      'INVALID_REQUEST',
      'INVALID_REQUEST',
      'INVALID_REQUEST',
      'INVALID_REQUEST',
      'OFFSET_OUT_OF_RANGE',
      'UNKNOWN_PARTITION',
      'UNKNOWN_TOPIC',
      'UNKNOWN_TOPIC',
    ])
    expect(failures(stream).some(one => one.failure?.message.includes('did you mean "logs"?'))).toBe(true)
  })

  it('tells of a topic that is deleted under it', async () => {
    await node.createTopic('logs', 2)
    const stream = read([{ topic: 'logs' }])
    stream.end()
    await stream.until(frames => frames.flatMap(frame => frame.statuses).length === 2)
    await node.call(Admin.deleteTopics, { topics: ['logs'] })
    expect(await stream.untilClosed()).toBeUndefined()
    expect(failures(stream).map(one => one.failure?.reason)).toEqual(['UNKNOWN_TOPIC', 'UNKNOWN_TOPIC'])
  })

  it('carries a heartbeat with the high watermarks when idle', async () => {
    await node.createTopic('logs', 2)
    const stream = read([{ topic: 'logs', start: { at: 'LATEST' } }])
    await node.forMs(2600)
    const beats = stream.frames.filter(frame => frame.metadataAgeMs !== undefined)
    expect(beats.length).toBe(5)
    expect(beats.at(-1)?.statuses.map(one => one.partition)).toEqual([0, 1])
  })

  it('ends a stream whose frames break the rules', async () => {
    await node.createTopic('logs')
    for (const frames of [
      [{ options: { maxFrameBytes: 10 } }],
      [{ options: {} }, { options: {} }],
      [{}, { credit: { bytes: 4 } }],
      [{ credit: { records: -1 } }],
    ]) {
      const stream = node.stream(Consumer.read)
      for (const frame of frames) stream.send(frame)
      expect((await stream.untilClosed())?.reason).toBe('INVALID_REQUEST')
    }
  })
})

describe('Read of much', () => {
  it('keeps frames within max_frame_bytes, in both formats, from memory and from the disk', async () => {
    await node.createTopic('logs', 3)
    const values = Array.from({ length: 300 }, (_, index) => `v${index}`)
    for (const partition of [0, 1, 2]) await write('logs', values, { partition, valueBytes: 300 })
    for (const format of ['RECORDS', 'BATCHES'] as const) {
      const stream = read([{ topic: 'logs', stop: CURRENT_END }], {
        options: { format, maxFrameBytes: 4096 },
      })
      stream.end()
      await stream.untilClosed()
      expect(got(stream)).toHaveLength(900)
      expect(Math.max(...stream.sizes)).toBeLessThanOrEqual(4096)
      for (const partition of [0, 1, 2]) {
        const offsets = got(stream)
          .filter(line => line.startsWith(`${partition}:`))
          .map(line => Number(/:(\d+)=/.exec(line)?.[1]))
        expect(offsets).toEqual(values.map((_, index) => index))
      }
    }
  })

  it('gives all partitions their turn', async () => {
    await node.createTopic('logs', 3)
    const values = Array.from({ length: 100 }, (_, index) => `v${index}`)
    for (const partition of [0, 1, 2]) await write('logs', values, { partition, valueBytes: 1000 })
    const stream = read([{ topic: 'logs' }], { options: { maxFrameBytes: 16 * 1024 } })
    await stream.until(() => got(stream).length >= 90)
    const counts = [0, 1, 2].map(
      partition => got(stream).filter(line => line.startsWith(`${partition}:`)).length,
    )
    expect(Math.min(...counts)).toBeGreaterThanOrEqual(15)
  })

  it.each(['RECORDS', 'BATCHES'] as const)(
    'fails a partition whose record fits into no frame (%s)',
    async format => {
      await node.createTopic('logs', 2)
      await write('logs', ['small', 'x'.repeat(5000)])
      await write('logs', ['other'], { partition: 1 })
      const stream = read([{ topic: 'logs' }], { options: { format, maxFrameBytes: 2048 } })
      await stream.until(() => failures(stream).length === 1 && got(stream).length === 2)
      expect(got(stream).sort()).toEqual(['0:0=small', '1:0=other'])
      const [failure] = failures(stream)
      expect(failure?.failure?.reason).toBe('RECORD_TOO_LARGE_FOR_CLIENT')
      expect(failure?.failure?.message).toContain('at offset 1')
      expect(Math.max(...stream.sizes)).toBeLessThanOrEqual(2048)
    },
  )

  it('decodes compressed batches for thin clients, and reports what cannot be decoded', async () => {
    await node.createTopic('logs')
    for (const compression of ['gzip', 'snappy', 'lz4', 'zstd'] as const)
      await node.call(Producer.produce, {
        topic: 'logs',
        batches: [{ partition: 0, batch: batchOf(letters, { compression }) }],
      })
    const stream = read([{ topic: 'logs', partition: 0, stop: CURRENT_END }])
    await stream.until(() => ended(stream).length === 1)
    expect(got(stream)).toHaveLength(20)
  })

  it('decompresses so much for thin clients, and says how to read the rest', async () => {
    await node.createTopic('logs')
    const batch = batchOf(['x'], { compression: 'gzip', valueBytes: 17 * 1024 * 1024 })
    expect(batch.length).toBeLessThan(64 * 1024)
    await node.call(Producer.produce, { topic: 'logs', batches: [{ partition: 0, batch }] })
    const stream = read([{ topic: 'logs', partition: 0 }], { options: { maxFrameBytes: 16 * 1024 * 1024 } })
    await stream.until(() => failures(stream).length === 1)
    const [failed] = failures(stream)
    expect(failed?.failure?.reason).toBe('RECORD_TOO_LARGE')
    expect(failed?.failure?.message).toMatch(/more than 16777216 bytes.*offset 1, or read whole batches/)
    const whole = read([{ topic: 'logs', partition: 0, stop: CURRENT_END }], {
      options: { format: 'BATCHES' },
    })
    await whole.until(() => ended(whole).length === 1)
    expect(whole.frames.flatMap(frame => frame.records.flatMap(one => one.batches))).toHaveLength(1)
  })

  it('stops reading when the client does, and goes on with it', async () => {
    await node.stop()
    node = await ServiceNodeHarness.start({ streamBytesMax: 64 * 1024 })
    await node.createTopic('logs')
    const values = Array.from({ length: 400 }, (_, index) => `v${index}`)
    await write('logs', values, { valueBytes: 4000 })
    const options = { format: 'BATCHES' as const, maxFrameBytes: 32 * 1024 }
    const slow = read([{ topic: 'logs', partition: 0, stop: { offset: 400 } }], { options })
    const whole = read([{ topic: 'logs', partition: 0, stop: { offset: 400 } }], { options })
    slow.stream.pause()
    await whole.until(() => ended(whole).length === 1)
    expect(got(whole)).toHaveLength(400)
    await node.forMs(5000)
    // What the node had not sent yet is not kept for the one that does not read: it can still go.
    await node.call(Admin.deleteRecords, {
      partitions: [{ topic: 'logs', partition: 0, before: { offset: 400 } }],
    })
    slow.stream.resume()
    await slow.until(() => ended(slow).length === 1)
    expect(got(slow).length).toBeLessThan(60)
    const [gap] = skipped(slow)
    expect(gap).toEqual({ topic: 'logs', partition: 0, from: got(slow).length, to: 400 })
  })
})

describe('Read of a client that asks and does not listen', () => {
  it('takes no more requests while what it has to say about them waits', async () => {
    await node.stop()
    node = await ServiceNodeHarness.start({ streamBytesMax: 64 * 1024 })
    const stream = node.stream(Consumer.read)
    stream.stream.pause()
    const add = Array.from({ length: 1000 }, (_, index) => ({ topic: `no-${index}` }))
    let frames = 0
    const drained = () => stream.drains
    for (let before = -1; before < drained() && frames < 500; ) {
      before = drained()
      while (stream.send({ add })) frames++
      await node.forMs(1000)
    }
    expect(frames).toBeLessThan(100)
    stream.stream.resume()
    await stream.until(() => failures(stream).length > 20_000)
    expect(stream.closed).toBeUndefined()
  })

  it('takes so many changes in one frame', async () => {
    const stream = read(Array.from({ length: 10_001 }, () => ({ topic: 'none' })))
    expect((await stream.untilClosed())?.reason).toBe('INVALID_REQUEST')
  })
})

describe('Read with credit', () => {
  it.each(['RECORDS', 'BATCHES'] as const)(
    'delivers as many records as were asked for (%s)',
    async format => {
      await node.createTopic('logs', 2)
      for (const partition of [0, 1]) await write('logs', letters, { partition })
      const stream = read([{ topic: 'logs' }], { options: { format }, credit: { records: 3 } })
      await node.forMs(3000)
      expect(got(stream)).toHaveLength(3)
      stream.send({ credit: { records: 4 } })
      await stream.until(() => got(stream).length === 7)
      await node.forMs(3000)
      expect(got(stream)).toHaveLength(7)
      stream.send({ credit: { records: 100 } })
      await stream.until(() => got(stream).length === 10)
      expect(new Set(got(stream)).size).toBe(10)
    },
  )

  it('exceeds bytes by less than a batch, which the next credit pays for', async () => {
    await node.createTopic('logs')
    await write('logs', letters, { valueBytes: 1000 })
    const stream = read([{ topic: 'logs' }], { options: { format: 'BATCHES' }, credit: { bytes: 1500 } })
    await node.forMs(2000)
    expect(got(stream)).toHaveLength(2)
    stream.send({ credit: { bytes: 500 } })
    await node.forMs(2000)
    expect(got(stream)).toHaveLength(2)
    stream.send({ credit: { bytes: 2000 } })
    await node.forMs(2000)
    expect(got(stream)).toHaveLength(4)
  })

  it('sends statuses, but no records, without credit', async () => {
    await node.createTopic('logs')
    await write('logs', letters)
    const stream = read([{ topic: 'logs' }], { credit: { records: 0 } })
    await node.forMs(2000)
    expect(got(stream)).toEqual([])
    expect(stream.frames.flatMap(frame => frame.statuses)[0]?.highWatermark).toBe(5)
  })
})
