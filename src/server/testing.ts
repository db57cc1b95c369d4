import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Node } from './node.ts'
import { resolveSettings, type SettingSource } from './settings.ts'

export interface TestNode extends AsyncDisposable {
  /** `host:port` to give to `connect`. */
  readonly address: string
  /** Stops the node and removes its directory. Idempotent. */
  close(): Promise<void>
}

export interface TestNodeOptions {
  /** Settings of the node by their names (docs/settings.md): `{ 'num.partitions': 1 }`. */
  readonly settings?: Readonly<Record<string, string | number | boolean>>
}

/**
 * A node inside this process, for tests: on a free port of 127.0.0.1, with a temporary directory, gone when its
 * scope ends.
 *
 *     await using node = await startNode()
 *     await using client = await connect(node.address)
 */
export async function startNode(options: TestNodeOptions = {}): Promise<TestNode> {
  const directory = await mkdtemp(join(tmpdir(), 'naru-test-'))
  try {
    const { settings } = resolveSettings([
      source({ ...PRESETS, 'data.dir': directory }),
      source(options.settings ?? {}),
    ])
    const node = new Node({
      settings,
      logger: SILENT,
      onFailed: error => {
        throw error
      },
    })
    await node.start()
    const close = async () => {
      await node.stop()
      await rm(directory, { recursive: true, force: true })
    }
    return { address: node.addresses.client, close, [Symbol.asyncDispose]: close }
  } catch (thrown) {
    await rm(directory, { recursive: true, force: true })
    throw thrown
  }
}

const PRESETS = {
  'client.port': 0,
  'http.port': 0,
  'peer.port': 0,
  'drain.timeout.ms': 1000,
  'disk.free.min': 0,
}

const SILENT = { debug() {}, info() {}, warn() {}, error() {} }

function source(values: Readonly<Record<string, string | number | boolean>>): SettingSource {
  return new Map(Object.entries(values).map(([key, value]) => [key, { value, givenAs: `setting ${key}` }]))
}
