import { NaruError } from '../../src/base/errors.ts'
import type { Admin } from '../../src/client/index.ts'
import type { SeededPrng } from '../harness/seeded-prng.ts'
import type { ClusterNode, SimBrokerCluster } from '../harness/sim-broker-cluster.ts'
import type { ClientProcess } from './client-process.ts'
import type { ClusterJournal } from './cluster-journal.ts'
import { HARMS, type Harm, type Swarm } from './cluster-swarm.ts'
import { NetworkFaults } from './network-faults.ts'
import { ReplicaFaults, type ReplicaFaultsOptions } from './replica-faults.ts'

export interface ClusterFaultsOptions {
  readonly cluster: SimBrokerCluster
  readonly swarm: Swarm
  readonly prng: SeededPrng
  readonly journal: ClusterJournal
  readonly clients: readonly ClientProcess[]
  /** Who changes the quorum. */
  readonly operator: ClientProcess
  /** All voters are on the disks that they were made voters with, and nobody's change is under way. */
  readonly mayLose: (member: ClusterNode) => boolean
  readonly leader: () => ClusterNode | undefined
  /** What befell the disk of a node, for who has to know what may be lost. */
  readonly onDataLost: ReplicaFaultsOptions['onDataLost']
  readonly onPowerCut: (nodeId: number) => void
}

/** A node may be fenced for what was done so long ago: sessions, redials and elections come one after the other. */
const AFTERMATH_MS = 15_000
const STOP_MS_MAX = 8_000
/** A disk that is gone is known to be. */
const NOTICED_MS = 3_000
const SUPERVISED_EVERY_MS = 50
/** A cluster under faults is hardly ever whole, so what may befall only a minority waits until it is. */
const WAITS_FOR_ITS_PLACE: ReadonlySet<Harm> = new Set<Harm>(['wiped disk', 'bit rot', 'lost directory'])
/** Chance that a node dies as well while such a harm is repaired. */
const MEANWHILE = 0.5
const MEANWHILE_MS = 800

/**
 * What happens to a simulated cluster: drawn from the seed, one thing after the other, overlapping. It also is the
 * supervisor that starts again what has died, as an orchestrator would.
 */
export class ClusterFaults {
  restarts = 0
  readonly #options: ClusterFaultsOptions
  /** When the supervisor starts a dead node. */
  readonly #rebootAtMs = new Map<ClusterNode, number>()
  readonly #replicas: ReplicaFaults
  readonly #network: NetworkFaults
  /** Not done yet for want of a place. */
  readonly #waiting = new Set<Harm>()
  readonly #disturbedMs = new Map<number, number>()
  readonly #allDisturbedMs = { at: 0 }
  #isOver = false
  #operating = 0
  #wipedMs = Number.NEGATIVE_INFINITY

  constructor(options: ClusterFaultsOptions) {
    this.#options = options
    this.#replicas = new ReplicaFaults({
      ...options,
      image: () => options.leader()?.node?.quorum?.image,
      cutPower: members => {
        this.#disturbAll()
        for (const member of members) this.#down(member, 'power cut')
      },
      operate: (what, change) => void this.#operate(what, change),
    })
    this.#network = new NetworkFaults({
      ...options,
      disturb: (...members) => {
        if (members.length === 0) this.#disturbAll()
        for (const member of members) this.#disturb(member)
      },
    })
    for (const harm of WAITS_FOR_ITS_PLACE) if (options.swarm.weights.get(harm)) this.#waiting.add(harm)
  }

  /** Something was done to the node, or to what lies between it and others, a while ago at most. */
  wasDisturbed = (nodeId: number): boolean => {
    const atMs = Math.max(this.#disturbedMs.get(nodeId) ?? 0, this.#allDisturbedMs.at)
    return this.#nowMs - atMs < AFTERMATH_MS
  }

  /** No call of the operator is under way. */
  get isIdle(): boolean {
    return this.#operating === 0
  }

  get isOver(): boolean {
    return this.#isOver
  }

  /** Until `heal`. */
  start(): void {
    const { cluster, swarm, prng } = this.#options
    for (const member of cluster.members) this.#bootLater(member)
    const harm = () => {
      if (this.#isOver) return
      if (prng.chance(swarm.healChance)) this.#mend()
      this.#harm()
      cluster.scheduler.schedule(prng.fraction() * 2 * swarm.harmEveryMs, harm, { label: 'harm' })
    }
    cluster.scheduler.schedule(swarm.harmEveryMs, harm, { label: 'harm' })
    this.#supervise()
  }

  /** Nothing bad happens any more, and everything runs. */
  heal(): void {
    const { cluster, journal } = this.#options
    journal.tell('--', () => 'heal')
    this.#isOver = true
    this.#disturbAll()
    this.#mend()
    for (const member of cluster.members) {
      if (!member.node) this.#rebootAtMs.set(member, 0)
    }
  }

  /**
   * One of the harms that have had no place, for which a cluster must be whole, each with the chance `share`; clients are at
   * work meanwhile. False: none is left that has a place.
   */
  catchUp(share: number): boolean {
    const { journal, prng, cluster } = this.#options
    for (const harm of this.#waiting) {
      this.#waiting.delete(harm)
      if (!prng.chance(share) || !this.#do(harm)) continue
      journal.count(harm)
      if (prng.chance(MEANWHILE)) this.#killSoon(prng.pick(cluster.members))
      return true
    }
    return false
  }

  #killSoon(member: ClusterNode): void {
    const { prng, cluster } = this.#options
    const how = prng.pick(['kill', 'power cut'] as const)
    cluster.scheduler.schedule(prng.fraction() * MEANWHILE_MS, () => this.#down(member, how), { label: how })
  }

  /** What was drained leads nothing until its next start, which is what it was drained for. */
  restart(members: readonly ClusterNode[]): void {
    for (const member of members) this.#down(member, 'kill')
  }

  /** The process of a node ends by itself: its disk failed, or the cluster refuses it. */
  onFailed(member: ClusterNode, error: NaruError): void {
    const { journal, cluster } = this.#options
    journal.count(`nodes ended by ${error.reason}`)
    journal.tell(member.machine.name, () => `ends: ${error.message}`)
    const { incarnation } = member.machine
    // In an event of its own, as `process.exit` does not return into the code that calls it.
    cluster.scheduler.schedule(0, () => incarnation.isAlive && this.#down(member, 'kill'), { label: 'exit' })
  }

  get #nowMs(): number {
    return this.#options.cluster.scheduler.nowMs
  }

  #supervise(): void {
    const { cluster } = this.#options
    for (const member of cluster.members) {
      const dueMs = this.#rebootAtMs.get(member)
      if (member.node || dueMs === undefined || dueMs > this.#nowMs) continue
      this.#rebootAtMs.delete(member)
      this.#boot(member)
    }
    cluster.scheduler.schedule(SUPERVISED_EVERY_MS, () => this.#supervise(), { label: 'supervisor' })
  }

  #boot(member: ClusterNode): void {
    const { cluster, journal } = this.#options
    journal.tell(member.machine.name, () => 'starts')
    this.restarts++
    this.#disturb(member)
    const node = cluster.boot(member)
    const { incarnation } = member.machine
    member.started.then(
      () => {
        journal.count('starts that served')
        journal.tell(member.machine.name, () => 'serves')
        this.#disturb(member)
      },
      (thrown: unknown) => {
        if (member.node !== node || !incarnation.isAlive) return
        const { reason, message } = NaruError.from(thrown)
        journal.count(`starts that failed by ${reason}`)
        journal.expect(
          reason !== 'INTERNAL',
          () => `the start of ${member.machine.name} failed: ${message} (INTERNAL)`,
        )
        journal.tell(member.machine.name, () => `does not start: ${message}`)
        this.#down(member, 'kill')
      },
    )
  }

  #bootLater(member: ClusterNode): void {
    const { prng, swarm } = this.#options
    const inMs = this.#isOver ? 100 : prng.fraction() ** 2 * swarm.rebootMsMax
    this.#rebootAtMs.set(member, this.#nowMs + inMs)
  }

  #down(member: ClusterNode, how: 'kill' | 'power cut'): void {
    const { cluster, journal } = this.#options
    if (!member.node) return
    journal.tell(member.machine.name, () => how)
    this.#disturb(member)
    member.machine.image.unstall()
    if (how === 'kill') cluster.kill(member)
    else {
      cluster.powerCut(member)
      this.#options.onPowerCut(member.nodeId)
    }
    member.machine.image.syncErrorProbability = 0
    this.#bootLater(member)
  }

  #disturb(member: ClusterNode): void {
    this.#disturbedMs.set(member.nodeId, this.#nowMs)
    // What happens to the controller happens to the sessions of all.
    if (this.#options.leader() === member) this.#disturbAll()
  }

  #disturbAll(): void {
    this.#allDisturbedMs.at = this.#nowMs
  }

  /** The world as it should be, but for processes that are down. */
  #mend(): void {
    const { cluster, journal, swarm } = this.#options
    journal.tell('--', () => 'everything that can be mended is')
    this.#disturbAll()
    cluster.network.heal()
    for (const { machine, node } of cluster.members) {
      if (node) machine.incarnation.resume()
      machine.image.unstall()
      machine.image.capacityBytes = Number.POSITIVE_INFINITY
      machine.image.syncErrorProbability = 0
      machine.image.syncLatencyMs = swarm.syncMs
    }
  }

  #harm(): void {
    const { prng, swarm, journal } = this.#options
    let left = prng.fraction() * HARMS.reduce((sum, harm) => sum + (swarm.weights.get(harm) ?? 0), 0)
    const harm = HARMS.find(one => {
      left -= swarm.weights.get(one) ?? 0
      return left < 0
    })
    if (!harm) return
    if (!this.#do(harm)) return
    this.#waiting.delete(harm)
    journal.count(harm)
  }

  /** Who leads the quorum, or a partition of a log. */
  #leaderOfSomething(): ClusterNode | undefined {
    const { prng, cluster, swarm, leader } = this.#options
    const controller = leader()
    if (swarm.logs.length === 0 || prng.chance(0.5)) return controller
    const { name, partitions } = prng.pick(swarm.logs)
    const topic = controller?.node?.quorum?.image.topics.byName(name)
    const state = topic?.partition(Math.floor(prng.fraction() * partitions))
    return cluster.members.find(({ nodeId }) => nodeId === state?.leader) ?? controller
  }

  /** False: it has no place now. */
  #do(harm: Harm): boolean {
    const { cluster, prng, swarm } = this.#options
    const any = prng.pick(cluster.members)
    const one = prng.chance(swarm.leaderShare) ? (this.#leaderOfSomething() ?? any) : any
    switch (harm) {
      case 'kill':
      case 'power cut':
        return this.#ifUp(one, () => this.#down(one, harm))
      case 'power cut in a disk change':
        return this.#ifUp(one, () => this.#cutPowerSoon(one))
      case 'power cut of all':
        for (const member of cluster.members) this.#down(member, 'power cut')
        return true
      case 'pause':
        return this.#ifUp(one, () => this.#pause(one))
      case 'orderly stop':
        return this.#ifUp(one, () => void this.#stop(one))
      case 'partition':
      case 'isolated node':
      case 'bridge partition':
      case 'one-way cut':
      case 'reset connections':
      case 'slow link':
        return this.#network.harm(harm, one)
      default:
        return this.#harmDiskOrQuorum(harm, one)
    }
  }

  #harmDiskOrQuorum(harm: Harm, one: ClusterNode): boolean {
    const { prng, clients } = this.#options
    const { image, time } = one.machine
    switch (harm) {
      case 'slow disk':
        this.#disturb(one)
        image.syncLatencyMs = { min: 20, max: prng.pick([100, 500, 3_000]) }
        return true
      case 'hanging disk':
        return this.#ifUp(one, () => this.#hang(one))
      case 'failing sync':
        return this.#ifUp(one, () => {
          image.syncErrorProbability = 0.2
        })
      case 'full disk':
        return this.#ifUp(one, () => {
          image.capacityBytes = image.usedBytes + Math.floor(prng.fraction() ** 2 * 20_000)
        })
      case 'wiped disk':
        return this.#wipe(one)
      case 'clock step':
        time.stepWall((prng.fraction() - 0.5) * 7_200_000)
        return true
      case 'node joins':
        return this.#join()
      case 'client crash':
        prng.pick(clients).crash()
        return true
      case 'voter removed':
      case 'leader removed':
        // Nobody can know yet that this leaves too few: the operator has taken two voters at the same moment.
        if (this.#nowMs - this.#wipedMs < NOTICED_MS) return false
        this.#changeQuorum(harm, one)
        return true
      case 'voter added':
      case 'node drained':
        this.#changeQuorum(harm, one)
        return true
      default:
        return this.#replicas.harm(harm, one)
    }
  }

  #ifUp(member: ClusterNode, harm: () => void): boolean {
    if (!member.node) return false
    this.#disturb(member)
    harm()
    return true
  }

  #cutPowerSoon(member: ClusterNode): void {
    const { prng, cluster, journal } = this.#options
    const { image, name } = member.machine
    image.crashAtChange(image.changes + 1 + Math.floor(prng.fraction() * 30), () => {
      journal.tell(name, () => 'power cut in the middle of a change of its disk')
      this.#disturb(member)
      cluster.network.powerOff(name)
      member.node = undefined
      this.#options.onPowerCut(member.nodeId)
      image.syncErrorProbability = 0
      this.#bootLater(member)
    })
  }

  #pause(member: ClusterNode): void {
    const { prng, cluster, journal } = this.#options
    const { incarnation, name } = member.machine
    const forMs = prng.fraction() ** 2 * 5_000
    journal.tell(name, () => `stands still for ${forMs.toFixed(0)} ms`)
    incarnation.pause()
    const resume = () => {
      this.#disturb(member)
      journal.tell(name, () => 'goes on')
      incarnation.resume()
    }
    cluster.scheduler.schedule(forMs, resume, { label: 'resume' })
  }

  #hang(member: ClusterNode): void {
    const { prng, cluster, journal } = this.#options
    const { image, name } = member.machine
    journal.tell(name, () => 'its disk hangs')
    image.stall()
    const goOn = () => {
      this.#disturb(member)
      image.unstall()
    }
    cluster.scheduler.schedule(prng.fraction() * 4_000, goOn, { label: 'unstall' })
  }

  async #stop(member: ClusterNode): Promise<void> {
    const { cluster, journal } = this.#options
    const { node, machine } = member
    if (!node) return
    const { incarnation } = machine
    journal.tell(machine.name, () => 'stops in order')
    const kill = () => incarnation.isAlive && member.node === node && this.#down(member, 'kill')
    cluster.scheduler.schedule(STOP_MS_MAX, kill, { label: 'SIGKILL' })
    await node.broker.drain()
    await node.broker.close()
    journal.count('orderly stops that ended')
    kill()
  }

  #wipe(member: ClusterNode): boolean {
    const { mayLose, journal } = this.#options
    if (!this.isIdle || !mayLose(member)) return false
    this.#wipedMs = this.#nowMs
    journal.tell(member.machine.name, () => 'gets an empty disk')
    this.#disturbAll()
    this.#down(member, 'power cut')
    member.machine.image.wipe()
    member.machine.state.destroy()
    this.#options.onDataLost(member.nodeId)
    return true
  }

  #join(): boolean {
    const { cluster, swarm, journal } = this.#options
    if (cluster.members.length >= swarm.nodes + swarm.joinersMax) return false
    const member = cluster.addMachine()
    journal.tell(member.machine.name, () => 'is new')
    this.#bootLater(member)
    return true
  }

  #changeQuorum(harm: Harm, one: ClusterNode): void {
    const { nodeId } = harm === 'leader removed' ? (this.#options.leader() ?? one) : one
    if (harm === 'node drained') this.#disturbAll()
    const change = (admin: Admin): Promise<unknown> => {
      if (harm === 'voter added') return admin.addVoter(nodeId)
      if (harm === 'node drained') return admin.drainNode(nodeId, { timeoutMs: 2_000 })
      return admin.removeVoter(nodeId)
    }
    void this.#operate(`${harm}: node ${nodeId}`, change, harm)
  }

  /** Until every partition that was given up has a leader again: what is left of it is what there is. */
  async recover(partitions: readonly { topic: string; partition: number }[]): Promise<void> {
    for (const { topic, partition } of partitions)
      await this.#operate(`recover ${topic}-${partition}`, admin =>
        admin.recoverPartitions(topic, { partition }),
      )
  }

  /** Answers and refusals are both fine; the oracles see what comes of it. */
  async #operate(what: string, change: (admin: Admin) => Promise<unknown>, counted?: string): Promise<void> {
    const { journal, operator } = this.#options
    this.#operating++
    journal.tell('op', () => what)
    try {
      const client = await operator.connect()
      try {
        await change(client.admin())
        if (counted !== undefined) journal.count(`${counted}: done`)
        journal.tell('op', () => `${what}: done`)
      } finally {
        await client.close()
      }
    } catch (thrown) {
      const error = operator.mustBeKnown(thrown, what)
      journal.tell('op', () => `${what}: ${error.message}`)
    }
    this.#operating--
  }
}
