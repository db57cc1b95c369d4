import type { ConsumedRecord } from '../../src/client/index.ts'
import type { MetadataImage } from '../../src/metadata/metadata-image.ts'
import type { Disk } from '../../src/ports/disk.ts'
import { nodeIdOf } from '../../src/raft/membership.ts'
import type { RaftOutput } from '../../src/raft/raft-output.ts'
import { SeededPrng } from '../harness/seeded-prng.ts'
import { type ClusterNode, SimBrokerCluster } from '../harness/sim-broker-cluster.ts'
import { DurableRaft } from '../harness/sim-cluster-disk.ts'
import { ClusterClient } from './cluster-clients.ts'
import { ClusterFaults } from './cluster-faults.ts'
import { ClusterImageOracle, hashOf } from './cluster-image-oracle.ts'
import { ClusterJournal } from './cluster-journal.ts'
import { attachProbe, isAssertion } from './cluster-probes.ts'
import { ClusterQuorumOracle } from './cluster-quorum-oracle.ts'
import { drawSwarm, type Swarm } from './cluster-swarm.ts'
import { ClusterTopics, type ExpectedTopic } from './cluster-topics.ts'

export interface ClusterSimulationOptions {
  readonly seed: number
  readonly isTracing?: boolean
  /** Of the time in which things go wrong; 1 is the full length. */
  readonly lengthShare?: number
  /** A planted bug between core and driver. */
  readonly spoil?: (output: RaftOutput) => RaftOutput
  /** A planted bug between node and disk. */
  readonly wrapDisk?: (disk: Disk) => Disk
}

export interface ClusterSimulationResult {
  readonly seed: number
  /** Equal for two runs of a seed, or something leaks in. */
  readonly digest: string
  readonly failure: Error | undefined
  readonly counts: ReadonlyMap<string, number>
  readonly trace: readonly string[]
  readonly simulatedMs: number
  readonly events: number
}

const SETTINGS = { 'auto.create.topics.enable': false }
/** Virtual time to reach it; everything that is needed for it is bounded by far less. */
const CONVERGED_MS_MAX = 60_000
const IDLE_MS_MAX = 60_000
const LOOK_MS = 100
const CALM_MS = 1_000
/** Starts of a node after everything is healed: the one that brings it back, one for each thing found broken, one after a drain. */
const RESTARTS_PER_NODE_MAX = 5
const READ_MS_MAX = 60_000

/**
 * One seed of a whole cluster: the very Broker of each node on simulated ports, clients with the very SDK, and a swarm of
 * faults; then everything heals and must converge, and everything acknowledged must be there.
 *
 * Who checks: `ClusterQuorumOracle` the Raft cores and what of them is on the disks, `ClusterImageOracle` the metadata of
 * all nodes, `ClusterTopics` and `ClusterClient` what clients were told. To take replicated partitions and groups in:
 * give the topics of `ClusterClient` more than one replica; add an oracle of partitions next to `ClusterTopics` (true
 * high watermark, P1-P15) that sees leaders and followers through a probe as `cluster-probes.ts` has it for Raft; let
 * clients read while they write, and join groups.
 */
export async function simulateCluster(options: ClusterSimulationOptions): Promise<ClusterSimulationResult> {
  const simulation = new ClusterSimulation(options)
  return simulation.run()
}

class ClusterSimulation {
  readonly #options: ClusterSimulationOptions
  readonly #swarm: Swarm
  readonly #cluster: SimBrokerCluster
  readonly #journal: ClusterJournal
  readonly #quorum: ClusterQuorumOracle
  readonly #images: ClusterImageOracle
  readonly #topics: ClusterTopics
  readonly #faults: ClusterFaults
  readonly #clients: ClusterClient[] = []
  readonly #operator: ClusterClient
  readonly #disks = new Map<number, DurableRaft>()

  constructor(options: ClusterSimulationOptions) {
    this.#options = options
    const prng = new SeededPrng(`cluster ${options.seed}`)
    const swarm = drawSwarm(prng.fork('swarm'))
    this.#swarm = swarm
    const clocks = prng.fork('clocks')
    this.#cluster = new SimBrokerCluster({
      seed: options.seed,
      nodes: swarm.nodes,
      settings: SETTINGS,
      clock: () => ({
        driftPpm: (clocks.fraction() * 2 - 1) * swarm.clockDriftPpmMax,
        offsetMs: (clocks.fraction() * 2 - 1) * swarm.clockOffsetMsMax,
      }),
      brokerOptions: member => this.#brokerOptions(member),
    })
    const { scheduler, network } = this.#cluster
    network.delayMs = swarm.delayMs
    network.dialTimeoutMs = swarm.silenceMs
    network.keepaliveMs = 2 * swarm.silenceMs
    for (const { machine } of this.#cluster.members) machine.image.syncLatencyMs = swarm.syncMs
    this.#journal = new ClusterJournal(() => scheduler.nowMs, options.isTracing ?? false)
    this.#quorum = new ClusterQuorumOracle({ journal: this.#journal, diskOf: nodeId => this.#diskOf(nodeId) })
    this.#topics = new ClusterTopics(this.#journal)
    const makeClient = (name: string) => this.#makeClient(name, prng)
    for (let at = 0; at < swarm.clients; at++) this.#clients.push(makeClient(`c${at}`))
    this.#operator = makeClient('op')
    this.#faults = new ClusterFaults({
      cluster: this.#cluster,
      swarm,
      prng: prng.fork('faults'),
      journal: this.#journal,
      clients: this.#clients,
      operator: this.#operator,
      mayLose: member => this.#mayLose(member),
      leader: () => this.#leader(),
    })
    this.#images = new ClusterImageOracle({ journal: this.#journal, wasDisturbed: this.#faults.wasDisturbed })
  }

  async run(): Promise<ClusterSimulationResult> {
    const detach = this.#attach()
    const { stackTraceLimit } = Error
    // Most errors of a run are answers, and where they were made is never asked; a run with a trace tells.
    if (!this.#options.isTracing) Error.stackTraceLimit = 0
    const { scheduler } = this.#cluster
    this.#journal.tell('--', () => describe(this.#options.seed, this.#swarm))
    try {
      await this.#live()
    } catch (thrown) {
      this.#journal.fail(thrown)
    } finally {
      detach()
      Error.stackTraceLimit = stackTraceLimit
    }
    const { counts, trace, failure } = this.#journal
    const digest = `${scheduler.digest} ${JSON.stringify([...counts].sort())}`
    const { nowMs: simulatedMs, steps: events } = scheduler
    return { seed: this.#options.seed, digest, failure, counts, trace, simulatedMs, events }
  }

  async #live(): Promise<void> {
    const { scheduler } = this.#cluster
    scheduler.observe(() => this.#observe())
    this.#faults.start()
    for (const client of this.#clients) client.start()
    await scheduler.runFor(this.#swarm.durationMs * (this.#options.lengthShare ?? 1))
    this.#faults.heal()
    const restarts = this.#faults.restarts
    await this.#until('a cluster of equal nodes', CONVERGED_MS_MAX, () => this.#whyNotConverged())
    await scheduler.runFor(CALM_MS)
    for (const client of this.#clients) client.stop()
    await this.#until('an answer to every call', IDLE_MS_MAX, () => this.#whoWaits())
    this.#faults.restart(this.#draining())
    await this.#until('a cluster of equal nodes, without clients', CONVERGED_MS_MAX, () =>
      this.#whyNotConverged(),
    )
    const again = this.#faults.restarts - restarts
    const restartsMax = RESTARTS_PER_NODE_MAX * this.#cluster.members.length
    this.#journal.expect(again <= restartsMax, () => `L7 nodes started ${again} times after all was healed`)
    await this.#checkEnd()
  }

  #observe(): void {
    if (this.#journal.failure) throw this.#journal.failure
    for (const { machine, node } of this.#cluster.members) {
      const image = node?.quorum?.image
      if (image) this.#images.look(machine.name, image)
    }
  }

  #attach(): () => void {
    const { spoil } = this.#options
    return attachProbe({
      onStep: (node, { input, output }) => {
        this.#quorum.onStep(node, { input, output })
        return spoil ? spoil(output) : output
      },
      onSend: message => this.#quorum.onSend(message),
      onReadBegins: () => this.#quorum.readBegins(),
      onReadAnswered: (driver, { begunAt, index }) =>
        this.#quorum.readAnswered({
          who: `n${driver.nodeId}`,
          begunAt,
          endIndex: index,
          appliedEndIndex: driver.image.appliedEndIndex,
        }),
      onAccident: thrown => {
        if (isAssertion(thrown) || thrown instanceof TypeError || thrown instanceof RangeError)
          this.#journal.fail(thrown)
      },
    })
  }

  #brokerOptions(member: ClusterNode) {
    const { wrapDisk } = this.#options
    return {
      seed: `${this.#options.seed} ${member.nodeId}`,
      raftLimits: this.#swarm.raftLimits,
      onFailed: (error: Parameters<ClusterFaults['onFailed']>[1]) => this.#faults.onFailed(member, error),
      onLog: ({ level, message, facts }: { level: string; message: string; facts: object }) =>
        this.#journal.tell(member.machine.name, () => `${level} ${message} ${JSON.stringify(facts)}`),
      ...(wrapDisk && { wrapDisk }),
    }
  }

  #makeClient(name: string, prng: SeededPrng): ClusterClient {
    return new ClusterClient({
      name,
      network: this.#cluster.network,
      prng: prng.fork(name),
      journal: this.#journal,
      topics: this.#topics,
      bootstrap: this.#cluster.members.map(({ machine }) => `${machine.name}:7450`),
      thinkMsMax: this.#swarm.thinkMsMax,
    })
  }

  #diskOf(nodeId: number): DurableRaft {
    const known = this.#disks.get(nodeId)
    if (known) return known
    const disk = new DurableRaft((this.#cluster.members[nodeId] as ClusterNode).machine.image)
    this.#disks.set(nodeId, disk)
    return disk
  }

  #leader(): ClusterNode | undefined {
    return this.#cluster.running.find(({ node }) => node.quorum?.isLeading)
  }

  /** A minority of the voters: all of them are on their disks, and stay there but for this one. */
  #mayLose(member: ClusterNode): boolean {
    const { membership } = this.#quorum
    if (!membership || membership.voters.length < 3 || !this.#allVotersHaveDisks()) return false
    return (
      this.#cluster.running.length === this.#cluster.members.length &&
      member.node?.broker.refusal === undefined
    )
  }

  #allVotersHaveDisks(): boolean {
    const voters = this.#quorum.membership?.voters ?? []
    return voters.every(voter => this.#diskOf(nodeIdOf(voter)).memberId === voter)
  }

  async #until(what: string, timeMsMax: number, why: () => string | undefined): Promise<void> {
    const { scheduler } = this.#cluster
    const endMs = scheduler.nowMs + timeMsMax
    for (let reason = why(); reason !== undefined; reason = why()) {
      if (scheduler.nowMs > endMs)
        throw new Error(`L no sign of ${what} after ${timeMsMax} ms without faults: ${reason}`)
      await scheduler.runFor(LOOK_MS)
    }
    this.#journal.tell('--', () => `${what}: reached`)
  }

  #draining(): ClusterNode[] {
    const nodes = this.#leader()?.node?.quorum?.image.nodes
    return this.#cluster.running.filter(({ nodeId }) => nodes?.get(nodeId)?.isDraining)
  }

  #whoWaits(): string | undefined {
    if (!this.#faults.isIdle) return 'the operator waits'
    return this.#clients.every(client => client.isIdle) ? undefined : 'a client waits'
  }

  /** L1, L3, L4. */
  #whyNotConverged(): string | undefined {
    const { members, running } = this.#cluster
    if (running.length < members.length) return 'a node is down'
    const leader = this.#leader()
    const image = leader?.node?.quorum?.image
    if (!leader || !image) return 'nobody leads'
    for (const { nodeId, node } of running) {
      const { refusal, quorum } = node.broker
      if (refusal || !quorum) return `node ${nodeId} does not serve: ${refusal?.message}`
      if (quorum.leaderId !== leader.nodeId)
        return `node ${nodeId} follows ${quorum.leaderId}, not ${leader.nodeId}`
      if (image.nodes.get(nodeId)?.isFenced !== false) return `node ${nodeId} is fenced`
      if (this.#isAhead(image, quorum.image)) return `node ${nodeId} is behind`
    }
    return this.#allVotersHaveDisks() ? undefined : 'a voter has lost its disk, and was not replaced'
  }

  /** While clients change things, nobody is ever quite equal. */
  #isAhead(leading: MetadataImage, other: MetadataImage): boolean {
    return leading.appliedEndIndex - other.appliedEndIndex > (this.#whoWaits() === undefined ? 0 : 50)
  }

  async #checkEnd(): Promise<void> {
    const { running } = this.#cluster
    const image = this.#leader()?.node?.quorum?.image as MetadataImage
    for (const { machine, node } of running) {
      this.#images.compare(machine.name, node.image)
      this.#journal.expect(
        hashOf(node.image) === hashOf(image),
        () => `R10 ${machine.name} ends with other metadata`,
      )
    }
    this.#topics.check(name => image.topics.byName(name), image.topics.names())
    await this.#cluster.scheduler.finish(this.#checkRecords(image), { timeMsMax: READ_MS_MAX })
    if (this.#journal.failure) throw this.#journal.failure
  }

  /** Every acknowledged record of a topic that is still there, unless its only replica was wiped away. */
  async #checkRecords(image: MetadataImage): Promise<void> {
    const client = await this.#operator.connect()
    for (const topic of this.#topics.all.values()) {
      if (topic.records.size === 0 || topic.exists !== true || topic.isLost) continue
      const view = image.topics.byName(topic.name)
      for (const [partition, { replicas }] of view?.partitions() ?? []) {
        if (replicas.some(nodeId => this.#faults.everWiped.has(nodeId))) continue
        const reader = client.reader({
          topic: topic.name,
          partitions: [partition],
          stop: 'currentEnd',
          retryTimeoutMs: 10_000,
        })
        const found: ConsumedRecord[] = []
        for await (const record of reader) found.push(record)
        this.#checkPartition(topic, partition, found)
        await reader.close()
      }
    }
    await client.close()
  }

  #checkPartition(topic: ExpectedTopic, partition: number, found: readonly ConsumedRecord[]): void {
    const byOffset = new Map(found.map(({ offset, value }) => [`${partition}/${offset}`, String(value)]))
    const values = new Set(byOffset.values())
    this.#journal.expect(
      values.size === found.length,
      () => `${topic.name}-${partition} holds a record twice`,
    )
    this.#journal.count('records read', found.length)
    for (const [place, value] of topic.records) {
      if (!place.startsWith(`${partition}/`)) continue
      const there = byOffset.get(place)
      this.#journal.expect(
        there === value,
        () => `${topic.name} ${place} was acknowledged as ${value}, and is ${there}`,
      )
    }
  }
}

function describe(seed: number, swarm: Swarm): string {
  const { weights, ...rest } = swarm
  const drawn = [...weights]
    .filter(([, weight]) => weight > 0)
    .map(([harm, weight]) => `${harm} ${weight.toFixed(2)}`)
  return `seed ${seed} ${JSON.stringify(rest)} ${drawn.join(', ')}`
}
