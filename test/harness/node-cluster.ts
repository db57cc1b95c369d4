import { type Admin, type Client, connect } from '../../src/server/client.ts'
import { freePorts } from './free-ports.ts'
import { NodeProcess } from './node-process.ts'

const POLL_MS = 20

export interface NodeClusterOptions {
  /** Default 3; ids count from 1. */
  readonly nodeCount?: number
  readonly settings?: Readonly<Record<string, string | number | boolean>>
}

/** Several nodes, a process each, that form one cluster on 127.0.0.1; gone with their data at the end. */
export class NodeCluster implements AsyncDisposable {
  readonly nodes: ReadonlyMap<number, NodeProcess>

  private constructor(nodes: ReadonlyMap<number, NodeProcess>) {
    this.nodes = nodes
  }

  static async start({ nodeCount = 3, settings = {} }: NodeClusterOptions = {}): Promise<NodeCluster> {
    const ports = await freePorts(3 * nodeCount)
    const peerPorts = ports.slice(2 * nodeCount)
    const peers = peerPorts.map(port => `127.0.0.1:${port}`).join(',')
    const started = await Promise.allSettled(
      peerPorts.map((peerPort, index) =>
        NodeProcess.start({
          settings: {
            'node.id': index + 1,
            'client.port': ports[index] ?? 0,
            'http.port': ports[nodeCount + index] ?? 0,
            'peer.port': peerPort,
            'cluster.peers': peers,
            'drain.timeout.ms': 5_000,
            ...settings,
          },
        }),
      ),
    )
    const nodes = started.flatMap(one => (one.status === 'fulfilled' ? [one.value] : []))
    const cluster = new NodeCluster(new Map(nodes.map((node, index) => [index + 1, node])))
    const failed = started.find(one => one.status === 'rejected')
    if (failed === undefined) return cluster
    await cluster[Symbol.asyncDispose]()
    throw failed.reason
  }

  /** Nodes that were started elsewhere. */
  static of(nodes: ReadonlyMap<number, NodeProcess>): NodeCluster {
    return new NodeCluster(nodes)
  }

  get addresses(): string[] {
    return [...this.nodes.values()].map(node => node.address)
  }

  node(nodeId: number): NodeProcess {
    const node = this.nodes.get(nodeId)
    if (node === undefined) throw new Error(`the cluster has no node ${nodeId}`)
    return node
  }

  connect(): Promise<Client> {
    return connect(this.addresses)
  }

  /** Resolves with the id of the node that leads the quorum, once there is one. */
  async controllerId(admin: Admin, except?: number): Promise<number> {
    return await until(async () => {
      const { leader } = await admin.describeQuorum()
      return leader === except ? undefined : leader
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.nodes.values()].map(node => node[Symbol.asyncDispose]()))
  }
}

/** The first answer that is one. What fails meanwhile may work later. */
export async function until<T>(
  ask: () => Promise<T | undefined>,
  { timeoutMs = 30_000 }: { timeoutMs?: number } = {},
): Promise<T> {
  const deadlineMs = performance.now() + timeoutMs
  let cause: unknown
  while (performance.now() < deadlineMs) {
    try {
      const answer = await ask()
      if (answer !== undefined) return answer
    } catch (thrown) {
      cause = thrown
    }
    await new Promise(resolve => setTimeout(resolve, POLL_MS))
  }
  throw new Error(`nothing came of it in ${timeoutMs} ms`, { cause })
}
