import { describe, expect, it } from 'vitest'
import { partitionSettings } from '../../src/drivers/replicas/partition-settings.ts'
import { MetadataDelta } from '../../src/metadata/metadata-delta.ts'
import type { PartitionState } from '../../src/metadata/metadata-record.ts'
import { errorOf, imageOf, MetadataContext } from './metadata-context.ts'

/** Six nodes in three racks; topic "t" with one partition on nodes 1, 2 and 3. */
function cluster(replicas: number[][] = [[1, 2, 3]]): MetadataContext {
  const context = new MetadataContext({ nodesListed: 6 }).addNodes(6, nodeId => `r${nodeId % 3}`)
  context.create({ name: 't', assignments: replicas })
  return context
}

function reassign(context: MetadataContext, replicas: number[], partition = 0): string {
  const reassignments = [{ topic: 't', partition, replicas }]
  const [result] = context.run(context.controller.reassignments.reassign({ reassignments }))
  return result?.ok === false
    ? errorOf(() => {
        throw result.error
      })
    : 'started'
}

function enter(context: MetadataContext, isr: number[], partition = 0): void {
  const topic = context.image.topics.byName('t')
  const state = topic?.partition(partition)
  if (!topic || !state || state.leader === null) throw new Error('no leader')
  const { leaderEpoch, partitionEpoch, leader } = state
  const members = isr.map(nodeId => context.epochOf(nodeId))
  const change = { topicId: topic.id, partition, leaderEpoch, partitionEpoch, isr: members }
  const { answers } = context.run(context.controller.isr.alter(context.epochOf(leader), [change]))
  expect(answers).toEqual([{ kind: 'accepted' }])
}

/** The leader asks for it, as it does by itself. */
function handOver(context: MetadataContext, successorId: number, partition = 0): void {
  const topic = context.image.topics.byName('t')
  const state = topic?.partition(partition)
  if (!topic || !state || state.leader === null) throw new Error('no leader')
  const { leaderEpoch, partitionEpoch, leader } = state
  const isr = state.isr.map(nodeId => context.epochOf(nodeId))
  const change = { topicId: topic.id, partition, leaderEpoch, partitionEpoch, isr, successorId }
  const { answers } = context.run(context.controller.isr.alter(context.epochOf(leader), [change]))
  expect(answers).toEqual([{ kind: 'accepted' }])
}

const replicasOf = (context: MetadataContext, partition = 0) =>
  context.image.topics.byName('t')?.partition(partition)?.replicas.join()
const minIsrOf = (context: MetadataContext) => {
  const topic = context.image.topics.byName('t')
  return topic && partitionSettings(topic, {}).minInsyncReplicas
}

describe('a reassignment', () => {
  it('adds replicas, and ends by itself when the last added one is in sync', () => {
    const context = cluster()
    expect(reassign(context, [4, 5, 3])).toBe('started')
    expect(replicasOf(context)).toBe('1,2,3,4,5')
    expect(context.controller.reassignments.underWay()).toHaveLength(1)
    enter(context, [1, 2, 3, 4])
    expect(replicasOf(context)).toBe('1,2,3,4,5')
    enter(context, [1, 2, 3, 4, 5])
    // The leader knows of nothing yet, and its lease may run for long.
    expect(context.show('t')).toBe('leader=1 isr=1,2,3,4,5 elr= epoch=0/3')
    handOver(context, 4)
    expect(replicasOf(context)).toBe('4,5,3')
    expect(context.show('t')).toBe('leader=4 isr=3,4,5 elr= epoch=1/4')
    expect(context.controller.reassignments.underWay()).toEqual([])
  })

  it('that adds nothing is over at once; the order of replicas is the preference', () => {
    const context = cluster()
    reassign(context, [3, 2, 1])
    expect(context.show('t')).toBe('leader=1 isr=1,2,3 elr= epoch=0/1')
    const asked = context.run(context.controller.leaders.awaitPreferred(undefined))
    expect(asked).toEqual([{ ok: true, topic: 't', partition: 0 }])
    expect(context.show('t')).toBe('leader=1 isr=1,2,3 elr= epoch=0/1')
    handOver(context, 3)
    expect(context.run(context.controller.leaders.awaitPreferred(undefined))).toEqual([])
  })

  it('takes no leader away that lives: one that is to go hands over, and then the move is over', () => {
    const fewer = cluster()
    expect(reassign(fewer, [2, 3])).toBe('started')
    expect(fewer.show('t')).toBe('leader=1 isr=1,2,3 elr= epoch=0/1')
    handOver(fewer, 2)
    expect(fewer.show('t')).toBe('leader=2 isr=2,3 elr= epoch=1/2')
    expect(replicasOf(fewer)).toBe('2,3')
    const draining = cluster()
    draining.run(draining.controller.nodes.drain(draining.epochOf(1)))
    reassign(draining, [2, 3])
    expect(draining.show('t')).toMatch('leader=1 isr=1,2,3')
  })

  it('goes on when the leader that was to hand over has died', () => {
    for (const end of ['fenced', 'damaged'] as const) {
      const context = cluster()
      reassign(context, [4, 2, 3])
      enter(context, [1, 2, 3, 4])
      expect(replicasOf(context)).toBe('1,2,3,4')
      const node = context.epochOf(1)
      const { nodes, isr } = context.controller
      if (end === 'fenced') context.run(nodes.fence(node))
      else context.run(isr.reportDamage(node, [{ topicId: 'topic-id-1', partition: 0 }]))
      expect(replicasOf(context), end).toBe('4,2,3')
      expect(context.show('t')).toMatch('leader=2 isr=2,3,4 elr=')
    }
  })

  it('that added the leader of now is taken back when that one has handed over', () => {
    const added = () => {
      const context = cluster()
      reassign(context, [4, 5, 6])
      enter(context, [1, 2, 3, 4])
      handOver(context, 4)
      expect(replicasOf(context)).toBe('1,2,3,4,5,6')
      return context
    }
    const cancelled = added()
    const [result] = cancelled.run(cancelled.controller.reassignments.cancel(undefined))
    expect(result).toMatchObject({ ok: true })
    expect(replicasOf(cancelled)).toBe('1,2,3,4')
    expect(cancelled.show('t')).toMatch('leader=4 isr=1,2,3,4 elr= epoch=1/')
    handOver(cancelled, 1)
    expect(replicasOf(cancelled)).toBe('1,2,3')
    expect(cancelled.controller.reassignments.underWay()).toEqual([])
    const elsewhere = added()
    expect(reassign(elsewhere, [1, 2, 6])).toBe('started')
    expect(replicasOf(elsewhere)).toBe('1,2,3,4,6')
    enter(elsewhere, [1, 2, 3, 4, 6])
    handOver(elsewhere, 1)
    expect(replicasOf(elsewhere)).toBe('1,2,6')
  })

  it('goes elsewhere when it is asked for anew, and back when it is cancelled', () => {
    const context = cluster()
    reassign(context, [4, 5, 6])
    enter(context, [1, 2, 3, 4])
    reassign(context, [1, 2, 6])
    expect(replicasOf(context)).toBe('1,2,3,6')
    expect(context.show('t')).toBe('leader=1 isr=1,2,3 elr= epoch=0/3')
    context.run(context.controller.reassignments.cancel(undefined))
    expect(replicasOf(context)).toBe('1,2,3')
    expect(context.controller.reassignments.underWay()).toEqual([])
    const [again] = context.run(context.controller.reassignments.cancel([{ topic: 't', partition: 0 }]))
    expect(again).toMatchObject({ ok: false, error: { reason: 'INVALID_REQUEST' } })
  })

  it('does not let go of members that are needed, until others are in sync', () => {
    const context = cluster()
    reassign(context, [4, 5, 6])
    enter(context, [1, 4, 5])
    for (const nodeId of [1]) context.run(context.controller.nodes.fence(context.epochOf(nodeId)))
    expect(context.show('t')).toBe('leader=4 isr=4,5 elr= epoch=1/3')
    const [refused] = context.run(context.controller.reassignments.cancel(undefined))
    expect(refused).toMatchObject({ ok: false, error: { reason: 'NOT_ENOUGH_REPLICAS' } })
    expect(replicasOf(context)).toBe('1,2,3,4,5,6')
  })

  it('waits for enough of the target to be in sync, also of those that were there', () => {
    const context = cluster()
    context.run(context.controller.nodes.fence(context.epochOf(3)))
    reassign(context, [4, 3])
    enter(context, [1, 2, 4])
    handOver(context, 4)
    // Node 3 alone with 4 would be 1 of 2 in sync; the topic's default of two replicas needs one.
    expect(replicasOf(context)).toBe('4,3')
    const strict = cluster()
    strict.run(
      strict.controller.settings.alter({ changes: [{ name: 't', set: { 'min.insync.replicas': '2' } }] }),
    )
    strict.run(strict.controller.nodes.fence(strict.epochOf(3)))
    reassign(strict, [4, 3])
    enter(strict, [1, 2, 4])
    handOver(strict, 4)
    expect(replicasOf(strict)).toBe('1,2,3,4')
    strict.run(strict.controller.nodes.unfence(strict.epochOf(3)))
    enter(strict, [1, 2, 3, 4])
    expect(replicasOf(strict)).toBe('4,3')
  })

  it('is refused for nodes that do not exist, come twice, or are fewer than the topic insists on', () => {
    const context = cluster()
    expect(reassign(context, [1, 9])).toMatch('node 9 is not registered')
    expect(reassign(context, [1, 1])).toMatch('named twice')
    expect(reassign(context, [])).toMatch('name 1 to 100 nodes')
    expect(reassign(context, [1], 7)).toMatch('UNKNOWN_PARTITION')
    const changes = [{ name: 't', set: { 'min.insync.replicas': '2' } }]
    context.run(context.controller.settings.alter({ changes }))
    expect(reassign(context, [1])).toMatch('INVALID_SETTING')
    expect(replicasOf(context)).toBe('1,2,3')
  })
})

describe('another replication factor', () => {
  const change = (context: MetadataContext, replicationFactor: number) =>
    context.run(context.controller.reassignments.changeReplicationFactor({ name: 't', replicationFactor }))

  it('raises min.insync.replicas only when every partition has its replicas', () => {
    const context = cluster([[1], [2]])
    expect(change(context, 3)).toEqual({ started: 2 })
    expect(minIsrOf(context)).toBe(1)
    const of = (partition: number) => context.image.topics.byName('t')?.partition(partition)?.replicas ?? []
    enter(context, [...of(0)], 0)
    expect(minIsrOf(context)).toBe(1)
    enter(context, [...of(1)], 1)
    expect(minIsrOf(context)).toBe(2)
    expect(new Set(of(0).map(nodeId => nodeId % 3)).size).toBe(3)
  })

  it('is told as a change of settings, because defaults follow it', () => {
    const context = cluster([[1]])
    change(context, 3)
    const replicas = context.image.topics.byName('t')?.partition(0)?.replicas ?? []
    const from = context.log.length
    enter(context, [...replicas])
    const delta = new MetadataDelta()
    const before = imageOf(context.log.slice(0, from))
    for (const record of context.log.slice(from)) before.replay(record, delta)
    expect(delta.changedSettings).toEqual(new Set(['topic-id-1']))
  })

  it('lowers it at once, and with it ends what was electable, in the same batch of records', () => {
    const context = cluster([
      [1, 2, 3],
      [1, 2, 3],
    ])
    for (const nodeId of [2, 3]) context.run(context.controller.nodes.fence(context.epochOf(nodeId)))
    expect(context.show('t', 1)).toBe('leader=1 isr=1 elr=3 epoch=0/2')
    expect(change(context, 1)).toEqual({ started: 2 })
    expect(replicasOf(context)).toBe('1')
    expect(context.show('t', 1)).toBe('leader=1 isr=1 elr= epoch=0/3')
    expect(minIsrOf(context)).toBe(1)
  })

  it('is at most the number of nodes', () => {
    expect(errorOf(() => change(cluster(), 7))).toMatch('the cluster has 6 nodes (ask for 1 to 6)')
  })
})

/** All that it adds comes into sync, and the leader hands over if it is to go. */
function complete(context: MetadataContext, { replicas, leader, reassignment }: PartitionState, at: number) {
  enter(context, [...replicas], at)
  const { target = [] } = reassignment ?? {}
  if (leader !== null && !target.includes(leader)) handOver(context, target[0] as number, at)
}

describe('a rebalance', () => {
  const plan = (context: MetadataContext, evacuate: number[] = []) =>
    context.run(
      context.controller.reassignments.rebalance({ isDryRun: true, concurrentMovesMax: 10, evacuate }),
    )

  it('moves as little as evens out replicas and leaders, over racks, and then nothing', () => {
    const context = cluster(Array.from({ length: 8 }, () => [1, 2, 3]))
    let rounds = 0
    const run = () =>
      context.run(
        context.controller.reassignments.rebalance({ isDryRun: false, concurrentMovesMax: 3, evacuate: [] }),
      )
    while (run().length > 0) {
      expect(context.controller.reassignments.underWay().length).toBeLessThanOrEqual(3)
      for (const { partition, state } of context.controller.reassignments.underWay())
        complete(context, state, partition)
      expect(rounds++).toBeLessThan(50)
    }
    const lists = [...(context.image.topics.byName('t')?.partitions() ?? [])].map(([, one]) => one.replicas)
    const count = (of: number[]) => [1, 2, 3, 4, 5, 6].map(id => of.filter(nodeId => nodeId === id).length)
    expect(count(lists.flat())).toEqual([4, 4, 4, 4, 4, 4])
    const leaders = count(lists.map(list => list[0] as number))
    expect(Math.max(...leaders) - Math.min(...leaders)).toBeLessThanOrEqual(2)
    for (const list of lists) expect(new Set(list.map(nodeId => nodeId % 3)).size).toBe(3)
  })

  it('takes everything off a node, and puts two replicas of a rack apart', () => {
    const context = cluster([
      [1, 2, 3],
      [1, 4, 3],
    ])
    const moves = plan(context, [3]).map(({ partition, to }) => `${partition}: ${to}`)
    expect(moves).toEqual(['0: 2,1,6', '1: 1,4,5'])
    const [apart] = plan(cluster([[1, 4, 3]]))
    expect(apart?.to.map(nodeId => nodeId % 3).sort()).toEqual([0, 1, 2])
  })

  it('names nodes that do not exist, and gives nothing to those that do not run', () => {
    const context = cluster()
    expect(errorOf(() => plan(context, [9]))).toMatch('UNKNOWN_NODE')
    for (const nodeId of [4, 5, 6]) context.run(context.controller.nodes.fence(context.epochOf(nodeId)))
    expect(plan(context)).toEqual([])
  })
})

describe('a recovery', () => {
  it('lets a replica lead that lacks records, by name, and keeps the epoch as unclean', () => {
    const context = cluster()
    for (const nodeId of [3, 2, 1]) context.run(context.controller.nodes.fence(context.epochOf(nodeId)))
    context.run(context.controller.nodes.unfence(context.epochOf(3)))
    expect(context.show('t')).toBe('leader=null isr= elr=2,1 epoch=1/3')
    const recover = (nodeId: number) =>
      context.run(context.controller.leaders.recover([{ topic: 't', partition: 0, nodeId }]))
    expect(recover(1)).toMatchObject([{ ok: false, error: { reason: 'LEADER_NOT_AVAILABLE' } }])
    expect(recover(3)).toMatchObject([{ ok: true }])
    expect(context.show('t')).toBe('leader=3 isr=3 elr= epoch=2/4 unclean=2')
    expect(recover(3)).toMatchObject([{ ok: false, error: { reason: 'INVALID_REQUEST' } }])
  })
})
