import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Node } from '../../src/server/node.ts'
import { resolveSettings } from '../../src/server/settings.ts'
import { freePorts } from './free-ports.ts'

/** One real node; what it says in its log, and how it ended if it did by itself. */
export interface RealNode {
  readonly nodeId: number
  readonly peerPort: number
  node: Node | undefined
  readonly log: string[]
}

/** Real nodes inside this process, on free ports of 127.0.0.1 and temporary directories. */
export class RealCluster implements AsyncDisposable {
  readonly members: RealNode[]
  readonly #directory: string
  readonly #settings: Readonly<Record<string, number>>

  private constructor(
    directory: string,
    peerPorts: readonly number[],
    settings: Readonly<Record<string, number>>,
  ) {
    this.#settings = settings
    this.#directory = directory
    this.members = peerPorts.map((peerPort, nodeId) => ({ nodeId, peerPort, node: undefined, log: [] }))
  }

  static async start(options: { nodes: number; settings?: Record<string, number> }): Promise<RealCluster> {
    const directory = await mkdtemp(join(tmpdir(), 'naru-cluster-'))
    const cluster = new RealCluster(directory, await freePorts(options.nodes), options.settings ?? {})
    try {
      await Promise.all(cluster.members.map(member => cluster.startNode(member)))
    } catch (thrown) {
      await cluster[Symbol.asyncDispose]()
      throw thrown
    }
    return cluster
  }

  async startNode(member: RealNode): Promise<void> {
    const peers = this.members.map(({ peerPort }) => `127.0.0.1:${peerPort}`).join(',')
    const given = {
      'node.id': member.nodeId,
      'data.dir': join(this.#directory, `node-${member.nodeId}`),
      'client.port': 0,
      'http.port': 0,
      'peer.port': member.peerPort,
      'cluster.peers': peers,
      'drain.timeout.ms': 1000,
      'disk.free.min': 0,
      ...this.#settings,
    }
    const source = new Map(Object.entries(given).map(([key, value]) => [key, { value, givenAs: key }]))
    const note = (_: object, message: string) => member.log.push(message)
    member.node = new Node({
      settings: resolveSettings([source]).settings,
      logger: { debug() {}, info: note, warn: note, error: note },
      onFailed: error => member.log.push(error.message),
    })
    await member.node.start()
  }

  async stopNode(member: RealNode): Promise<void> {
    await member.node?.stop()
    member.node = undefined
  }

  /** Where clients reach the nodes that run. */
  get addresses(): string[] {
    return this.members.flatMap(({ node }) => (node ? [node.addresses.client] : []))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.members.map(member => this.stopNode(member)))
    await rm(this.#directory, { recursive: true, force: true })
  }
}
