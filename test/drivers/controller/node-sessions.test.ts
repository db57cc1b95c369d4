import { describe, expect, it } from 'vitest'
import { decodeNodeReport } from '../../../src/drivers/controller/node-report.ts'
import { NodeCluster, type NodeProcess } from './node-cluster.ts'

describe('nodes', () => {
  it('register with the controller and are unfenced, the controller itself among them', async () => {
    const cluster = await NodeCluster.start({ seed: 1, members: 3 })
    expect(cluster.show()).toBe('1 2 3')
    for (const node of cluster.nodes.values()) {
      expect(node.agent.nodeEpoch).toBe(1)
      await cluster.until(() => !node.agent.isFenced)
    }
    const one = cluster.image()?.nodes.get(1)
    expect(one).toMatchObject({ release: '0.1.0', peerAddress: 'n1:7452', directoryId: 'disk1' })
    expect(one?.registeredAtMs).toBeGreaterThanOrEqual(1_700_000_000_000)
    await cluster.runFor(30_000)
    expect(cluster.show()).toBe('1 2 3')
    expect(cluster.log.filter(line => line.includes('fenced'))).toEqual([])
  })

  it('tell the controller through Raft how far they are and whom they cannot reach', async () => {
    const cluster = await NodeCluster.start({ seed: 2, members: 3 })
    const [one] = cluster.others
    if (!one) throw new Error('no other node')
    cluster.kill(one.nodeId)
    await cluster.boot(one.nodeId, { unreachableNodes: () => [7] })
    await cluster.until(() => cluster.node(one.nodeId).isServing)
    await cluster.runFor(500)
    const { driver } = await cluster.quorum.awaitLeader()
    const status = driver.status.members.find(member => member.member === one.member.id)
    expect(decodeNodeReport(status?.attachment)).toEqual({
      nodeEpoch: 2,
      appliedIndex: driver.image.appliedEndIndex,
      unreachableNodeIds: [7],
    })
  })

  it('stay fenced until their partitions are open', async () => {
    const cluster = await NodeCluster.start({ seed: 3, members: 3 })
    const [one] = cluster.others
    if (!one) throw new Error('no other node')
    cluster.kill(one.nodeId)
    let open = () => {}
    const opened = new Promise<void>(resolve => {
      open = resolve
    })
    await cluster.boot(one.nodeId, { openPartitions: () => opened })
    await cluster.runFor(10_000)
    expect(cluster.image()?.nodes.get(one.nodeId)).toMatchObject({ nodeEpoch: 2, isFenced: true })
    open()
    await cluster.until(() => cluster.node(one.nodeId).isServing)
    expect(cluster.show()).toBe('1 2 3')
  })

  it('are not unfenced while the controller does not hear them', async () => {
    const cluster = await NodeCluster.start({ seed: 4, members: 3 })
    const [one] = cluster.others
    if (!one) throw new Error('no other node')
    cluster.kill(one.nodeId)
    await cluster.until(() => cluster.image()?.nodes.get(one.nodeId)?.isFenced === true)
    const fences = fencesOf(cluster)
    const deaf = await cluster.boot(one.nodeId)
    // It gets everything and answers nothing that says whose answer it is.
    if (deaf.member.driver) deaf.member.driver.attach = () => {}
    await cluster.runFor(10_000)
    expect(cluster.image()?.nodes.get(one.nodeId)?.isFenced).toBe(true)
    expect(fencesOf(cluster)).toBe(fences)
  })
})

describe('a node that is killed', () => {
  it('is fenced after the grace, and others lead what it led', async () => {
    const cluster = await NodeCluster.start({ seed: 5, members: 3 })
    const [one, two] = cluster.others
    if (!one || !two) throw new Error('no other nodes')
    const topic = await cluster.createTopic(one.nodeId, two.nodeId)
    expect(cluster.partition(topic)).toBe(`leader=${one.nodeId} isr=${one.nodeId},${two.nodeId}`)
    cluster.kill(one.nodeId)
    const tookMs = await cluster.timeUntil(() => cluster.image()?.nodes.get(one.nodeId)?.isFenced === true)
    expect(tookMs).toBeGreaterThan(250)
    expect(tookMs).toBeLessThan(500)
    expect(cluster.partition(topic)).toBe(`leader=${two.nodeId} isr=${two.nodeId}`)
  })

  it('is fenced after the session timeout when it says no goodbye', async () => {
    const cluster = await NodeCluster.start({ seed: 6, members: 3 })
    const [one] = cluster.others
    if (!one) throw new Error('no other node')
    cluster.quorum.powerCut(one.member)
    const tookMs = await cluster.timeUntil(() => cluster.image()?.nodes.get(one.nodeId)?.isFenced === true)
    expect(tookMs).toBeGreaterThan(1800)
    expect(tookMs).toBeLessThan(2300)
  })

  it('comes back as a new process with a higher epoch, within the grace too, and is never seen unfenced before it is ready', async () => {
    const cluster = await NodeCluster.start({ seed: 7, members: 3 })
    const [one, two] = cluster.others
    if (!one || !two) throw new Error('no other nodes')
    const topic = await cluster.createTopic(one.nodeId, two.nodeId)
    cluster.kill(one.nodeId)
    await cluster.boot(one.nodeId)
    await cluster.until(() => cluster.node(one.nodeId).isServing)
    expect(cluster.node(one.nodeId).agent.nodeEpoch).toBe(2)
    expect(cluster.show()).toBe('1 2 3')
    // Its place in the ISR it has to earn anew.
    expect(cluster.partition(topic)).toBe(`leader=${two.nodeId} isr=${two.nodeId}`)
  })
})

describe('a stream that breaks', () => {
  it('and is back within the grace changes nothing', async () => {
    const cluster = await NodeCluster.start({ seed: 8, members: 3 })
    const [one] = cluster.others
    if (!one) throw new Error('no other node')
    const fences = fencesOf(cluster)
    cluster.quorum.network.reset(one.member.machine.name, cluster.controller.member.machine.name)
    await cluster.runFor(5000)
    expect(cluster.show()).toBe('1 2 3')
    expect(fencesOf(cluster)).toBe(fences)
    expect(one.agent.nodeEpoch).toBe(1)
    expect(registrationsOf(cluster, one.nodeId)).toBe(2)
  })

  it('and is not back fences the node when its lease is over; it registers again under its epoch when it can', async () => {
    const cluster = await NodeCluster.start({ seed: 9, members: 3 })
    const [one] = cluster.others
    if (!one) throw new Error('no other node')
    const [self, controller] = [one.member.machine.name, cluster.controller.member.machine.name]
    cluster.quorum.network.cut(self, controller)
    cluster.quorum.network.cut(controller, self)
    cluster.quorum.network.reset(self, controller)
    await cluster.until(() => cluster.image()?.nodes.get(one.nodeId)?.isFenced === true)
    expect(leaseMsOf(one)).toBeLessThanOrEqual(0)
    cluster.quorum.network.heal()
    await cluster.until(() => cluster.show() === '1 2 3')
    expect(cluster.epochOf(one.nodeId)).toBe(1)
    expect(one.ended).toBeUndefined()
  })
})

describe('a new controller', () => {
  it('takes over the nodes with their epochs, and fences the node of the one that was killed', async () => {
    const cluster = await NodeCluster.start({ seed: 10, members: 3 })
    const former = cluster.controller.nodeId
    const [one, two] = cluster.others.map(node => node.nodeId)
    const topic = await cluster.createTopic(former, one as number, two as number)
    cluster.kill(former)
    const tookMs = await cluster.timeUntil(() => cluster.image()?.nodes.get(former)?.isFenced === true)
    // The connection to it closed, so nobody waits for a session: the grace, and an election within it.
    expect(tookMs).toBeLessThan(1000)
    expect(cluster.partition(topic)).toBe(`leader=${one} isr=${one},${two}`)
    await cluster.runFor(10_000)
    for (const nodeId of [one, two]) {
      expect(cluster.image()?.nodes.get(nodeId as number)).toMatchObject({ nodeEpoch: 1, isFenced: false })
      expect(registrationsOf(cluster, nodeId as number)).toBe(2)
    }
  })

  it('and another one after it lose nobody', async () => {
    const cluster = await NodeCluster.start({ seed: 11, members: 5 })
    for (let round = 0; round < 2; round++) {
      const { nodeId } = cluster.controller
      cluster.kill(nodeId)
      await cluster.until(() => cluster.image()?.nodes.get(nodeId)?.isFenced === true)
    }
    await cluster.runFor(10_000)
    expect(cluster.show().match(/!/g)).toHaveLength(2)
    expect(fencesOf(cluster)).toBe(2)
  })

  it('gets the nodes over from one that said no goodbye', async () => {
    const cluster = await NodeCluster.start({ seed: 14, members: 3 })
    const former = cluster.controller
    const others = cluster.others.map(node => node.nodeId)
    cluster.quorum.powerCut(former.member)
    await cluster.until(() => cluster.quorum.leader !== undefined)
    await cluster.until(() => others.every(nodeId => registrationsOf(cluster, nodeId) === 2))
    await cluster.until(() => cluster.image()?.nodes.get(former.nodeId)?.isFenced === true)
    expect(fencesOf(cluster)).toBe(1)
  })

  it('leaves the former one in peace when it only handed the quorum over', async () => {
    const cluster = await NodeCluster.start({ seed: 12, members: 3 })
    const { nodeId, member } = cluster.controller
    const heir = cluster.others[0]?.member.id as string
    await cluster.quorum.run(member.driver?.transfer(heir) ?? Promise.resolve())
    await cluster.until(() => cluster.quorum.leader !== undefined && cluster.controller.nodeId !== nodeId)
    await cluster.runFor(10_000)
    expect(cluster.show()).toBe('1 2 3')
    expect(fencesOf(cluster)).toBe(0)
  })

  it('fences the node of the one before it only when its lease is over, whoever of its voters heard that one last', async () => {
    for (let seed = 15; seed < 23; seed++) {
      const cluster = await NodeCluster.start({ seed, members: 3 })
      const { controller: former, others, quorum } = cluster
      const { network } = quorum
      for (const { member } of others) {
        network.cut(former.member.machine.name, member.machine.name)
        network.cut(member.machine.name, former.member.machine.name)
        await cluster.runFor(500)
      }
      await cluster.until(() => cluster.image()?.nodes.get(former.nodeId)?.isFenced === true)
      expect(leaseMsOf(former), `seed ${seed}`).toBeLessThanOrEqual(0)
    }
  })

  it('waits for that lease also where the connections of the one before it were reset, and then cut', async () => {
    for (let seed = 23; seed < 27; seed++) {
      const cluster = await NodeCluster.start({ seed, members: 3 })
      const { controller: former, others, quorum } = cluster
      // Somebody on the way says that it cannot be reached.
      quorum.network.dialTimeoutMs = 50
      quorum.isolate(former.member)
      for (const { member } of others) quorum.network.reset(former.member.machine.name, member.machine.name)
      await cluster.until(() => cluster.image()?.nodes.get(former.nodeId)?.isFenced === true)
      expect(leaseMsOf(former), `seed ${seed}`).toBeLessThanOrEqual(0)
    }
  })

  it('that stood still expels nobody on waking', async () => {
    const cluster = await NodeCluster.start({ seed: 13, members: 3 })
    const { incarnation, nodeId } = cluster.controller
    for (const stillMs of [400, 900, 1900, 8000]) {
      incarnation.pause()
      await cluster.runFor(stillMs)
      incarnation.resume()
      await cluster.until(() => cluster.quorum.leader !== undefined)
      await cluster.runFor(5000)
    }
    const fenced = cluster.log.filter(line => line.includes('are fenced'))
    // Others took over while it stood still, and may have fenced it; it fenced nobody.
    expect(fenced.filter(line => line.startsWith(`${nodeId} `))).toEqual([])
    expect(cluster.show()).toBe('1 2 3')
  })
})

/** What is left of it (C12). */
function leaseMsOf({ agent, member }: NodeProcess): number {
  return (agent.lastHeardControllerMs ?? 0) + 2000 - member.machine.clock.monotonicMs()
}

function fencesOf(cluster: NodeCluster): number {
  return cluster.log.filter(line => line.includes('are fenced')).length
}

function registrationsOf(cluster: NodeCluster, nodeId: number): number {
  return cluster.log.filter(line => line.includes('has registered') && line.includes(`"nodeId":${nodeId},`))
    .length
}
