import { NodeCluster } from '../../harness/node-cluster.ts'
import { NodeProcess } from '../../harness/node-process.ts'
import type { MachineTools } from './machine-tools.ts'
import { type Place, World, type WorldOptions } from './world.ts'

export interface ChaosClusterOptions {
  readonly tools: MachineTools
  readonly nodeCount: number
  readonly preloads?: WorldOptions['preloads']
  /** Another build: its `bin/naru.js`. */
  readonly program?: string | undefined
}

/** Wide: several programs may keep the machine busy, and how long a start takes is measured elsewhere. */
const START_TIMEOUT_MS = 90_000
const CLIENT_PORT = 7450
const HTTP_PORT = 7451
const PEER_PORT = 7452
/** Of the node's small disk. */
const DISK_FREE_MIN = 32 * 2 ** 20

/** Nodes as processes in places whose network, disk and clock can fail. */
export class ChaosCluster implements AsyncDisposable {
  readonly nodes: NodeCluster
  readonly world: World
  readonly places: ReadonlyMap<number, Place>

  private constructor(nodes: NodeCluster, world: World, places: ReadonlyMap<number, Place>) {
    this.nodes = nodes
    this.world = world
    this.places = places
  }

  static async start(options: ChaosClusterOptions): Promise<ChaosCluster> {
    const { tools, nodeCount, preloads = [], program } = options
    const world = await World.make({ tools, preloads })
    const places = new Map<number, Place>()
    try {
      for (let nodeId = 1; nodeId <= nodeCount; nodeId++) places.set(nodeId, await world.place(nodeId))
      const peers = [...places.values()].map(one => `${one.advertisedHost}:${PEER_PORT}`).join(',')
      const started = await Promise.allSettled(
        [...places].map(([nodeId, place]) => startNode(nodeId, place, { peers, program })),
      )
      const nodes = started.flatMap(one => (one.status === 'fulfilled' ? [one.value] : []))
      const cluster = new ChaosCluster(
        NodeCluster.of(new Map(nodes.map((node, index) => [index + 1, node]))),
        world,
        places,
      )
      const failed = started.find(one => one.status === 'rejected')
      if (failed === undefined) return cluster
      await cluster.nodes[Symbol.asyncDispose]()
      throw failed.reason
    } catch (thrown) {
      await world[Symbol.asyncDispose]()
      throw thrown
    }
  }

  get nodeIds(): number[] {
    return [...this.places.keys()]
  }

  place(nodeId: number): Place {
    const place = this.places.get(nodeId)
    if (place === undefined) throw new Error(`the cluster has no node ${nodeId}`)
    return place
  }

  /** All at the same moment, as nearly as one machine can; what they had not synced is gone. They stay down. */
  async cutPower(nodeIds: readonly number[]): Promise<void> {
    // First they stand still, so that none of them sees another's disk gone.
    for (const nodeId of nodeIds) this.nodes.node(nodeId).pause()
    await Promise.all(nodeIds.map(nodeId => this.place(nodeId).image?.cutPower()))
    await Promise.all(nodeIds.map(nodeId => this.nodes.node(nodeId).kill()))
    await Promise.all(nodeIds.map(nodeId => this.place(nodeId).image?.powerOn()))
  }

  /** Starts what does not run. Rejects if one of them does not serve in time. */
  async startAll(nodeIds: readonly number[] = this.nodeIds): Promise<void> {
    const down = nodeIds.map(nodeId => this.nodes.node(nodeId)).filter(node => !node.isRunning)
    await Promise.all(down.map(node => node.start()))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const nodeId of this.nodeIds) this.nodes.node(nodeId).resume()
    await this.nodes[Symbol.asyncDispose]()
    await this.world[Symbol.asyncDispose]()
  }
}

function startNode(
  nodeId: number,
  place: Place,
  { peers, program }: { peers: string; program: string | undefined },
): Promise<NodeProcess> {
  return NodeProcess.start({
    dataDirectory: place.dataDirectory,
    settings: {
      'node.id': nodeId,
      'listen.address': place.listenHost,
      'advertised.address': place.advertisedHost,
      'client.port': CLIENT_PORT,
      'http.port': HTTP_PORT,
      'peer.port': PEER_PORT,
      'cluster.peers': peers,
      'drain.timeout.ms': 5_000,
      'disk.free.min': place.image ? DISK_FREE_MIN : 0,
      'auto.create.topics.enable': false,
      'log.segment.bytes': 2 ** 20,
    },
    surroundings: {
      launcher: place.launcher,
      environment: place.environment,
      host: place.advertisedHost,
      startTimeoutMs: START_TIMEOUT_MS,
      ...(program !== undefined && { program }),
    },
  })
}
