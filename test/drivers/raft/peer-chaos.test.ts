import { describe, expect, it } from 'vitest'
import { PeerCluster, type PeerNode } from './peer-cluster.ts'

const EVENTS = 14
const counts = { wipes: 0, moves: 0 }

/**
 * Nodes are killed, lose power or their disks, move to other addresses, and are cut off, from before the cluster is made
 * on. Disks are lost one at a time, and only when the one before is made up for. In the end all are members of one
 * cluster again, the listed ones voters, under the names that they have now.
 */
async function run(seed: number): Promise<void> {
  const cluster = PeerCluster.of(3, seed)
  const { prng, scheduler, network } = cluster
  const nodeOf = () => cluster.nodes[Math.floor(prng.fraction() * cluster.nodes.length)] as PeerNode
  const clusters = new Set<string>()
  scheduler.observe(() => {
    for (const { formed, error } of cluster.nodes) {
      if (error) throw error
      if (formed) clusters.add(formed.identity.clusterId)
    }
  })
  cluster.startAll()
  for (let event = 0; event < EVENTS; event++) {
    await scheduler.runFor(prng.fraction() ** 3 * 6000)
    const node = nodeOf()
    const wasWhole = isWhole(cluster)
    const wasFormed = node.formed !== undefined
    switch (Math.floor(prng.fraction() * 5)) {
      case 0:
        cluster.kill(node)
        break
      case 1:
        cluster.powerCut(node)
        break
      case 2:
        if (!wasWhole) break
        cluster.wipe(node)
        counts.wipes++
        break
      case 3:
        // At most one: a list of which no address is right any more leads a node with an empty disk nowhere.
        cluster.kill(node)
        if (node.nodeId === 2 && wasFormed) node.host = `moved-${++counts.moves}`
        break
      case 4:
        for (const other of cluster.nodes) network.cut(node.host, other.host)
        await scheduler.runFor(prng.fraction() * 3000)
        network.heal()
        break
    }
    await scheduler.runFor(prng.fraction() * 2000)
    for (const other of cluster.nodes) if (!other.network) cluster.start(other)
  }
  network.heal()
  await cluster.until(() => isWhole(cluster), 120_000)
  expect(clusters.size).toBe(1)
  await cluster.close()
}

/** All run, and are the voters under the names that they have now. */
function isWhole(cluster: PeerCluster): boolean {
  const membership = cluster.leader?.quorum?.status.membership
  const selves = cluster.nodes.map(node => node.quorum?.self).sort()
  return (
    membership !== undefined &&
    membership.learners.length === 0 &&
    JSON.stringify(membership.voters) === JSON.stringify(selves) &&
    cluster.nodes.every(node => node.quorum?.clusterId === cluster.leader?.quorum?.clusterId)
  )
}

describe('whatever happens to the nodes', () => {
  it.each([1, 2, 3, 4, 5, 6, 7, 8])('they stay one cluster, or come to be it again (seed %i)', run)

  it('has been much', () => {
    expect(counts.wipes).toBeGreaterThan(2)
    expect(counts.moves).toBeGreaterThan(2)
  })
})
