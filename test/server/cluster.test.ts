import { describe, expect, test } from 'vitest'
import { Admin } from '../../src/wire/methods.ts'
import { refusalOf, type SimBroker } from '../harness/sim-broker.ts'
import { brokerOf, type ClusterNode, SimBrokerCluster } from '../harness/sim-broker-cluster.ts'

const describeCluster = (cluster: SimBrokerCluster, node: SimBroker) =>
  cluster.run(node.call(Admin.describeCluster, {}))

async function controllerOf(cluster: SimBrokerCluster): Promise<ClusterNode & { node: SimBroker }> {
  const { controllerId } = await describeCluster(cluster, cluster.any)
  const controller = cluster.running.find(member => member.nodeId === controllerId)
  if (!controller) throw new Error(`the controller, node ${controllerId}, does not run`)
  return controller
}

async function topicsOf(cluster: SimBrokerCluster, node: SimBroker): Promise<string[]> {
  const { topics } = await cluster.run(node.call(Admin.listTopics, {}))
  return topics.map(({ topic }) => topic)
}

/** As a client does whose call was on its way to a controller that died. */
async function createSurely(cluster: SimBrokerCluster, name: string): Promise<void> {
  const refused = await cluster.run(
    cluster.any.createTopic(name, {}, 2).then(
      () => undefined,
      error => error,
    ),
  )
  if (refused === undefined || refused.reason === 'TOPIC_ALREADY_EXISTS') return
  if (refused.outcome !== 'unknown') throw refused
  await createSurely(cluster, name)
}

describe('three nodes', () => {
  test('make one cluster, and each takes any call', async () => {
    const cluster = await SimBrokerCluster.start({ seed: 1, nodes: 3 })
    const ids = cluster.running.map(({ node }) => node.broker.identity?.clusterId)
    expect(new Set(ids).size).toBe(1)
    for (const { node, nodeId } of cluster.running) {
      await cluster.run(node.createTopic(`through-${nodeId}`, {}, 6))
      expect(await topicsOf(cluster, node)).toContain(`through-${nodeId}`)
    }
    const { nodes, partitionCount } = await describeCluster(cluster, cluster.any)
    expect(nodes.map(({ state, voter }) => ({ state, voter }))).toEqual(
      Array(3).fill({ state: 'ACTIVE', voter: true }),
    )
    expect(partitionCount).toBe(18)
  })

  test('lose their controller and go on, and lose nothing that was answered', async () => {
    const cluster = await SimBrokerCluster.start({ seed: 2, nodes: 3 })
    const made: string[] = []
    for (let round = 0; round < 4; round++) {
      const controller = await controllerOf(cluster)
      cluster.powerCut(controller)
      const name = `round-${round}`
      await createSurely(cluster, name)
      made.push(name)
      cluster.boot(controller)
      await cluster.serving(controller)
      expect(await topicsOf(cluster, brokerOf(controller))).toEqual(made)
    }
  })

  test('serve while one of them is killed, restarted and stopped in order', async () => {
    const cluster = await SimBrokerCluster.start({ seed: 3, nodes: 3 })
    const [first, second, third] = cluster.members as [ClusterNode, ClusterNode, ClusterNode]
    cluster.kill(first)
    await cluster.run(brokerOf(second).createTopic('a'))
    cluster.boot(first)
    await cluster.serving(first)
    await cluster.stop(third)
    await cluster.run(brokerOf(first).createTopic('b'))
    cluster.boot(third)
    await cluster.serving(third)
    for (const { node } of cluster.running) expect(await topicsOf(cluster, node)).toEqual(['a', 'b'])
  })

  test('are told of a node that is gone, and of its return', async () => {
    const cluster = await SimBrokerCluster.start({ seed: 4, nodes: 3 })
    const controller = await controllerOf(cluster)
    const gone = cluster.running.find(member => member.nodeId !== controller.nodeId) as ClusterNode
    const stateOf = (nodeId: number) => cluster.any.image.nodes.get(nodeId)?.isFenced
    const sinceMs = cluster.scheduler.nowMs
    cluster.kill(gone)
    await cluster.until(() => stateOf(gone.nodeId) === true)
    // A closed connection that is not back within the grace.
    expect(cluster.scheduler.nowMs - sinceMs).toBeLessThan(1_000)
    cluster.boot(gone)
    await cluster.serving(gone)
    await cluster.until(() => stateOf(gone.nodeId) === false)
  })

  test('refuse changes and still answer what they know when the majority is gone', async () => {
    const cluster = await SimBrokerCluster.start({ seed: 5, nodes: 3 })
    const [first, second, third] = cluster.members as [ClusterNode, ClusterNode, ClusterNode]
    await cluster.run(brokerOf(first).createTopic('logs'))
    await cluster.until(() => brokerOf(third).image.topics.count === 1)
    cluster.powerCut(first)
    cluster.powerCut(second)
    const refused = await cluster.run(refusalOf(brokerOf(third).createTopic('more')))
    expect(refused.retriable).toBe(true)
    expect(await topicsOf(cluster, brokerOf(third))).toEqual(['logs'])
    cluster.boot(second)
    await cluster.serving(second)
    await cluster.run(brokerOf(third).createTopic('even-more'))
  })

  test('take the lead from a controller whose disk hangs, which still answers heartbeats', async () => {
    const cluster = await SimBrokerCluster.start({ seed: 8, nodes: 3 })
    const hanging = await controllerOf(cluster)
    hanging.machine.image.syncLatencyMs = { min: 60_000, max: 60_000 }
    const other = cluster.running.find(member => member.nodeId !== hanging.nodeId) as ClusterNode
    // Something for the disk to hang on.
    brokerOf(other)
      .createTopic('first')
      .catch(() => {})
    const leaderId = () => brokerOf(other).quorum?.leaderId
    await cluster.until(() => leaderId() !== undefined && leaderId() !== hanging.nodeId, 10_000)
    await cluster.run(brokerOf(other).createTopic('second'))
  })

  test('find a controller that drains its clients still serving its peers', async () => {
    const cluster = await SimBrokerCluster.start({ seed: 9, nodes: 3 })
    const draining = await controllerOf(cluster)
    brokerOf(draining).broker.startDraining()
    const other = cluster.running.find(member => member.nodeId !== draining.nodeId) as ClusterNode
    cluster.kill(other)
    cluster.boot(other)
    await cluster.serving(other)
    expect(brokerOf(other).quorum?.leaderId).toBe(draining.nodeId)
    await cluster.run(brokerOf(other).createTopic('logs'))
  })

  test('take a wiped node back as a voter, and a fourth as a learner', async () => {
    const cluster = await SimBrokerCluster.start({ seed: 6, nodes: 3 })
    const [, wiped] = cluster.members as [ClusterNode, ClusterNode]
    await cluster.run(cluster.any.createTopic('logs', {}, 6))
    cluster.powerCut(wiped)
    await wiped.machine.run(disk => disk.removeDirectory('data'))
    wiped.machine.kill()
    cluster.boot(wiped)
    const fourth = cluster.addMachine()
    cluster.boot(fourth)
    await cluster.serving(wiped, fourth)
    await cluster.until(() => {
      const membership = cluster.any.quorum?.status.membership
      return membership?.voters.length === 3 && membership.learners.length === 1
    })
    for (const { node } of cluster.running) expect(await topicsOf(cluster, node)).toEqual(['logs'])
  })
})

test('nodes that wait for others say so, and stop when told to', async () => {
  const cluster = new SimBrokerCluster({ seed: 7, nodes: 3 })
  const [first, second] = cluster.members as [ClusterNode, ClusterNode]
  cluster.boot(first)
  cluster.boot(second)
  await cluster.scheduler.runFor(20_000)
  const waiting = await cluster.run(refusalOf(brokerOf(first).call(Admin.listTopics, {})))
  expect(waiting).toMatchObject({ reason: 'NODE_STARTING' })
  expect(brokerOf(first).log.some(line => line.message.includes('wait'))).toBe(true)
  const failed = refusalOf(first.started)
  await cluster.run(brokerOf(first).broker.close())
  expect(await cluster.run(failed)).toMatchObject({ reason: 'NODE_DRAINING' })
})
