import { expect, it } from 'vitest'
import { NaruError } from '../../../src/base/errors.ts'
import type { RaftDriver } from '../../../src/drivers/raft/raft-driver.ts'
import { type ClusterMember, RaftCluster } from './raft-cluster.ts'

async function led(voters: number): Promise<{ cluster: RaftCluster; leader: ClusterMember }> {
  const cluster = await RaftCluster.start({ seed: 9, voters })
  await cluster.scheduler.runUntil(() => cluster.leader !== undefined, { timeMsMax: 2000 })
  return { cluster, leader: cluster.leader as ClusterMember }
}

it('a member whose sync fails takes part no more, says so, and the others go on without it', async () => {
  const { cluster, leader } = await led(3)
  leader.machine.image.syncErrorProbability = 1
  const outcome = cluster.propose()?.catch(thrown => thrown)
  const failures: unknown[] = []
  cluster.oracle.fail = thrown => failures.push(thrown)
  await cluster.scheduler.runUntil(() => failures.length > 0, { timeMsMax: 1000 })
  expect(failures[0]).toBeInstanceOf(NaruError)
  expect((failures[0] as NaruError).reason).toBe('STORAGE_OFFLINE')
  expect((await outcome).reason).toBe('UNKNOWN_OUTCOME')
  await expect(leader.driver?.readIndex()).rejects.toMatchObject({ reason: 'NODE_DRAINING' })
  await cluster.scheduler.runUntil(() => cluster.leader !== undefined && cluster.leader !== leader, {
    timeMsMax: 2000,
  })
  await cluster.scheduler.finish(cluster.propose() as Promise<number>)
})

it('a full disk is waited out: nothing is lost, nothing is answered before there is room', async () => {
  const { cluster, leader } = await led(1)
  const { image } = leader.machine
  image.onOperation = ({ kind }) => (kind === 'append' ? 'ENOSPC' : undefined)
  let isAnswered = false
  const outcome = cluster.propose()?.then(() => {
    isAnswered = true
  })
  await cluster.scheduler.runFor(3000)
  expect(isAnswered).toBe(false)
  image.onOperation = undefined
  await cluster.scheduler.finish(outcome as Promise<void>, { timeMsMax: 3000 })
  await cluster.converge()
})

it('entries behind a snapshot that took the last space go once there is room, and the member goes on', async () => {
  const cluster = await RaftCluster.start({ seed: 9, voters: 1, keptEntries: 0 })
  await cluster.scheduler.runUntil(() => cluster.leader !== undefined, { timeMsMax: 2000 })
  const leader = cluster.leader as ClusterMember
  await cluster.scheduler.finish(cluster.propose() as Promise<number>)
  // All entries are in one segment, which stays: nothing that goes makes room for the note of the new start.
  let refused = 0
  leader.machine.image.onOperation = ({ kind, path }) => {
    if (kind !== 'append' || !path.includes('log-state.tmp')) return undefined
    refused++
    return 'ENOSPC'
  }
  await cluster.scheduler.finish(leader.driver?.takeSnapshot() as Promise<void>)
  await cluster.scheduler.runFor(3000)
  expect(refused).toBeGreaterThan(2)
  leader.machine.image.onOperation = undefined
  await cluster.scheduler.finish(cluster.propose() as Promise<number>, { timeMsMax: 3000 })
  cluster.kill(leader)
  cluster.boot(leader)
  await cluster.converge()
})

it('a stop does not wait for a full disk', async () => {
  const { cluster, leader } = await led(1)
  leader.machine.image.onOperation = ({ kind }) => (kind === 'append' ? 'ENOSPC' : undefined)
  const outcome = cluster.propose()?.catch(thrown => thrown)
  await cluster.scheduler.runFor(3000)
  await cluster.scheduler.finish(leader.driver?.close() as Promise<void>, { timeMsMax: 1000 })
  expect((await outcome).reason).toBe('UNKNOWN_OUTCOME')
})

it('a stop on a full disk leaves a log that is not taken for damaged: what it notes is no newer than what it wrote', async () => {
  const { cluster, leader } = await led(1)
  await cluster.scheduler.finish(cluster.propose() as Promise<number>)
  await cluster.scheduler.finish(leader.driver?.close() as Promise<void>)
  const again = async () => {
    cluster.kill(leader)
    cluster.boot(leader)
    await cluster.scheduler.runUntil(() => cluster.leader !== undefined, { timeMsMax: 4000 })
  }
  await again()
  await cluster.scheduler.finish(cluster.propose() as Promise<number>)
  leader.machine.image.onOperation = ({ kind, path }) =>
    kind === 'append' && path.includes('leader-epoch-checkpoint') ? 'ENOSPC' : undefined
  await cluster.scheduler.finish(leader.driver?.close() as Promise<void>)
  leader.machine.image.onOperation = undefined
  await again()
  await cluster.converge()
})

it('a stop in the middle of a snapshot does not wait for a full disk either', async () => {
  const { cluster, leader } = await led(1)
  await cluster.scheduler.finish(cluster.propose() as Promise<number>)
  leader.machine.image.onOperation = ({ kind, path }) =>
    kind === 'append' && path.includes('.snapshot') ? 'ENOSPC' : undefined
  void leader.driver?.takeSnapshot()
  await cluster.scheduler.runFor(3000)
  await cluster.scheduler.finish(leader.driver?.close() as Promise<void>, { timeMsMax: 2000 })
})

it('a stop does not wait for a snapshot of its own that cannot be put in place', async () => {
  const { cluster, leader } = await led(1)
  await cluster.scheduler.finish(cluster.propose() as Promise<number>)
  leader.machine.image.onOperation = ({ kind, path }) =>
    kind === 'rename' && path.includes('.snapshot') ? 'ENOSPC' : undefined
  void leader.driver?.takeSnapshot()
  await cluster.scheduler.runFor(3000)
  await cluster.scheduler.finish(leader.driver?.close() as Promise<void>, { timeMsMax: 2000 })
})

it('a snapshot whose name cannot be synced takes the storage offline, for that very reason', async () => {
  const { cluster, leader } = await led(1)
  await cluster.scheduler.finish(cluster.propose() as Promise<number>)
  const failures: unknown[] = []
  cluster.oracle.fail = thrown => failures.push(thrown)
  let isInPlace = false
  leader.machine.image.onOperation = ({ kind, path }) => {
    if (kind === 'rename' && path.includes('.snapshot')) isInPlace = true
    return kind === 'syncDirectory' && isInPlace ? 'ENOSPC' : undefined
  }
  void leader.driver?.takeSnapshot()
  await cluster.scheduler.runUntil(() => failures.length > 0, { timeMsMax: 3000 })
  expect(failures[0]).toMatchObject({ reason: 'STORAGE_OFFLINE', message: expect.stringMatching('ENOSPC') })
})

it('a member that has lost its log and cannot even note that ends, and says why', async () => {
  const { cluster, leader } = await led(3)
  const follower = cluster.members.find(member => member !== leader) as ClusterMember
  follower.machine.image.onOperation = ({ kind, path }) =>
    kind === 'append' && path.includes('quorum-state') ? 'EIO' : undefined
  const failures: unknown[] = []
  cluster.oracle.fail = thrown => failures.push(thrown)
  const { term, last } = (leader.driver as RaftDriver).status
  const commitIndex = last.index + 100
  const told = { from: leader.id, to: follower.id, term, commitIndex, round: 1, proof: undefined }
  follower.driver?.onMessage({ type: 'heartbeat', ...told })
  await cluster.scheduler.runUntil(() => failures.length > 0, { timeMsMax: 1000 })
  expect((failures[0] as NaruError).message).toMatch(/lost/)
})

it('a refused proposal changes nothing: not the leader, too large', async () => {
  const { cluster, leader } = await led(3)
  const follower = cluster.members.find(member => member !== leader)
  expect(() => follower?.driver?.append([Buffer.from('x')])).toThrow(/does not lead/)
  expect(() => leader.driver?.append([Buffer.alloc(8 * 1024 * 1024)])).toThrow(/at most 8388507/)
  await cluster.converge()
})
