import { describe, expect, test } from 'vitest'
import type { DiskErrorCode } from '../../../src/ports/disk.ts'
import type { SimDiskImage } from '../../harness/sim-disk-image.ts'
import type { ReplicaCluster } from './replica-cluster.ts'
import { isrIs, produceAll, startTopic, untilLedBy } from './replicated-topic.ts'

test('a damaged replica is taken out by its leader, not electable, then emptied and filled again (B4)', async () => {
  const cluster = await startTopic()
  await produceAll(cluster, 1, ['a', 'b'])
  cluster.log(2).quarantine({ offset: 0, what: 'a test says so' })
  expect(cluster.log(2).failure).toMatchObject({ reason: 'CORRUPT_DATA' })
  await cluster.until(isrIs(cluster, [1, 3]))
  expect(cluster.controller.partition().elr).toEqual([])
  expect(cluster.log(2).logEndOffset).toBe(2)
  await cluster.until(isrIs(cluster, [1, 2, 3]))
  expect(await cluster.values(2)).toEqual(['a', 'b'])
  const mark = 'data/topics/logs-0/quarantine.json'
  await cluster.run(new Promise<void>(resolve => cluster.scheduler.schedule(100, resolve)))
  expect(await cluster.run(cluster.node(2).machine.disk.stat(mark))).toBeUndefined()
})

describe('a damaged replica that cannot be emptied', () => {
  /** Each new file of node 2 fails from now on, as long as the test wants. */
  async function damagedWith(code: DiskErrorCode) {
    const cluster = await startTopic()
    await produceAll(cluster, 1, ['a', 'b'])
    const node = cluster.node(2)
    cluster.log(2).quarantine({ offset: 0, what: 'a test says so' })
    await cluster.scheduler.runFor(2)
    let failures = 0
    node.machine.image.onOperation = ({ kind, path }) => {
      if (kind !== 'open' || !path.endsWith('.log')) return undefined
      failures++
      return code
    }
    await cluster.until(isrIs(cluster, [1, 3]))
    await cluster.scheduler.runFor(1_000)
    return { cluster, node, failures: () => failures }
  }

  test.each([
    ['ENOSPC', 'DISK_FULL'],
    ['EMFILE', 'OVERLOADED'],
  ] as const)('for want of what may come back (%s) is emptied once it is there', async (code, reason) => {
    const { cluster, node, failures } = await damagedWith(code)
    // It is asked for again and again, at a pace, and said once.
    expect(failures()).toBeGreaterThan(2)
    expect(failures()).toBeLessThan(20)
    expect(node.errors).toMatchObject([{ reason }])
    node.machine.image.onOperation = undefined
    await cluster.until(isrIs(cluster, [1, 2, 3]))
    expect(await cluster.values(2)).toEqual(['a', 'b'])
    expect(node.events.map(event => event.kind)).toEqual(['quarantined'])
  })

  test('because its disk fails is offline, and says so', async () => {
    const { node, failures } = await damagedWith('EIO')
    expect(failures()).toBe(1)
    expect(node.events.map(event => event.kind)).toEqual(['quarantined', 'offline'])
  })
})

test('a damaged replica that is counted on all the same says so again: it must not be the one that leads', async () => {
  const cluster = await startTopic()
  await produceAll(cluster, 1, ['a'])
  cluster.node(2).machine.image.onOperation = ({ kind, path }) =>
    kind === 'open' && path.endsWith('.log') ? 'EMFILE' : undefined
  cluster.log(2).quarantine({ offset: 0, what: 'a test says so' })
  await cluster.until(isrIs(cluster, [1, 3]))
  await cluster.scheduler.runFor(1_000)
  // A change of the ISR that was on its way when the damage was told, and then its leader is gone.
  cluster.kill(cluster.node(1))
  cluster.controller.lead(2, { isr: [2, 3] })
  await untilLedBy(cluster, 3)
  expect(cluster.controller.partition().isr).toEqual([3])
})

describe('a replica whose log cannot be opened', () => {
  const directory = 'data/topics/logs-0'
  const metadata = `${directory}/partition.metadata`

  test.each([
    ['a turned bit', (image: SimDiskImage) => image.flipBit(metadata, 20)],
    ['no file that says whose it is', (image: SimDiskImage) => image.loseDirectory(metadata)],
    [
      'a file that may not be read',
      (image: SimDiskImage) => {
        image.onOperation = ({ kind, path }) => (kind === 'open' && path === metadata ? 'EACCES' : undefined)
      },
    ],
  ])('is not elected, and keeps its bytes (%s)', async (_, damage) => {
    const cluster = await startTopic()
    await produceAll(cluster, 1, ['a', 'b'])
    const node = cluster.node(2)
    for (const nodeId of [3, 2]) {
      cluster.kill(cluster.node(nodeId))
      cluster.controller.fence(nodeId)
    }
    expect(cluster.controller.partition()).toMatchObject({ isr: [1], elr: [2] })
    const { image } = node.machine
    const bytes = image.readFile(`${directory}/00000000000000000000.log`)
    damage(image)
    await cluster.boot(node)
    await cluster.until(() => cluster.controller.partition().elr.length === 0)
    cluster.kill(cluster.node(1))
    cluster.controller.fence(1)
    await cluster.scheduler.runFor(1_000)
    expect(cluster.controller.partition()).toMatchObject({ leader: null, elr: [1] })
    expect(image.readFile(`${directory}/00000000000000000000.log`)).toEqual(bytes)
    expect(node.errors).toHaveLength(1)
  })
})

test('a replica whose directory is gone is taken out of the ISR, and then filled again like a new one (A1)', async () => {
  const cluster = await startTopic()
  await produceAll(cluster, 1, ['a', 'b'])
  cluster.kill(cluster.node(2))
  cluster.node(2).machine.image.loseDirectory('data/topics/logs-0')
  const before = cluster.controller.partition()
  await cluster.boot(cluster.node(2))
  await cluster.until(() => cluster.controller.partition().partitionEpoch > before.partitionEpoch)
  expect(cluster.controller.partition()).toMatchObject({ isr: [1, 3], elr: [] })
  await cluster.until(isrIs(cluster, [1, 2, 3]))
  expect(await cluster.values(2)).toEqual(['a', 'b'])
})

test('a leader whose log is damaged says so until the controller hears it; another leads, and fills it again', async () => {
  const cluster = await startTopic()
  await produceAll(cluster, 1, ['a', 'b'])
  cluster.isControllerAway = true
  cluster.log(1).quarantine({ offset: 0, what: 'a test says so' })
  await cluster.run(new Promise<void>(resolve => cluster.scheduler.schedule(2000, resolve)))
  expect(cluster.controller.partition().leader).toBe(1)
  expect(() => cluster.leader(1)).toThrow()
  cluster.isControllerAway = false
  await untilLedBy(cluster, 2)
  expect(cluster.log(1).logEndOffset).toBe(2)
  await produceAll(cluster, 2, ['c'])
  await cluster.until(() => cluster.controller.partition().isr.length === 3)
  expect(await cluster.values(1)).toEqual(['a', 'b', 'c'])
})

describe('a partition directory that is gone (A1)', () => {
  async function restartWithout(cluster: ReplicaCluster, nodeId: number): Promise<void> {
    const node = cluster.node(nodeId)
    cluster.kill(node)
    cluster.controller.fence(nodeId)
    await cluster.run(node.machine.disk.removeDirectory('data/topics/logs-0'))
    await cluster.boot(node)
  }

  test('comes back as an empty follower, once nobody counts on what it held', async () => {
    const cluster = await startTopic()
    await produceAll(cluster, 1, ['a', 'b'])
    await restartWithout(cluster, 1)
    expect(cluster.node(1).errors).toMatchObject([{ reason: 'CORRUPT_DATA' }])
    await untilLedBy(cluster, 2)
    await produceAll(cluster, 2, ['c'])
    await cluster.until(() => cluster.controller.partition().isr.length === 3)
    expect(await cluster.values(1)).toEqual(['a', 'b', 'c'])
  })

  test('is never elected, though it was the last in sync', async () => {
    const cluster = await startTopic({ settings: { 'min.insync.replicas': '1' } })
    await produceAll(cluster, 1, ['a'])
    for (const nodeId of [2, 3]) {
      cluster.kill(cluster.node(nodeId))
      cluster.controller.fence(nodeId)
    }
    await cluster.until(isrIs(cluster, [1]))
    await produceAll(cluster, 1, ['b'])
    await restartWithout(cluster, 1)
    const { leader, isr, elr } = cluster.controller.partition()
    expect({ leader, isr, elr }).toEqual({ leader: null, isr: [], elr: [] })
    expect(cluster.log(1).logEndOffset).toBe(0)
  })
})
