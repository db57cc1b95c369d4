import { describe, expect, it } from 'vitest'
import { Controller } from '../../src/metadata/controller.ts'
import type { MetadataImage } from '../../src/metadata/metadata-image.ts'
import { Admin } from '../../src/wire/methods.ts'
import { TestServiceCluster } from './service-cluster.ts'

const OPTIONS = { nodesListed: 3, defaultPartitions: 2 }

/** Changes the metadata behind the back of the services. */
function change<T>(
  cluster: TestServiceCluster,
  by: (
    controller: Controller,
    image: MetadataImage,
  ) => { records: readonly never[] | readonly object[]; response: T },
): T {
  return cluster.log.write(image => by(new Controller(image, OPTIONS), image) as never)
}

function fence(cluster: TestServiceCluster, nodeId: number): void {
  change(cluster, ({ nodes }, image) => nodes.fence({ nodeId, nodeEpoch: image.nodes.lastEpoch(nodeId) }))
}

function unfence(cluster: TestServiceCluster, nodeId: number): void {
  change(cluster, ({ nodes }, image) => nodes.unfence({ nodeId, nodeEpoch: image.nodes.lastEpoch(nodeId) }))
}

/** One topic "t" with a partition on node 1. */
function clusterWithTopic(options: ConstructorParameters<typeof TestServiceCluster>[0] = {}, replicas = [1]) {
  const cluster = new TestServiceCluster(options)
  const topics = [{ name: 't', assignments: [replicas] }]
  change(cluster, controller => controller.topics.create({ topics }, () => 'id-of-t'))
  return cluster
}

const partitionOf = async (cluster: TestServiceCluster) =>
  (await cluster.call(3, Admin.describeTopics, { topics: ['t'] })).topics[0]?.partitions[0]

describe('moves of partitions', () => {
  it('begin, are listed and shown, and end by cancelling, over any node', async () => {
    const cluster = clusterWithTopic()
    const reassignments = [
      { topic: 't', partition: 0, replicas: [2, 3] },
      { topic: 'nope', partition: 0, replicas: [1] },
    ]
    const { results } = await cluster.call(2, Admin.reassignPartitions, { reassignments })
    expect(results.map(result => result.failure?.reason)).toEqual([undefined, 'UNKNOWN_TOPIC'])
    expect(await partitionOf(cluster)).toMatchObject({
      replicas: [1, 2, 3],
      addingReplicas: [2, 3],
      removingReplicas: [1],
    })
    expect((await cluster.call(3, Admin.describeCluster, {})).reassigningCount).toBe(1)
    const listed = await cluster.call(2, Admin.listReassignments, {})
    expect(listed.reassignments).toEqual([
      { topic: 't', partition: 0, replicas: [2, 3], addingReplicas: [2, 3], removingReplicas: [1] },
    ])
    await cluster.call(2, Admin.cancelReassignments, {})
    expect(await partitionOf(cluster)).toMatchObject({ replicas: [1], addingReplicas: [] })
    expect((await cluster.call(2, Admin.listReassignments, {})).reassignments).toEqual([])
  })

  it('bring a topic to another number of replicas', async () => {
    const cluster = clusterWithTopic()
    const request = { topic: 't', replicationFactor: 3 }
    expect(await cluster.call(2, Admin.changeReplicationFactor, request)).toEqual({ started: 1 })
    expect((await partitionOf(cluster))?.addingReplicas).toHaveLength(2)
    const refusal = await cluster.refusal(2, Admin.changeReplicationFactor, {
      ...request,
      replicationFactor: 4,
    })
    expect(refusal.reason).toBe('INVALID_REPLICATION_FACTOR')
  })

  it('are planned, and begun as many at a time as was asked', async () => {
    const cluster = new TestServiceCluster()
    const topics = [{ name: 't', assignments: Array.from({ length: 6 }, () => [1]) }]
    change(cluster, controller => controller.topics.create({ topics }, () => 'id-of-t'))
    const dry = await cluster.call(2, Admin.rebalance, { dryRun: true })
    expect(dry.moves.map(move => move.toReplicas[0]).sort()).toEqual([2, 2, 3, 3])
    expect(dry.moves.every(move => !move.started)).toBe(true)
    const { moves } = await cluster.call(2, Admin.rebalance, { concurrentMovesMax: 1 })
    expect(moves.map(move => move.started)).toEqual([true, false, false, false])
    const again = await cluster.call(2, Admin.rebalance, { concurrentMovesMax: 1 })
    expect(again.moves.filter(move => move.started)).toEqual([])
    const refusal = await cluster.refusal(2, Admin.rebalance, { concurrentMovesMax: 0 })
    expect(refusal.message).toBe('concurrent_moves_max is 0, allowed is 1 to 1000 (default 10)')
  })
})

describe('elections', () => {
  it('give leaderships back to the first replicas', async () => {
    const cluster = clusterWithTopic({}, [3, 1, 2])
    fence(cluster, 3)
    unfence(cluster, 3)
    const early = await cluster.call(2, Admin.electLeaders, { partitions: [{ topic: 't', partition: 0 }] })
    expect(early.results[0]?.failure?.message).toMatch('not in sync or not running (in sync: 1,2)')
    const alter = (successorId?: number) =>
      change(cluster, ({ isr }, image) => {
        const topic = image.topics.byName('t')
        const of = { topicId: 'id-of-t', partition: 0, leaderEpoch: 1, successorId }
        const { partitionEpoch = 0 } = topic?.partition(0) ?? {}
        const members = [1, 2, 3].map(nodeId => ({ nodeId, nodeEpoch: 1 }))
        return isr.alter({ nodeId: 1, nodeEpoch: 1 }, [{ ...of, partitionEpoch, isr: members }])
      })
    alter()
    // Nobody is deposed for it: it is the leader of now that gives it up.
    const late = await cluster.call(2, Admin.electLeaders, {})
    expect(late.results[0]?.failure).toMatchObject({ reason: 'LEADER_NOT_AVAILABLE' })
    expect((await partitionOf(cluster))?.leaderId).toBe(1)
    cluster.scheduler.schedule(500, () => alter(3))
    const elected = await cluster.call(2, Admin.electLeaders, {})
    expect(elected.results).toEqual([{ topic: 't', partition: 0 }])
    expect((await partitionOf(cluster))?.leaderId).toBe(3)
  })

  /** Node 1 was the last in sync and is gone; 2 and 3 are behind. */
  async function offline(
    contents: Record<number, { logEndOffset: number; lastEpoch: number; damaged?: boolean }>,
  ) {
    const contentsOf = (nodeId: number) => {
      const known = contents[nodeId]
      return known && { highWatermark: 90, damaged: false, ...known }
    }
    const cluster = clusterWithTopic({ contents: contentsOf }, [1, 2, 3])
    change(cluster, ({ settings }) =>
      settings.alter({ changes: [{ name: 't', set: { 'min.insync.replicas': '1' } }] }),
    )
    for (const nodeId of [2, 3, 1]) fence(cluster, nodeId)
    for (const nodeId of [2, 3]) unfence(cluster, nodeId)
    return cluster
  }

  it('tell first what a recovery would lose, then let the replica lead that has most', async () => {
    const cluster = await offline({
      2: { logEndOffset: 100, lastEpoch: 0 },
      3: { logEndOffset: 80, lastEpoch: 1 },
    })
    const partitions = [{ topic: 't' }]
    const dry = await cluster.call(2, Admin.electLeaders, { kind: 'UNCLEAN', partitions, dryRun: true })
    expect(dry.recoveries).toEqual([
      {
        topic: 't',
        partition: 0,
        nodeId: 3,
        clean: false,
        replicas: [
          { nodeId: 1, alive: false, damaged: false },
          { nodeId: 2, alive: true, damaged: false, logEndOffset: 100, highWatermark: 90, lastEpoch: 0 },
          { nodeId: 3, alive: true, damaged: false, logEndOffset: 80, highWatermark: 90, lastEpoch: 1 },
        ],
      },
    ])
    expect((await partitionOf(cluster))?.leaderId).toBeUndefined()
    const { results } = await cluster.call(2, Admin.electLeaders, { kind: 'UNCLEAN', partitions })
    expect(results).toEqual([{ topic: 't', partition: 0 }])
    expect(await partitionOf(cluster)).toMatchObject({ leaderId: 3, isr: [3], elr: [] })
  })

  it('elect who has everything, if that one is back, and nobody who is damaged', async () => {
    const cluster = await offline({
      2: { logEndOffset: 100, lastEpoch: 0, damaged: true },
      3: { logEndOffset: 80, lastEpoch: 1, damaged: true },
    })
    const partitions = [{ topic: 't', partition: 0 }]
    const none = await cluster.call(2, Admin.electLeaders, { kind: 'UNCLEAN', partitions })
    expect(none.results[0]?.failure?.message).toMatch(
      'none of its replicas [1,2,3] is alive with an undamaged copy',
    )
    unfence(cluster, 1)
    const late = await cluster.refusal(2, Admin.electLeaders, { kind: 'UNCLEAN', partitions })
    expect(late.message).toMatch('t-0 is led by node 1: there is nothing to recover')
  })

  it('never let a damaged copy lead, though it is asked for by name: it could neither serve nor be replaced', async () => {
    const cluster = await offline({
      2: { logEndOffset: 100, lastEpoch: 0, damaged: true },
      3: { logEndOffset: 80, lastEpoch: 1 },
    })
    const partitions = [{ topic: 't', partition: 0 }]
    for (const dryRun of [true, false]) {
      const request = { kind: 'UNCLEAN', partitions, nodeId: 2, dryRun } as const
      expect(await cluster.refusal(2, Admin.electLeaders, request)).toMatchObject({
        reason: 'INVALID_REQUEST',
        message:
          'node 2 cannot lead t-0: its copy is damaged (name another replica, or none to take the one that has most)',
      })
    }
    expect((await partitionOf(cluster))?.leaderId).toBeUndefined()
    await cluster.call(2, Admin.electLeaders, { kind: 'UNCLEAN', partitions, nodeId: 3 })
    expect((await partitionOf(cluster))?.leaderId).toBe(3)
  })

  it('count on nodes that drain, which are up and may have most', async () => {
    const cluster = await offline({
      2: { logEndOffset: 100, lastEpoch: 1 },
      3: { logEndOffset: 80, lastEpoch: 1 },
    })
    const drain = (nodeId: number) => change(cluster, ({ nodes }) => nodes.drain({ nodeId, nodeEpoch: 1 }))
    drain(2)
    const partitions = [{ topic: 't', partition: 0 }]
    const request = { kind: 'UNCLEAN', partitions, dryRun: true } as const
    const planned = async () => (await cluster.call(3, Admin.electLeaders, request)).recoveries[0]
    expect(await planned()).toMatchObject({ nodeId: 2, clean: false })
    await cluster.call(3, Admin.electLeaders, { kind: 'UNCLEAN', partitions })
    expect(await partitionOf(cluster)).toMatchObject({ leaderId: 2, isr: [2] })
  })

  it('never lose records without a name', async () => {
    const refusal = await clusterWithTopic().refusal(2, Admin.electLeaders, { kind: 'UNCLEAN' })
    expect(refusal.message).toMatch('for named topics only')
  })
})
