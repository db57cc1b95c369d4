import { describe, expect, test, vi } from 'vitest'
import { PartitionLeader } from '../../../src/drivers/replicas/partition-leader.ts'
import { ReplicaCluster, type ReplicaClusterOptions } from './replica-cluster.ts'
import { TOPIC_ID } from './scripted-controller.ts'

/** Three nodes, node 1 leading, all three in sync. */
async function startTopic(options: ReplicaClusterOptions = {}): Promise<ReplicaCluster> {
  const cluster = await ReplicaCluster.start(options)
  cluster.controller.createTopic()
  await cluster.until(() => isLedBy(cluster, 1))
  await cluster.run(cluster.produce(cluster.leader(1), 'first'))
  return cluster
}

function isLedBy(cluster: ReplicaCluster, nodeId: number): boolean {
  const { leader, leaderEpoch } = cluster.controller.partition()
  return leader === nodeId && cluster.node(nodeId).replicas?.leader(TOPIC_ID, 0)?.leaderEpoch === leaderEpoch
}

/** As the service does it: where there is no room, it waits, and looks again for who leads. */
async function produceAnywhere(cluster: ReplicaCluster, value: string): Promise<number> {
  for (;;) {
    const leader = leaderOf(cluster)
    if (leader?.hasRoom) {
      const outcome = await cluster.produce(leader, value)
      if (outcome.kind === 'failed') throw outcome.error
      return outcome.baseOffset
    }
    if (leader) await leader.room()
    else await new Promise<void>(resolve => cluster.node(3).machine.clock.setTimer(1, resolve))
  }
}

function leaderOf(cluster: ReplicaCluster): PartitionLeader | undefined {
  for (const { replicas } of cluster.nodes) {
    const leader = replicas?.leader(TOPIC_ID, 0)
    if (leader?.ended === undefined && leader) return leader
  }
  return undefined
}

const MOVING = {
  reason: 'LEADER_NOT_AVAILABLE',
  retriable: true,
  message: expect.stringContaining('has asked the controller for a change after which another may lead'),
}

describe('a node that drains', () => {
  test('hands its partition over under load: no produce fails, and none is lost or stored twice', async () => {
    const cluster = await startTopic()
    const answers: Promise<number>[] = []
    for (let at = 0; at < 300; at++) {
      if (at === 100) cluster.controller.drain(1)
      answers.push(produceAnywhere(cluster, `v${at}`))
      await cluster.scheduler.runFor(1)
    }
    const offsets = await cluster.run(Promise.all(answers))
    expect(cluster.controller.partition()).toMatchObject({ leader: 2, leaderEpoch: 1, isr: [1, 2, 3] })
    expect(new Set(offsets).size).toBe(300)
    const expected = ['first', ...Array.from({ length: 300 }, (_, at) => `v${at}`)]
    for (const nodeId of [1, 2, 3]) {
      await cluster.until(() => cluster.log(nodeId).logEndOffset === 301)
      expect((await cluster.values(nodeId)).sort()).toEqual([...expected].sort())
    }
  })

  test('keeps the partition when a follower does not fetch the rest in time, and takes produces again', async () => {
    const cluster = await startTopic()
    cluster.node(2).machine.image.syncLatencyMs = { min: 3_000, max: 3_000 }
    const slow = cluster.produce(cluster.leader(1), 'slow')
    await cluster.scheduler.runFor(10)
    cluster.controller.drain(1)
    await cluster.until(() => !cluster.leader(1).hasRoom)
    const sinceMs = cluster.scheduler.nowMs
    const held = produceAnywhere(cluster, 'held')
    await cluster.until(() => cluster.leader(1).hasRoom)
    expect(cluster.scheduler.nowMs - sinceMs).toBeLessThan(1_300)
    expect(cluster.controller.partition()).toMatchObject({ leader: 1, leaderEpoch: 0 })
    // What was appended before is neither failed nor in doubt.
    expect(await cluster.run(slow)).toMatchObject({ kind: 'stored', baseOffset: 1 })
    expect(await cluster.run(held)).toBe(2)
    cluster.node(2).machine.image.syncLatencyMs = { min: 1, max: 1 }
    await cluster.until(() => isLedBy(cluster, 2))
  })

  test('takes produces again when the controller does not answer, and moves once it does', async () => {
    const cluster = await startTopic()
    cluster.controller.drain(1)
    cluster.isControllerAway = true
    await cluster.until(() => !cluster.leader(1).hasRoom)
    await cluster.until(() => cluster.leader(1).hasRoom)
    expect(await cluster.run(cluster.produce(cluster.leader(1), 'meanwhile'))).toMatchObject({
      kind: 'stored',
    })
    cluster.isControllerAway = false
    await cluster.until(() => isLedBy(cluster, 2))
    expect(await cluster.run(produceAnywhere(cluster, 'then'))).toBe(2)
  })

  test('has no lease from its question on: it does not answer what the next leader may answer otherwise', async () => {
    const cluster = await startTopic()
    const leader = cluster.leader(1)
    const batch = (baseSequence: number) => cluster.batch('of a sequence', { producerId: 5, baseSequence })
    await cluster.run(cluster.produceBatch(leader, batch(0)))
    cluster.controller.drain(1)
    await cluster.until(() => !leader.hasRoom)
    // It gets what it asks for, and is the last one to hear of that.
    cluster.proposals = 'done, and the answer lost'
    cluster.node(1).isDeaf = true
    await cluster.until(() => isLedBy(cluster, 2))
    await cluster.run(cluster.produceBatch(cluster.leader(2), batch(1), 'LEADER'))
    await expect(cluster.run(leader.committedEnd())).rejects.toMatchObject(MOVING)
    await cluster.until(() => leader.hasRoom)
    for (const acks of ['LEADER', 'NONE'] as const)
      await expect(cluster.produce(leader, 'lost', acks)).rejects.toMatchObject(MOVING)
    // The one before it is stored, elsewhere.
    await expect(cluster.produceBatch(leader, batch(2))).rejects.toMatchObject(MOVING)
    expect(leader.ended).toBeUndefined()
    cluster.node(1).isDeaf = false
    cluster.applyLater(cluster.node(1))
    await cluster.until(() => leader.ended !== undefined)
  })

  test('has its lease again once the controller has refused, also what it had given up', async () => {
    const cluster = await startTopic()
    const leader = cluster.leader(1)
    cluster.controller.drain(1)
    await cluster.until(() => !leader.hasRoom)
    cluster.proposals = 'lost'
    await cluster.until(() => leader.hasRoom)
    await expect(cluster.produce(leader, 'when', 'LEADER')).rejects.toMatchObject(MOVING)
    const end = leader.committedEnd()
    cluster.proposals = 'answered'
    expect(await cluster.run(end)).toBe(1)
    expect(await cluster.run(cluster.produce(leader, 'mine', 'LEADER'))).toMatchObject({ kind: 'stored' })
    expect(cluster.controller.partition()).toMatchObject({ leader: 1, leaderEpoch: 0 })
    await cluster.until(() => isLedBy(cluster, 2))
  })

  test('refuses what does not wait, and says that nothing was written', async () => {
    const cluster = await startTopic()
    cluster.controller.drain(1)
    await cluster.until(() => !cluster.leader(1).hasRoom)
    await expect(cluster.run(cluster.produce(cluster.leader(1), 'now'))).rejects.toMatchObject({
      reason: 'LEADER_NOT_AVAILABLE',
      outcome: 'none',
      message: expect.stringContaining('is being handed over to node 2'),
    })
  })

  test('keeps what nobody else has, until a replica is in sync', async () => {
    const cluster = await startTopic()
    for (const nodeId of [2, 3]) cluster.controller.fence(nodeId)
    cluster.controller.drain(1)
    await cluster.scheduler.runFor(3_000)
    expect(isLedBy(cluster, 1)).toBe(true)
    expect(cluster.leader(1).hasRoom).toBe(true)
    cluster.controller.unfence(3)
    await cluster.until(() => isLedBy(cluster, 3))
  })
})

describe('a partition that moves away from its leader', () => {
  const move = (cluster: ReplicaCluster, target: number[]) =>
    cluster.controller.change(0, {
      ...cluster.controller.partition(),
      reassignment: { original: [1, 2, 3], target },
    })

  test('is handed over under load by that leader: no produce fails, or is left in doubt', async () => {
    const cluster = await startTopic()
    const answers: Promise<number>[] = []
    for (let at = 0; at < 200; at++) {
      if (at === 100) move(cluster, [3, 2])
      answers.push(produceAnywhere(cluster, `v${at}`))
      await cluster.scheduler.runFor(1)
    }
    const offsets = await cluster.run(Promise.all(answers))
    expect(new Set(offsets).size).toBe(200)
    expect(cluster.controller.partition()).toMatchObject({ leader: 3, replicas: [3, 2], leaderEpoch: 1 })
  })

  test('has no leader with a lease but the one of the target, also where the one before is cut off', async () => {
    const cluster = await startTopic()
    const leader = cluster.leader(1)
    cluster.proposals = 'done, and the answer lost'
    move(cluster, [2, 3])
    await cluster.until(() => !leader.hasRoom)
    cluster.node(1).isDeaf = true
    await cluster.until(() => isLedBy(cluster, 2))
    await cluster.run(cluster.produce(cluster.leader(2), 'elsewhere'))
    await expect(cluster.run(leader.committedEnd())).rejects.toMatchObject(MOVING)
    expect(leader.ended).toBeUndefined()
  })
})

describe('the preferred leader', () => {
  test('gets its partition back once it has been able to lead for a while', async () => {
    const cluster = await startTopic({ timing: { preferredReadyMs: 2_000 } })
    cluster.controller.lead(2)
    await cluster.until(() => isLedBy(cluster, 2) && leaderOf(cluster) === cluster.leader(2))
    const sinceMs = cluster.scheduler.nowMs
    const answers: Promise<number>[] = []
    for (let at = 0; at < 300; at++) {
      answers.push(produceAnywhere(cluster, `v${at}`))
      await cluster.scheduler.runFor(10)
      if (isLedBy(cluster, 2)) expect(cluster.scheduler.nowMs - sinceMs).toBeLessThan(2_500)
    }
    expect(isLedBy(cluster, 1)).toBe(true)
    expect(new Set(await cluster.run(Promise.all(answers))).size).toBe(300)
  })

  test('is not waited for with ticks while it is away, and gets its partition back all the same', async () => {
    const cluster = await startTopic({ timing: { preferredReadyMs: 2_000 } })
    cluster.kill(cluster.node(1))
    cluster.controller.fence(1)
    await cluster.until(() => isLedBy(cluster, 2) && cluster.controller.partition().isr.length === 2)
    await cluster.scheduler.runFor(1_000)
    const tick = vi.spyOn(PartitionLeader.prototype, 'tick')
    await cluster.scheduler.runFor(5_000)
    expect(tick).not.toHaveBeenCalled()
    vi.restoreAllMocks()
    await cluster.boot(cluster.node(1))
    await cluster.until(() => isLedBy(cluster, 1))
  })
})
