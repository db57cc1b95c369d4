import { expect, it } from 'vitest'
import { SeededPrng } from '../../harness/seeded-prng.ts'
import { NodeCluster } from './node-cluster.ts'

const SEEDS = Array.from({ length: 12 }, (_, i) => 100 + i)
const ROUNDS = 12

/** Any way to lose a node, its connections or time, one after another; then everything heals, and all must take part. */
it.each(SEEDS)('after any faults, every node takes part again under its own epoch (seed %i)', async seed => {
  const cluster = await NodeCluster.start({ seed, members: 3 })
  const prng = new SeededPrng(seed).fork('faults')
  const { network } = cluster.quorum
  for (let round = 0; round < ROUNDS; round++) {
    const node = cluster.node(1 + (prng.uint32() % 3))
    const other = cluster.node(1 + (prng.uint32() % 3))
    const { machine } = node.member
    const durationMs = 50 + prng.fraction() * 4000
    switch (prng.uint32() % 6) {
      case 0:
        cluster.kill(node.nodeId)
        await cluster.runFor(durationMs)
        await cluster.boot(node.nodeId)
        break
      case 1:
        cluster.quorum.powerCut(node.member)
        await cluster.runFor(durationMs)
        await cluster.boot(node.nodeId)
        break
      case 2:
        cluster.quorum.isolate(node.member)
        await cluster.runFor(durationMs)
        network.heal()
        break
      case 3:
        node.incarnation.pause()
        await cluster.runFor(durationMs)
        node.incarnation.resume()
        break
      case 4:
        network.cut(machine.name, other.member.machine.name)
        await cluster.runFor(durationMs)
        network.heal()
        break
      default:
        network.reset(machine.name, other.member.machine.name)
    }
    if (prng.fraction() < 0.5) await cluster.runFor(prng.fraction() * 1000)
  }
  const takesPart = (nodeId: number) => {
    const { agent } = cluster.node(nodeId)
    const image = cluster.image()?.nodes.get(nodeId)
    return image?.isFenced === false && image.nodeEpoch === agent.nodeEpoch && !agent.isFenced
  }
  await cluster.until(() => [1, 2, 3].every(takesPart))
  await cluster.runFor(10_000)
  expect([1, 2, 3].filter(takesPart)).toEqual([1, 2, 3])
  for (const node of cluster.nodes.values()) expect(node.ended).toBeUndefined()
})
