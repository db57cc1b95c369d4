import { describe, expect, it } from 'vitest'
import type { NewTopic } from '../../src/metadata/creation-plan.ts'
import type { CreateTopicResult } from '../../src/metadata/topic-control.ts'
import { contents, errorOf, MetadataContext } from './metadata-context.ts'

describe('creating topics', () => {
  it('gives exactly these records', () => {
    const context = new MetadataContext({ nodesListed: 3 }).addNodes(3)
    const { records, response } = context.controller.topics.create(
      { topics: [{ name: 'logs', partitions: 2, settings: { 'retention.ms': ' 01000 ' } }] },
      () => 'id',
    )
    const state = { elr: [], leaderEpoch: 0, partitionEpoch: 0, lastUncleanEpoch: null }
    expect(records).toEqual([
      { type: 'topic', version: 0, topicId: 'id', name: 'logs', settings: { 'retention.ms': '1000' } },
      {
        type: 'partition',
        version: 0,
        topicId: 'id',
        partition: 0,
        replicas: [1, 2, 3],
        isr: [1, 2, 3],
        leader: 1,
        ...state,
      },
      {
        type: 'partition',
        version: 0,
        topicId: 'id',
        partition: 1,
        replicas: [2, 1, 3],
        isr: [2, 1, 3],
        leader: 2,
        ...state,
      },
    ])
    expect(response).toEqual([
      { ok: true, name: 'logs', topicId: 'id', partitionCount: 2, replicationFactor: 3 },
    ])
    expect(context.image.topics.count).toBe(0)
    context.run({ records, response })
    expect(context.image.topics.byName('logs')?.partitionCount).toBe(2)
    expect(context.image.topics.partitionCount).toBe(2)
  })

  it('takes the defaults: 3 partitions, min(3, nodes listed or registered) replicas', () => {
    const context = new MetadataContext().addNodes(2)
    context.create({ name: 'logs' })
    const topic = context.image.topics.byName('logs')
    expect([topic?.partitionCount, topic?.replicationFactor]).toEqual([3, 2])
    const large = new MetadataContext().addNodes(5)
    large.create({ name: 'logs' })
    expect(large.image.topics.byName('logs')?.replicationFactor).toBe(3)
  })

  it('does not make fewer replicas because the others have not come yet', () => {
    const context = new MetadataContext({ nodesListed: 3 }).addNodes(1)
    expect(errorOf(() => context.create({ name: 'logs' }))).toBe(
      'NOT_ENOUGH_REPLICAS: topic "logs" needs 3 nodes, 1 of 3 have registered so far (start the others, then try again)',
    )
  })

  it.each([
    [
      { name: 'a/b' },
      'INVALID_TOPIC_NAME: "a/b" cannot be the name of a topic: only a-z A-Z 0-9 . _ - are allowed',
    ],
    [
      { name: 'there' },
      'TOPIC_ALREADY_EXISTS: topic "there" exists already (see it: naru topics describe there)',
    ],
    [
      { name: 'dotted_name' },
      'INVALID_TOPIC_NAME: "dotted_name" and the topic "dotted.name" differ only by "." and "_", which metrics cannot tell apart (use another name)',
    ],
    [
      { name: 'x', partitions: 0 },
      'INVALID_PARTITION_COUNT: topic "x" cannot have 0 partitions (ask for 1 to 10000)',
    ],
    [
      { name: 'x', partitions: 1.5 },
      'INVALID_PARTITION_COUNT: topic "x" cannot have 1.5 partitions (ask for 1 to 10000)',
    ],
    [
      { name: 'x', replicationFactor: 4 },
      'INVALID_REPLICATION_FACTOR: topic "x" cannot have 4 replicas: the cluster has 3 nodes (ask for 1 to 3)',
    ],
    [
      { name: 'x', replicationFactor: 0 },
      'INVALID_REPLICATION_FACTOR: topic "x" cannot have 0 replicas: the cluster has 3 nodes (ask for 1 to 3)',
    ],
    [
      { name: 'x', settings: { 'retention.m': '1' } },
      'UNKNOWN_SETTING: topics have no setting "retention.m" (did you mean "retention.ms"?)',
    ],
    [
      { name: 'x', replicationFactor: 1, settings: { 'min.insync.replicas': '2' } },
      'INVALID_SETTING: min.insync.replicas=2 is more than the 1 replica of the topic, so nothing could be written to it',
    ],
    [
      { name: 'x', partitions: 1, assignments: [[1]] },
      'INVALID_REQUEST: topic "x": give either assignments, or partitions and replication factor',
    ],
    [
      { name: 'x', assignments: [[1, 2], [1]] },
      'INVALID_REQUEST: assignments of topic "x": [1] must name 2 nodes, like the other partitions',
    ],
    [
      { name: 'x', assignments: [[1, 1]] },
      'INVALID_REQUEST: assignments of topic "x": [1,1] names a node twice',
    ],
    [
      { name: 'x', assignments: [[]] },
      'INVALID_REQUEST: assignments of topic "x": [] must name 1 nodes, like the other partitions',
    ],
    [
      { name: 'x', assignments: [[9]] },
      'INVALID_REQUEST: assignments of topic "x": node 9 is not registered (DescribeCluster names those that are)',
    ],
  ] satisfies [NewTopic, string][])('refuses %j', (topic, error) => {
    const context = new MetadataContext().addNodes(3)
    context.create({ name: 'there' })
    context.create({ name: 'dotted.name' })
    const before = contents(context.image)
    expect(errorOf(() => context.create(topic))).toBe(error)
    expect(contents(context.image)).toEqual(before)
  })

  it('judges each topic of a request for itself, in view of those before it', () => {
    const context = new MetadataContext().addNodes(1)
    const names = ['ok', 'twice', 'a.b', 'a_b', 'twice', '', 'last']
    const { records, response } = context.controller.topics.create(
      { topics: names.map(name => ({ name, partitions: 1 })) },
      context.nextTopicId,
    )
    expect(response.map(reasonOf)).toEqual([
      'ok',
      'INVALID_REQUEST',
      'ok',
      'INVALID_TOPIC_NAME',
      'INVALID_REQUEST',
      'INVALID_TOPIC_NAME',
      'ok',
    ])
    expect(records.flatMap(record => (record.type === 'topic' ? [record.name] : []))).toEqual([
      'ok',
      'a.b',
      'last',
    ])
  })

  it('only looks when asked to validate', () => {
    const context = new MetadataContext().addNodes(1)
    const request = { topics: [{ name: 'ok' }, { name: '..' }], validateOnly: true }
    const { records, response } = context.controller.topics.create(request, () => 'id')
    expect(records).toEqual([])
    expect(response.map(reasonOf)).toEqual(['ok', 'INVALID_TOPIC_NAME'])
  })

  it('puts nodes that are down last, and out of the ISR', () => {
    const context = new MetadataContext().addNodes(3)
    context.run(context.controller.nodes.fence(context.epochOf(1)))
    context.create({ name: 'logs', partitions: 1, replicationFactor: 3 })
    expect(context.image.topics.byName('logs')?.partition(0)?.replicas).toEqual([2, 3, 1])
    expect(context.show('logs')).toBe('leader=2 isr=2,3 elr= epoch=0/0')
  })

  it('makes nothing while no node can lead', () => {
    const context = new MetadataContext().addNodes(1)
    context.run(context.controller.nodes.fence(context.epochOf(1)))
    expect(errorOf(() => context.create({ name: 'logs' }))).toMatch(/^LEADER_NOT_AVAILABLE: no node can lead/)
  })

  it('keeps to its limits', () => {
    const limits = {
      topicsPerRequestMax: 2,
      partitionsPerRequestMax: 5,
      partitionsPerTopicMax: 4,
      partitionsPerClusterMax: 6,
    }
    const context = new MetadataContext({ limits }).addNodes(1)
    const reasons = (...counts: number[]) => {
      const topics = counts.map((partitions, index) => ({ name: `t${index}`, partitions }))
      return context.controller.topics
        .create({ topics, validateOnly: true }, () => 'id')
        .response.map(reasonOf)
    }
    expect(reasons(4, 1)).toEqual(['ok', 'ok'])
    expect(reasons(5)).toEqual(['INVALID_PARTITION_COUNT'])
    expect(reasons(3, 3)).toEqual(['ok', 'REQUEST_TOO_LARGE'])
    expect(errorOf(() => reasons(1, 1, 1))).toMatch(/^REQUEST_TOO_LARGE/)
    context.create({ name: 'first', partitions: 4 })
    expect(reasons(2)).toEqual(['ok'])
    expect(reasons(1, 2)).toEqual(['ok', 'INVALID_PARTITION_COUNT'])
  })
})

describe('the internal topic __groups', () => {
  it('is made by its name alone, and always the same', () => {
    const context = new MetadataContext({
      nodesListed: 3,
      topicDefaults: { 'write.caching': true },
    }).addNodes(3)
    context.create({ name: '__groups' })
    const topic = context.image.topics.byName('__groups')
    expect([topic?.partitionCount, topic?.replicationFactor]).toEqual([16, 3])
    expect(topic?.settings).toMatchObject({
      'write.caching': 'false',
      'unclean.leader.election.enable': 'false',
      'cleanup.policy': 'compact',
    })
    const alone = new MetadataContext().addNodes(1)
    alone.create({ name: '__groups' })
    expect(alone.image.topics.byName('__groups')?.replicationFactor).toBe(1)
  })

  it.each<[string, Omit<NewTopic, 'name'>]>([
    ['partitions', { partitions: 4 }],
    ['replicas', { replicationFactor: 1 }],
    ['an assignment', { assignments: [[1]] }],
    ['settings', { settings: { 'write.caching': 'true' } }],
  ])('is not made with %s of somebody else', (_what, wish) => {
    const context = new MetadataContext().addNodes(1)
    expect(errorOf(() => context.create({ name: '__groups', ...wish }))).toBe(
      'INVALID_REQUEST: topic "__groups" is kept by Naru itself, which decides on its partitions, replicas and settings (it is made at the first use of a group)',
    )
  })

  it('is neither widened, nor set, nor deleted; its replicas may be moved', () => {
    const context = new MetadataContext().addNodes(2)
    context.create({ name: '__groups' })
    const { topics, settings, reassignments } = context.controller
    const refused = 'INVALID_REQUEST: topic "__groups" is kept by Naru itself and cannot be changed'
    expect(errorOf(() => topics.addPartitions({ name: '__groups', partitionCount: 32 }))).toBe(refused)
    const [altered] = settings.alter({
      changes: [{ name: '__groups', set: { 'write.caching': 'true' } }],
    }).response
    expect(altered?.ok === false && `${altered.error.reason}: ${altered.error.message}`).toBe(refused)
    const [deleted] = topics.delete({ topics: [{ name: '__groups' }] }).response
    expect(deleted?.ok === false && `${deleted.error.reason}: ${deleted.error.message}`).toBe(refused)
    const [moved] = reassignments.reassign({
      reassignments: [{ topic: '__groups', partition: 0, replicas: [2] }],
    }).response
    expect(moved?.ok).toBe(true)
  })
})

describe('deleting topics', () => {
  it('deletes by name, frees the name, and guards by id', () => {
    const context = new MetadataContext().addNodes(1)
    context.create({ name: 'a.b' })
    const remove = (topics: { name: string; topicId?: string }[]) =>
      context.run(context.controller.topics.delete({ topics })).map(reasonOf)
    expect(remove([{ name: 'a.b', topicId: 'another' }, { name: '__groups' }, { name: 'none' }])).toEqual([
      'UNKNOWN_TOPIC',
      'INVALID_REQUEST',
      'UNKNOWN_TOPIC',
    ])
    expect(remove([{ name: 'a.b', topicId: 'topic-id-1' }, { name: 'a.b' }])).toEqual([
      'ok',
      'INVALID_REQUEST',
    ])
    expect(context.image.topics.byName('a.b')).toBeUndefined()
    expect(context.image.topics.partitionCount).toBe(0)
    context.create({ name: 'a_b' })
    expect(context.image.topics.byName('a_b')?.id).toBe('topic-id-2')
  })

  it('says how to create a topic that is not there', () => {
    const context = new MetadataContext()
    const [result] = context.controller.topics.delete({ topics: [{ name: 'logs' }] }).response
    expect(result?.ok === false && result.error.message).toBe(
      'topic "logs" does not exist (create it: naru topics create logs)',
    )
  })
})

describe('adding partitions', () => {
  it('numbers them on and replicates them like the others', () => {
    const context = new MetadataContext().addNodes(3)
    context.create({ name: 'logs', partitions: 2, replicationFactor: 2 })
    context.run(context.controller.topics.addPartitions({ name: 'logs', partitionCount: 4 }))
    const topic = context.image.topics.byName('logs')
    expect(
      [...(topic?.partitions() ?? [])].map(([partition, state]) => [partition, state.replicas.length]),
    ).toEqual([
      [0, 2],
      [1, 2],
      [2, 2],
      [3, 2],
    ])
  })

  it('does nothing for the present number, and refuses fewer', () => {
    const context = new MetadataContext().addNodes(1)
    context.create({ name: 'logs', partitions: 2 })
    const { topics } = context.controller
    expect(topics.addPartitions({ name: 'logs', partitionCount: 2 }).records).toEqual([])
    expect(errorOf(() => topics.addPartitions({ name: 'logs', partitionCount: 1 }))).toMatch(
      /^INVALID_PARTITION_COUNT: topic "logs" has 2 partitions and cannot have fewer/,
    )
    expect(
      errorOf(() => topics.addPartitions({ name: 'logs', partitionCount: 3, assignments: [[1], [1]] })),
    ).toBe('INVALID_REQUEST: assignments of topic "logs": 2 are given for 1 partitions')
    expect(topics.addPartitions({ name: 'logs', partitionCount: 9, validateOnly: true }).records).toEqual([])
  })
})

function reasonOf(
  result: { ok: true } | { ok: false; error: { reason: string } } | CreateTopicResult,
): string {
  return result.ok ? 'ok' : result.error.reason
}
