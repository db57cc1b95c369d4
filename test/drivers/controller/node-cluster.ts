import type { NaruError } from '../../../src/base/errors.ts'
import { ControllerService } from '../../../src/drivers/controller/controller-service.ts'
import { NodeAgent } from '../../../src/drivers/controller/node-agent.ts'
import { TopicControl } from '../../../src/metadata/topic-control.ts'
import { SeededPrng } from '../../harness/seeded-prng.ts'
import type { SimIncarnation } from '../../harness/sim-incarnation.ts'
import { SimTransport, serveSimulated } from '../../harness/sim-transport.ts'
import { MetadataCluster, type MetadataMember } from './metadata-cluster.ts'

const PORT = 7452
const CONTROLLER_OPTIONS = { nodesListed: 3, defaultPartitions: 1 }

/** A process of a node: its part in the quorum, its service as the controller, its agent. */
export interface NodeProcess {
  readonly nodeId: number
  readonly member: MetadataMember
  readonly incarnation: SimIncarnation
  readonly service: ControllerService
  readonly agent: NodeAgent
  /** What ended it: the refusal of its start, or later. */
  ended: NaruError | undefined
  isServing: boolean
}

export interface NodeProcessOptions {
  readonly incarnation?: string
  readonly directoryId?: string
  /** Resolves when the partitions of the node are open. */
  readonly openPartitions?: () => Promise<void>
  readonly unreachableNodes?: () => readonly number[]
}

/** Nodes with a quorum and sessions with its controller, on simulated machines. */
export class NodeCluster {
  readonly quorum: MetadataCluster
  readonly nodes = new Map<number, NodeProcess>()
  readonly log: string[] = []
  #started = 0
  #topics = 0

  private constructor(quorum: MetadataCluster) {
    this.quorum = quorum
  }

  static async start(options: { seed: number; members: number }): Promise<NodeCluster> {
    const cluster = new NodeCluster(await MetadataCluster.start(options))
    for (const member of cluster.quorum.members) cluster.join(member)
    await cluster.until(() => [...cluster.nodes.values()].every(node => node.isServing))
    return cluster
  }

  get scheduler() {
    return this.quorum.scheduler
  }

  get nowMs(): number {
    return this.scheduler.nowMs
  }

  /** Starts the node beside the driver that its member runs; `boot` starts that too. */
  join(member: MetadataMember, options: NodeProcessOptions = {}): NodeProcess {
    const { machine, nodeId, driver: quorum } = member
    if (!quorum) throw new Error(`node ${nodeId} has no driver`)
    const { clock, incarnation } = machine
    const id = options.incarnation ?? `process-${++this.#started}`
    const logger = this.#loggerOf(nodeId)
    const controllerOptions = CONTROLLER_OPTIONS
    const whenPartitionsOpen = options.openPartitions ?? (async () => {})
    const service = new ControllerService({
      quorum,
      clock,
      logger,
      controllerOptions,
      incarnation: id,
      whenPartitionsOpen,
    })
    const agent = new NodeAgent({
      quorum,
      clock,
      logger,
      transport: new SimTransport(this.quorum.network, incarnation, machine.name),
      prng: new SeededPrng(nodeId),
      registration: {
        directoryId: options.directoryId ?? `disk${nodeId}`,
        incarnation: id,
        rack: '',
        clientAddress: `n${nodeId}:7450`,
        peerAddress: `n${nodeId}:${PORT}`,
        release: '0.1.0',
      },
      addressOfNode: other => `n${other}:${PORT}`,
      controllerHandlers: service.handlers,
      openPartitions: whenPartitionsOpen,
      ...(options.unreachableNodes && { unreachableNodes: options.unreachableNodes }),
      onEnded: error => {
        node.ended = error
      },
    })
    const node: NodeProcess = {
      nodeId,
      member,
      incarnation,
      service,
      agent,
      ended: undefined,
      isServing: false,
    }
    const handlers = new Map([...quorum.handlers, ...service.handlers])
    serveSimulated({
      network: this.quorum.network,
      incarnation,
      address: `${machine.name}:${PORT}`,
      handlers,
    })
    this.nodes.set(nodeId, node)
    agent.start().then(
      () => {
        node.isServing = true
      },
      error => {
        node.ended = error
      },
    )
    return node
  }

  async boot(nodeId: number, options: NodeProcessOptions = {}): Promise<NodeProcess> {
    const member = this.quorum.members.find(one => one.nodeId === nodeId)
    if (!member) throw new Error(`no member ${nodeId}`)
    await this.quorum.boot(member)
    return this.join(member, options)
  }

  node(nodeId: number): NodeProcess {
    const node = this.nodes.get(nodeId)
    if (!node) throw new Error(`no node ${nodeId}`)
    return node
  }

  /** SIGKILL: its connections close. */
  kill(nodeId: number): void {
    const { member } = this.node(nodeId)
    member.machine.kill()
    member.driver = undefined
  }

  get controller(): NodeProcess {
    const { leader } = this.quorum
    if (!leader) throw new Error('nobody leads')
    return this.node(leader.nodeId)
  }

  /** Nodes that are not the controller. */
  get others(): NodeProcess[] {
    return [...this.nodes.values()].filter(node => node !== this.controller)
  }

  image() {
    return this.quorum.leader?.driver?.image
  }

  /** `1 2! 3` as the controller has it: 2 is fenced. */
  show(): string {
    const nodes = this.image()?.nodes.all() ?? []
    return nodes
      .map(node => `${node.nodeId}${node.isFenced ? '!' : ''}${node.isDraining ? '~' : ''}`)
      .join(' ')
  }

  epochOf(nodeId: number): number | undefined {
    return this.image()?.nodes.get(nodeId)?.nodeEpoch
  }

  /** Milliseconds until the condition holds. */
  async timeUntil(condition: () => boolean): Promise<number> {
    const sinceMs = this.nowMs
    await this.until(condition)
    return this.nowMs - sinceMs
  }

  until(condition: () => boolean): Promise<void> {
    return this.quorum.until(condition)
  }

  runFor(durationMs: number): Promise<void> {
    return this.scheduler.runFor(durationMs)
  }

  /** A topic of one partition on these nodes; the first one leads. */
  async createTopic(...replicas: number[]): Promise<string> {
    const name = `topic-${++this.#topics}`
    const { driver } = await this.quorum.awaitLeader()
    const results = await this.quorum.run(
      driver.submit(newest =>
        new TopicControl(newest, CONTROLLER_OPTIONS).create(
          { topics: [{ name, assignments: [replicas] }] },
          () => `id-of-${name}`,
        ),
      ),
    )
    if (results[0]?.ok !== true) throw results[0]?.error
    return name
  }

  /** As node 1's controller sees it: `leader=1 isr=1,2`. */
  partition(name: string): string {
    const state = this.image()?.topics.byName(name)?.partition(0)
    return `leader=${state?.leader} isr=${state?.isr}`
  }

  #loggerOf(nodeId: number) {
    const write = (facts: object, message: string) =>
      void this.log.push(`${nodeId} ${message} ${JSON.stringify(facts)}`)
    return { debug() {}, info: write, warn: write, error: write }
  }
}
