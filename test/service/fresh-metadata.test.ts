import { beforeEach, describe, expect, it } from 'vitest'
import { Admin, Consumer, Metadata, Producer } from '../../src/wire/methods.ts'
import { TestServiceCluster } from './service-cluster.ts'

/** Node 3 lags behind: it does not know the topic that everybody else knows. */
let cluster: TestServiceCluster

beforeEach(() => {
  cluster = new TestServiceCluster({ leads: false })
  cluster.node(3).quorum.isHeld = true
  cluster.makeTopic('logs')
})

let count = 0

/** A new one, that everybody knows but node 3. */
function unseen(): string {
  cluster.makeTopic(`t${++count}`)
  return `t${count}`
}

const idOfLast = () => `id-of-t${count}`
const records = [{ value: Buffer.from('v') }]

describe('a topic that this node does not know yet', () => {
  it('is found by whoever describes it', async () => {
    const metadata = await cluster.call(3, Metadata.get, { topics: [unseen()] })
    expect(metadata.topics.map(one => one.topicId)).toEqual([idOfLast()])
    const described = await cluster.call(3, Admin.describeTopics, { topics: [unseen()] })
    expect(described.topics.map(one => one.topicId)).toEqual([idOfLast()])
    const { configs } = await cluster.call(3, Admin.describeConfigs, { topics: [unseen()] })
    expect(configs[0]?.failure).toBeUndefined()
  })

  /** Nothing is led here: who has found the topic is told that. */
  it('is found by whoever produces, fetches, reads or lists offsets', async () => {
    const none = 'LEADER_NOT_AVAILABLE'
    const produced = await cluster.refusal(3, Producer.produce, { topic: unseen(), partition: 1, records })
    expect(produced.reason).toBe(none)
    const entries = [{ topic: unseen(), partition: 0, records }]
    const [answer] = await cluster.frames(3, Producer.produceStream, { seq: 1, entries })
    expect(answer?.answers[0]?.results[0]?.failure?.reason).toBe(none)
    const fetched = await cluster.call(3, Consumer.fetch, { partitions: [{ topic: unseen(), partition: 0 }] })
    expect(fetched.failures[0]?.failure?.reason).toBe(none)
    const read = await cluster.frames(3, Consumer.read, { add: [{ topic: unseen(), partition: 0 }] })
    expect(read.flatMap(frame => frame.failures)[0]?.failure?.reason).toBe(none)
    const { offsets } = await cluster.call(3, Consumer.listOffsets, { partitions: [{ topic: unseen() }] })
    expect(offsets.map(one => one.failure?.reason)).toEqual([none, none])
  })

  it('is one that does not exist only after that', async () => {
    const { topics } = await cluster.call(3, Admin.describeTopics, { topics: ['nope'] })
    expect(topics[0]?.failure?.reason).toBe('UNKNOWN_TOPIC')
    expect((await cluster.call(3, Metadata.get, { topics: ['nope'] })).unknownTopics).toEqual(['nope'])
    const refusal = await cluster.refusal(3, Producer.produce, { topic: 'nope', records })
    expect(refusal.reason).toBe('UNKNOWN_TOPIC')
    expect(cluster.log.readIndexCount).toBe(3)
  })
})

describe('a partition that this node does not know yet', () => {
  it('is found by a read-index, and only then denied', async () => {
    const none = 'LEADER_NOT_AVAILABLE'
    cluster.node(3).quorum.release()
    cluster.node(3).quorum.isHeld = true
    cluster.addPartitions('logs', 3)
    const fetched = await cluster.call(3, Consumer.fetch, { partitions: [{ topic: 'logs', partition: 2 }] })
    expect(fetched.failures[0]?.failure?.reason).toBe(none)
    cluster.addPartitions('logs', 4)
    const entries = [{ topic: 'logs', partition: 3, records }]
    const [answer] = await cluster.frames(3, Producer.produceStream, { seq: 1, entries })
    expect(answer?.answers[0]?.results[0]?.failure?.reason).toBe(none)
    cluster.addPartitions('logs', 5)
    const read = await cluster.frames(3, Consumer.read, { add: [{ topic: 'logs', partition: 4 }] })
    expect(read.flatMap(frame => frame.failures)[0]?.failure?.reason).toBe(none)
    const beyond = await cluster.frames(3, Producer.produceStream, {
      seq: 1,
      entries: [{ topic: 'logs', partition: 5, records }],
    })
    expect(beyond[0]?.answers[0]?.results[0]?.failure?.reason).toBe('UNKNOWN_PARTITION')
  })
})

describe('while the quorum cannot be asked', () => {
  beforeEach(() => {
    cluster.log.hasMajority = false
    cluster.node(3).quorum.metadataAgeMs = 12_345
  })

  it('nothing is said not to exist', async () => {
    const { topics } = await cluster.call(3, Admin.describeTopics, { topics: ['logs'] })
    expect(topics[0]?.failure).toMatchObject({ reason: 'CONTROLLER_NOT_AVAILABLE', outcome: 'NONE' })
    const refusal = await cluster.refusal(3, Producer.produce, { topic: 'logs', records })
    expect(refusal).toMatchObject({ reason: 'CONTROLLER_NOT_AVAILABLE', outcome: 'none', retriable: true })
    expect(refusal.message).toContain('whether topic "logs" exists cannot be told now')
    const metadata = await cluster.call(3, Metadata.get, { topics: ['logs'] })
    expect(metadata).toMatchObject({ topics: [], unknownTopics: [], ageMs: 12_345 })
  })

  it('what is known is told, with its age', async () => {
    const known = await cluster.call(1, Metadata.get, { topics: ['logs'] })
    expect(known.topics[0]?.topic).toBe('logs')
    const described = await cluster.call(3, Admin.describeCluster, {})
    expect(described).toMatchObject({ ageMs: 12_345, controllerId: 1 })
    expect(described.nodes.map(({ nodeId, voter, controller }) => [nodeId, voter, controller])).toEqual([
      [1, true, true],
      [2, true, false],
      [3, true, false],
    ])
  })

  it('answers within the time for a read-index, however many ask', async () => {
    const startMs = cluster.nowMs
    const asks = Array.from({ length: 50 }, (_, index) =>
      cluster.send(3, Metadata.get, { topics: [`none-${index}`] }),
    )
    await cluster.run(Promise.all(asks))
    expect(cluster.nowMs - startMs).toBeLessThan(4_000)
    expect(cluster.log.readIndexCount).toBeLessThanOrEqual(2)
  })
})

it('a flood of unknown names costs the quorum few read-indexes', async () => {
  const asks: Promise<unknown>[] = []
  for (let ask = 0; ask < 500; ask++) {
    asks.push(cluster.send(3, Metadata.get, { topics: [`none-${ask}`] }))
    await cluster.scheduler.runFor(1)
  }
  await cluster.run(Promise.all(asks))
  expect(cluster.log.readIndexCount).toBeLessThanOrEqual(26)
})

it('who asks while a read-index is under way waits for the next', async () => {
  const { quorum } = cluster.node(3)
  const before = cluster.log.readIndexCount
  const first = cluster.send(3, Metadata.get, { topics: ['first'] })
  await cluster.scheduler.runUntil(() => cluster.log.readIndexCount > before)
  // Made after the first read-index began: that one need not have seen it.
  quorum.isHeld = true
  cluster.makeTopic('second')
  const second = cluster.call(3, Metadata.get, { topics: ['second'] })
  await cluster.run(first)
  expect((await second).unknownTopics).toEqual([])
  expect(cluster.log.readIndexCount).toBe(before + 2)
})
