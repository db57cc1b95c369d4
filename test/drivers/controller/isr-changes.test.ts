import { describe, expect, it } from 'vitest'
import { Controller } from '../../../src/wire/generated/internal-services.ts'
import { SimTransport } from '../../harness/sim-transport.ts'
import { NodeCluster, type NodeProcess } from './node-cluster.ts'

/** Three nodes, and a topic led by one that is not the controller. */
async function clusterWithTopic(seed: number) {
  const cluster = await NodeCluster.start({ seed, members: 3 })
  const [leader, follower] = cluster.others
  if (!leader || !follower) throw new Error('no other nodes')
  const ids = [leader, follower, cluster.controller].map(node => node.nodeId)
  const topic = await cluster.createTopic(...ids)
  return { cluster, leader, follower, topic, ids }
}

/** What the leader wishes by the metadata of now. */
function change(cluster: NodeCluster, topic: string, isr: readonly number[]) {
  const view = cluster.image()?.topics.byName(topic)
  const { leaderEpoch = 0, partitionEpoch = 0 } = view?.partition(0) ?? {}
  const members = isr.map(nodeId => ({ nodeId, nodeEpoch: cluster.epochOf(nodeId) }))
  return { topicId: `id-of-${topic}`, partition: 0, leaderEpoch, partitionEpoch, isr: members }
}

describe('a change of in-sync replicas', () => {
  it('is made by the controller, and its end shows in the metadata of the leader', async () => {
    const { cluster, leader, follower, topic } = await clusterWithTopic(60)
    const wish = change(cluster, topic, [leader.nodeId, follower.nodeId])
    const { run } = cluster.quorum
    expect(await run.call(cluster.quorum, leader.agent.alterPartitions([wish]))).toEqual([
      { kind: 'accepted' },
    ])
    expect(cluster.partition(topic)).toBe(`leader=${leader.nodeId} isr=${leader.nodeId},${follower.nodeId}`)
    const isApplied = () =>
      leader.member.driver?.image.topics.byName(topic)?.partition(0)?.partitionEpoch === 1
    await cluster.until(isApplied)
    // The same again, as after a lost answer: refused, by the epoch that it made itself.
    const gone = { ...wish, topicId: 'gone' }
    expect(await cluster.quorum.run(leader.agent.alterPartitions([wish, gone]))).toEqual([
      { kind: 'refused', partitionEpoch: 1, problem: 'the partition epoch is 1' },
      { kind: 'refused', partitionEpoch: 1, problem: 'the partition does not exist any more' },
    ])
  })

  it('is not refused by a controller that may have a successor, which could have accepted it', async () => {
    const { cluster, topic } = await clusterWithTopic(68)
    const { controller } = cluster
    const wish = { ...change(cluster, topic, [controller.nodeId]), partitionEpoch: 7 }
    const ask = () => cluster.quorum.run(controller.agent.alterPartitions([wish]))
    expect(await ask()).toMatchObject([{ kind: 'refused' }])
    cluster.quorum.isolate(controller.member)
    await expect(ask()).rejects.toMatchObject({ reason: 'NOT_CONTROLLER', outcome: 'unknown' })
  })

  it('is not known to have been made when the controller dies, and is judged anew by the next', async () => {
    const { cluster, leader, follower, topic } = await clusterWithTopic(61)
    const wish = change(cluster, topic, [leader.nodeId, follower.nodeId])
    const { nodeId } = cluster.controller
    const lost = leader.agent.alterPartitions([wish]).catch(error => error)
    cluster.kill(nodeId)
    expect(await cluster.quorum.run(lost)).toMatchObject({ reason: 'NOT_CONTROLLER', outcome: 'unknown' })
    await cluster.until(() => cluster.quorum.leader !== undefined)
    // Between two sessions there is nobody to ask: the owner of the change tries again.
    let answers: unknown
    const ask = async () => {
      answers = await leader.agent.alterPartitions([wish]).catch(() => undefined)
    }
    while (answers === undefined) {
      await cluster.quorum.run(ask())
      await cluster.runFor(50)
    }
    expect(answers).toMatchObject([{ kind: expect.stringMatching(/accepted|refused/) }])
    const state = cluster.image()?.topics.byName(topic)?.partition(0)
    expect(state?.isr).toEqual([leader.nodeId, follower.nodeId])
    expect(state?.partitionEpoch).toBe(1)
  })

  it('counts no more when it arrives late, on a stream that the node has replaced', async () => {
    const { cluster, leader, follower, topic } = await clusterWithTopic(62)
    const wish = change(cluster, topic, [leader.nodeId, follower.nodeId])
    const old = await oldStreamOf(cluster, leader, follower)
    const from = follower.member.machine.name
    cluster.quorum.network.slow(from, cluster.controller.member.machine.name, 1500)
    const { damagedNodeIds, ...rest } = { damagedNodeIds: [], ...wish }
    old.write(
      Controller.session.request.encode({
        requestId: 2,
        alterPartitions: { changes: [{ ...rest, damagedNodeIds }] },
      }),
    )
    await cluster.runFor(1000)
    // The node has a newer session, on which it hears that the change is refused, and drops it.
    const stale = { ...wish, leaderEpoch: 7 }
    expect(await cluster.quorum.run(leader.agent.alterPartitions([stale]))).toMatchObject([
      { kind: 'refused', partitionEpoch: 0 },
    ])
    await cluster.runFor(3000)
    expect(cluster.image()?.topics.byName(topic)?.partition(0)?.partitionEpoch).toBe(0)
  })

  it('of a leader that is cut off makes one of the others lead, once in five seconds', async () => {
    const { cluster, leader, follower, topic, ids } = await clusterWithTopic(63)
    const shrink = () => change(cluster, topic, [leader.nodeId])
    expect(await cluster.quorum.run(leader.agent.alterPartitions([shrink()]))).toMatchObject([
      { kind: 'refused', problem: expect.stringContaining('leads from now on') },
    ])
    const successor = ids.find(id => id !== leader.nodeId) as number
    expect(cluster.partition(topic)).toBe(`leader=${successor} isr=${ids}`)
    expect(successor).toBe(follower.nodeId)
    const again = change(cluster, topic, [successor])
    expect(await cluster.quorum.run(follower.agent.alterPartitions([again]))).toMatchObject([
      { kind: 'refused', partitionEpoch: 1 },
    ])
    await cluster.runFor(5000)
    await cluster.quorum.run(follower.agent.alterPartitions([again]))
    expect(cluster.image()?.topics.byName(topic)?.partition(0)?.leaderEpoch).toBe(2)
  })

  it('is accepted below the minimum when the others say that they do not reach each other', async () => {
    const { cluster, leader, follower, topic } = await clusterWithTopic(64)
    const third = cluster.controller.nodeId
    cluster.kill(follower.nodeId)
    await cluster.boot(follower.nodeId, { unreachableNodes: () => [third] })
    await cluster.until(() => cluster.node(follower.nodeId).isServing)
    const back = change(cluster, topic, [leader.nodeId, follower.nodeId, third])
    await cluster.quorum.run(leader.agent.alterPartitions([back]))
    await cluster.runFor(500)
    const alone = change(cluster, topic, [leader.nodeId])
    expect(await cluster.quorum.run(leader.agent.alterPartitions([alone]))).toEqual([{ kind: 'accepted' }])
  })
})

describe('a damaged replica', () => {
  it('is out of sync once its node has said so', async () => {
    const { cluster, leader, follower, topic } = await clusterWithTopic(65)
    const replicas = [{ topicId: `id-of-${topic}`, partition: 0 }]
    await cluster.quorum.run(leader.agent.reportDamage(replicas, 5000))
    const isr = [follower.nodeId, cluster.controller.nodeId]
    expect(cluster.partition(topic)).toBe(`leader=${follower.nodeId} isr=${isr}`)
  })
})

/** A session of the node's process that its agent does not know of, over another machine's way to the controller. */
async function oldStreamOf(cluster: NodeCluster, node: NodeProcess, by: NodeProcess) {
  const { machine } = by.member
  const transport = new SimTransport(cluster.quorum.network, machine.incarnation, machine.name)
  const stream = transport.connect(`n${cluster.controller.nodeId}:7452`).stream(Controller.session.path)
  let isRegistered = false
  stream.setHandlers({
    onMessage() {
      isRegistered = true
    },
  })
  const registered = cluster.image()?.nodes.get(node.nodeId)
  const { nodeId, directoryId, incarnation, clientAddress, peerAddress, release } = registered ?? {}
  const register = {
    clusterId: 'cluster',
    nodeId,
    directoryId,
    incarnation,
    clientAddress,
    peerAddress,
    release,
  }
  stream.write(Controller.session.request.encode({ requestId: 1, register }))
  await cluster.until(() => isRegistered)
  return stream
}
