import { EventScheduler } from './event-scheduler.ts'
import { SeededPrng } from './seeded-prng.ts'
import { SimBroker, type SimBrokerOptions } from './sim-broker.ts'
import type { ClockFaults } from './sim-clock.ts'
import { SimMachine } from './sim-machine.ts'
import { SimNetwork } from './sim-network.ts'

export interface SimBrokerClusterOptions {
  readonly seed: number
  /** Listed in `cluster.peers`. */
  readonly nodes: number
  readonly settings?: Readonly<Record<string, string | number | boolean>>
  readonly clock?: (nodeId: number) => ClockFaults
  readonly brokerOptions?: (member: ClusterNode) => SimBrokerOptions
}

/** One node: its machine, and its broker while that runs. */
export interface ClusterNode {
  readonly nodeId: number
  readonly machine: SimMachine
  node: SimBroker | undefined
  /** Settled as the start of the present broker is. */
  started: Promise<void>
}

/** Whole brokers on simulated machines with a network between them, under one seed. */
export class SimBrokerCluster {
  readonly scheduler: EventScheduler
  readonly network: SimNetwork
  readonly members: ClusterNode[] = []
  readonly #prng: SeededPrng
  readonly #options: SimBrokerClusterOptions

  constructor(options: SimBrokerClusterOptions) {
    this.#options = options
    this.#prng = new SeededPrng(options.seed)
    this.scheduler = new EventScheduler(this.#prng.fork('scheduler'))
    this.network = new SimNetwork({ scheduler: this.scheduler, prng: this.#prng.fork('network') })
    for (let nodeId = 0; nodeId < options.nodes; nodeId++) this.addMachine()
  }

  /** All nodes started, and all of them serving. */
  static async start(options: SimBrokerClusterOptions): Promise<SimBrokerCluster> {
    const cluster = new SimBrokerCluster(options)
    for (const member of cluster.members) cluster.boot(member)
    await cluster.serving(...cluster.members)
    return cluster
  }

  addMachine(): ClusterNode {
    const nodeId = this.members.length
    const name = `n${nodeId}`
    const clock = this.#options.clock?.(nodeId)
    const machine = new SimMachine(0, {
      name,
      scheduler: this.scheduler,
      prng: this.#prng.fork(name),
      ...(clock && { clock }),
    })
    const member = { nodeId, machine, node: undefined, started: Promise.resolve() }
    this.members.push(member)
    return member
  }

  /** Begins a start, which may have to wait for others. */
  boot(member: ClusterNode): SimBroker {
    const { nodes, settings, brokerOptions } = this.#options
    const peers = Array.from({ length: nodes }, (_, id) => `n${id}:7452`).join(',')
    this.network.powerOn(member.machine.name)
    const given = { 'node.id': member.nodeId, 'cluster.peers': peers, ...settings }
    const node = SimBroker.make(member.machine, given, this.network, brokerOptions?.(member))
    member.node = node
    member.started = node.start()
    member.started.catch(() => {})
    return node
  }

  async serving(...members: ClusterNode[]): Promise<void> {
    await this.run(Promise.all(members.map(member => member.started)))
  }

  /** Unsynced bytes are lost, and nobody is told that it is gone. */
  powerCut(member: ClusterNode): void {
    this.network.powerOff(member.machine.name)
    member.machine.powerCut()
    member.node = undefined
  }

  /** SIGKILL: its connections close. */
  kill(member: ClusterNode): void {
    member.machine.kill()
    member.node = undefined
  }

  async stop(member: ClusterNode): Promise<void> {
    await this.run(member.node?.broker.close() ?? Promise.resolve())
    member.machine.kill()
    member.node = undefined
  }

  /** Those that run. */
  get running(): (ClusterNode & { node: SimBroker })[] {
    return this.members.filter(isRunning)
  }

  /** Any node that runs. */
  get any(): SimBroker {
    const [first] = this.running
    if (!first) throw new Error('no node runs')
    return first.node
  }

  run<T>(work: Promise<T>): Promise<T> {
    return this.scheduler.finish(work)
  }

  until(condition: () => boolean, timeMsMax = 30_000): Promise<void> {
    return this.scheduler.runUntil(condition, { timeMsMax })
  }
}

export function brokerOf(member: ClusterNode): SimBroker {
  if (!isRunning(member)) throw new Error(`node ${member.nodeId} does not run`)
  return member.node
}

function isRunning(member: ClusterNode): member is ClusterNode & { node: SimBroker } {
  return member.node !== undefined
}
