import { describe, expect, test } from 'vitest'
import type { ControllerDriver } from '../../../src/drivers/controller/controller-driver.ts'
import { MetadataCluster, type MetadataMember } from './metadata-cluster.ts'

const only = (cluster: MetadataCluster) => cluster.members[0] as MetadataMember
const others = (cluster: MetadataCluster, member: MetadataMember) =>
  cluster.members.filter(one => one.nodeId !== member.nodeId)

/** A change that raises the next producer id, and shows in the image only. */
function takeIds(driver: ControllerDriver, nextProducerId: number): Promise<number> {
  return driver.submit(() => ({
    records: [{ type: 'producerIds', version: 0, nodeId: 1, nextProducerId }],
    response: nextProducerId,
  }))
}

function createTopic(driver: ControllerDriver, name: string): Promise<string> {
  return driver.submit(() => ({
    records: [{ type: 'topic', version: 0, topicId: `id of ${name}`, name, settings: {} }],
    response: name,
  }))
}

function errorOf(work: Promise<unknown>): Promise<unknown> {
  return work.then(
    () => undefined,
    error => error,
  )
}

describe('a quorum of one', () => {
  test('names its cluster by itself, answers a change once it is durable, and a power cut keeps it', async () => {
    const cluster = await MetadataCluster.start({ seed: 1, members: 1 })
    const { driver } = await cluster.awaitLeader()
    await cluster.until(() => driver.image.clusterId === 'cluster')
    await cluster.run(takeIds(driver, 5))
    cluster.powerCut(only(cluster))
    await cluster.boot(only(cluster))
    const again = await cluster.awaitLeader()
    expect(again.driver.image).toMatchObject({ clusterId: 'cluster', nextProducerId: 5 })
  })

  test('lets an answer find its effect in the committed image, and subscribers have seen it', async () => {
    const cluster = await MetadataCluster.start({ seed: 2, members: 1 })
    const { driver } = await cluster.awaitLeader()
    const seen: string[] = []
    driver.subscribe((_delta, image) => seen.push(...image.topics.names()))
    const answered = createTopic(driver, 'logs').then(() => [driver.image.topics.byName('logs')?.id, ...seen])
    // Nothing is visible before the sync, although the handler ran.
    expect(driver.image.topics.byName('logs')).toBeUndefined()
    expect(await cluster.run(answered)).toEqual(['id of logs', 'logs'])
  })

  test('counts entries that change nothing, without a word to subscribers', async () => {
    const cluster = await MetadataCluster.start({ seed: 3, members: 1 })
    const { driver } = await cluster.awaitLeader()
    let calls = 0
    driver.subscribe(() => calls++)
    const before = driver.image.appliedEndIndex
    await cluster.run(takeIds(driver, 5))
    expect(driver.image.appliedEndIndex).toBeGreaterThan(before)
    expect(calls).toBe(0)
  })

  test('fails waiting changes with an unknown outcome when the disk fails, and refuses later ones', async () => {
    const cluster = await MetadataCluster.start({ seed: 4, members: 1 })
    const { driver, machine } = await cluster.awaitLeader()
    machine.image.syncErrorProbability = 1
    expect(await cluster.run(errorOf(takeIds(driver, 5)))).toMatchObject({ outcome: 'unknown' })
    const refused = await cluster.run(errorOf(takeIds(driver, 6)))
    expect(refused).toMatchObject({ reason: 'STORAGE_OFFLINE', outcome: 'none' })
    expect(only(cluster).failure).toMatchObject({ reason: 'STORAGE_OFFLINE' })
    expect(driver.image.nextProducerId).toBe(0)
  })

  test('answers at a stop what it was given before, and refuses what comes after', async () => {
    const cluster = await MetadataCluster.start({ seed: 5, members: 1 })
    const { driver } = await cluster.awaitLeader()
    const answered = takeIds(driver, 5)
    const closed = driver.close()
    expect(await cluster.run(errorOf(takeIds(driver, 6)))).toMatchObject({ reason: 'NODE_DRAINING' })
    expect(await cluster.run(answered)).toBe(5)
    await cluster.run(closed)
  })

  test('ends with the reason where its log is of a later release', async () => {
    const cluster = await MetadataCluster.start({ seed: 6, members: 1 })
    const { driver } = await cluster.awaitLeader()
    const later = { type: 'featureLevel', version: 0, level: 2 } as const
    expect(
      await cluster.run(errorOf(driver.submit(() => ({ records: [later], response: 0 })))),
    ).toMatchObject({ reason: 'DATA_DIRECTORY_VERSION' })
    expect(only(cluster).failure).toBeUndefined()
  })
})

describe('a quorum of three', () => {
  test('has one controller; the others say who it is, and get its image', async () => {
    const cluster = await MetadataCluster.start({ seed: 11, members: 3 })
    const leader = await cluster.awaitLeader()
    await cluster.run(createTopic(leader.driver, 'logs'))
    await cluster.until(() => cluster.members.every(one => one.driver?.image.topics.byName('logs')))
    for (const { driver } of others(cluster, leader)) {
      const refused = await cluster.run(errorOf(takeIds(driver as ControllerDriver, 1)))
      expect(refused).toMatchObject({
        reason: 'NOT_CONTROLLER',
        outcome: 'none',
        details: { leader_id: String(leader.nodeId) },
      })
      expect(driver).toMatchObject({ isLeading: false, leaderId: leader.nodeId })
    }
    expect(leader.driver).toMatchObject({ isLeading: true, metadataAgeMs: 0 })
  })

  test('goes on after the power cut of its controller, and loses nothing that was answered', async () => {
    const cluster = await MetadataCluster.start({ seed: 12, members: 3 })
    const first = await cluster.awaitLeader()
    for (let i = 1; i <= 20; i++) await cluster.run(takeIds(first.driver, i))
    cluster.powerCut(first)
    const second = await cluster.awaitLeader()
    expect(second.driver.image.nextProducerId).toBe(20)
    await cluster.run(takeIds(second.driver, 21))
    await cluster.boot(first)
    await cluster.until(() => cluster.members.every(one => one.driver?.image.nextProducerId === 21))
  })

  test('takes back at a lost leadership what was not committed, and fails it as unknown', async () => {
    const cluster = await MetadataCluster.start({ seed: 13, members: 3 })
    const first = await cluster.awaitLeader()
    const heard: string[] = []
    first.driver.onLeadership({
      onLeading: term => heard.push(`leading ${term}`),
      onResigned: () => heard.push('resigned'),
    })
    cluster.isolate(first)
    const failed = errorOf(takeIds(first.driver, 100))
    await cluster.until(() => cluster.leader !== undefined && cluster.leader !== first)
    const second = await cluster.awaitLeader()
    expect(await cluster.run(failed)).toMatchObject({ reason: 'NOT_CONTROLLER', outcome: 'unknown' })
    await cluster.run(takeIds(second.driver, 7))
    cluster.network.heal()
    await cluster.until(() => first.driver.image.nextProducerId === 7)
    // What its handlers see is what is committed, too: it can lead again.
    const before = second.driver.status.term
    cluster.isolate(second)
    await cluster.until(() => (cluster.leader?.driver?.status.term ?? 0) > before)
    const third = await cluster.awaitLeader()
    expect(
      await cluster.run(third.driver.submit(newest => ({ records: [], response: newest.nextProducerId }))),
    ).toBe(7)
    expect(heard.slice(0, 2)).toEqual([expect.stringMatching(/^leading/), 'resigned'])
  })

  test('tells how old its metadata are while nobody leads', async () => {
    const cluster = await MetadataCluster.start({ seed: 14, members: 3 })
    const leader = await cluster.awaitLeader()
    const [one, two] = others(cluster, leader) as [MetadataMember, MetadataMember]
    await cluster.until(() => one.driver?.metadataAgeMs !== undefined)
    cluster.powerCut(leader)
    cluster.powerCut(two)
    await cluster.scheduler.runFor(5_000)
    expect(one.driver?.metadataAgeMs).toBeGreaterThan(4_000)
    expect(one.driver?.metadataAgeMs).toBeLessThan(6_000)
    const unread = await cluster.run(errorOf((one.driver as ControllerDriver).readIndex(300)))
    expect(unread).toMatchObject({ retriable: true, outcome: 'none' })
  })

  test('lets any node wait for what another one answered, and read what was committed anywhere before', async () => {
    const cluster = await MetadataCluster.start({ seed: 15, members: 3 })
    const leader = await cluster.awaitLeader()
    for (const [i, { driver }] of others(cluster, leader).entries()) {
      await cluster.until(() => driver?.leaderId === leader.nodeId)
      await cluster.run(takeIds(leader.driver, 2 * i + 1))
      await cluster.run((driver as ControllerDriver).awaitApplied(leader.driver.image.appliedEndIndex, 1_000))
      expect(driver?.image.nextProducerId).toBe(2 * i + 1)
      await cluster.run(takeIds(leader.driver, 2 * i + 2))
      const endIndex = await cluster.run((driver as ControllerDriver).readIndex(1_000))
      expect(endIndex).toBeGreaterThanOrEqual(leader.driver.image.appliedEndIndex)
      expect(driver?.image.nextProducerId).toBe(2 * i + 2)
    }
    const late = (cluster.members[0] as MetadataMember).driver as ControllerDriver
    expect(await cluster.run(errorOf(late.awaitApplied(1_000_000, 50)))).toMatchObject({
      reason: 'DEADLINE_EXCEEDED',
    })
  })

  test('hands its leadership over at a stop without a wait', async () => {
    const cluster = await MetadataCluster.start({ seed: 16, members: 3 })
    const leader = await cluster.awaitLeader()
    await cluster.run(takeIds(leader.driver, 1))
    const sinceMs = cluster.scheduler.nowMs
    await cluster.run(leader.driver.close())
    await cluster.until(() => cluster.leader !== undefined && cluster.leader !== leader)
    expect(cluster.scheduler.nowMs - sinceMs).toBeLessThan(500)
  })

  test('ends at a stop also while the leadership is on its way to somebody who does not take it', async () => {
    const cluster = await MetadataCluster.start({ seed: 16, members: 3 })
    const leader = await cluster.awaitLeader()
    const [silent] = others(cluster, leader) as [MetadataMember]
    await cluster.scheduler.runFor(300)
    cluster.isolate(silent)
    // Now the other one is the better heir.
    await cluster.run(takeIds(leader.driver, 1))
    const moved = leader.driver.transfer(silent.id)
    await cluster.run(leader.driver.close())
    await cluster.run(moved)
    cluster.network.heal()
    await cluster.until(() => cluster.leader !== undefined && cluster.leader !== leader)
  })

  test('loses a member that could apply only half of a change, and not the change', async () => {
    const cluster = await MetadataCluster.start({ seed: 18, members: 3 })
    const leader = await cluster.awaitLeader()
    const [broken] = others(cluster, leader) as [MetadataMember]
    broken.driver?.subscribe(() => {
      throw new Error('a bug')
    })
    const made = errorOf(createTopic(leader.driver, 'logs'))
    // It comes out where the network called, which on a real node ends at the stream.
    await cluster.until(() => broken.failure !== undefined).catch(() => {})
    expect(broken.failure).toMatchObject({ reason: 'INTERNAL' })
    expect(await cluster.run(made)).toBeUndefined()
    expect(broken.driver?.isLeading).toBe(false)
    expect(await cluster.run(errorOf((broken.driver as ControllerDriver).readIndex(10)))).toBeDefined()
  })

  test('brings a member up from a snapshot', async () => {
    const cluster = await MetadataCluster.start({ seed: 17, members: 3, snapshotAfterEntries: 20 })
    const leader = await cluster.awaitLeader()
    const [behind] = others(cluster, leader) as [MetadataMember]
    cluster.powerCut(behind)
    await cluster.run(createTopic(leader.driver, 'logs'))
    for (let i = 1; i <= 60; i++) await cluster.run(takeIds(leader.driver, i))
    const driver = await cluster.boot(behind)
    const created: string[] = []
    driver.subscribe((delta, image) => {
      for (const id of delta.createdTopics) created.push(image.topics.byId(id)?.name ?? '')
    })
    await cluster.until(() => driver.image.nextProducerId === 60)
    expect(driver.status.snapshotIndex).toBeGreaterThan(0)
    expect(created).toEqual(['logs'])
  })
})
