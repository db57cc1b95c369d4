import { expect, test } from 'vitest'
import { type Keyed, keyedBatch, readKeyed } from '../../log/compacted-log.ts'
import { ReplicaCluster, type ReplicaClusterOptions } from './replica-cluster.ts'
import { TOPIC_ID } from './scripted-controller.ts'

const SETTINGS = {
  'cleanup.policy': 'compact',
  'min.insync.replicas': '1',
  'min.cleanable.dirty.ratio': '0.01',
  'delete.retention.ms': '0',
  'segment.bytes': String(1024 * 1024),
}
/** So that the tests alone say when a log is cleaned. */
const NEVER_MS = 1e9
const LARGE = '.'.repeat(400_000)

async function start(
  options: ReplicaClusterOptions = {},
  settings: Readonly<Record<string, string>> = SETTINGS,
): Promise<ReplicaCluster> {
  const logLimits = {
    cleanerIntervalMs: NEVER_MS,
    cleanerBytesPerSecond: 1e12,
    // What memory still has of the newest records is given out as it was.
    tailBytesMax: 0,
    ...options.logLimits,
  }
  const cluster = await ReplicaCluster.start({ ...options, logLimits })
  cluster.controller.createTopic({ settings })
  await cluster.until(() => cluster.node(1).replicas?.leader(TOPIC_ID, 0) !== undefined)
  return cluster
}

async function produce(cluster: ReplicaCluster, ...records: Keyed[]): Promise<void> {
  for (const record of records) {
    const outcome = await cluster.run(cluster.produceBatch(cluster.leader(1), keyedBatch([record])))
    expect(outcome).toMatchObject({ kind: 'stored' })
  }
}

/** Large records, so that what comes before them lies in closed segments. */
async function closeSegments(cluster: ReplicaCluster): Promise<void> {
  for (let at = 0; at < 4; at++) await produce(cluster, [`large-${at % 2}`, LARGE])
}

function clean(cluster: ReplicaCluster, nodeId: number): Promise<void> {
  return cluster.run(cluster.node(nodeId).directory?.clean() ?? Promise.resolve())
}

async function lines(cluster: ReplicaCluster, nodeId: number): Promise<string[]> {
  const found = await cluster.run(readKeyed(cluster.log(nodeId), 100_000))
  return found.map(({ offset, key, value }) => `${offset} ${key}=${value?.slice(0, 5) ?? '-'}`)
}

function followsTo(cluster: ReplicaCluster, nodeId: number): Promise<void> {
  return cluster.until(() => cluster.log(nodeId).highWatermark === cluster.log(1).logEndOffset)
}

test('a record without a key is refused, and nothing of its batch is written', async () => {
  const cluster = await start()
  await expect(cluster.run(cluster.produce(cluster.leader(1), 'a'))).rejects.toMatchObject({
    reason: 'INVALID_RECORD',
    outcome: 'none',
    message: expect.stringContaining('"logs" is compacted'),
  })
  expect(cluster.log(1).logEndOffset).toBe(0)
})

test('a batch that unpacks to more than any batch may hold is refused: unpacking it at each cleaning would take long', async () => {
  const cluster = await start()
  const records = Array.from({ length: 21 }, (_, at): Keyed => [`k${at}`, LARGE])
  const batch = (count: number) => keyedBatch(records.slice(0, count), { compression: 'gzip' })
  const refused = cluster.run(cluster.produceBatch(cluster.leader(1), batch(21)))
  await expect(refused).rejects.toMatchObject({ reason: 'RECORD_TOO_LARGE', outcome: 'none' })
  expect(cluster.log(1).logEndOffset).toBe(0)
  const taken = await cluster.run(cluster.produceBatch(cluster.leader(1), batch(20)))
  expect(taken).toMatchObject({ kind: 'stored' })
})

test('each replica is compacted by itself, and a new one copies what is left, also once the policy is another', async () => {
  const cluster = await start()
  await produce(cluster, ['a', 'a0'], ['b', 'b1'], ['a', 'a2'], ['b', 'b3'])
  await closeSegments(cluster)
  for (const nodeId of [1, 2]) {
    await followsTo(cluster, nodeId)
    await clean(cluster, nodeId)
  }
  const left = ['2 a=a2', '3 b=b3', '6 large-0=.....', '7 large-1=.....']
  expect((await lines(cluster, 1)).filter(line => !line.startsWith('4') && !line.startsWith('5'))).toEqual(
    left,
  )
  expect(await lines(cluster, 2)).toEqual(await lines(cluster, 1))
  cluster.kill(cluster.node(3))
  cluster.replaceDisk(cluster.node(3))
  cluster.controller.commit([
    {
      type: 'topicSettings',
      version: 0,
      topicId: TOPIC_ID,
      set: { 'cleanup.policy': 'delete', 'retention.ms': '-1' },
      removed: [],
    },
  ])
  await cluster.boot(cluster.node(3))
  await followsTo(cluster, 3)
  expect(await lines(cluster, 3)).toEqual(await lines(cluster, 1))
  expect(cluster.log(3).gapsAllowed).toBe(true)
})

test('a replica that may have missed a removed tombstone starts over', async () => {
  const cluster = await start()
  await produce(cluster, ['a', 'a0'], ['b', 'b1'])
  await followsTo(cluster, 3)
  cluster.kill(cluster.node(3))
  await cluster.until(() => cluster.controller.partition().isr.join() === '1,2')
  await produce(cluster, ['a', null])
  for (let round = 0; round < 2; round++) {
    await closeSegments(cluster)
    await clean(cluster, 1)
  }
  expect(cluster.log(1).removedTombstonesEnd).toBe(3)
  expect((await lines(cluster, 1))[0]).toBe('1 b=b1')
  await cluster.boot(cluster.node(3))
  await followsTo(cluster, 3)
  expect(await lines(cluster, 3)).toEqual(await lines(cluster, 1))
  // It lacks the same tombstones, and says so to those who copy from it.
  expect(cluster.log(3).removedTombstonesEnd).toBe(3)
})

test('a leader keeps the tombstones that a follower has not come to', async () => {
  const cluster = await start({ limits: { partitionWindowBytesMax: 1000 } })
  await produce(cluster, ['a', 'a0'])
  await followsTo(cluster, 3)
  // Nothing is acknowledged, so no more than a window is sent.
  cluster.node(3).machine.image.stall()
  await produce(cluster, ['large-0', LARGE])
  await cluster.until(() => cluster.controller.partition().isr.join() === '1,2')
  await produce(cluster, ['large-1', LARGE], ['a', null])
  for (let round = 0; round < 2; round++) {
    await closeSegments(cluster)
    await clean(cluster, 1)
  }
  expect(cluster.log(1).removedTombstonesEnd).toBe(0)
  expect((await lines(cluster, 1))[0]).toBe('3 a=-')
  cluster.node(3).machine.image.unstall()
  await followsTo(cluster, 3)
  await closeSegments(cluster)
  await clean(cluster, 1)
  expect(cluster.log(1).removedTombstonesEnd).toBe(4)
})

test('a follower that learns of compaction by its leader, before its metadata tell, goes on by itself', async () => {
  const fromMemory = { logLimits: { tailBytesMax: 100_000 } }
  const cluster = await start(fromMemory, { ...SETTINGS, 'cleanup.policy': 'delete' })
  await produce(cluster, ['a', 'a0'])
  await followsTo(cluster, 2)
  await cluster.scheduler.runFor(2_000)
  cluster.node(2).isDeaf = true
  const set = { 'cleanup.policy': 'compact' }
  cluster.controller.commit([{ type: 'topicSettings', version: 0, topicId: TOPIC_ID, set, removed: [] }])
  await cluster.until(() => cluster.log(1).gapsAllowed)
  await produce(cluster, ['a', 'a1'])
  await cluster.until(() => cluster.log(2).logEndOffset === 2)
  expect(cluster.log(2).gapsAllowed).toBe(true)
  expect(cluster.controller.partition().isr).toContain(2)
})
