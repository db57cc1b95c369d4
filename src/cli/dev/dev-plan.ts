import { join } from 'node:path'
import { flagOf } from '../../server/settings-sources.ts'
import type { SettingKey } from '../../server/settings-table.ts'

export const DEV_NODES_DEFAULT = 3
export const DEV_NODES_MAX = 9
export const DEV_PORT_BASE_DEFAULT = 7450
/** Of neighbouring nodes; their ports follow each other: clients +0, HTTP +1, peers +2. */
const PORT_STEP = 10
export const DEV_PORT_BASE_MAX = 65_535 - PORT_STEP * (DEV_NODES_MAX - 1) - 2

/** What `naru dev` decides for each node itself; every other setting is the user's, for all nodes alike. */
export const DEV_SETTINGS: ReadonlySet<string> = new Set([
  'node.id',
  'data.dir',
  'client.port',
  'http.port',
  'peer.port',
  'cluster.peers',
])

/** Where the nodes of a dev cluster are. Ids count from 1, so that node 2 is the second of the terminal. */
export interface DevPlan {
  readonly dataDirectory: string
  readonly listenAddress: string
  /** Under which the nodes reach each other and are reached. */
  readonly host: string
  readonly nodes: readonly DevNodePlan[]
}

export interface DevNodePlan {
  readonly nodeId: number
  readonly dataDirectory: string
  readonly clientPort: number
  readonly httpPort: number
  readonly peerPort: number
}

export function devPlan(wish: {
  dataDirectory: string
  listenAddress: string
  host: string
  nodeCount: number
  portBase: number
}): DevPlan {
  const { dataDirectory, listenAddress, host, nodeCount, portBase } = wish
  const nodes = Array.from({ length: nodeCount }, (_, index) => {
    const port = portBase + index * PORT_STEP
    return {
      nodeId: index + 1,
      dataDirectory: join(dataDirectory, nodeDirectoryName(index + 1)),
      clientPort: port,
      httpPort: port + 1,
      peerPort: port + 2,
    }
  })
  return { dataDirectory, listenAddress, host, nodes }
}

export function nodeDirectoryName(nodeId: number): string {
  return `node-${nodeId}`
}

/** Flags of `naru server` for one node of the plan. */
export function serverFlags({ host, nodes }: DevPlan, node: DevNodePlan): string[] {
  const settings: [string, string | number][] = [
    ['node.id', node.nodeId],
    ['data.dir', node.dataDirectory],
    ['client.port', node.clientPort],
    ['http.port', node.httpPort],
    ['peer.port', node.peerPort],
    ['cluster.peers', nodes.map(one => addressOf(host, one.peerPort)).join(',')],
  ]
  return settings.flatMap(([key, value]) => [flagOf(key as SettingKey), String(value)])
}

export function addressOf(host: string, port: number): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}
