import { describe, expect, it } from 'vitest'
import { ENTRY_BYTES_MAX } from '../../../src/drivers/raft/raft-entry-codec.ts'
import { type ClusterMember, RaftCluster } from './raft-cluster.ts'

async function started(voters: number, seed = 1) {
  const cluster = await RaftCluster.start({ seed, voters })
  await cluster.scheduler.runUntil(() => cluster.leader !== undefined, { timeMsMax: 2000 })
  return cluster
}

describe('a quorum of drivers', () => {
  it('of one elects itself and keeps what it committed over a power cut', async () => {
    const cluster = await started(1)
    const [member] = cluster.members
    for (let i = 0; i < 5; i++) await cluster.scheduler.finish(cluster.propose() as Promise<number>)
    cluster.powerCut(member as (typeof cluster.members)[0])
    await cluster.converge()
    expect(member?.log?.commands.length).toBe(6)
  })

  it('of three elects a leader, commits everywhere and answers reads on every member', async () => {
    const cluster = await started(3)
    for (let i = 0; i < 20; i++) await cluster.scheduler.finish(cluster.propose() as Promise<number>)
    for (const member of cluster.members) cluster.read(member)
    await cluster.scheduler.runUntil(() => cluster.oracle.counts.reads === 3, { timeMsMax: 500 })
    await cluster.converge()
  })

  it('is left by a leader that it removes only when that has answered, however slow its disk is', async () => {
    const cluster = await started(3)
    await cluster.scheduler.finish(cluster.propose() as Promise<number>)
    const { id, machine, driver } = cluster.leader as ClusterMember
    machine.image.syncLatencyMs = { min: 60, max: 60 }
    const before = cluster.propose()
    await cluster.scheduler.finish(driver?.changeMembership({ op: 'demote', member: id }) ?? Promise.reject())
    await before
    await cluster.converge()
    expect(cluster.leader?.driver?.status.membership.learners).toEqual([id])
  })

  it('takes an entry as large as one may be, and keeps it over a power cut', async () => {
    const cluster = await started(3)
    await cluster.scheduler.finish(cluster.propose(ENTRY_BYTES_MAX) as Promise<number>)
    for (const member of cluster.members) cluster.powerCut(member)
    await cluster.converge()
    for (const { log } of cluster.members) expect(log?.commands[0]).toHaveLength(ENTRY_BYTES_MAX)
  })
})
