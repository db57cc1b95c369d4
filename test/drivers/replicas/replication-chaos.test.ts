import { expect, test } from 'vitest'
import { NaruError } from '../../../src/base/errors.ts'
import { SeededPrng } from '../../harness/seeded-prng.ts'
import { ReplicaCluster, type ReplicaNode } from './replica-cluster.ts'
import { TOPIC_ID } from './scripted-controller.ts'

const SEEDS = 40
const ROUNDS = 80

/** What one run did, to show that things really happen. */
interface Report {
  acknowledged: number
  unknown: number
  crashes: number
  leaderEpochs: number
}

/**
 * Whole replica sets, with their logs, streams and disks, under one seed: processes are killed, power fails, links are
 * cut, leadership moves. At the end all heals: what was acknowledged is there, once, in the order of its offsets, and
 * all three logs are the same.
 */
async function chaos(seed: number): Promise<Report> {
  const prng = new SeededPrng(seed)
  const cluster = await ReplicaCluster.start({
    seed,
    logLimits: { tailBytesMax: prng.pick([0, 4_000, 1_000_000]) },
  })
  cluster.controller.createTopic({ settings: { 'min.insync.replicas': String(prng.pick([1, 2, 2])) } })
  const report = { acknowledged: 0, unknown: 0, crashes: 0, leaderEpochs: 0 }
  const acknowledged = new Map<number, string>()
  let last = 0

  const produce = (): void => {
    for (const node of cluster.nodes) {
      const leader = node.replicas?.leader(TOPIC_ID, 0)
      if (!leader) continue
      const value = `v${++last}`
      cluster.produce(leader, value).then(
        outcome => {
          if (outcome.kind === 'failed') report.unknown++
          else {
            report.acknowledged++
            checkDurable(cluster, outcome.baseOffset)
            expect(acknowledged.get(outcome.baseOffset) ?? value).toBe(value)
            acknowledged.set(outcome.baseOffset, value)
          }
        },
        thrown => {
          if (!(thrown instanceof NaruError)) throw thrown
        },
      )
    }
  }

  const powerCut = (node: ReplicaNode): void => {
    if (!node.replicas) return
    report.crashes++
    cluster.network.powerOff(node.host)
    cluster.powerCut(node)
  }

  const crash = (node: ReplicaNode): void => {
    if (!node.replicas) return
    if (prng.chance(0.5)) powerCut(node)
    else {
      report.crashes++
      cluster.kill(node)
    }
    if (prng.chance(0.7)) cluster.controller.fence(node.nodeId)
  }

  const harm = async (): Promise<void> => {
    const node = prng.pick(cluster.nodes)
    if (prng.chance(0.1)) crash(node)
    // The power of the whole place.
    if (prng.chance(0.03)) for (const one of cluster.nodes) powerCut(one)
    if (prng.chance(0.4)) {
      const down = cluster.nodes.find(one => !one.replicas)
      if (down) await cluster.boot(down)
    }
    if (prng.chance(0.1)) cluster.network.cut(node.host, prng.pick(cluster.nodes).host)
    if (prng.chance(0.1)) cluster.network.heal()
    if (prng.chance(0.05)) cluster.network.reset(node.host, prng.pick(cluster.nodes).host)
    if (prng.chance(0.1)) node.isDeaf = !node.isDeaf
    const { isr } = cluster.controller.partition()
    if (prng.chance(0.1) && isr.includes(node.nodeId) && node.replicas) cluster.controller.lead(node.nodeId)
  }

  for (let round = 0; round < ROUNDS; round++) {
    for (let count = prng.uint32() % 4; count > 0; count--) {
      produce()
      await cluster.scheduler.runFor(prng.fraction())
    }
    // So that harm comes in the middle of things, or when all is calm.
    await cluster.scheduler.runFor(prng.fraction() * prng.pick([2, 2, 20, 400]))
    await harm()
  }
  cluster.network.heal()
  for (const node of cluster.nodes) {
    node.isDeaf = false
    if (node.replicas) cluster.applyLater(node)
    else await cluster.boot(node)
    cluster.controller.unfence(node.nodeId)
  }
  const isServed = () => {
    const { isr, leader, leaderEpoch } = cluster.controller.partition()
    const serving = leader === null ? undefined : cluster.node(leader).replicas?.leader(TOPIC_ID, 0)
    return isr.length === 3 && serving?.leaderEpoch === leaderEpoch
  }
  await cluster.until(isServed, 60_000)
  const leader = cluster.controller.partition().leader ?? 0
  await cluster.run(cluster.produce(cluster.leader(leader), 'the end'))
  // A member that had not followed the newest leader yet may have left meanwhile, and comes back.
  await cluster.until(isServed, 60_000)
  const values = await cluster.values(leader)
  for (const [offset, value] of acknowledged) expect(values[offset], `offset ${offset}`).toBe(value)
  for (const node of cluster.nodes) {
    expect(await cluster.values(node.nodeId)).toEqual(values)
    expect(node.events.filter(event => event.kind === 'quarantined' || event.kind === 'offline')).toEqual([])
  }
  report.leaderEpochs = cluster.controller.partition().leaderEpoch
  return report
}

/** Promise 1: the record is on the disks of all in-sync replicas; those that are down have had it before. */
function checkDurable(cluster: ReplicaCluster, offset: number): void {
  for (const nodeId of cluster.controller.partition().isr) {
    const logs = [...(cluster.node(nodeId).directory?.logs ?? [])]
    const log = logs.find(one => one.name === 'logs-0')
    if (log)
      expect(log.syncedEndOffset, `node ${nodeId} has offset ${offset} on its disk`).toBeGreaterThan(offset)
  }
}

test(`nothing that was acknowledged is lost or moved, and the replicas become the same: ${SEEDS} seeds`, async () => {
  const total: Report = { acknowledged: 0, unknown: 0, crashes: 0, leaderEpochs: 0 }
  for (let seed = 0; seed < SEEDS; seed++) {
    try {
      const report = await chaos(seed)
      for (const key of Object.keys(total) as (keyof Report)[]) total[key] += report[key]
    } catch (error) {
      throw new Error(`seed ${seed}: ${(error as Error).message}`, { cause: error })
    }
  }
  expect(total.acknowledged).toBeGreaterThan(SEEDS * 10)
  expect(total.unknown).toBeGreaterThan(SEEDS)
  expect(total.crashes).toBeGreaterThan(SEEDS * 2)
  expect(total.leaderEpochs).toBeGreaterThan(SEEDS * 2)
}, 120_000)
