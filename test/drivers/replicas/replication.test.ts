import { describe, expect, test, vi } from 'vitest'
import { PartitionFollower } from '../../../src/drivers/replicas/partition-follower.ts'
import { PartitionLeader } from '../../../src/drivers/replicas/partition-leader.ts'
import { isrIs, produceAll, startTopic, untilLedBy } from './replicated-topic.ts'
import { TOPIC_ID } from './scripted-controller.ts'

describe('acks', () => {
  test('=all answers when all in-sync replicas have the record on their disks', async () => {
    const cluster = await startTopic()
    const outcome = await cluster.run(cluster.produce(cluster.leader(1), 'a'))
    expect(outcome).toMatchObject({ kind: 'stored', baseOffset: 0 })
    for (const nodeId of [1, 2, 3]) {
      expect(cluster.log(nodeId).syncedEndOffset).toBe(1)
      expect(await cluster.values(nodeId)).toEqual(['a'])
    }
    await cluster.until(() => cluster.log(2).highWatermark === 1 && cluster.log(3).highWatermark === 1)
    expect(cluster.nodes.flatMap(node => node.errors)).toEqual([])
  })

  for (const slow of [1, 2])
    test(`=all waits for the very sync that covers the record, on the disk of node ${slow}`, async () => {
      const cluster = await startTopic()
      cluster.node(slow).machine.image.syncLatencyMs = { min: 200, max: 200 }
      const first = cluster.produce(cluster.leader(1), 'a')
      await cluster.scheduler.runFor(100)
      // Appended while the sync of the first is under way, which does not cover it.
      const second = cluster.produce(cluster.leader(1), 'b').then(() => cluster.log(slow).syncedEndOffset)
      expect(await cluster.run(first)).toMatchObject({ kind: 'stored' })
      expect(await cluster.run(second)).toBe(2)
    })

  test('=leader answers with the own disk alone, and such records are read only when the others have them', async () => {
    const cluster = await startTopic()
    await produceAll(cluster, 1, ['a'])
    for (const other of ['node-2', 'node-3']) cluster.network.cut(other, 'node-1')
    const outcome = await cluster.run(cluster.produce(cluster.leader(1), 'b', 'LEADER'))
    expect(outcome).toMatchObject({ kind: 'stored', baseOffset: 1 })
    expect(cluster.leader(1).highWatermark).toBe(1)
    cluster.network.heal()
    await cluster.until(() => cluster.leader(1).highWatermark === 2)
  })

  test('=all below min.insync.replicas is refused before anything is appended', async () => {
    const cluster = await startTopic({ isr: [1] })
    for (const nodeId of [2, 3]) cluster.kill(cluster.node(nodeId))
    await expect(cluster.run(cluster.produce(cluster.leader(1), 'a'))).rejects.toMatchObject({
      reason: 'NOT_ENOUGH_REPLICAS',
      outcome: 'none',
    })
    expect(cluster.log(1).logEndOffset).toBe(0)
  })

  test('=leader is refused by a leader that the controller has not been heard by (C12)', async () => {
    const cluster = await startTopic()
    cluster.isControllerAway = true
    const refused = cluster.run(cluster.produce(cluster.leader(1), 'a', 'LEADER'))
    await expect(refused).rejects.toMatchObject({ reason: 'LEADER_NOT_AVAILABLE', outcome: 'none' })
    await produceAll(cluster, 1, ['b'])
  })
})

describe('a follower', () => {
  test('that is killed leaves the ISR, and what waited for it is answered', async () => {
    const cluster = await startTopic()
    await produceAll(cluster, 1, ['a'])
    cluster.kill(cluster.node(3))
    const startedMs = cluster.scheduler.nowMs
    await produceAll(cluster, 1, ['b'])
    expect(cluster.controller.partition().isr).toEqual([1, 2])
    expect(cluster.scheduler.nowMs - startedMs).toBeLessThan(1000)
  })

  test('that comes back catches up and enters the ISR again', async () => {
    const cluster = await startTopic()
    cluster.powerCut(cluster.node(3))
    await cluster.until(isrIs(cluster, [1, 2]))
    await produceAll(cluster, 1, ['a', 'b', 'c'])
    await cluster.boot(cluster.node(3))
    await cluster.until(isrIs(cluster, [1, 2, 3]))
    expect(await cluster.values(3)).toEqual(['a', 'b', 'c'])
  })

  test('with another disk begins with nothing, and gets everything', async () => {
    const cluster = await startTopic()
    await produceAll(cluster, 1, ['a', 'b'])
    cluster.powerCut(cluster.node(2))
    cluster.replaceDisk(cluster.node(2))
    await cluster.boot(cluster.node(2))
    await cluster.until(isrIs(cluster, [1, 2, 3]))
    expect(await cluster.values(2)).toEqual(['a', 'b'])
  })

  test('from before the log start of its leader is reset', async () => {
    const cluster = await startTopic()
    await produceAll(cluster, 1, ['a', 'b', 'c'])
    cluster.powerCut(cluster.node(2))
    await cluster.until(isrIs(cluster, [1, 3]))
    await produceAll(cluster, 1, ['d'])
    await cluster.run(cluster.leader(1).deleteRecordsBefore(4))
    await produceAll(cluster, 1, ['e'])
    await cluster.boot(cluster.node(2))
    await cluster.until(isrIs(cluster, [1, 2, 3]))
    expect(cluster.log(2).logStartOffset).toBe(4)
    expect(await cluster.values(2)).toEqual(['e'])
  })

  test('that is far behind catches up from the files of the leader, and then goes on live', async () => {
    const cluster = await startTopic({}, { logLimits: { tailBytesMax: 0 } })
    cluster.kill(cluster.node(3))
    await cluster.until(isrIs(cluster, [1, 2]))
    const values = Array.from({ length: 50 }, (_, at) => `value ${at} ${'x'.repeat(500)}`)
    await produceAll(cluster, 1, values)
    await cluster.boot(cluster.node(3))
    await cluster.until(isrIs(cluster, [1, 2, 3]))
    await produceAll(cluster, 1, ['last'])
    expect(await cluster.values(3)).toEqual([...values, 'last'])
  })

  test('that is far behind leaves half of the time to others (C9)', async () => {
    const limits = { partitionFrameBytesMax: 2_500, catchUpRoundBytesMax: 2_000 }
    const cluster = await startTopic({}, { limits, logLimits: { tailBytesMax: 0 } })
    cluster.kill(cluster.node(3))
    await cluster.until(isrIs(cluster, [1, 2]))
    const values = Array.from({ length: 50 }, () => 'x'.repeat(500))
    await produceAll(cluster, 1, values)
    const syncMs = 40
    cluster.node(3).machine.image.syncLatencyMs = { min: syncMs, max: syncMs }
    await cluster.boot(cluster.node(3))
    const startedMs = cluster.scheduler.nowMs
    await cluster.until(isrIs(cluster, [1, 2, 3]))
    const roundsMin = (values.length * 500) / limits.partitionFrameBytesMax
    expect(cluster.scheduler.nowMs - startedMs).toBeGreaterThan(2 * roundsMin * syncMs)
  })

  test('whose leader is silent hangs up, and finds it again', async () => {
    const cluster = await startTopic()
    await produceAll(cluster, 1, ['a'])
    cluster.network.cut('node-1', 'node-2')
    await cluster.until(isrIs(cluster, [1, 3]))
    await produceAll(cluster, 1, ['b'])
    cluster.network.heal()
    await cluster.until(isrIs(cluster, [1, 2, 3]))
    expect(await cluster.values(2)).toEqual(['a', 'b'])
  })
})

test('partitions to which nothing happens get no ticks, and lose a replica that falls silent all the same', async () => {
  const cluster = await startTopic()
  await produceAll(cluster, 1, ['a'])
  await cluster.scheduler.runFor(1_000)
  const ticks = [vi.spyOn(PartitionLeader.prototype, 'tick'), vi.spyOn(PartitionFollower.prototype, 'tick')]
  await cluster.scheduler.runFor(10_000)
  expect(ticks.map(tick => tick.mock.calls.length)).toEqual([0, 0])
  // One way only: nobody hangs up.
  cluster.network.cut('node-2', 'node-1')
  await cluster.until(isrIs(cluster, [1, 3]))
  cluster.network.heal()
  await cluster.until(isrIs(cluster, [1, 2, 3]))
  await cluster.scheduler.runFor(1_000)
  for (const tick of ticks) tick.mockClear()
  await cluster.scheduler.runFor(10_000)
  expect(ticks.map(tick => tick.mock.calls.length)).toEqual([0, 0])
  vi.restoreAllMocks()
})

test('a replica that is moved away leaves the window of its lane to those that stay', async () => {
  const cluster = await startTopic({ partitions: 2 }, { limits: { laneWindowBytesMax: 2_000 } })
  await cluster.until(() => cluster.log(3, 1) !== undefined)
  await produceAll(cluster, 1, ['a'])
  await cluster.run(cluster.produce(cluster.leader(1, 1), 'a'))
  cluster.node(3).machine.image.syncLatencyMs = { min: 300, max: 300 }
  const value = 'x'.repeat(1_000)
  for (let count = 0; count < 3; count++) void cluster.produce(cluster.leader(1), value, 'LEADER')
  await cluster.until(() => cluster.log(3).logEndOffset > 1)
  const { partitionEpoch, ...state } = cluster.controller.partition()
  cluster.controller.change(0, { ...state, partitionEpoch, replicas: [1, 2], isr: [1, 2] })
  const outcome = await cluster.run(cluster.produce(cluster.leader(1, 1), 'b'), 1_500)
  expect(outcome).toMatchObject({ kind: 'stored' })
  expect(cluster.controller.partition(1).isr).toEqual([1, 2, 3])
})

test('metadata that come as one, a smaller ISR and a higher minimum, commit nothing', async () => {
  const cluster = await startTopic({ settings: { 'min.insync.replicas': '1' } })
  await produceAll(cluster, 1, ['a'])
  const [node] = cluster.nodes
  if (!node) throw new Error('no node')
  node.isDeaf = true
  cluster.isControllerAway = true
  for (const other of ['node-2', 'node-3']) cluster.network.cut(other, 'node-1')
  let isStored = false
  void cluster.produce(cluster.leader(1), 'b').then(() => {
    isStored = true
  })
  await cluster.until(() => cluster.log(1).syncedEndOffset === 2)
  const { controller } = cluster
  const set = { 'min.insync.replicas': '2' }
  controller.commit([{ type: 'topicSettings', version: 0, topicId: TOPIC_ID, set, removed: [] }])
  controller.change(0, { ...controller.partition(), isr: [1], elr: [2] })
  // A snapshot: node 1 was away for long.
  const delta = node.image.restore({
    records: controller.image.records(),
    endIndex: controller.image.appliedEndIndex,
  })
  node.replicas?.onMetadata(delta, node.image)
  await cluster.scheduler.runFor(100)
  expect(cluster.leader(1).isr).toEqual([1])
  expect(isStored).toBe(false)
})

test('a leader whose follower has a slow disk is silent for want of window, and not taken for dead', async () => {
  const cluster = await startTopic({}, { limits: { laneWindowBytesMax: 1_000, silenceMsMax: 1_000 } })
  await produceAll(cluster, 1, ['a'])
  for (const nodeId of [2, 3]) cluster.node(nodeId).machine.image.syncLatencyMs = { min: 3_000, max: 3_000 }
  const filling = cluster.produce(cluster.leader(1), 'b'.repeat(1_000))
  await cluster.until(() => [2, 3].every(nodeId => cluster.log(nodeId).logEndOffset === 2))
  const waiting = cluster.produce(cluster.leader(1), 'c')
  const dials = cluster.frameCounts.opens
  await cluster.run(Promise.all([filling, waiting]))
  expect(cluster.frameCounts.opens).toBe(dials)
})

describe('another leader', () => {
  test('takes over, and the one before it gives up what only it had', async () => {
    const cluster = await startTopic()
    await produceAll(cluster, 1, ['a'])
    for (const other of ['node-2', 'node-3']) cluster.network.cut('node-1', other)
    const parked = cluster.produce(cluster.leader(1), 'lost')
    cluster.node(1).isDeaf = true
    cluster.controller.lead(2, { isr: [2, 3] })
    await untilLedBy(cluster, 2)
    await produceAll(cluster, 2, ['b'])
    expect(cluster.log(1).logEndOffset).toBe(2)
    cluster.node(1).isDeaf = false
    cluster.applyLater(cluster.node(1))
    cluster.network.heal()
    expect(await cluster.run(parked)).toMatchObject({ kind: 'failed', error: { reason: 'UNKNOWN_OUTCOME' } })
    await cluster.until(isrIs(cluster, [1, 2, 3]))
    for (const nodeId of [1, 2, 3]) expect(await cluster.values(nodeId)).toEqual(['a', 'b'])
    expect(cluster.log(1).epochEntries).toEqual(cluster.log(2).epochEntries)
  })

  test('answers a repeated batch with its first offset, and only when that is committed (C7)', async () => {
    const cluster = await startTopic()
    const batch = () => cluster.batch('a', { producerId: 7, baseSequence: 0 })
    expect(await cluster.run(cluster.produceBatch(cluster.leader(1), batch()))).toMatchObject({
      baseOffset: 0,
    })
    cluster.controller.lead(2)
    await untilLedBy(cluster, 2)
    expect(await cluster.run(cluster.produceBatch(cluster.leader(2), batch()))).toMatchObject({
      kind: 'stored',
      baseOffset: 0,
    })
    expect(await cluster.values(2)).toEqual(['a'])
  })

  test('of the same node in a later epoch has its followers follow anew', async () => {
    const cluster = await startTopic()
    await produceAll(cluster, 1, ['a'])
    cluster.controller.lead(2)
    await untilLedBy(cluster, 2)
    cluster.controller.lead(1)
    await untilLedBy(cluster, 1)
    await produceAll(cluster, 1, ['b'])
    for (const nodeId of [1, 2, 3]) expect(await cluster.values(nodeId)).toEqual(['a', 'b'])
    expect(cluster.nodes.flatMap(node => node.events)).toEqual([])
  })

  test('that nobody elected uncleanly, but that lacks committed records, is not followed: quarantine (C6)', async () => {
    const cluster = await startTopic({ isr: [1, 2] })
    for (const other of ['node-1', 'node-2']) {
      cluster.network.cut(other, 'node-3')
      cluster.network.cut('node-3', other)
    }
    await produceAll(cluster, 1, ['a', 'b'])
    await cluster.until(() => cluster.log(2).highWatermark === 2)
    cluster.network.heal()
    cluster.kill(cluster.node(1))
    // A mistake of the controller.
    cluster.controller.lead(3, { isr: [3] })
    await cluster.until(() => cluster.node(2).events.some(event => event.kind === 'quarantined'))
    expect(cluster.log(2).failure).toMatchObject({ reason: 'CORRUPT_DATA' })
  })
})

test('a process that is not the registered one any more does not lead, though its node does', async () => {
  const cluster = await startTopic({ replicas: [1], settings: {} })
  const { nodeId, directoryId } = cluster.node(1)
  cluster.controller.register({ nodeId, directoryId, peerAddress: 'node-1:7452' })
  cluster.controller.unfence(nodeId)
  expect(cluster.controller.partition()).toMatchObject({ leader: 1, leaderEpoch: 2 })
  await cluster.run(new Promise<void>(resolve => cluster.scheduler.schedule(100, resolve)))
  expect(cluster.node(1).replicas?.leader(TOPIC_ID, 0)).toBeUndefined()
})

test('a new leader tells where its partition ends only when it knows', async () => {
  const cluster = await startTopic()
  await produceAll(cluster, 1, ['a'])
  expect(await cluster.run(cluster.leader(1).committedEnd())).toBe(1)
  cluster.isControllerAway = true
  cluster.controller.lead(2)
  cluster.kill(cluster.node(1))
  cluster.kill(cluster.node(3))
  await untilLedBy(cluster, 2)
  await expect(cluster.run(cluster.leader(2).committedEnd())).rejects.toMatchObject({
    reason: 'LEADER_NOT_AVAILABLE',
  })
})

test('proposals are repeated until the controller can be reached', async () => {
  const cluster = await startTopic()
  cluster.isControllerAway = true
  cluster.kill(cluster.node(3))
  const stored = cluster.produce(cluster.leader(1), 'a')
  let isStored = false
  void stored.then(() => {
    isStored = true
  })
  await cluster.run(new Promise<void>(resolve => cluster.scheduler.schedule(3000, resolve)))
  expect(isStored).toBe(false)
  cluster.isControllerAway = false
  expect(await cluster.run(stored)).toMatchObject({ kind: 'stored' })
})

test('batches of one turn go to a follower in one frame, to each disk with one sync, and come back as one acknowledgement', async () => {
  const cluster = await startTopic({ partitions: 8 })
  await cluster.until(() =>
    Array.from({ length: 8 }, (_, at) => at).every(
      at => cluster.node(1).replicas?.leader(TOPIC_ID, at) !== undefined,
    ),
  )
  const produceEach = (value: string) =>
    Promise.all(
      Array.from({ length: 80 }, (_, at) => cluster.produce(cluster.leader(1, at % 8), `${value}${at}`)),
    )
  await cluster.run(produceEach('first '))
  const before = { ...cluster.frameCounts }
  const syncsBefore = cluster.node(2).syncs
  await cluster.run(produceEach('second '))
  // 80 batches: the records in one frame, and perhaps one of high watermarks or a sign of life.
  expect(cluster.frameCounts.toFollowers - before.toFollowers).toBeLessThanOrEqual(2 * 2)
  expect(cluster.frameCounts.toLeaders - before.toLeaders).toBeLessThanOrEqual(2 * 9)
  expect(cluster.node(2).syncs - syncsBefore).toBeLessThanOrEqual(8)
})

test('lags are not judged by a leader that was paused itself (A8)', async () => {
  const cluster = await startTopic()
  await produceAll(cluster, 1, ['a'])
  const { incarnation } = cluster.node(1).machine
  incarnation.pause()
  await cluster.run(new Promise<void>(resolve => cluster.scheduler.schedule(8000, resolve)))
  const { partitionEpoch } = cluster.controller.partition()
  incarnation.resume()
  await cluster.run(new Promise<void>(resolve => cluster.scheduler.schedule(50, resolve)))
  expect(cluster.controller.partition().partitionEpoch).toBe(partitionEpoch)
})

describe('a follower whose disk is below its reserve', () => {
  test('leaves the ISR and takes nothing, until there is room again', async () => {
    const cluster = await startTopic()
    await produceAll(cluster, 1, ['a'])
    const { reserve } = cluster.node(3)
    reserve?.noteFull()
    const sinceMs = cluster.scheduler.nowMs
    await cluster.until(isrIs(cluster, [1, 2]))
    expect(cluster.scheduler.nowMs - sinceMs).toBeLessThan(500)
    await produceAll(cluster, 1, ['b', 'c'])
    await cluster.scheduler.runFor(3_000)
    expect(cluster.controller.partition().isr).toEqual([1, 2])
    expect(cluster.log(3).logEndOffset).toBe(1)
    await cluster.run(reserve?.look() ?? Promise.reject(new Error('no reserve')))
    await cluster.until(isrIs(cluster, [1, 2, 3]))
    expect(await cluster.values(3)).toEqual(['a', 'b', 'c'])
    expect(cluster.node(3).errors).toEqual([])
  })
})
