import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { ProduceStreamRequest, ProduceStreamResponse } from '../../src/wire/messages.ts'
import { Consumer, Producer } from '../../src/wire/methods.ts'
import { batchOf, ServiceNodeHarness, type TestStream } from '../harness/service-node.ts'

const MIB = 1024 * 1024
let node: ServiceNodeHarness

beforeEach(async () => {
  node = await ServiceNodeHarness.start()
})

afterEach(async () => {
  expect(node.bugs).toEqual([])
  await node.stop()
})

const open = () => node.stream(Producer.produceStream)

function answersOf(stream: TestStream<ProduceStreamRequest, ProduceStreamResponse>) {
  return stream.frames.flatMap(frame => frame.answers)
}

/** `seq.entry partition@offset` or its reason. */
function told(stream: TestStream<ProduceStreamRequest, ProduceStreamResponse>): string[] {
  return answersOf(stream).map(({ seq, entry, results }) => {
    const places = results.map(one => `${one.partition}@${one.failure?.reason ?? one.offset ?? '-'}`)
    return `${seq}.${entry} ${places.join(' ')}`
  })
}

const entry = (topic: string, partition: number, ...values: string[]) => ({
  topic,
  partition,
  batch: batchOf(values),
})

describe('ProduceStream', () => {
  it('answers each entry by seq and place, in the order of its partition', async () => {
    await node.createTopic('logs', 2)
    const stream = open()
    stream.send({ seq: 5, entries: [entry('logs', 0, 'a', 'b'), entry('logs', 1, 'c')] })
    stream.send({ seq: 7, entries: [entry('logs', 0, 'd')] })
    stream.send({
      seq: 8,
      entries: [{ topic: 'logs', partition: 1, records: [{ value: Buffer.from('e') }] }],
    })
    await stream.until(() => answersOf(stream).length === 4)
    expect(told(stream).filter(line => / 0@/.test(line))).toEqual(['5.0 0@0', '7.0 0@2'])
    expect(told(stream).filter(line => / 1@/.test(line))).toEqual(['5.1 1@0', '8.0 1@1'])
    stream.end()
    expect(await stream.untilClosed()).toBeUndefined()
  })

  it('answers everything after a half-close, then ends well', async () => {
    await node.createTopic('logs')
    const stream = open()
    for (let seq = 0; seq < 20; seq++) stream.send({ seq, entries: [entry('logs', 0, `v${seq}`)] })
    stream.end()
    expect(await stream.untilClosed()).toBeUndefined()
    expect(told(stream)).toEqual(Array.from({ length: 20 }, (_, seq) => `${seq}.0 0@${seq}`))
  })

  it('gathers the answers of one turn into one frame', async () => {
    await node.createTopic('logs')
    const stream = open()
    stream.send({ seq: 1, entries: Array.from({ length: 200 }, () => entry('logs', 0, 'x')) })
    await stream.until(() => answersOf(stream).length === 200)
    expect(stream.frames.length).toBeLessThan(5)
  })

  it('reports errors as answers and goes on', async () => {
    await node.createTopic('logs', 1)
    const stream = open()
    stream.send({
      seq: 1,
      entries: [
        entry('logs', 9, 'a'),
        { topic: 'logs', batch: batchOf(['no partition']) },
        { topic: 'logs', partition: 0, batch: Buffer.from('nonsense') },
        { topic: 'logs', topicId: 'other', partition: 0, batch: batchOf(['x']) },
        entry('__groups', 0, 'x'),
        entry('logs', 0, 'good'),
      ],
    })
    await stream.until(() => answersOf(stream).length === 6)
    expect(new Map(told(stream).map(line => line.split(' ') as [string, string]))).toEqual(
      new Map([
        ['1.0', '9@UNKNOWN_PARTITION'],
        ['1.1', '0@INVALID_REQUEST'],
        ['1.2', '0@INVALID_BATCH'],
        ['1.3', '0@UNKNOWN_TOPIC'],
        ['1.4', '0@INVALID_TOPIC_NAME'],
        ['1.5', '0@0'],
      ]),
    )
    expect(stream.closed).toBeUndefined()
  })

  it('answers a refused batch after those before it in its partition', async () => {
    await node.createTopic('logs')
    const stream = open()
    const bad = { topic: 'logs', partition: 0, batch: Buffer.from('nonsense') }
    stream.send({ seq: 1, entries: [entry('logs', 0, 'a'), bad, entry('logs', 0, 'b')] })
    await stream.until(() => answersOf(stream).length === 3)
    expect(told(stream)).toEqual(['1.0 0@0', '1.1 0@INVALID_BATCH', '1.2 0@1'])
  })

  it('keeps the order of entries while their topic is being made', async () => {
    const stream = open()
    for (let seq = 0; seq < 10; seq++)
      stream.send({ seq, entries: [entry('fresh', 0, `a${seq}`), entry('fresh', 1, `b${seq}`)] })
    await stream.until(() => answersOf(stream).length === 20)
    for (const [partition, name] of [
      [0, 'a'],
      [1, 'b'],
    ] as const) {
      const { partitions } = await node.call(Consumer.fetch, { partitions: [{ topic: 'fresh', partition }] })
      const values = partitions[0]?.records.map(one => String(one.value))
      expect(values).toEqual(Array.from({ length: 10 }, (_, index) => `${name}${index}`))
    }
    expect(stream.frames.flatMap(frame => frame.warnings)).toHaveLength(1)
  })

  it('fails a bad entry of a new topic alone, and writes those behind it', async () => {
    const stream = open()
    stream.send({ seq: 1, entries: [entry('fresh', 99, 'a'), entry('fresh', 0, 'b')] })
    await stream.until(() => answersOf(stream).length === 2)
    expect(told(stream).sort()).toEqual(['1.0 99@UNKNOWN_PARTITION', '1.1 0@0'])
  })

  it('does not let a new topic hold up the others', async () => {
    await node.createTopic('logs')
    const stream = open()
    stream.send({
      seq: 1,
      entries: [entry('bad name', 0, 'x'), entry('fresh', 0, 'x'), entry('logs', 0, 'y')],
    })
    await stream.until(() => answersOf(stream).length === 3)
    expect(told(stream).sort()).toEqual(['1.0 0@INVALID_TOPIC_NAME', '1.1 0@0', '1.2 0@0'])
  })

  it.each([
    ['seq that does not rise', { seq: 1, entries: [] }],
    ['options again', { seq: 2, options: { acks: 'NONE' as const }, entries: [] }],
  ])('ends with %s, after everything before it is answered', async (_, frame) => {
    await node.createTopic('logs')
    const stream = open()
    stream.send({ seq: 1, options: { acks: 'ALL' }, entries: [entry('logs', 0, 'a')] })
    stream.send(frame)
    stream.send({ seq: 3, entries: [entry('logs', 0, 'never')] })
    expect((await stream.untilClosed())?.reason).toBe('INVALID_REQUEST')
    expect(told(stream)).toEqual(['1.0 0@0'])
  })

  it('recognises batches that come again', async () => {
    await node.createTopic('logs')
    const stream = open()
    const batch = () => batchOf(['a', 'b'], { producerId: 7, baseSequence: 0 })
    stream.send({ seq: 1, entries: [{ topic: 'logs', partition: 0, batch: batch() }] })
    stream.send({ seq: 2, entries: [{ topic: 'logs', partition: 0, batch: batch() }] })
    await stream.until(() => answersOf(stream).length === 2)
    expect(told(stream)).toEqual(['1.0 0@0', '2.0 0@0'])
  })
})

describe('ProduceStream on a disk that hangs', () => {
  it('stops taking frames, and loses none when the disk is back', async () => {
    await node.createTopic('logs', 2)
    node.machine.image.stall()
    const stream = open()
    const value = 'x'.repeat(MIB - 1024)
    let sent = 0
    while (sent < 200) {
      if (!stream.send({ seq: sent++, entries: [entry('logs', 0, value)] })) {
        const drains = stream.drains
        await node.forMs(50)
        if (stream.drains === drains) break
      }
    }
    // 32 MiB unanswered and 1 MiB on its way, not 200.
    expect(sent).toBeGreaterThan(30)
    expect(sent).toBeLessThan(40)
    node.machine.image.unstall()
    stream.end()
    expect(await stream.untilClosed()).toBeUndefined()
    expect(told(stream)).toEqual(Array.from({ length: sent }, (_, seq) => `${seq}.0 0@${seq}`))
  })

  it('waits for room in a log and keeps its order, while other partitions go on', async () => {
    await node.stop()
    node = await ServiceNodeHarness.start({ settings: { 'append.pending.bytes.max': 16 * MIB } })
    await node.createTopic('slow', 1)
    await node.createTopic('quick', 1, { 'write.caching': 'true' })
    const first = open()
    const second = open()
    node.machine.image.onOperation = undefined
    node.machine.image.stall()
    const value = 'x'.repeat(MIB - 1024)
    // More than the log takes while it cannot write.
    for (let seq = 0; seq < 24; seq++) first.send({ seq, entries: [entry('slow', 0, value)] })
    first.send({ seq: 100, entries: [{ ...entry('quick', 0, 'hello') }] })
    second.send({ seq: 1, entries: [entry('slow', 0, 'other stream')] })
    await node.forMs(100)
    expect(told(first)).toEqual([])
    node.machine.image.unstall()
    await node.until(() => answersOf(first).length === 25 && answersOf(second).length === 1)
    const slow = answersOf(first).filter(one => one.seq < 100)
    expect(slow.map(one => one.seq)).toEqual(Array.from({ length: 24 }, (_, seq) => seq))
    const offsets = slow.map(one => one.results[0]?.offset ?? -1)
    expect([...offsets].sort((a, b) => a - b)).toEqual(offsets)
    expect(slow.every(one => one.results[0]?.failure === undefined)).toBe(true)
  })

  it('fails what could not be appended in time for certain, and what was as unknown', async () => {
    await node.stop()
    node = await ServiceNodeHarness.start({ settings: { 'append.pending.bytes.max': 16 * MIB } })
    await node.createTopic('slow', 1)
    node.machine.image.stall()
    const stream = open()
    const value = 'x'.repeat(MIB - 1024)
    for (let seq = 0; seq < 24; seq++)
      stream.send({
        seq,
        ...(seq === 0 && { options: { timeoutMs: 500 } }),
        entries: [entry('slow', 0, value)],
      })
    await stream.until(() => answersOf(stream).length === 24)
    const failures = answersOf(stream).map(one => one.results[0]?.failure)
    const reasons = failures.map(one => `${one?.reason} ${one?.outcome}`)
    expect(new Set(reasons)).toEqual(new Set(['UNKNOWN_OUTCOME UNKNOWN', 'OVERLOADED NONE']))
    expect(reasons).toEqual([...reasons].sort().reverse())
    // What was refused for certain is not there.
    const unknown = reasons.filter(one => one.startsWith('UNKNOWN')).length
    node.machine.image.unstall()
    await node.forMs(1000)
    const { offsets } = await node.call(Consumer.listOffsets, { partitions: [{ topic: 'slow' }] })
    expect(offsets[0]?.offset).toBe(unknown)
  })

  it('refuses at once, and not after a wait, when the disk is full', async () => {
    await node.stop()
    node = await ServiceNodeHarness.start({ settings: { 'disk.free.min': MIB } })
    await node.createTopic('logs')
    node.machine.image.capacityBytes = node.machine.image.usedBytes + MIB / 2
    await node.forMs(3_000)
    const stream = open()
    const startMs = node.machine.clock.monotonicMs()
    stream.send({ seq: 1, entries: [entry('logs', 0, 'a')] })
    await stream.until(() => answersOf(stream).length === 1)
    expect(answersOf(stream)[0]?.results[0]?.failure).toMatchObject({ reason: 'DISK_FULL', outcome: 'NONE' })
    expect(node.machine.clock.monotonicMs() - startMs).toBeLessThan(100)
    node.machine.image.capacityBytes = Number.POSITIVE_INFINITY
    await node.forMs(3_000)
    stream.send({ seq: 2, entries: [entry('logs', 0, 'b')] })
    await stream.until(() => answersOf(stream).length === 2)
    expect(told(stream)[1]).toBe('2.0 0@0')
  })

  it('sheds what exceeds the memory of the node for requests', async () => {
    await node.createTopic('logs', 1)
    node.machine.image.stall()
    const streams = Array.from({ length: 10 }, open)
    const value = 'x'.repeat(MIB - 1024)
    for (const stream of streams)
      for (let seq = 0; seq < 31; seq++) stream.send({ seq, entries: [entry('logs', 0, value)] })
    await node.forMs(1000)
    const shed = streams.flatMap(answersOf).map(one => one.results[0]?.failure)
    expect(shed.length).toBeGreaterThan(20)
    expect(shed[0]).toMatchObject({ reason: 'OVERLOADED', outcome: 'NONE', retryAfterMs: 250 })
    node.machine.image.unstall()
  })

  it('gives back the memory of a client that went away', async () => {
    await node.createTopic('logs', 1)
    node.machine.image.stall()
    const value = 'x'.repeat(MIB - 1024)
    for (let round = 0; round < 12; round++) {
      const stream = open()
      for (let seq = 0; seq < 31; seq++) stream.send({ seq, entries: [entry('logs', 0, value)] })
      await node.forMs(100)
      // Nothing was shed: those before have left nothing behind.
      expect(answersOf(stream)).toEqual([])
      stream.stream.fail(new Error('gone'))
      await stream.untilClosed()
    }
    node.machine.image.unstall()
    const { results } = await node.call(Producer.produce, {
      topic: 'logs',
      records: [{ value: Buffer.from('after') }],
    })
    expect(results[0]?.failure).toBeUndefined()
  })
})
