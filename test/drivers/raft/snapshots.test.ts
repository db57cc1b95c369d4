import { describe, expect, it } from 'vitest'
import type { RaftDriver } from '../../../src/drivers/raft/raft-driver.ts'
import { diskWithoutSnapshotSync } from './forgetful-disk.ts'
import { type ClusterMember, RaftCluster, type Spoilers } from './raft-cluster.ts'

const SEEDS = 6
/** More than a snapshot with its compaction, or the installation of one, takes. */
const CHANGES_MAX = 30

describe('a snapshot', () => {
  it('is taken as soon as a start would replay much beside what the last one holds', async () => {
    const { cluster, driver } = await clusterOfOne({ bytesMin: 2_500, timesItsSize: 2 })
    const propose = async (count: number) => {
      for (let i = 0; i < count; i++)
        await cluster.scheduler.finish(cluster.propose(1_000) as Promise<number>)
      await cluster.scheduler.runFor(100)
      return driver.status.snapshotIndex
    }
    expect(await propose(2)).toBe(0)
    const first = await propose(1)
    expect(first).toBeGreaterThan(0)
    // It holds 3,000 bytes.
    expect(await propose(5)).toBe(first)
    expect(await propose(2)).toBeGreaterThan(first)
  })

  it('is taken whole or not at all, wherever a power cut comes', async () => {
    for (let seed = 0; seed < SEEDS; seed++) {
      for (let change = 1; change <= CHANGES_MAX; change++) await snapshotWithPowerCut({ seed, change })
    }
  })

  it('would be lost with the log behind it, were its directory not synced first', async () => {
    const run = async () => {
      for (let seed = 0; seed < SEEDS; seed++) {
        for (let change = 1; change <= CHANGES_MAX; change++)
          await snapshotWithPowerCut({ seed, change, spoil: { disk: diskWithoutSnapshotSync } })
      }
    }
    await expect(run()).rejects.toThrow(/damaged/)
  })

  it('brings a member that starts from nothing to the state of the others, with the tail behind it', async () => {
    const { cluster, joiner } = await clusterWithJoiner(1)
    await cluster.converge()
    expect(cluster.oracle.counts.snapshotsInstalled).toBe(1)
    expect(joiner.log?.commands.length).toBeGreaterThan(100)
  })

  it('is installed whole or not at all, wherever a power cut of the receiver comes', async () => {
    for (let change = 1; change <= CHANGES_MAX; change += 2) {
      const { cluster, joiner } = await clusterWithJoiner(change, member => cluster => {
        cluster.powerCutAtChange(member, change)
      })
      await cluster.converge()
      expect(joiner.log?.commands.length).toBeGreaterThan(100)
      await cluster.close()
    }
  })

  it('reaches a follower that was cut off for long, while the others go on', async () => {
    const { cluster, follower } = await clusterWithFollowerBehind()
    expect(follower.log?.index).toBeLessThan(10)
    await cluster.converge()
    expect(cluster.oracle.counts.snapshotsInstalled).toBe(1)
  })

  it('of a member itself is left out while it installs one of the leader', async () => {
    const { cluster, follower } = await clusterWithFollowerBehind()
    const driver = follower.driver as RaftDriver
    const taken: Promise<void>[] = []
    cluster.scheduler.observe(() => {
      const isInstalling = driver.status.snapshotIndex > driver.appliedIndex
      if (isInstalling) taken.push(driver.takeSnapshot())
    })
    await cluster.converge()
    expect(taken).not.toEqual([])
    await cluster.scheduler.finish(Promise.all(taken))
  })
})

async function clusterOfOne(snapshotAfter: { bytesMin: number; timesItsSize: number }) {
  const cluster = await RaftCluster.start({
    seed: 1,
    voters: 1,
    snapshotAfterEntries: 10_000,
    snapshotAfter,
  })
  await cluster.scheduler.runUntil(() => cluster.leader !== undefined, { timeMsMax: 2000 })
  return { cluster, driver: cluster.leader?.driver as RaftDriver }
}

/** Its log ends below where the others' begin. */
async function clusterWithFollowerBehind() {
  const cluster = await RaftCluster.start({ seed: 5, voters: 3, snapshotAfterEntries: 20, keptEntries: 5 })
  await cluster.scheduler.runUntil(() => cluster.leader !== undefined, { timeMsMax: 2000 })
  cluster.network.keepaliveMs = 50
  const follower = cluster.members.find(member => member !== cluster.leader) as ClusterMember
  cluster.partition(
    [follower],
    cluster.members.filter(member => member !== follower),
  )
  for (let i = 0; i < 60; i++) await cluster.scheduler.finish(cluster.propose() as Promise<number>)
  await cluster.scheduler.runFor(200)
  return { cluster, follower }
}

async function snapshotWithPowerCut(options: {
  seed: number
  change: number
  spoil?: Spoilers
}): Promise<void> {
  const { change, ...rest } = options
  const cluster = await RaftCluster.start({ ...rest, voters: 1, snapshotAfterEntries: 1000, keptEntries: 2 })
  const [member] = cluster.members as [ClusterMember]
  await cluster.scheduler.runUntil(() => cluster.leader !== undefined, { timeMsMax: 2000 })
  for (const _ of [1, 2]) {
    for (let i = 0; i < 4; i++) await cluster.scheduler.finish(cluster.propose(600) as Promise<number>)
    if (_ === 2) cluster.powerCutAtChange(member, change)
    void member.driver?.takeSnapshot()
    await cluster.scheduler.runFor(100)
  }
  await cluster.converge()
}

/** A quorum of three far ahead, and a fourth member that was just made a learner. */
async function clusterWithJoiner(
  seed: number,
  harm: (member: ClusterMember) => (cluster: RaftCluster) => void = () => () => {},
) {
  const cluster = await RaftCluster.start({ seed, voters: 3, snapshotAfterEntries: 50, keptEntries: 5 })
  await cluster.scheduler.runUntil(() => cluster.leader !== undefined, { timeMsMax: 2000 })
  for (let i = 0; i < 120; i++) await cluster.scheduler.finish(cluster.propose(100) as Promise<number>)
  const joiner = await cluster.addJoiner()
  await cluster.scheduler.runUntil(() => !joiner.isBooting)
  harm(joiner)(cluster)
  const added = cluster.leader?.driver?.changeMembership({ op: 'add-learner', member: joiner.id })
  await cluster.scheduler.finish(added as Promise<unknown>)
  await cluster.scheduler.runFor(500)
  return { cluster, joiner }
}
