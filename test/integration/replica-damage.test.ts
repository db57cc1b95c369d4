import { readdirSync, rmSync } from 'node:fs'
import { open, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { runProgram } from '../../scripts/bench/child-processes.ts'
import { type Admin, type Client, connect } from '../../src/server/client.ts'
import { described } from '../chaos/faults/leader-faults.ts'
import { NodeCluster, until } from '../harness/node-cluster.ts'
import type { NodeProcess } from '../harness/node-process.ts'

const TOPIC = 'kept'
const RECORDS = 400

/** What happens to the disk of a node while it is down. */
const LOSSES: readonly { readonly what: string; readonly lose: (node: NodeProcess) => Promise<void> }[] = [
  { what: 'a flipped bit in a closed segment', lose: node => flipBit(firstSegmentOf(node)) },
  {
    what: 'a partition directory that is gone',
    lose: async node => rmSync(partitionOf(node), { recursive: true }),
  },
  {
    what: 'an empty volume',
    lose: async node => {
      for (const name of readdirSync(node.dataDirectory))
        rmSync(join(node.dataDirectory, name), { recursive: true })
    },
  },
]

it('finds what a replica lost while its node was down, fetches it again, and serves it then', async () => {
  await using cluster = await NodeCluster.start()
  await using client = await cluster.connect()
  const admin = client.admin()
  const settings = {
    'min.insync.replicas': '1',
    'segment.bytes': String(2 ** 20),
    'max.message.bytes': '100000',
  }
  await admin.createTopics([{ name: TOPIC, partitions: 1, replicationFactor: 3, settings }])
  const values: string[] = []
  await produce(client, values)
  for (const { what, lose } of LOSSES) {
    const nodeId = await preferredLeader(admin)
    const node = cluster.node(nodeId)
    await node.kill()
    // Meanwhile the others go on, so that what comes back is behind as well.
    await produce(client, values)
    expect(await status(cluster, nodeId), what).toMatch(/under-replicated/)
    await lose(node)
    await node.start()
    await until(async () => {
      const [now] = await described(admin, TOPIC)
      // Never before it has everything again.
      if (now?.leader === nodeId) expect(now.isr, what).toContain(nodeId)
      return now?.isr.length === 3 ? true : undefined
    })
    // The leadership goes back to the first replica, and so everything is read from what was fetched again.
    await admin.electPreferredLeaders()
    await until(async () => ((await described(admin, TOPIC))[0]?.leader === nodeId ? true : undefined), {
      timeoutMs: 60_000,
    })
    expect(await valuesOf(node), what).toEqual(values)
    expect(await status(cluster), what).not.toMatch(/under-replicated/)
  }
}, 300_000)

async function produce(client: Client, values: string[]): Promise<void> {
  await using producer = client.producer({ batchBytesMax: 50_000 })
  const sends: Promise<unknown>[] = []
  for (let count = 0; count < RECORDS; count++) {
    const value = `${values.length} ${'.'.repeat(4_000)}`
    values.push(value)
    sends.push(producer.send({ topic: TOPIC, partition: 0, value }))
  }
  await Promise.all(sends)
}

async function valuesOf(node: NodeProcess): Promise<string[]> {
  await using client = await connect(node.address)
  await using reader = client.reader({ topic: TOPIC, stop: 'currentEnd' })
  const values: string[] = []
  for await (const record of reader) values.push(String(record.value))
  return values
}

async function preferredLeader(admin: Admin): Promise<number> {
  return await until(async () => {
    const [found] = await described(admin, TOPIC)
    return found?.isr.length === 3 && found.leader === found.replicas[0] ? found.leader : undefined
  })
}

/** As an operator sees it, by way of a node that runs. */
async function status(cluster: NodeCluster, except?: number): Promise<string> {
  const [, node] = [...cluster.nodes].find(([nodeId]) => nodeId !== except) ?? []
  const naru = new URL('../../bin/naru.js', import.meta.url).pathname
  return runProgram(process.execPath, [naru, 'cluster', 'status', '--bootstrap-server', node?.address ?? ''])
}

function partitionOf({ dataDirectory }: NodeProcess): string {
  return join(dataDirectory, 'topics', `${TOPIC}-0`)
}

function firstSegmentOf(node: NodeProcess): string {
  return join(partitionOf(node), '00000000000000000000.log')
}

async function flipBit(file: string): Promise<void> {
  const place = Math.floor((await stat(file)).size / 2)
  const handle = await open(file, 'r+')
  try {
    const byte = Buffer.alloc(1)
    await handle.read(byte, 0, 1, place)
    byte[0] = (byte[0] ?? 0) ^ 1
    await handle.write(byte, 0, 1, place)
  } finally {
    await handle.close()
  }
}
