import { expect, it } from 'vitest'
import { PeerReach } from '../../../src/drivers/controller/peer-reach.ts'
import { SimTransport } from '../../harness/sim-transport.ts'
import { NodeCluster, type NodeProcess } from './node-cluster.ts'

function reachOf(cluster: NodeCluster, node: NodeProcess, isHeard?: (nodeId: number) => boolean): PeerReach {
  const { machine, driver: quorum } = node.member
  if (!quorum) throw new Error('it does not run')
  return new PeerReach({
    quorum,
    clock: machine.clock,
    transport: new SimTransport(cluster.quorum.network, machine.incarnation, machine.name),
    addressOfNode: nodeId => `n${nodeId}:7452`,
    ...(isHeard && { isHeard }),
  })
}

it('a node tells whom it does not reach, until it does, and vouches for nobody unseen', async () => {
  const cluster = await NodeCluster.start({ seed: 80, members: 3 })
  const [one, two] = cluster.others
  if (!one || !two) throw new Error('no other nodes')
  const reach = reachOf(cluster, one)
  expect(reach.unreachable).not.toEqual([])
  await cluster.until(() => reach.unreachable.length === 0)
  const { network } = cluster.quorum
  network.cut(one.member.machine.name, two.member.machine.name)
  await cluster.until(() => reach.unreachable.length > 0)
  expect(reach.unreachable).toEqual([two.nodeId])
  // It is heard by the controller still, and so in the cluster.
  await cluster.runFor(5000)
  expect(cluster.show()).toBe('1 2 3')
  expect(reach.unreachable).toEqual([two.nodeId])
  network.heal()
  await cluster.until(() => reach.unreachable.length === 0)
  reach.close()
})

it('a node that is heard is reached without a ping, and one that was heard is not for ever', async () => {
  const cluster = await NodeCluster.start({ seed: 82, members: 3 })
  const [one, two] = cluster.others
  if (!one || !two) throw new Error('no other nodes')
  const heard = new Set([two.nodeId])
  cluster.quorum.network.cut(one.member.machine.name, two.member.machine.name)
  const reach = reachOf(cluster, one, nodeId => heard.has(nodeId))
  await cluster.until(() => reach.unreachable.length === 0)
  await cluster.runFor(5000)
  expect(reach.unreachable).toEqual([])
  heard.clear()
  await cluster.until(() => reach.unreachable.length > 0)
  expect(reach.unreachable).toEqual([two.nodeId])
  reach.close()
})

it('a node that is fenced is none that others should reach', async () => {
  const cluster = await NodeCluster.start({ seed: 81, members: 3 })
  const [one, two] = cluster.others
  if (!one || !two) throw new Error('no other nodes')
  const reach = reachOf(cluster, one)
  await cluster.until(() => reach.unreachable.length === 0)
  cluster.kill(two.nodeId)
  await cluster.until(() => one.member.driver?.image.nodes.get(two.nodeId)?.isFenced === true)
  expect(reach.unreachable).toEqual([])
  reach.close()
})
