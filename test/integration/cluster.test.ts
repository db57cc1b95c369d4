import { expect, it } from 'vitest'
import { type Client, connect } from '../../src/server/client.ts'
import { RealCluster, type RealNode } from '../harness/real-cluster.ts'

/** The topics that a node knows of, by one client that talks to that node alone at first. */
async function topicsAt(address: string): Promise<string[]> {
  await using client = await connect(address)
  return (await client.admin().listTopics()).map(({ name }) => name)
}

async function controllerOf(cluster: RealCluster, client: Client): Promise<RealNode> {
  const { controller: controllerId } = await client.admin().describeCluster()
  const controller = cluster.members.find(({ nodeId }) => nodeId === controllerId)
  if (!controller) throw new Error(`node ${controllerId} is none of the cluster`)
  return controller
}

it('three nodes make a cluster, and any of them makes a topic that all know', async () => {
  await using cluster = await RealCluster.start({ nodes: 3 })
  for (const [at, address] of cluster.addresses.entries()) {
    await using client = await connect(address)
    await client.admin().createTopics([{ name: `topic-${at}`, partitions: 6 }])
  }
  for (const address of cluster.addresses)
    expect(await topicsAt(address)).toEqual(expect.arrayContaining(['topic-0', 'topic-1', 'topic-2']))
})

it('a controller that stops in order is followed, and is let in again', async () => {
  await using cluster = await RealCluster.start({ nodes: 3 })
  await using client = await connect(cluster.addresses)
  const made: string[] = []
  for (const round of [1, 2, 3]) {
    const controller = await controllerOf(cluster, client)
    await cluster.stopNode(controller)
    await client.admin().createTopics([{ name: `round-${round}`, partitions: 3 }])
    made.push(`round-${round}`)
    await cluster.startNode(controller)
    expect(await topicsAt(controller.node?.addresses.client ?? '')).toEqual(made)
  }
})
