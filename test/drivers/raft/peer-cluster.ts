import { NaruError } from '../../../src/base/errors.ts'
import { ControllerDriver } from '../../../src/drivers/controller/controller-driver.ts'
import { openRaft } from '../../../src/drivers/raft/open-raft-storage.ts'
import { PeerNetwork } from '../../../src/drivers/raft/peer-network.ts'
import type { FormedNode, PeerEvent } from '../../../src/drivers/raft/peer-network-options.ts'
import { Controller } from '../../../src/metadata/controller.ts'
import type { MetadataRecord } from '../../../src/metadata/metadata-record.ts'
import type { NodeImage } from '../../../src/metadata/node-image.ts'
import { randomUuid } from '../../../src/ports/prng.ts'
import type { ServiceHandler } from '../../../src/ports/transport.ts'
import { nodeIdOf } from '../../../src/raft/membership.ts'
import { EventScheduler } from '../../harness/event-scheduler.ts'
import { SeededPrng } from '../../harness/seeded-prng.ts'
import { SimMachine } from '../../harness/sim-machine.ts'
import { SimNetwork } from '../../harness/sim-network.ts'
import { SimTransport, serveSimulated } from '../../harness/sim-transport.ts'
import { resourcesOf } from './raft-cluster.ts'

const PORT = 7452

export interface PeerNodeOptions {
  readonly nodeId: number
  /** Default: `n<node id>`. */
  readonly host?: string
  /** Hosts. */
  readonly peers: readonly string[]
}

/** One node as far as its peers see it: machine, and the process that runs on it now. */
export class PeerNode {
  readonly options: PeerNodeOptions
  readonly machine: SimMachine
  readonly events: PeerEvent[] = []
  host: string
  peers: readonly string[]
  /** Served on its peers' port. */
  handlers = new Map<string, ServiceHandler>()
  network: PeerNetwork | undefined
  formed: FormedNode | undefined
  quorum: ControllerDriver | undefined
  /** Why its start failed, or its peers refused it. */
  error: NaruError | undefined

  constructor(options: PeerNodeOptions, machine: SimMachine) {
    this.options = options
    this.machine = machine
    this.host = machine.name
    this.peers = options.peers
  }

  get nodeId(): number {
    return this.options.nodeId
  }

  get address(): string {
    return `${this.host}:${PORT}`
  }

  get messages(): string {
    return this.events.map(({ message }) => message).join('\n')
  }
}

/** Nodes on simulated machines that only have their peers to go by. */
export class PeerCluster {
  readonly prng: SeededPrng
  readonly scheduler: EventScheduler
  readonly network: SimNetwork
  readonly nodes: PeerNode[] = []

  constructor(seed: number) {
    this.prng = new SeededPrng(seed)
    this.scheduler = new EventScheduler(this.prng.fork('scheduler'))
    this.network = new SimNetwork({ scheduler: this.scheduler, prng: this.prng.fork('network') })
  }

  /** Nodes 1 ... `count`, which list each other. Not started. */
  static of(count: number, seed = 1): PeerCluster {
    const cluster = new PeerCluster(seed)
    const peers = Array.from({ length: count }, (_, i) => `n${i + 1}`)
    for (const [i] of peers.entries()) cluster.add({ nodeId: i + 1, peers })
    return cluster
  }

  add(options: PeerNodeOptions): PeerNode {
    const name = options.host ?? `n${options.nodeId}`
    const { scheduler, prng } = this
    const node = new PeerNode(options, new SimMachine(0, { name, scheduler, prng: prng.fork(name) }))
    this.nodes.push(node)
    return node
  }

  node(nodeId: number): PeerNode {
    return this.nodes.find(node => node.nodeId === nodeId) as PeerNode
  }

  get leader(): PeerNode | undefined {
    const leaders = this.nodes.filter(node => node.quorum?.isLeading)
    return leaders.sort((a, b) => (b.quorum?.status.term ?? 0) - (a.quorum?.status.term ?? 0))[0]
  }

  startAll(): void {
    for (const node of this.nodes) this.start(node)
  }

  start(node: PeerNode): void {
    node.error = undefined
    this.network.powerOn(node.host)
    const { incarnation } = node.machine
    this.#start(node).catch((thrown: unknown) => {
      if (!incarnation.isAlive) return
      if (!(thrown instanceof NaruError)) throw thrown
      node.error = thrown
      // Else it was told to stop, and is not through with that yet.
      if (thrown.reason !== 'NODE_DRAINING') this.kill(node)
    })
  }

  kill(node: PeerNode): void {
    node.machine.kill()
    this.#forget(node)
  }

  /** Unsynced bytes are lost, and nobody is told that it is gone. */
  powerCut(node: PeerNode): void {
    this.network.powerOff(node.host)
    node.machine.powerCut()
    this.#forget(node)
  }

  /** After the machine lost its power by itself. */
  onPowerLost(node: PeerNode): void {
    this.#forget(node)
  }

  /** The running node is reached at another name as well. */
  alsoAt(node: PeerNode, host: string): void {
    const { incarnation } = node.machine
    serveSimulated({
      network: this.network,
      incarnation,
      address: `${host}:${PORT}`,
      handlers: node.handlers,
    })
  }

  /** Its disk is gone with all that was on it. */
  wipe(node: PeerNode): void {
    this.kill(node)
    const index = this.nodes.indexOf(node)
    const name = `${node.machine.name}`
    const { scheduler, prng } = this
    const machine = new SimMachine(0, { name, scheduler, prng: prng.fork(`${name} ${scheduler.steps}`) })
    const fresh = new PeerNode(node.options, machine)
    fresh.host = node.host
    this.nodes[index] = fresh
  }

  /** Runs until all given nodes have a cluster and a leader. */
  async untilFormed(nodes = this.nodes, timeMsMax = 20_000): Promise<void> {
    const isFormed = () => nodes.every(node => node.error || node.quorum?.leaderId !== undefined)
    await this.scheduler.runUntil(isFormed, { timeMsMax })
    for (const node of nodes) if (node.error) throw node.error
  }

  async until(condition: () => boolean, timeMsMax = 60_000): Promise<void> {
    await this.scheduler.runUntil(condition, { timeMsMax })
  }

  /** From the metadata, as an operator does it. */
  async removeNode(nodeId: number): Promise<void> {
    const quorum = this.leader?.quorum as ControllerDriver
    const { nodeEpoch, directoryId } = quorum.image.nodes.get(nodeId) as NodeImage
    const record: MetadataRecord = { type: 'nodeRemoved', version: 0, nodeId, nodeEpoch, directoryId }
    await this.scheduler.finish(quorum.submit(() => ({ records: [record], response: undefined })))
  }

  /** As the leader has it, by node id. */
  get voters(): number[] {
    const voters = this.leader?.quorum?.status.membership.voters ?? []
    return voters.map(nodeIdOf).sort((a, b) => a - b)
  }

  async close(): Promise<void> {
    for (const node of this.nodes) node.network?.close()
    await this.scheduler.finish(Promise.all(this.nodes.map(node => node.quorum?.close())))
    for (const node of this.nodes) this.kill(node)
  }

  async #start(node: PeerNode): Promise<void> {
    const { machine, host, nodeId, address } = node
    const { incarnation, disk, clock } = machine
    const prng = this.prng.fork(`${machine.name} ${this.scheduler.steps}`)
    const transport = new SimTransport(this.network, incarnation, host)
    const handlers = new Map<string, ServiceHandler>()
    node.handlers = handlers
    const network = new PeerNetwork({
      nodeId,
      dataDirectory: 'data',
      raftDirectory: 'data/raft',
      peers: node.peers.map(peer => `${peer}:${PORT}`),
      disk,
      clock,
      prng,
      transport,
      onEvent: event => node.events.push(event),
      onRefused: error => {
        this.kill(node)
        node.error = error
      },
    })
    node.network = network
    for (const [path, handler] of network.handlers) handlers.set(path, handler)
    serveSimulated({ network: this.network, incarnation, address, handlers })
    await disk.makeDirectory('data')
    const formed = await network.formOrJoin(address)
    const { directoryId, clusterId } = formed.identity
    const resources = resourcesOf(disk, clock)
    const opened = await openRaft({ resources, directory: 'data/raft', nodeId, prng, onEvent() {} })
    const quorum = new ControllerDriver({
      raft: {
        clusterId,
        opened,
        disk,
        clock,
        prng,
        transport,
        addressOf: member => network.addressOf(member),
        campaignAtOnce: formed.campaignAtOnce,
      },
      onFailed: error => {
        throw error
      },
      onEvent() {},
    })
    node.formed = formed
    node.quorum = quorum
    for (const [path, handler] of quorum.handlers) handlers.set(path, handler)
    network.attachQuorum(quorum)
    this.#register(node, { directoryId, incarnation: randomUuid(prng) })
  }

  /** As sessions with the controller do it. */
  #register(node: PeerNode, ids: { directoryId: string; incarnation: string }): void {
    const { quorum, nodeId, machine } = node
    const { incarnation } = machine
    const again = () => incarnation.schedule(200, () => this.#register(node, ids))
    const leader = this.leader?.quorum
    if (!quorum || !leader || leader.clusterId !== quorum.clusterId || quorum.leaderId === undefined) {
      again()
      return
    }
    const request = {
      ...ids,
      nodeId,
      clusterId: quorum.clusterId,
      rack: '',
      clientAddress: `${node.host}:7450`,
      peerAddress: node.address,
      release: '0',
    }
    const options = { nodesListed: 1, defaultPartitions: 1 }
    leader
      .submit(newest =>
        new Controller(newest, options).nodes.register(request, { isSessionAlive: false, wallMs: 0 }),
      )
      .then(
        () => {},
        () => again(),
      )
  }

  #forget(node: PeerNode): void {
    node.network = undefined
    node.formed = undefined
    node.quorum = undefined
  }
}
