import { describe, expect, it } from 'vitest'
import { NaruError } from '../../src/base/errors.ts'
import type { Disk } from '../../src/ports/disk.ts'
import { Admin } from '../../src/wire/methods.ts'
import {
  brokerOf,
  type ClusterNode,
  SimBrokerCluster,
  type SimBrokerClusterOptions,
} from '../harness/sim-broker-cluster.ts'

const TOPIC = 'logs'
const PARTITIONS = 3

async function startCluster(
  seed: number,
  nodes = 3,
  options: Partial<SimBrokerClusterOptions> = {},
): Promise<SimBrokerCluster> {
  const cluster = await SimBrokerCluster.start({ seed, nodes, ...options })
  await cluster.run(cluster.any.createTopic(TOPIC, {}, PARTITIONS))
  return cluster
}

/** A disk whose syncs of records do not end while it hangs; the node hears of the metadata all the same. */
function hangingPartitions(disk: Disk, hangs: () => boolean): Disk {
  const open: Disk['open'] = async (path, mode) => {
    const file = await disk.open(path, mode)
    const { sync } = file
    const isHanging = () => path.includes('/topics/') && hangs()
    file.sync = () => (isHanging() ? new Promise(() => {}) : sync.call(file))
    return file
  }
  return new Proxy(disk, {
    get(target, key) {
      const value = key === 'open' ? open : Reflect.get(target, key)
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
}

function stateOf(cluster: SimBrokerCluster, partition: number) {
  const state = cluster.any.image.topics.byName(TOPIC)?.partition(partition)
  if (!state) throw new Error(`no partition ${partition}`)
  return state
}

function leads(cluster: SimBrokerCluster, { nodeId }: ClusterNode): boolean {
  return Array.from({ length: PARTITIONS }, (_, at) => stateOf(cluster, at)).some(
    ({ leader }) => leader === nodeId,
  )
}

/** A member that leads something; the controller, or not. */
function leaderThat(cluster: SimBrokerCluster, isController: boolean): ClusterNode {
  const found = cluster.running.find(
    member => leads(cluster, member) && member.node.broker.quorum?.isLeading === isController,
  )
  if (!found) throw new Error('no such leader')
  return found
}

/** Clients that know nothing of leaders or producer ids: each record by a call of its own, to any of these nodes. */
class ThinLoad {
  readonly failures: unknown[] = []
  readonly values: string[][] = Array.from({ length: PARTITIONS }, () => [])
  readonly answeredMs: number[][] = Array.from({ length: PARTITIONS }, () => [])
  readonly #cluster: SimBrokerCluster
  readonly #pending = new Set<Promise<void>>()
  #sent = 0

  constructor(cluster: SimBrokerCluster) {
    this.#cluster = cluster
  }

  /** One record to each partition every 5 ms. */
  async runFor(timeMs: number, entries: () => readonly ClusterNode[]): Promise<void> {
    for (let atMs = 0; atMs < timeMs; atMs += 5) {
      const nodes = entries()
      for (let partition = 0; partition < PARTITIONS; partition++)
        this.#send(nodes[this.#sent % nodes.length] as ClusterNode, partition)
      await this.#cluster.scheduler.runFor(5)
    }
  }

  async settled(): Promise<void> {
    await this.#cluster.run(Promise.all(this.#pending))
  }

  #send(entry: ClusterNode, partition: number): void {
    const value = `value-${this.#sent++}`
    const sent = brokerOf(entry)
      .produce({ topic: TOPIC, partition }, [value])
      .then(
        () => {
          this.values[partition]?.push(value)
          this.answeredMs[partition]?.push(this.#cluster.scheduler.nowMs)
        },
        thrown => {
          this.failures.push(thrown)
        },
      )
      .finally(() => this.#pending.delete(sent))
    this.#pending.add(sent)
  }

  /** The longest time without an answer. */
  gapMs(partition: number): number {
    const times = this.answeredMs[partition] ?? []
    return times.reduce((longest, at, index) => Math.max(longest, at - (times[index - 1] ?? at)), 0)
  }
}

async function expectAllOnce(cluster: SimBrokerCluster, load: ThinLoad): Promise<void> {
  for (let partition = 0; partition < PARTITIONS; partition++) {
    const { values } = await cluster.run(cluster.any.readAll(TOPIC, partition))
    expect([...values].sort()).toEqual([...(load.values[partition] ?? [])].sort())
  }
}

describe('a node that stops in good order', () => {
  for (const isController of [false, true])
    it(`hands over first${isController ? ', also as the controller' : ''}: a thin client sees no error and no record is stored twice`, async () => {
      const cluster = await startCluster(isController ? 71 : 70)
      const leaving = leaderThat(cluster, isController)
      const staying = cluster.members.filter(member => member !== leaving)
      const load = new ThinLoad(cluster)
      await load.runFor(200, () => cluster.members)
      const { broker } = brokerOf(leaving)
      let isDrained = false
      const drained = broker.drain().then(() => {
        isDrained = true
      })
      await load.runFor(400, () => (isDrained ? staying : cluster.members))
      await cluster.run(drained)
      expect(leads(cluster, leaving)).toBe(false)
      expect(broker.quorum?.isLeading).toBe(false)
      const closed = broker.close()
      await load.runFor(400, () => staying)
      await cluster.run(closed)
      await load.settled()
      cluster.kill(leaving)
      expect(load.failures).toEqual([])
      for (let partition = 0; partition < PARTITIONS; partition++)
        expect(load.gapMs(partition)).toBeLessThan(200)
      await expectAllOnce(cluster, load)
    })

  it('does not hold up the leaders that have it in sync while it closes its logs, however long that takes', async () => {
    const cluster = await startCluster(77)
    const leaving = leaderThat(cluster, false)
    const staying = cluster.members.filter(member => member !== leaving)
    const { broker } = brokerOf(leaving)
    await cluster.run(broker.drain())
    const load = new ThinLoad(cluster)
    // What is acknowledged waits for one sync of this disk; to close the logs takes several.
    leaving.machine.image.syncLatencyMs = { min: 60, max: 60 }
    await load.runFor(400, () => staying)
    const closed = broker.close()
    await load.runFor(800, () => staying)
    await cluster.run(closed)
    await load.settled()
    expect(load.failures).toEqual([])
    for (let partition = 0; partition < PARTITIONS; partition++)
      expect(load.gapMs(partition)).toBeLessThan(150)
  })

  it('is drained by an administrator in the same way', async () => {
    const cluster = await startCluster(72)
    const leaving = leaderThat(cluster, false)
    const controller = cluster.running.find(({ node }) => node.broker.quorum?.isLeading)
    if (!controller) throw new Error('no controller')
    const load = new ThinLoad(cluster)
    await load.runFor(100, () => cluster.members)
    const drained = controller.node.call(Admin.drainNode, { nodeId: leaving.nodeId })
    await load.runFor(500, () => cluster.members)
    expect(await cluster.run(drained)).toEqual({ remaining: [] })
    await load.settled()
    expect(load.failures).toEqual([])
    await expectAllOnce(cluster, load)
  })

  it('does not wait for nodes that stop as well, nor for partitions of one replica', async () => {
    const cluster = await startCluster(73)
    const sinceMs = cluster.scheduler.nowMs
    await cluster.run(Promise.all(cluster.running.map(({ node }) => node.broker.drain())))
    expect(cluster.scheduler.nowMs - sinceMs).toBeLessThan(1_000)
  })

  it('gets its partitions back after its next start, without an error', async () => {
    const cluster = await startCluster(74)
    const leaving = leaderThat(cluster, false)
    await cluster.run(brokerOf(leaving).broker.drain())
    await cluster.stop(leaving)
    cluster.boot(leaving)
    await cluster.serving(leaving)
    const staying = cluster.members.filter(member => member !== leaving)
    const load = new ThinLoad(cluster)
    await load.runFor(3_500, () => staying)
    await load.settled()
    expect(leads(cluster, leaving)).toBe(true)
    expect(load.failures).toEqual([])
    await expectAllOnce(cluster, load)
  })
})

describe('a leader whose disk hangs', () => {
  it('is replaced at once, and comes back as a follower when the disk answers', async () => {
    const cluster = await startCluster(75)
    const hanging = leaderThat(cluster, false)
    const partition = [0, 1, 2].find(at => stateOf(cluster, at).leader === hanging.nodeId) as number
    const entry = cluster.running.find(member => member !== hanging && member.node)
    if (!entry) throw new Error('no other node')
    hanging.machine.image.stall()
    const sinceMs = cluster.scheduler.nowMs
    const parked = entry.node.produce({ topic: TOPIC, partition }, ['parked']).catch(thrown => thrown)
    await cluster.until(() => {
      const { leader } = entry.node.image.topics.byName(TOPIC)?.partition(partition) ?? {}
      return leader !== hanging.nodeId && leader !== undefined && leader !== null
    })
    expect(cluster.scheduler.nowMs - sinceMs).toBeLessThan(3_500)
    const { offset = -1 } = await cluster.run(entry.node.produce({ topic: TOPIC, partition }, ['next']))
    expect(cluster.scheduler.nowMs - sinceMs).toBeLessThan(4_000)
    expect(offset).toBeGreaterThanOrEqual(0)
    const outcome = await cluster.run(parked)
    if (outcome instanceof NaruError) expect(outcome.outcome).toBe('unknown')
    hanging.machine.image.unstall()
    const isBack = () =>
      entry.node.image.topics.byName(TOPIC)?.partition(partition)?.isr.includes(hanging.nodeId) === true
    await cluster.until(isBack)
    expect(stateOf(cluster, partition).leader).not.toBe(hanging.nodeId)
    const { values } = await cluster.run(entry.node.readAll(TOPIC, partition))
    expect(values).toContain('next')
  })

  it('passes on to the next one what has waited for room there', async () => {
    let hangingId: number | undefined
    const cluster = await startCluster(77, 3, {
      settings: { 'append.pending.bytes.max': 16 * 1024 * 1024 },
      brokerOptions: ({ nodeId }) => ({
        wrapDisk: disk => hangingPartitions(disk, () => nodeId === hangingId),
      }),
    })
    const hanging = leaderThat(cluster, false)
    hangingId = hanging.nodeId
    const partition = [0, 1, 2].find(at => stateOf(cluster, at).leader === hanging.nodeId) as number
    const produce = (value: string) => brokerOf(hanging).produce({ topic: TOPIC, partition }, [value])
    for (let count = 0; count < 20; count++) void produce('.'.repeat(1_000_000)).catch(() => {})
    expect((await cluster.run(produce('waited'))).offset).toBeGreaterThanOrEqual(0)
    expect(stateOf(cluster, partition).leader).not.toBe(hanging.nodeId)
  })

  it('keeps what nobody else could lead, and answers when its disk does', async () => {
    const cluster = await startCluster(76, 1)
    const [only] = cluster.members
    if (!only) throw new Error('no node')
    only.machine.image.stall()
    const parked = brokerOf(only).produce({ topic: TOPIC, partition: 0 }, ['parked'])
    await cluster.scheduler.runFor(5_000)
    only.machine.image.unstall()
    expect(await cluster.run(parked)).toMatchObject({ offset: 0 })
    await cluster.scheduler.runFor(1_000)
    expect(stateOf(cluster, 0)).toMatchObject({ leader: 0, leaderEpoch: 0 })
  })
})
