/**
 * How long a node takes to coordinate 100,000 committed offsets of 1,000 groups after a start: with its view in LevelDB as
 * it was, deleted, and damaged. Each time all offsets are read back.
 *
 *     tsx scripts/proof/group-takeover.ts   (after npm run build)
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect } from '../../src/server/client.ts'
import { Node } from '../../src/server/node.ts'
import { resolveSettings } from '../../src/server/settings.ts'

const GROUPS = 1_000
const PARTITIONS = 100
const TAKEOVER_MS_MAX = 1_000

const directory = await mkdtemp(join(tmpdir(), 'naru-groups-'))
const takeovers: number[] = []
let isKept = true

async function withNode<T>(work: (address: string) => Promise<T>): Promise<T> {
  const given = {
    'data.dir': directory,
    'client.port': 0,
    'http.port': 0,
    'peer.port': 0,
    'disk.free.min': 0,
  }
  const source = new Map(Object.entries(given).map(([key, value]) => [key, { value, givenAs: key }]))
  const note = (facts: object, message: string) => {
    if (message === 'coordinates groups' && 'ms' in facts) takeovers.push(Number(facts.ms))
  }
  const node = new Node({
    settings: resolveSettings([source]).settings,
    logger: { debug() {}, info: note, warn() {}, error() {} },
    onFailed: error => console.error(error.message),
  })
  await node.start()
  try {
    return await work(node.addresses.client)
  } finally {
    await node.stop()
  }
}

const groupNames = Array.from({ length: GROUPS }, (_, index) => `group-${index}`)

await withNode(async address => {
  await using client = await connect(address)
  await client.admin().createTopics([{ name: 'logs', partitions: PARTITIONS }])
  const offsets = Array.from({ length: PARTITIONS }, (_, partition) => ({
    topic: 'logs',
    partition,
    nextOffset: 0,
  }))
  for (const group of groupNames) await client.groups().commitOffsets(group, offsets)
  // The view is at most 100 ms and some writes behind.
  await new Promise(resolve => setTimeout(resolve, 5_000))
})

for (const [how, harm] of [
  ['as it was', async () => {}],
  ['deleted', () => rm(join(directory, 'state'), { recursive: true })],
  ['damaged', () => writeFile(join(directory, 'state', 'CURRENT'), 'no manifest')],
] as const) {
  await harm()
  takeovers.length = 0
  await withNode(async address => {
    await using client = await connect(address)
    let found = 0
    for (const group of groupNames) found += (await client.groups().fetchOffsets(group)).length
    const slowestMs = Math.max(...takeovers)
    const isGood = found === GROUPS * PARTITIONS && takeovers.length === 16 && slowestMs <= TAKEOVER_MS_MAX
    isKept &&= isGood
    console.log(
      `view ${how}: ${takeovers.length} partitions of __groups taken over at once, the slowest in ${slowestMs} ms; ${found} offsets found`,
    )
  })
}
await rm(directory, { recursive: true })
process.exitCode = isKept ? 0 : 1
