import { describe, expect, it } from 'vitest'
import { connectClient } from '../../src/client/client.ts'
import type { Client } from '../../src/client/index.ts'
import { SeededPrng } from '../harness/seeded-prng.ts'
import { type ClusterNode, SimBrokerCluster } from '../harness/sim-broker-cluster.ts'
import { SimMachine } from '../harness/sim-machine.ts'
import { SimTransport } from '../harness/sim-transport.ts'

const TOPIC = 'logs'
const PARTITIONS = 3

/** A program with the SDK on a machine of its own. */
async function connectFrom(cluster: SimBrokerCluster, seed: number): Promise<Client> {
  const { scheduler, network, members } = cluster
  const prng = new SeededPrng(seed)
  const machine = new SimMachine(0, { name: 'program', scheduler, prng: prng.fork('machine') })
  const { incarnation, clock, name } = machine
  const transport = new SimTransport(network, incarnation, name)
  const bootstrap = members.map(member => `${member.machine.name}:7450`)
  return await cluster.run(connectClient(bootstrap, {}, { transport, clock, prng: prng.fork('sdk') }))
}

/** Sends to each partition, awaiting each record. */
class AwaitingWriters {
  readonly acknowledgedMs: number[][] = Array.from({ length: PARTITIONS }, () => [])
  readonly failures: unknown[] = []
  readonly #cluster: SimBrokerCluster
  readonly #running: Promise<unknown>
  #isStopped = false

  constructor(cluster: SimBrokerCluster, client: Client) {
    this.#cluster = cluster
    const producer = client.producer()
    this.#running = Promise.all(
      this.acknowledgedMs.map(async (acknowledgedMs, partition) => {
        while (!this.#isStopped) {
          try {
            await producer.send({ topic: TOPIC, partition, value: 'a value' })
            acknowledgedMs.push(cluster.scheduler.nowMs)
          } catch (thrown) {
            this.failures.push(thrown)
          }
        }
      }),
    )
  }

  async stop(): Promise<void> {
    this.#isStopped = true
    await this.#cluster.run(this.#running)
  }

  /** The longest time without an acknowledgement in any partition. */
  get gapMs(): number {
    const gaps = this.acknowledgedMs.flatMap(times => times.map((at, index) => at - (times[index - 1] ?? at)))
    return Math.max(...gaps)
  }
}

function leaderThat(cluster: SimBrokerCluster, isController: boolean): ClusterNode {
  const partitions = [...(cluster.any.image.topics.byName(TOPIC)?.partitions() ?? [])]
  const leaders = new Set(partitions.map(([, { leader }]) => leader))
  const found = cluster.running.find(
    ({ nodeId, node }) => leaders.has(nodeId) && node.broker.quorum?.isLeading === isController,
  )
  if (!found) throw new Error('no such leader')
  return found
}

/**
 * On machines that compute in no time: what is left is what the protocol waits for. The grace of a node whose streams closed
 * is 300 ms, and a new controller is elected while that runs; the rest is ways, dials and one tick of the judge.
 */
describe('a killed leader', () => {
  for (const [seed, isController] of [
    [81, false],
    [82, false],
    [81, true],
    [82, true],
  ] as const)
    it(`stops writes for little more than the grace${isController ? ', also where it is the controller' : ''} (seed ${seed})`, async () => {
      const cluster = await SimBrokerCluster.start({ seed, nodes: 3 })
      await cluster.run(cluster.any.createTopic(TOPIC, { 'min.insync.replicas': '2' }, PARTITIONS))
      const writers = new AwaitingWriters(cluster, await connectFrom(cluster, seed))
      await cluster.scheduler.runFor(100)
      cluster.kill(leaderThat(cluster, isController))
      await cluster.scheduler.runFor(1_000)
      await writers.stop()
      expect(writers.failures).toEqual([])
      expect(writers.gapMs).toBeGreaterThan(300)
      expect(writers.gapMs).toBeLessThan(isController ? 700 : 500)
    })
})
