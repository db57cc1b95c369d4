import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Admin, Consumer, Producer } from '../../src/wire/methods.ts'
import { ServiceNodeHarness } from '../harness/service-node.ts'

let node: ServiceNodeHarness

beforeEach(async () => {
  node = await ServiceNodeHarness.start()
})

afterEach(async () => {
  expect(node.bugs).toEqual([])
  await node.stop()
})

const record = (value: string) => ({ value: Buffer.from(value) })

describe('topics', () => {
  it('are made with their leaders serving, each for itself', async () => {
    const { results } = await node.call(Admin.createTopics, {
      topics: [
        { topic: 'logs', partitions: 4, settings: { 'retention.ms': ' 3600000 ' } },
        { topic: 'bad name' },
        { topic: 'twice' },
        { topic: 'twice' },
        { topic: 'typo', settings: { 'retention.mss': '5' } },
        { topic: 'wide', replicationFactor: 3 },
        { topic: 'defaults' },
      ],
    })
    expect(results.map(one => one.failure?.reason ?? one.partitions)).toEqual([
      4,
      'INVALID_TOPIC_NAME',
      'INVALID_REQUEST',
      'INVALID_REQUEST',
      'UNKNOWN_SETTING',
      'INVALID_REPLICATION_FACTOR',
      3,
    ])
    expect(results[4]?.failure?.message).toContain('did you mean "retention.ms"?')
    expect(results[0]).toMatchObject({ topicId: expect.stringMatching(/^.{22}$/), notServing: [] })
    const { results: produced } = await node.call(Producer.produce, {
      topic: 'logs',
      partition: 3,
      records: [record('at once')],
    })
    expect(produced[0]?.offset).toBe(0)
  })

  it('are only checked with validate_only', async () => {
    const topics = [{ topic: 'logs' }, { topic: 'x y' }]
    const { results } = await node.call(Admin.createTopics, { topics, validateOnly: true })
    expect(results.map(one => one.failure?.reason)).toEqual([undefined, 'INVALID_TOPIC_NAME'])
    // There is no topic that an id could be of.
    expect(results[0]).toMatchObject({ topicId: '', partitions: 3, replicationFactor: 1 })
    expect((await node.call(Admin.listTopics, {})).topics).toEqual([])
  })

  it('are named when they do not serve at the deadline', async () => {
    // The directory of an earlier topic of the name that cannot be put away.
    await node.call(Admin.createTopics, { topics: [{ topic: 'logs', partitions: 3 }] })
    for (const partition of [0, 1, 2])
      await node.call(Producer.produce, { topic: 'logs', partition, records: [record('old')] })
    node.machine.image.onOperation = ({ kind, path }) =>
      kind === 'rename' && path.endsWith('logs-1') ? 'EACCES' : undefined
    await node.call(Admin.deleteTopics, { topics: ['logs'] })
    const { results } = await node.call(Admin.createTopics, { topics: [{ topic: 'logs', partitions: 3 }] })
    expect(results[0]?.failure).toBeUndefined()
    expect(results[0]?.notServing).toEqual([1])
    node.machine.image.onOperation = undefined
  })

  it('are deleted with their records, and one that is made again is another', async () => {
    const firstId = await node.createTopic('logs')
    await node.call(Producer.produce, { topic: 'logs', records: [record('old')] })
    const { results } = await node.call(Admin.deleteTopics, {
      topics: ['logs', 'lost'],
      topicIds: [firstId, firstId],
    })
    expect(results.map(one => one.failure?.reason)).toEqual([undefined, 'UNKNOWN_TOPIC'])
    const secondId = await node.createTopic('logs')
    expect(secondId).not.toBe(firstId)
    const guarded = await node.call(Admin.deleteTopics, { topics: ['logs'], topicIds: [firstId] })
    expect(guarded.results[0]?.failure?.reason).toBe('UNKNOWN_TOPIC')
    const { offsets } = await node.call(Consumer.listOffsets, { partitions: [{ topic: 'logs' }] })
    expect(offsets[0]?.offset).toBe(0)
  })

  it('are listed by pages', async () => {
    for (const topic of ['b', 'a2', 'a1', 'a3', 'c']) await node.createTopic(topic)
    const seen: string[] = []
    let pageToken = ''
    do {
      const page = await node.call(Admin.listTopics, { namePrefix: 'a', pageSize: 2, pageToken })
      seen.push(...page.topics.map(one => one.topic))
      pageToken = page.nextPageToken
    } while (pageToken !== '')
    expect(seen).toEqual(['a1', 'a2', 'a3'])
    const bad = await node.refusal(Admin.listTopics, { pageToken: '!!' })
    expect(bad.reason).toBe('INVALID_REQUEST')
  })

  it('are described, a long one over several pages', async () => {
    await node.createTopic('logs', 5, { 'retention.ms': '1000' })
    const seen: string[] = []
    let pageToken = ''
    do {
      const page = await node.call(Admin.describeTopics, { topics: ['logs', 'gone'], pageSize: 2, pageToken })
      for (const topic of page.topics)
        seen.push(topic.failure?.reason ?? topic.partitions.map(one => one.partition).join(','))
      pageToken = page.nextPageToken
    } while (pageToken !== '')
    expect(seen).toEqual(['0,1', '2,3', '4', 'UNKNOWN_TOPIC'])
    const { topics } = await node.call(Admin.describeTopics, { topics: ['logs'] })
    expect(topics[0]?.partitions[0]).toMatchObject({
      leaderId: 0,
      replicas: [0],
      isr: [0],
      offlineReplicas: [],
    })
    expect(topics[0]?.settings.find(one => one.name === 'retention.ms')).toMatchObject({
      value: '1000',
      source: 'TOPIC',
    })
  })

  it('get more partitions, never fewer', async () => {
    await node.createTopic('logs', 2)
    const more = await node.call(Admin.addPartitions, { topic: 'logs', partitionCount: 4 })
    expect(more).toEqual({ partitionCount: 4, notServing: [] })
    const fewer = await node.refusal(Admin.addPartitions, { topic: 'logs', partitionCount: 3 })
    expect(fewer.reason).toBe('INVALID_PARTITION_COUNT')
    const unknown = await node.refusal(Admin.addPartitions, { topic: 'logz', partitionCount: 3 })
    expect(unknown.message).toContain('did you mean "logs"?')
  })
})

describe('settings', () => {
  it('are changed one by one, with their sources told', async () => {
    await node.createTopic('logs')
    const { results } = await node.call(Admin.alterConfigs, {
      changes: [
        { topic: 'logs', set: { 'retention.ms': '5000', 'write.caching': 'TRUE' } },
        { topic: 'none', set: { 'retention.ms': '5000' } },
      ],
    })
    expect(results.map(one => one.failure?.reason)).toEqual([undefined, 'UNKNOWN_TOPIC'])
    await node.call(Admin.alterConfigs, { changes: [{ topic: 'logs', unset: ['write.caching'] }] })
    const { configs } = await node.call(Admin.describeConfigs, { topics: ['logs'] })
    const settings = new Map(configs[0]?.settings.map(one => [one.name, one]))
    expect(settings.get('retention.ms')).toMatchObject({
      value: '5000',
      source: 'TOPIC',
      defaultValue: '604800000',
    })
    expect(settings.get('write.caching')).toMatchObject({ value: 'false', source: 'DEFAULT' })
  })

  it('are all refused if one is wrong, and only checked with validate_only', async () => {
    await node.createTopic('logs')
    const bad = await node.call(Admin.alterConfigs, {
      changes: [{ topic: 'logs', set: { 'retention.ms': '5000', 'segment.bytes': '7' } }],
    })
    expect(bad.results[0]?.failure?.reason).toBe('INVALID_SETTING')
    await node.call(Admin.alterConfigs, {
      changes: [{ topic: 'logs', set: { 'retention.ms': '5000' } }],
      validateOnly: true,
    })
    const { configs } = await node.call(Admin.describeConfigs, { topics: ['logs'] })
    expect(configs[0]?.settings.every(one => one.source === 'DEFAULT')).toBe(true)
  })

  it('apply at once', async () => {
    await node.createTopic('logs')
    await node.call(Admin.alterConfigs, {
      changes: [{ topic: 'logs', set: { 'max.message.bytes': '1024' } }],
    })
    const { results } = await node.call(Producer.produce, {
      topic: 'logs',
      records: [record('x'.repeat(1500))],
    })
    expect(results[0]?.failure?.reason).toBe('RECORD_TOO_LARGE')
  })
})

describe('deleting records', () => {
  it('moves the start of each partition by itself, and needs a place', async () => {
    await node.createTopic('logs', 2)
    for (const partition of [0, 1])
      await node.call(Producer.produce, { topic: 'logs', partition, records: 'abcde'.split('').map(record) })
    const { results } = await node.call(Admin.deleteRecords, {
      partitions: [
        { topic: 'logs', partition: 0, before: { offset: 2 } },
        { topic: 'logs', partition: 1, before: { at: 'LATEST' } },
        { topic: 'logs', partition: 0 },
        { topic: 'logs', partition: 0, before: { offset: 9 } },
        { topic: 'logs', partition: 2, before: { offset: 0 } },
      ],
    })
    expect(results.map(one => one.failure?.reason ?? one.logStartOffset)).toEqual([
      2,
      5,
      'INVALID_REQUEST',
      'OFFSET_OUT_OF_RANGE',
      'UNKNOWN_PARTITION',
    ])
  })
})

describe('the cluster', () => {
  it('is described in numbers', async () => {
    await node.createTopic('logs', 3)
    const cluster = await node.call(Admin.describeCluster, {})
    expect(cluster).toMatchObject({
      clusterId: node.broker.identity?.clusterId,
      controllerId: 0,
      topicCount: 1,
      partitionCount: 3,
      underReplicatedCount: 0,
      underMinIsrCount: 0,
      offlineCount: 0,
      unhealthy: [],
    })
    expect(cluster.nodes).toEqual((await node.call(Admin.listNodes, {})).nodes)
    expect(cluster.nodes[0]).toMatchObject({
      nodeId: 0,
      address: '127.0.0.1:7450',
      state: 'ACTIVE',
      voter: true,
      replicaCount: 3,
      leaderCount: 3,
    })
  })

  it('says what this release lacks', async () => {
    const users = await node.refusal(Admin.listUsers, {})
    expect(users.message).toBe('/naru.v1.Admin/ListUsers: this release of Naru has no users and access rules')
  })
})
