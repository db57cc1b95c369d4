import { describe, expect, it } from 'vitest'
import type { MemberId } from '../../../src/raft/membership.ts'
import { PeerCluster, type PeerNode } from './peer-cluster.ts'

async function formed(count: number, seed = 1): Promise<PeerCluster> {
  const cluster = PeerCluster.of(count, seed)
  cluster.startAll()
  await cluster.untilFormed()
  await settled(cluster)
  return cluster
}

/** A leader, and every running node registered. */
async function settled(cluster: PeerCluster): Promise<void> {
  await cluster.until(() => {
    const image = cluster.leader?.quorum?.image
    return cluster.nodes.every(node => {
      const { quorum, formed } = node
      if (!quorum) return node.network === undefined
      return image?.nodes.get(node.nodeId)?.directoryId === formed?.identity.directoryId
    })
  })
}

function leaderOf(cluster: PeerCluster): PeerNode {
  const { leader } = cluster
  if (!leader) throw new Error('no leader')
  return leader
}

function followerOf(cluster: PeerCluster): PeerNode {
  return cluster.nodes.find(node => node !== cluster.leader && node.quorum) as PeerNode
}

function learners(cluster: PeerCluster): readonly MemberId[] {
  return cluster.leader?.quorum?.status.membership.learners ?? []
}

function memberOf(node: PeerNode): MemberId {
  return node.quorum?.self as MemberId
}

function addVoter(cluster: PeerCluster, nodeId: number, timeoutMs?: number): Promise<void> {
  return cluster.scheduler.finish(leaderOf(cluster).network?.addVoter(nodeId, timeoutMs) as Promise<void>)
}

function removeVoter(cluster: PeerCluster, nodeId: number, directoryId?: string): Promise<void> {
  return cluster.scheduler.finish(
    leaderOf(cluster).network?.removeVoter(nodeId, directoryId) as Promise<void>,
  )
}

describe('a node with an empty disk', () => {
  it('takes the place of the voter that it was, whichever that is', async () => {
    for (const nodeId of [1, 2, 3]) {
      const cluster = await formed(3, nodeId)
      const clusterId = cluster.node(1).formed?.identity.clusterId
      const before = memberOf(cluster.node(nodeId))
      cluster.wipe(cluster.node(nodeId))
      await cluster.scheduler.runFor(3000)
      cluster.start(cluster.node(nodeId))
      await cluster.until(
        () => cluster.voters.length === 3 && learners(cluster).length === 0 && !isVoter(cluster, before),
      )
      expect(isVoter(cluster, memberOf(cluster.node(nodeId)))).toBe(true)
      expect(memberOf(cluster.node(nodeId))).not.toBe(before)
      expect(cluster.node(nodeId).formed?.identity.clusterId).toBe(clusterId)
      expect(cluster.node(nodeId).formed?.campaignAtOnce).toBe(false)
      await cluster.close()
    }
  })

  it('is not made a voter while another voter is out of contact', async () => {
    const cluster = await formed(5)
    const [one, two] = cluster.nodes.filter(node => node !== cluster.leader) as [PeerNode, PeerNode]
    const before = memberOf(one)
    cluster.wipe(one)
    cluster.kill(two)
    cluster.start(cluster.node(one.nodeId))
    await cluster.until(() => learners(cluster).length === 1)
    await cluster.scheduler.runFor(20_000)
    expect(isVoter(cluster, before)).toBe(true)
    cluster.start(two)
    await cluster.until(() => !isVoter(cluster, before) && cluster.voters.length === 5)
    await cluster.close()
  })

  it('comes to the end of its replacement though the leader dies at each step of it', async () => {
    for (const seed of [1, 2, 3, 4]) {
      const cluster = await formed(3, seed)
      const victim = followerOf(cluster)
      const before = memberOf(victim)
      cluster.wipe(victim)
      const reborn = cluster.node(victim.nodeId)
      cluster.start(reborn)
      const sizes = new Set<string>()
      cluster.scheduler.observe(() => {
        for (const { quorum } of cluster.nodes) if (quorum?.isLeading) sizes.add(`${cluster.voters.length}`)
      })
      await cluster.until(() => !isVoter(cluster, before) && cluster.leader !== undefined)
      expect(cluster.voters.length).toBe(2)
      // It has just given up the old one; with it, the two left are all needed.
      const leader = leaderOf(cluster)
      cluster.kill(leader)
      await cluster.scheduler.runFor(500)
      cluster.start(leader)
      await cluster.until(() => cluster.voters.length === 3 && learners(cluster).length === 0)
      expect(isVoter(cluster, memberOf(reborn))).toBe(true)
      await cluster.close()
    }
  })

  it('joins through others without being listed, and stays a learner', async () => {
    const cluster = await formed(3)
    const late = cluster.add({ nodeId: 9, peers: ['n1', 'n2', 'n3'] })
    cluster.start(late)
    await cluster.untilFormed()
    await settled(cluster)
    expect(learners(cluster)).toEqual([memberOf(late)])
    await cluster.scheduler.runFor(60_000)
    expect(cluster.voters).toEqual([1, 2, 3])
    await cluster.close()
  })

  it('waits for a leader as long as there is none', async () => {
    const cluster = await formed(3)
    const [, two, three] = cluster.nodes as [PeerNode, PeerNode, PeerNode]
    cluster.kill(two)
    cluster.wipe(three)
    cluster.start(cluster.node(3))
    await cluster.scheduler.runFor(20_000)
    expect(cluster.leader).toBeUndefined()
    expect(cluster.node(3).error).toBeUndefined()
    cluster.start(two)
    await cluster.until(() => cluster.voters.length === 3 && learners(cluster).length === 0)
    await cluster.close()
  })
})

describe('a node of a cluster', () => {
  it('is found again where it has moved to, leader or not', async () => {
    for (const isLeader of [true, false]) {
      const cluster = await formed(3)
      const node = isLeader ? leaderOf(cluster) : followerOf(cluster)
      cluster.kill(node)
      node.host = `moved-${node.host}`
      await cluster.scheduler.runFor(isLeader ? 3000 : 10)
      cluster.start(node)
      await cluster.until(() => node.quorum?.leaderId !== undefined, 10_000)
      await cluster.close()
    }
  })

  it('is never taken for the one that had its address before', async () => {
    const cluster = await formed(3)
    const [follower] = cluster.nodes.filter(node => node !== cluster.leader) as [PeerNode]
    const { address } = follower
    const member = memberOf(follower)
    cluster.kill(follower)
    const stranger = cluster.add({ nodeId: 9, peers: ['n1', 'n2', 'n3'] })
    stranger.host = follower.host
    cluster.start(stranger)
    await cluster.until(() => learners(cluster).includes(memberOf(stranger)))
    await cluster.until(() => stranger.quorum?.leaderId !== undefined)
    expect(stranger.address).toBe(address)
    expect(isVoter(cluster, member)).toBe(true)
    follower.host = 'elsewhere'
    cluster.start(follower)
    await cluster.until(() => follower.quorum?.leaderId !== undefined, 10_000)
    expect(memberOf(follower)).toBe(member)
    await cluster.close()
  })

  it('asks for its place again when it has lost it and nobody tells it', async () => {
    const cluster = await formed(3)
    const late = cluster.add({ nodeId: 9, peers: ['n1', 'n2', 'n3'] })
    cluster.start(late)
    await cluster.untilFormed()
    await settled(cluster)
    const member = memberOf(late)
    const { quorum } = leaderOf(cluster)
    await cluster.scheduler.finish(quorum?.changeMembership({ op: 'remove', member }) as Promise<void>)
    expect(learners(cluster)).toEqual([])
    await cluster.until(() => learners(cluster).includes(member), 15_000)
    await cluster.close()
  })

  it('stops when its peers belong to another cluster, naming both', async () => {
    const one = await formed(3)
    const node = one.node(3)
    const own = node.formed?.identity.clusterId
    const other = node.quorum?.clusterId
    expect(own).toBe(other)
    one.kill(node)
    for (const nodeId of [1, 2]) one.wipe(one.node(nodeId))
    const spare = one.add({ nodeId: 4, peers: ['n1', 'n2', 'n4'] })
    for (const nodeId of [1, 2]) one.node(nodeId).peers = spare.peers
    for (const nodeId of [1, 2, 4]) one.start(one.node(nodeId))
    await one.untilFormed([one.node(1), one.node(2), spare])
    one.start(node)
    await one.until(() => node.error !== undefined, 10_000)
    expect(node.error?.reason).toBe('INVALID_CONFIG')
    expect(node.error?.message).toContain(`belongs to cluster ${own}`)
    expect(node.error?.message).toContain(`cluster ${spare.formed?.identity.clusterId}`)
    expect(node.error?.message).toContain('use an empty data.dir')
    await one.scheduler.runFor(5000)
    expect([1, 2, 4].map(nodeId => one.node(nodeId).error)).toEqual([undefined, undefined, undefined])
    await one.close()
  })

  it('whose metadata log is damaged comes back as a voter under another name', async () => {
    const cluster = await formed(3)
    const node = followerOf(cluster)
    const before = memberOf(node)
    const identity = node.formed?.identity
    cluster.kill(node)
    await node.machine.run(disk => disk.remove('data/raft/quorum-state'))
    await node.machine.run(disk => disk.syncDirectory('data/raft'))
    cluster.start(node)
    await cluster.until(() => node.quorum !== undefined && memberOf(node) !== before)
    await cluster.until(() => isVoter(cluster, memberOf(node)) && learners(cluster).length === 0)
    expect(isVoter(cluster, before)).toBe(false)
    expect(node.formed?.identity).toEqual(identity)
    await cluster.close()
  })

  it('does not start with the number of another node', async () => {
    const cluster = await formed(3)
    const twin = cluster.add({ nodeId: 2, host: 'twin', peers: ['n1', 'n2', 'n3'] })
    cluster.start(twin)
    await cluster.until(() => twin.error !== undefined)
    expect(twin.error?.message).toContain('the nodes at twin:7452 and n2:7452 both have node.id 2')
    expect(cluster.voters).toEqual([1, 2, 3])
    await cluster.close()
  })
})

describe('the voters', () => {
  it('grow from 1 to 5 and shrink back, leader and all', async () => {
    const cluster = new PeerCluster(1)
    const first = cluster.add({ nodeId: 1, peers: [] })
    cluster.start(first)
    await cluster.untilFormed()
    for (const nodeId of [2, 3, 4, 5]) cluster.start(cluster.add({ nodeId, peers: ['n1'] }))
    await cluster.untilFormed()
    await settled(cluster)
    for (const nodeId of [2, 3, 4, 5]) await addVoter(cluster, nodeId)
    expect(cluster.voters).toEqual([1, 2, 3, 4, 5])
    await addVoter(cluster, 5)
    for (const nodeId of [1, 2, 3, 4]) {
      await cluster.until(() => cluster.leader !== undefined)
      await removeVoter(cluster, nodeId)
    }
    await cluster.until(() => cluster.leader === cluster.node(5))
    expect(cluster.voters).toEqual([5])
    expect(learners(cluster).length).toBe(4)
    await expect(removeVoter(cluster, 5)).rejects.toThrow('node 5 is the only voter')
    // As learners they still follow.
    await cluster.until(() => first.quorum?.leaderId === 5)
    await cluster.close()
  })

  it('change while one of them is down: one goes, a new node takes its place, and the one that returns knows both', async () => {
    const cluster = await formed(3)
    const [goes, down] = cluster.nodes.filter(node => node !== cluster.leader) as [PeerNode, PeerNode]
    cluster.kill(down)
    const added = cluster.add({ nodeId: 4, peers: ['n1', 'n2', 'n3'] })
    cluster.start(added)
    await cluster.until(() => added.formed !== undefined)
    await settled(cluster)
    await addVoter(cluster, 4)
    await removeVoter(cluster, goes.nodeId)
    const voters = [leaderOf(cluster).nodeId, down.nodeId, 4].sort()
    expect(cluster.voters).toEqual(voters)
    cluster.start(down)
    const votersSeen = () => down.quorum?.status.membership.voters.map(member => Number(member.split('@')[0]))
    await cluster.until(() => votersSeen()?.sort().join() === voters.join())
    // Its voice is needed now.
    cluster.kill(added)
    await cluster.scheduler.finish(leaderOf(cluster).quorum?.transfer(memberOf(down)) as Promise<void>)
    await cluster.until(() => cluster.leader === down)
    await cluster.close()
  })

  it('are told apart by their directories, and only the leader changes them', async () => {
    const cluster = await formed(3)
    const { nodeId, network } = followerOf(cluster)
    const refused = cluster.scheduler.finish(network?.removeVoter(1) as Promise<void>)
    await expect(refused).rejects.toMatchObject({ reason: 'NOT_CONTROLLER' })
    await expect(removeVoter(cluster, nodeId, 'another')).rejects.toThrow('not another')
    await expect(removeVoter(cluster, 9)).rejects.toThrow('node 9 is not a voter (voters: 1, 2, 3)')
    const directoryId = cluster.node(nodeId).formed?.identity.directoryId
    await removeVoter(cluster, nodeId, directoryId)
    expect(cluster.voters).not.toContain(nodeId)
    await cluster.close()
  })

  it('take no node that is not there, after a while', async () => {
    const cluster = await formed(1)
    const asked = addVoter(cluster, 7, 1000)
    await expect(asked).rejects.toMatchObject({ reason: 'QUORUM_CHANGE_REFUSED' })
    await expect(asked).rejects.toThrow('node 7 has not joined the quorum')
    await cluster.close()
  })

  it('do not go below what is in contact', async () => {
    const cluster = await formed(3)
    const [up, down] = cluster.nodes.filter(node => node !== cluster.leader) as [PeerNode, PeerNode]
    cluster.kill(down)
    await cluster.scheduler.runFor(2000)
    const { network } = leaderOf(cluster)
    const asked = cluster.scheduler.finish(network?.removeVoter(up.nodeId, undefined, 1000) as Promise<void>)
    await expect(asked).rejects.toThrow('no majority of what would be the voters')
    expect(cluster.voters).toEqual([1, 2, 3])
    await cluster.close()
  })

  it('do not go below what has answered the leader of now', async () => {
    const cluster = await formed(3)
    const [up, down] = cluster.nodes.filter(node => node !== cluster.leader) as [PeerNode, PeerNode]
    const before = leaderOf(cluster)
    cluster.kill(down)
    await cluster.scheduler.finish(before.quorum?.transfer(memberOf(up)) as Promise<void>)
    // Nobody has been silent for long in a leadership that has just begun.
    await cluster.until(() => cluster.leader === up)
    const asked = up.network?.removeVoter(before.nodeId, undefined, 200) as Promise<void>
    await expect(cluster.scheduler.finish(asked)).rejects.toThrow('no majority of what would be the voters')
    expect(cluster.voters).toEqual([1, 2, 3])
    await cluster.close()
  })
})

describe('a node that was removed', () => {
  it('is let go by the quorum, told so when it asks, and may come back with an empty disk', async () => {
    const cluster = await formed(3)
    const late = cluster.add({ nodeId: 9, peers: ['n1', 'n2', 'n3'] })
    cluster.start(late)
    await cluster.untilFormed()
    await settled(cluster)
    const before = memberOf(late)
    cluster.kill(late)
    await cluster.removeNode(9)
    await cluster.until(() => !learners(cluster).includes(before), 90_000)
    cluster.start(late)
    await cluster.until(() => late.error !== undefined, 30_000)
    expect(late.error?.reason).toBe('NODE_REMOVED')
    cluster.wipe(late)
    cluster.start(cluster.node(9))
    await cluster.until(() => learners(cluster).includes(memberOf(cluster.node(9))))
    await cluster.close()
  })
})

function isVoter(cluster: PeerCluster, member: MemberId): boolean {
  return cluster.leader?.quorum?.status.membership.voters.includes(member) ?? true
}
