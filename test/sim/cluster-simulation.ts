import type { Disk } from '../../src/ports/disk.ts'
import type { RaftOutput } from '../../src/raft/raft-output.ts'
import { HistoryRecorder } from '../chaos/workload/history-recorder.ts'
import { SeededPrng } from '../harness/seeded-prng.ts'
import type { LogLine } from '../harness/sim-broker.ts'
import { type ClusterNode, SimBrokerCluster } from '../harness/sim-broker-cluster.ts'
import { DurableRaft } from '../harness/sim-cluster-disk.ts'
import { ClientProcess } from './client-process.ts'
import { ClusterClient } from './cluster-clients.ts'
import { ClusterConvergence } from './cluster-convergence.ts'
import { ClusterEnd } from './cluster-end.ts'
import { ClusterFaults } from './cluster-faults.ts'
import { ClusterImageOracle, hashOf } from './cluster-image-oracle.ts'
import { ClusterJournal } from './cluster-journal.ts'
import { attachProbe, isAssertion } from './cluster-probes.ts'
import { ClusterQuorumOracle } from './cluster-quorum-oracle.ts'
import { drawSwarm, type Swarm, swarmText, type WithGroups } from './cluster-swarm.ts'
import { ClusterTopics } from './cluster-topics.ts'
import { EarlyChanges } from './early-changes.ts'
import { GroupClients, SESSION_MS_MAX } from './group-clients.ts'
import { GroupOracle } from './group-oracle.ts'
import { attachGroupProbe } from './group-probe.ts'
import { LogClient } from './log-client.ts'
import { ReplicaOracle, type ReplicaPlace } from './replica-oracle.ts'
import { attachReplicaProbe } from './replica-probe.ts'
import { SimLogs } from './sim-logs.ts'

export interface ClusterSimulationOptions {
  readonly seed: number
  readonly isTracing?: boolean
  /** Of the time in which things go wrong; 1 is the full length. */
  readonly lengthShare?: number
  /** Consumer groups are at work. Default never. */
  readonly groups?: WithGroups
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

/** Virtual time to reach it; everything that is needed for it is bounded by far less. */
const CONVERGED_MS_MAX = 60_000
const IDLE_MS_MAX = 60_000
const LOOK_MS = 100
/** Between two looks at every replica: it costs more than what is checked at each event. */
const SWEEP_MS = 500
const RECOVER_MS = 1_000
const CALM_MS = 1_000
/**
 * Starts of a node after everything is healed, and after each harm from then on: the one that brings it back, one for each
 * thing found broken, one after a drain.
 */
const RESTARTS_PER_NODE_MAX = 5
const READ_MS_MAX = 60_000
const GROUPS_MS_MAX = 120_000

/**
 * One seed of a whole cluster: the very Broker of each node on simulated ports, clients with the very SDK, and a swarm of
 * faults; then everything heals and must converge, and everything acknowledged must be there.
 *
 * Who checks: `ClusterQuorumOracle` the Raft cores and what of them is on the disks, `ClusterImageOracle` the metadata of
 * all nodes, `ReplicaOracle` the replicas and theirs, `GroupOracle` the coordinators and members of groups, `ClusterTopics`
 * and `ClusterEnd` what clients were told.
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
  readonly #earlyChanges = new EarlyChanges()
  readonly #images: ClusterImageOracle
  readonly #topics: ClusterTopics
  readonly #faults: ClusterFaults
  readonly #replicas: ReplicaOracle
  readonly #groupOracle: GroupOracle
  readonly #groups: GroupClients | undefined
  readonly #convergence: ClusterConvergence
  readonly #logs: SimLogs
  readonly #history: HistoryRecorder
  readonly #clients: ClusterClient[] = []
  readonly #logClients: LogClient[] = []
  readonly #processes: ClientProcess[] = []
  readonly #operator: ClientProcess
  readonly #disks = new Map<number, DurableRaft>()
  readonly #places = new Map<Disk, ReplicaPlace>()
  #sweptMs = 0
  #recoveredMs = 0

  constructor(options: ClusterSimulationOptions) {
    this.#options = options
    const prng = new SeededPrng(`cluster ${options.seed}`)
    const swarm = drawSwarm(prng.fork('swarm'), options.groups)
    this.#swarm = swarm
    this.#cluster = this.#makeCluster(prng.fork('clocks'))
    const { scheduler } = this.#cluster
    const nowMs = () => scheduler.nowMs
    const journal = new ClusterJournal(nowMs, options.isTracing ?? false)
    this.#journal = journal
    this.#history = new HistoryRecorder({ now: nowMs })
    this.#quorum = new ClusterQuorumOracle({
      journal,
      diskOf: nodeId => this.#diskOf(nodeId),
      onElected: nodeId => this.#earlyChanges.onElected(this.#memberOf(nodeId)),
    })
    this.#topics = new ClusterTopics(journal)
    this.#logs = new SimLogs(swarm.logs)
    this.#replicas = new ReplicaOracle({
      journal,
      nowMs,
      imageOf: nodeId => this.#memberOf(nodeId).machine.image,
      onCommitted: (log, batches) => this.#groupOracle.onCommitted(log, batches),
    })
    this.#groupOracle = new GroupOracle({
      journal,
      nowMs,
      logs: this.#replicas,
      clockSlackMs: (SESSION_MS_MAX * 2 * swarm.clockDriftPpmMax) / 1e6,
    })
    this.#convergence = new ClusterConvergence({
      cluster: this.#cluster,
      voters: () => this.#quorum.membership?.voters ?? [],
      diskOf: nodeId => this.#diskOf(nodeId),
      areClientsIdle: () => this.#whoWaits() === undefined,
    })
    this.#operator = this.#makeProcess('op', prng)
    this.#makeClients(prng)
    this.#groups = this.#makeGroups(prng)
    this.#faults = new ClusterFaults({
      cluster: this.#cluster,
      swarm,
      prng: prng.fork('faults'),
      journal,
      clients: this.#processes,
      operator: this.#operator,
      mayLose: member => this.#mayLose(member),
      leader: () => this.#convergence.leader,
      onDataLost: (nodeId, partition) => {
        this.#replicas.onHarm(nodeId, partition)
        if (partition === undefined) this.#quorum.onDiskReplaced(nodeId)
      },
      onPowerCut: nodeId => this.#replicas.onPowerCut(nodeId),
    })
    this.#images = new ClusterImageOracle({
      journal,
      wasDisturbed: this.#faults.wasDisturbed,
      onNewest: image => {
        this.#replicas.onImage(image)
        for (const { name } of swarm.logs) this.#groupOracle.onTopic(name, image.topics.byName(name)?.id)
      },
    })
  }

  async run(): Promise<ClusterSimulationResult> {
    const detach = this.#attach()
    const { stackTraceLimit } = Error
    // Most errors of a run are answers, and where they were made is never asked; a run with a trace tells.
    if (!this.#options.isTracing) Error.stackTraceLimit = 0
    const { scheduler } = this.#cluster
    this.#journal.tell('--', () => `seed ${this.#options.seed} ${swarmText(this.#swarm)}`)
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
    for (const client of [...this.#clients, ...this.#logClients]) client.start()
    this.#groups?.start()
    this.#logs
      .make({ operator: this.#operator, topics: this.#topics, journal: this.#journal })
      .catch(thrown => this.#journal.fail(thrown))
    await scheduler.runFor(this.#swarm.durationMs * this.#lengthShare)
    this.#faults.heal()
    const restarts = this.#faults.restarts
    // Partitions that only a drained node has are not given up: it comes back first.
    await this.#until('a controller', CONVERGED_MS_MAX, () =>
      this.#convergence.leader ? this.#whyOperatorWaits() : 'nobody leads',
    )
    this.#faults.restart(this.#convergence.draining)
    await this.#until('a cluster of equal nodes', CONVERGED_MS_MAX, () => this.#whyNotConverged())
    const struck = await this.#catchUp()
    for (const process of this.#processes) process.stop()
    await this.#until('an answer to every call', IDLE_MS_MAX, () => this.#whoWaits())
    await this.#until(
      'a cluster of equal nodes, without clients',
      CONVERGED_MS_MAX,
      () => this.#whyNotConverged() ?? this.#whoWaits(),
    )
    const again = this.#faults.restarts - restarts
    const restartsMax = RESTARTS_PER_NODE_MAX * this.#cluster.members.length * (1 + struck)
    this.#journal.expect(again <= restartsMax, () => `L7 nodes started ${again} times after all was healed`)
    await this.#checkEnd()
  }

  /** Harms that had no place before, one by one in a whole cluster. How many there were. */
  async #catchUp(): Promise<number> {
    let struck = 0
    for (;;) {
      this.#faults.restart(this.#convergence.draining)
      // Until what was struck is noticed, and until there is something to strike.
      await this.#cluster.scheduler.runFor(CALM_MS)
      await this.#until('a cluster whose disks are whole', CONVERGED_MS_MAX, () => this.#whyNotConverged())
      if (!this.#faults.catchUp(this.#lengthShare)) return struck
      struck++
    }
  }

  get #lengthShare(): number {
    return this.#options.lengthShare ?? 1
  }

  #observe(): void {
    if (this.#journal.failure) throw this.#journal.failure
    for (const { machine, node } of this.#cluster.members) {
      const image = node?.quorum?.image
      if (image) this.#images.look(machine.name, image)
    }
    this.#earlyChanges.ask()
    this.#replicas.onEventOver()
    const { nowMs } = this.#cluster.scheduler
    if (nowMs < this.#sweptMs + SWEEP_MS) return
    this.#sweptMs = nowMs
    this.#replicas.sweep()
  }

  #attach(): () => void {
    const { spoil } = this.#options
    const detachReplicas = this.#attachReplicas()
    const detachGroups = this.#attachGroups()
    const detach = attachProbe({
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
    return () => {
      detach()
      detachGroups()
      detachReplicas()
    }
  }

  #attachGroups(): () => void {
    const oracle = this.#groupOracle
    if (!this.#groups) return () => {}
    return attachGroupProbe({
      onAppended: (batch, name) => oracle.ledger.onAppended(batch, name),
      onViewed: (partition, appliedEnd) => oracle.viewed(partition, appliedEnd),
      onTakeover: (coordinator, found) => oracle.onTakeover(coordinator, found),
      onCommitted: (member, offsets) => {
        for (const offset of offsets) oracle.committed(member, offset)
      },
    })
  }

  #attachReplicas(): () => void {
    const oracle = this.#replicas
    return attachReplicaProbe({
      onOpened: (disk, options, log) => {
        const place = this.#places.get(disk)
        if (place) oracle.onOpened(place, options, log)
      },
      onLeaderBegins: (log, state) => oracle.onLeaderBegins(log, state),
      onHighWatermark: (log, offset) => oracle.onHighWatermark(log, offset),
      onCut: (log, how) => oracle.onCut(log, how),
      onRepeatedBatch: () => this.#journal.count('batches repeated'),
      onRefusedBatch: (log, batch, thrown) => oracle.onRefusedBatch(log, batch, thrown),
    })
  }

  #makeCluster(clocks: SeededPrng): SimBrokerCluster {
    const swarm = this.#swarm
    const cluster = new SimBrokerCluster({
      seed: this.#options.seed,
      nodes: swarm.nodes,
      settings: { 'auto.create.topics.enable': false, 'disk.free.min': swarm.diskFreeMin },
      clock: () => ({
        driftPpm: (clocks.fraction() * 2 - 1) * swarm.clockDriftPpmMax,
        offsetMs: (clocks.fraction() * 2 - 1) * swarm.clockOffsetMsMax,
      }),
      brokerOptions: member => this.#brokerOptions(member),
    })
    const { network, members } = cluster
    network.delayMs = swarm.delayMs
    network.dialTimeoutMs = swarm.silenceMs
    network.keepaliveMs = 2 * swarm.silenceMs
    for (const { machine } of members) machine.image.syncLatencyMs = swarm.syncMs
    return cluster
  }

  #brokerOptions(member: ClusterNode) {
    const { wrapDisk } = this.#options
    return {
      seed: `${this.#options.seed} ${member.nodeId}`,
      raftLimits: this.#swarm.raftLimits,
      logLimits: { checkpointIntervalMs: this.#swarm.checkpointMs },
      onFailed: (error: Parameters<ClusterFaults['onFailed']>[1]) => this.#faults.onFailed(member, error),
      onLog: ({ level, message, facts }: LogLine) => {
        this.#journal.tell(member.machine.name, () => `${level} ${message} ${JSON.stringify(facts)}`)
        const { partition } = facts
        if (message === 'coordinates groups') this.#groupOracle.takenOver(member.nodeId, Number(partition))
      },
      wrapDisk: (disk: Disk) => {
        const wrapped = wrapDisk?.(disk) ?? disk
        const { incarnation } = member.machine
        this.#places.set(wrapped, { nodeId: member.nodeId, incarnation })
        return wrapped
      },
    }
  }

  #makeProcess(name: string, prng: SeededPrng): ClientProcess {
    return new ClientProcess({
      name,
      network: this.#cluster.network,
      prng: prng.fork(name),
      journal: this.#journal,
      bootstrap: this.#cluster.members.map(({ machine }) => `${machine.name}:7450`),
    })
  }

  #makeClients(prng: SeededPrng): void {
    const swarm = this.#swarm
    const { thinkMsMax, deliveryMs, replicationFactor } = swarm
    const journal = this.#journal
    const common = (name: string) => {
      const process = this.#makeProcess(name, prng)
      this.#processes.push(process)
      return { name, process, prng: prng.fork(`${name} work`), journal, thinkMsMax }
    }
    const [logs, history, oracle] = [this.#logs, this.#history, this.#replicas]
    for (let at = 0; at < swarm.clients; at++)
      this.#clients.push(
        new ClusterClient({ ...common(`c${at}`), topics: this.#topics, oracle, replicationFactor }),
      )
    for (let at = 0; at < swarm.logClients; at++)
      this.#logClients.push(new LogClient({ ...common(`p${at}`), logs, history, oracle, deliveryMs }))
  }

  #makeGroups(prng: SeededPrng): GroupClients | undefined {
    const { groups } = this.#swarm
    if (!groups) return undefined
    return new GroupClients({
      swarm: groups,
      logs: this.#logs,
      journal: this.#journal,
      oracle: this.#groupOracle,
      makeProcess: name => {
        const process = this.#makeProcess(name, prng)
        this.#processes.push(process)
        return { process, prng: prng.fork(`${name} work`) }
      },
    })
  }

  #memberOf(nodeId: number): ClusterNode {
    return this.#cluster.members[nodeId] as ClusterNode
  }

  #diskOf(nodeId: number): DurableRaft {
    const known = this.#disks.get(nodeId)
    if (known) return known
    const disk = new DurableRaft(this.#memberOf(nodeId).machine.image)
    this.#disks.set(nodeId, disk)
    return disk
  }

  /**
   * A minority: all voters are on their disks, all replicas in sync, and nobody has asked to change that, nor may a change
   * that was given up still come to pass; and so it stays but for this one.
   */
  #mayLose(member: ClusterNode): boolean {
    const { membership } = this.#quorum
    const { members, running } = this.#cluster
    if (!membership || membership.voters.length < 3 || this.#quorum.isChanging) return false
    if (!this.#convergence.allVotersHaveDisks()) return false
    if (!this.#convergence.areReplicasWhole() || this.#replicas.hasProposals) return false
    return running.length === members.length && member.node?.broker.refusal === undefined
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

  #whoWaits(): string | undefined {
    const areIdle = this.#processes.every(process => process.isIdle)
    return this.#whyOperatorWaits() ?? (areIdle ? undefined : 'a client waits')
  }

  #whyOperatorWaits(): string | undefined {
    return this.#faults.isIdle ? undefined : 'the operator waits'
  }

  #whyNotConverged(): string | undefined {
    this.#recover()
    // Nothing is placed on nodes that are drained.
    if (!this.#logs.areMade && this.#convergence.draining.length === 0) return 'a log was not made yet'
    return this.#convergence.whyNot()
  }

  /** An operator chooses a leader where nobody is electable any more, once all nodes are there to choose from. */
  #recover(): void {
    const { nowMs } = this.#cluster.scheduler
    const areAllThere = this.#cluster.members.every(({ node }) => node && node.broker.refusal === undefined)
    if (!areAllThere || !this.#faults.isIdle || nowMs < this.#recoveredMs + RECOVER_MS) return
    this.#recoveredMs = nowMs
    const offline = this.#convergence.offline((topic, partition) =>
      this.#replicas.mayRecover(topic, partition),
    )
    if (offline.length === 0) return
    this.#journal.count('partitions recovered by hand', offline.length)
    void this.#faults.recover(offline)
  }

  async #checkEnd(): Promise<void> {
    const { image } = this.#convergence
    if (!image) throw new Error('a cluster that has converged has a leader')
    for (const { machine, node } of this.#cluster.running) {
      this.#images.compare(machine.name, node.image)
      this.#journal.expect(
        hashOf(node.image) === hashOf(image),
        () => `R10 ${machine.name} ends with other metadata`,
      )
    }
    this.#topics.check(name => image.topics.byName(name), image.topics.names())
    const end = new ClusterEnd({
      journal: this.#journal,
      reader: this.#operator,
      topics: this.#topics,
      logs: this.#logs,
      history: this.#history,
      oracle: this.#replicas,
    })
    const { scheduler } = this.#cluster
    if (this.#groups)
      await scheduler.finish(this.#groups.finish(this.#operator), { timeMsMax: GROUPS_MS_MAX })
    await scheduler.finish(end.check(image), { timeMsMax: READ_MS_MAX })
    this.#replicas.sweep()
    if (this.#journal.failure) throw this.#journal.failure
  }
}
