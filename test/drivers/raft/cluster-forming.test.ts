import { describe, expect, it } from 'vitest'
import { ClusterFormer } from '../../../src/drivers/raft/cluster-former.ts'
import { PEER_TIMING } from '../../../src/drivers/raft/peer-network-options.ts'
import type { Greeting } from '../../../src/wire/generated/peers.ts'
import { PeerCluster, type PeerNode } from './peer-cluster.ts'

const SEEDS = [1, 2, 3, 4, 5, 6]

function clusterIds(nodes: readonly PeerNode[]): Set<string | undefined> {
  return new Set(nodes.map(node => node.formed?.identity.clusterId))
}

async function expectOneCluster(cluster: PeerCluster, voters: readonly number[]): Promise<void> {
  await cluster.untilFormed()
  await cluster.until(() => cluster.leader !== undefined)
  expect(clusterIds(cluster.nodes).size).toBe(1)
  expect(cluster.voters).toEqual(voters)
}

describe('nodes that list each other', () => {
  it.each([
    [1, [1]],
    [2, [1]],
    [3, [1, 2, 3]],
    [4, [1, 2, 3]],
    [5, [1, 2, 3, 4, 5]],
    [7, [1, 2, 3, 4, 5]],
  ])('make one cluster of %i', async (count, voters) => {
    const cluster = PeerCluster.of(count)
    cluster.startAll()
    await expectOneCluster(cluster, voters)
    expect(cluster.scheduler.nowMs).toBeLessThan(1500)
    await cluster.close()
  })

  it('wait for each other in any order, and say for whom', async () => {
    for (const order of [
      [1, 2, 3],
      [3, 2, 1],
      [2, 3, 1],
    ]) {
      const cluster = PeerCluster.of(3)
      for (const nodeId of order) {
        expect(cluster.nodes.some(node => node.formed)).toBe(false)
        cluster.start(cluster.node(nodeId))
        await cluster.scheduler.runFor(12_000)
      }
      const first = cluster.node(order[0] as number)
      expect(first.messages).toContain(`1 of the 3 nodes of cluster.peers are there`)
      expect(first.messages).toContain(`waiting for n${order[2]}:7452`)
      // Each reason once in 10 s, not once in a round.
      expect(first.events.length).toBeLessThan(10)
      await expectOneCluster(cluster, [1, 2, 3])
      await cluster.close()
    }
  })

  it('make one cluster whoever is killed in the middle', async () => {
    for (const seed of SEEDS) {
      const cluster = PeerCluster.of(3, seed)
      cluster.startAll()
      for (let kills = 0; kills < 6; kills++) {
        await cluster.scheduler.runFor(cluster.prng.fraction() * 120)
        const node = cluster.node(1 + Math.floor(cluster.prng.fraction() * 3))
        cluster.kill(node)
        await cluster.scheduler.runFor(cluster.prng.fraction() * 60)
        cluster.start(node)
      }
      await expectOneCluster(cluster, [1, 2, 3])
      await cluster.close()
    }
  })

  it('go on from any change of the disk at which the power was cut', async () => {
    for (const nodeId of [1, 2]) {
      let isBeforeEnd = true
      for (let change = 1; isBeforeEnd; change++) {
        const cluster = PeerCluster.of(3, change)
        const node = cluster.node(nodeId)
        let isCut = false
        node.machine.crashAtChange(change, () => {
          isCut = true
          cluster.network.powerOff(node.host)
          cluster.onPowerLost(node)
        })
        cluster.startAll()
        await cluster.until(() => isCut || node.quorum !== undefined)
        isBeforeEnd = isCut
        node.machine.crashAtChange(Number.POSITIVE_INFINITY)
        if (isCut) await cluster.scheduler.runFor(200)
        if (isCut) cluster.start(node)
        await expectOneCluster(cluster, [1, 2, 3])
        await cluster.close()
        if (!isBeforeEnd) expect(change).toBeGreaterThan(20)
      }
    }
  })

  it('keep the cluster when the author dies after one other has the record', async () => {
    const cluster = PeerCluster.of(3)
    const [author, second, third] = cluster.nodes as [PeerNode, PeerNode, PeerNode]
    cluster.start(author)
    cluster.start(second)
    cluster.start(third)
    await cluster.until(() => second.formed !== undefined || third.formed !== undefined)
    const [informed, other] = second.formed ? [second, third] : [third, second]
    cluster.kill(author)
    cluster.kill(other)
    await cluster.scheduler.runFor(5000)
    cluster.start(other)
    await cluster.untilFormed([informed, other])
    await cluster.until(() => cluster.leader !== undefined)
    expect(clusterIds([informed, other]).size).toBe(1)
    expect(cluster.voters).toEqual([1, 2, 3])
    await cluster.close()
  })

  it('warn of lists that differ, naming both, until they are equal', async () => {
    const cluster = PeerCluster.of(3)
    const odd = cluster.node(3)
    odd.peers = ['n1', 'n3']
    cluster.startAll()
    await cluster.scheduler.runFor(25_000)
    expect(cluster.nodes.some(node => node.formed)).toBe(false)
    expect(cluster.node(1).messages).toContain(
      'the node at n3:7452 has other cluster.peers (n1:7452, n3:7452) than this node (n1:7452, n2:7452, n3:7452)',
    )
    expect(odd.messages).toContain('give all nodes the same list')
    const warnings = odd.events.filter(({ level }) => level === 'warn')
    expect(warnings.length).toBeGreaterThanOrEqual(2)
    expect(warnings.length).toBeLessThanOrEqual(4)
    cluster.kill(odd)
    odd.peers = cluster.node(1).peers
    cluster.start(odd)
    await expectOneCluster(cluster, [1, 2, 3])
    await cluster.close()
  })

  it('refuse to share a node id, both of them, and leave the third waiting', async () => {
    const cluster = new PeerCluster(1)
    const peers = ['a', 'b', 'c']
    const first = cluster.add({ nodeId: 1, host: 'a', peers })
    const second = cluster.add({ nodeId: 1, host: 'b', peers })
    const third = cluster.add({ nodeId: 3, host: 'c', peers })
    cluster.startAll()
    await cluster.until(() => first.error !== undefined && second.error !== undefined)
    await cluster.scheduler.runFor(1000)
    for (const { error } of [first, second]) {
      expect(error?.reason).toBe('INVALID_CONFIG')
      expect(error?.message).toMatch(/the nodes at [ab]:7452 and [ab]:7452 both have node.id 1/)
    }
    expect(third.error).toBeUndefined()
    expect(third.formed).toBeUndefined()
    await cluster.close()
  })

  it('say which entries are one and the same node', async () => {
    const cluster = PeerCluster.of(2)
    const [one, two] = cluster.nodes as [PeerNode, PeerNode]
    one.peers = two.peers = ['n1', 'n2', 'alias']
    cluster.startAll()
    cluster.alsoAt(two, 'alias')
    await cluster.until(() => one.messages.includes('are both node 2: list each node once'))
    expect(one.formed).toBeUndefined()
    await cluster.close()
  })

  it('make no cluster with a node that lists another one', async () => {
    const cluster = new PeerCluster(1)
    const mine = ['n1', 'n2', 'n3']
    const theirs = ['n3', 'n4', 'n5']
    for (const nodeId of [1, 2, 3]) cluster.add({ nodeId, peers: mine })
    for (const nodeId of [4, 5]) cluster.add({ nodeId, peers: theirs })
    for (const node of cluster.nodes.slice(2)) cluster.start(node)
    await cluster.scheduler.runFor(5000)
    expect(cluster.nodes.some(node => node.formed)).toBe(false)
    for (const node of cluster.nodes.slice(0, 2)) cluster.start(node)
    await cluster.untilFormed(cluster.nodes.slice(0, 3))
    await cluster.scheduler.runFor(15_000)
    // The third node belongs to a cluster now, and still they are not drawn into it.
    for (const nodeId of [4, 5]) {
      const node = cluster.node(nodeId)
      expect(node.formed).toBeUndefined()
      expect(node.messages).toContain('to join that cluster, list its peers here')
    }
    await cluster.close()
  })
})

describe('the founding of a cluster', () => {
  const self: Greeting = {
    protocolVersion: 1,
    nodeId: 2,
    directoryId: 'mine',
    address: 'b:1',
    peers: ['a:1', 'b:1'],
    members: [],
  }
  const peer: Greeting = { ...self, nodeId: 1, directoryId: 'theirs', address: 'a:1' }
  const founder = (nodeId: number, directoryId: string) => ({
    nodeId,
    directoryId,
    address: 'x:1',
    isVoter: true,
  })
  const founding = (clusterId: string, own = 'mine') => ({
    clusterId,
    author: 1,
    founders: [founder(1, 'theirs'), founder(2, own)],
  })

  /** The answers of rounds, by the nonces seen so far. */
  async function run(answer: (nonces: readonly string[]) => { greeting: Greeting; offer?: object }) {
    const cluster = PeerCluster.of(1)
    const { clock } = cluster.node(1).machine
    const nonces: string[] = []
    const former = new ClusterFormer({
      self: () => self,
      peers: self.peers,
      calls: {
        greet: async (_address, nonce) => {
          nonces.push(nonce)
          return { offer: undefined, ...answer(nonces) } as never
        },
      },
      clock,
      prng: cluster.prng,
      timing: PEER_TIMING,
      onEvent() {},
    })
    return cluster.scheduler.finish(former.run())
  }

  it('is taken with the nonce of the round, by who is a founder', async () => {
    const greeting = { ...peer, clusterId: 'one' }
    const found = await run(nonces => ({
      greeting,
      offer: { nonce: nonces.at(-1), founding: founding('one') },
    }))
    expect(found).toEqual({ clusterId: 'one', founding: founding('one') })
  })

  it('is not taken with an older nonce, of another cluster, or by who is no founder', async () => {
    const greeting = { ...peer, clusterId: 'one' }
    const old = await run(nonces =>
      nonces.length < 3
        ? { greeting: peer }
        : { greeting, offer: { nonce: nonces[0], founding: founding('one') } },
    )
    expect(old).toEqual({ clusterId: 'one', founding: undefined })
    const other = await run(nonces => ({
      greeting,
      offer: { nonce: nonces.at(-1), founding: founding('two') },
    }))
    expect(other).toEqual({ clusterId: 'one', founding: undefined })
    const wiped = await run(nonces => ({
      greeting,
      offer: { nonce: nonces.at(-1), founding: founding('one', 'the-disk-before') },
    }))
    expect(wiped).toEqual({ clusterId: 'one', founding: undefined })
  })

  it('does not come from a peer that belongs to no cluster', async () => {
    const found = await run(nonces =>
      nonces.length < 3
        ? { greeting: peer, offer: { nonce: nonces.at(-1), founding: founding('one') } }
        : { greeting: { ...peer, clusterId: 'two' } },
    )
    expect(found.clusterId).toBe('two')
  })
})
