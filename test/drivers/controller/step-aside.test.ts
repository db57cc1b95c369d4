import { expect, it } from 'vitest'
import { NodeCluster } from './node-cluster.ts'

it('a node that cannot write is fenced at once, and takes part again when it can', async () => {
  const cluster = await NodeCluster.start({ seed: 90, members: 3 })
  const [one, two] = cluster.others
  if (!one || !two) throw new Error('no other nodes')
  const topic = await cluster.createTopic(one.nodeId, two.nodeId)
  const sinceMs = cluster.nowMs
  await cluster.quorum.run(one.agent.stepAside(5000))
  expect(cluster.nowMs - sinceMs).toBeLessThan(100)
  expect(cluster.partition(topic)).toBe(`leader=${two.nodeId} isr=${two.nodeId}`)
  await cluster.runFor(10_000)
  expect(cluster.show()).toContain(`${one.nodeId}!`)
  // What it led, others lead, and its own metadata may be the last to say so: they wait for the same disk.
  expect(one.agent.lastHeardControllerMs).toBeUndefined()
  await cluster.quorum.run(one.agent.comeBack(5000))
  expect(one.agent.lastHeardControllerMs).toBeDefined()
  expect(cluster.show()).toBe('1 2 3')
  // Under its epoch: it is the same process, and nothing of it was lost.
  expect(cluster.epochOf(one.nodeId)).toBe(1)
})

it('a node that leaves has no lease from when it asks for that, whether it hears what came of it or not', async () => {
  const cluster = await NodeCluster.start({ seed: 92, members: 3 })
  const [one] = cluster.others
  if (!one) throw new Error('no other node')
  await cluster.runFor(1000)
  expect(one.agent.lastHeardControllerMs).toBeDefined()
  const left = one.agent.leave(5000)
  expect(one.agent.lastHeardControllerMs).toBeUndefined()
  await cluster.quorum.run(left)
  expect(cluster.show()).toContain(`${one.nodeId}!`)
  // Its part in the quorum goes on, and with it the proofs that would be its lease.
  await cluster.runFor(1000)
  expect(one.agent.lastHeardControllerMs).toBeUndefined()
})

it('a node that stepped aside stays so with the next controller', async () => {
  const cluster = await NodeCluster.start({ seed: 91, members: 3 })
  const [one] = cluster.others
  if (!one) throw new Error('no other node')
  await cluster.quorum.run(one.agent.stepAside(5000))
  const before = cluster.controller.nodeId
  cluster.kill(before)
  await cluster.until(() => cluster.quorum.leader !== undefined)
  await cluster.runFor(5000)
  expect(cluster.image()?.nodes.get(one.nodeId)?.isFenced).toBe(true)
  await cluster.quorum.run(one.agent.comeBack(5000))
  expect(cluster.image()?.nodes.get(one.nodeId)?.isFenced).toBe(false)
})
