import { type ImportGraph, packageOf } from './import-graph.ts'

/**
 * Who may import whom: ARCHITECTURE.md tells it in prose, this table decides. Type-only imports count.
 * THINK HARD before changing a row: a new arrow is much easier to add than to take away.
 *
 * `folders`: what the folder may import beside itself. `packages`: which npm packages and `node:` modules.
 */
export const LAYERS: Readonly<Record<string, Layer>> = {
  base: { folders: [], packages: [] },
  records: {
    folders: ['base'],
    packages: ['node:crypto', 'node:zlib', '@node-rs/crc32', 'snappy', 'lz4-napi', '@bokuweb/zstd-wasm'],
  },
  machine: { folders: ['base'], packages: [] },
  raft: { folders: ['base'], packages: [] },
  metadata: { folders: ['base', 'machine'], packages: [] },
  replication: { folders: ['base'], packages: [] },
  groups: { folders: ['base', 'machine'], packages: [] },
  ports: { folders: ['base'], packages: ['node:*', 'level'] },
  log: { folders: ['base', 'records', 'ports'], packages: [] },
  wire: { folders: ['base', 'records'], packages: ['@grpc/proto-loader', 'protobufjs'] },
  drivers: {
    folders: [
      'base',
      'records',
      'machine',
      'raft',
      'metadata',
      'replication',
      'groups',
      'ports',
      'log',
      'wire',
    ],
    packages: [],
  },
  client: { folders: ['base', 'records', 'wire', 'ports'], packages: [] },
  service: {
    folders: ['base', 'records', 'metadata', 'groups', 'ports', 'log', 'wire', 'drivers', 'client'],
    packages: [],
  },
  rpc: {
    folders: ['base', 'ports', 'wire', 'service'],
    packages: ['node:*', '@grpc/grpc-js'],
  },
  server: { folders: ['*'], packages: ['node:*', 'pino', 'pino-pretty', 'yaml'] },
  cli: {
    folders: ['base', 'client', 'server'],
    packages: ['node:*', 'commander', 'cli-table3', 'cli-progress'],
  },
}

export interface Layer {
  readonly folders: readonly string[]
  readonly packages: readonly string[]
}

/** Synchronous code without any effect: time, randomness and bytes come in as arguments, effects go out as data. */
export const PURE_FOLDERS: ReadonlySet<string> = new Set([
  'base',
  'machine',
  'raft',
  'metadata',
  'replication',
  'groups',
])

/** The only folders that touch sockets, files, timers, clocks and the process. */
export const OUTSIDE_FOLDERS: ReadonlySet<string> = new Set(['ports', 'rpc', 'server', 'cli'])

/** Single imports that the table forbids and a reason allows. */
export const LAYER_EXCEPTIONS: readonly LayerException[] = []

export interface LayerException {
  readonly from: string
  readonly to: string
  readonly reason: string
}

export function layerBreaches(graph: ImportGraph, exceptions = LAYER_EXCEPTIONS): string[] {
  const breaches: string[] = []
  for (const file of graph.files.values()) {
    if (file.folder === undefined) continue
    const layer = LAYERS[file.folder]
    if (!layer) {
      breaches.push(`${file.path}: the folder src/${file.folder} has no row in test/tidy/layers.ts`)
      continue
    }
    for (const edge of file.imports) {
      const where = `${file.path}:${edge.line}`
      const target = graph.resolve(file, edge)
      const breach = target
        ? folderBreach(file.folder, layer, target)
        : packageBreach(file.folder, layer, edge.specifier)
      const excepted = exceptions.some(one => one.from === file.path && one.to === (target ?? edge.specifier))
      if (breach && !excepted) breaches.push(`${where}: ${breach}`)
    }
  }
  return breaches
}

function folderBreach(folder: string, layer: Layer, target: string): string | undefined {
  const targetFolder = /^src\/([^/]+)\//.exec(target)?.[1]
  if (targetFolder === undefined) return `imports ${target}, which is not in src`
  const allowed =
    targetFolder === folder ||
    layer.folders.includes(targetFolder) ||
    (layer.folders.includes('*') && targetFolder !== 'cli')
  if (allowed) return undefined
  return `src/${folder} may not import ${target} (it may import: ${layer.folders.join(', ') || 'nothing'})`
}

function packageBreach(folder: string, layer: Layer, specifier: string): string | undefined {
  const name = packageOf(specifier)
  if (layer.packages.includes(name)) return undefined
  if (name.startsWith('node:') && layer.packages.includes('node:*')) return undefined
  const hint = name.startsWith('node:') ? ': use a port of src/ports' : ''
  return `src/${folder} may not import ${specifier}${hint} (it may import: ${layer.packages.join(', ') || 'no package'})`
}
