import { afterEach, beforeEach, expect, it } from 'vitest'
import { Admin, Metadata } from '../../src/wire/methods.ts'
import { ServiceNodeHarness } from '../harness/service-node.ts'

let node: ServiceNodeHarness

beforeEach(async () => {
  node = await ServiceNodeHarness.start()
})

afterEach(async () => {
  expect(node.bugs).toEqual([])
  await node.stop()
})

function watch() {
  const stream = node.stream(Metadata.watch)
  stream.send({})
  stream.end()
  return stream
}

it('shows nodes and topics, by name or by page', async () => {
  for (const topic of ['b', 'a', 'c']) await node.createTopic(topic, 2, { 'max.message.bytes': '2048' })
  const all = await node.call(Metadata.get, { pageSize: 2 })
  expect(all.topics.map(one => one.topic)).toEqual(['a', 'b'])
  const rest = await node.call(Metadata.get, { pageToken: all.nextPageToken })
  expect(rest.topics.map(one => one.topic)).toEqual(['c'])
  expect(rest.nextPageToken).toBe('')
  const some = await node.call(Metadata.get, { topics: ['c', 'nope'] })
  expect(some.unknownTopics).toEqual(['nope'])
  expect(some.topics[0]).toMatchObject({
    topic: 'c',
    maxMessageBytes: 2048,
    partitions: [
      { partition: 0, leaderId: 0, leaderEpoch: 0 },
      { partition: 1, leaderId: 0, leaderEpoch: 0 },
    ],
  })
  expect(some.nodes).toEqual([
    { nodeId: 0, address: '127.0.0.1:7450', rack: '', fenced: false, draining: false },
  ])
  expect(some.controllerId).toBe(0)
})

it('sends watchers the picture, then every change as it is made, then heartbeats', async () => {
  await node.createTopic('old')
  const stream = watch()
  await stream.until(frames => frames.some(frame => frame.complete))
  expect(stream.frames[0]?.topics.map(one => one.topic)).toEqual(['old'])
  expect(stream.frames.at(-1)).toMatchObject({ complete: true, nodes: [{ nodeId: 0 }], controllerId: 0 })
  expect(stream.frames.at(-1)?.ageMs).toBe(0)
  const topicId = await node.createTopic('new', 2)
  await stream.until(frames => frames.some(frame => frame.topics.some(one => one.topicId === topicId)))
  await node.call(Admin.addPartitions, { topic: 'new', partitionCount: 3 })
  await stream.until(frames => frames.some(frame => frame.topics.some(one => one.partitions.length === 3)))
  await node.call(Admin.deleteTopics, { topics: ['new'] })
  await stream.until(frames => frames.some(frame => frame.deletedTopics.length > 0))
  expect(stream.frames.at(-1)?.deletedTopics).toEqual([{ topic: 'new', topicId }])
  const before = stream.frames.length
  await node.forMs(2_600)
  const beats = stream.frames.slice(before)
  expect(beats.length).toBe(5)
  for (const beat of beats) expect(beat).toMatchObject({ topics: [], nodes: [], complete: true })
  const indexes = stream.frames.map(frame => frame.metadataIndex)
  expect([...indexes].sort((a, b) => a - b)).toEqual(indexes)
})

it('gives a later watcher a picture of its own moment', async () => {
  const first = watch()
  await first.until(frames => frames.length > 0)
  await node.createTopic('logs')
  const second = watch()
  await second.until(frames => frames.length > 0)
  expect(first.frames[0]?.topics).toEqual([])
  expect(second.frames[0]?.topics.map(one => one.topic)).toEqual(['logs'])
})

it('cuts a watcher that reads nothing while much changes', async () => {
  await node.stop()
  node = await ServiceNodeHarness.start({ streamBytesMax: 1024 })
  const stream = watch()
  await stream.until(frames => frames.length > 0)
  stream.stream.pause()
  for (let round = 0; round < 6; round++) {
    const topics = Array.from({ length: 60 }, (_, index) => `t${round}-${index}`)
    await node.run(
      Promise.all(topics.map(topic => node.send(Admin.createTopics, { topics: [{ topic, partitions: 1 }] }))),
    )
    await node.run(Promise.all(topics.map(topic => node.send(Admin.deleteTopics, { topics: [topic] }))))
  }
  await node.forMs(500_000)
  stream.stream.resume()
  expect((await stream.untilClosed())?.reason).toBe('READER_TOO_SLOW')
})

it('takes one request', async () => {
  const none = node.stream(Metadata.watch)
  none.end()
  expect((await none.untilClosed())?.reason).toBe('INVALID_REQUEST')
})
