import { expect, it } from 'vitest'
import type { Client } from '../../src/client/types.ts'
import { connect } from '../../src/server/client.ts'
import { RealCluster } from '../harness/real-cluster.ts'

const TOPIC = 'table'
const KEYS = 100
const RECORDS = 12_000
const PADDING = '.'.repeat(300)

interface Seen {
  readonly records: number
  /** By key: `offset value`. */
  readonly newest: ReadonlyMap<string, string>
}

/** Everything from the earliest offset to the present end; offsets must rise. */
async function readAll(client: Client): Promise<Seen> {
  const newest = new Map<string, string>()
  let records = 0
  let last = -1
  for await (const { offset, key, value } of client.reader({
    topic: TOPIC,
    start: { earliest: true },
    stop: { currentEnd: true },
  })) {
    expect(offset).toBeGreaterThan(last)
    last = offset
    records++
    newest.set(String(key), `${offset} ${String(value).replace(/\.+$/, '')}`)
  }
  return { records, newest }
}

it('a compacted topic keeps the newest record of each key through reads and failovers', async () => {
  const settings = { 'log.cleaner.backoff.ms': 100 }
  await using cluster = await RealCluster.start({ nodes: 3, settings })
  await using client = await connect(cluster.addresses)
  const admin = client.admin()
  const topicSettings = { 'cleanup.policy': 'compact', 'segment.bytes': String(1024 * 1024) }
  await admin.createTopics([{ name: TOPIC, partitions: 1, replicationFactor: 3, settings: topicSettings }])
  await using producer = client.producer()
  await expect(producer.send({ topic: TOPIC, value: 'no key' })).rejects.toMatchObject({
    reason: 'INVALID_RECORD',
  })
  const expected = new Map<string, string>()
  const produced = (async () => {
    for (let from = 0; from < RECORDS; from += 500) {
      const sent = Array.from({ length: 500 }, async (_, at) => {
        const [key, value] = [`k${(from + at) % KEYS}`, `v${from + at}`]
        const { offset } = await producer.send({ topic: TOPIC, key, value: value + PADDING })
        return [key, `${offset} ${value}`] as const
      })
      for (const [key, line] of await Promise.all(sent)) expected.set(key, line)
      if (from === RECORDS / 2) {
        const [topic] = await admin.describeTopics([TOPIC])
        const leader = topic?.partitions[0]?.leader
        const member = cluster.members.find(({ nodeId }) => nodeId === leader)
        if (!member) throw new Error('nobody leads')
        await cluster.stopNode(member)
        await cluster.startNode(member)
      }
    }
  })()
  let isOver = false
  void produced.finally(() => {
    isOver = true
  })
  while (!isOver) await readAll(client)
  await produced
  let seen = await readAll(client)
  // Not before the closed segments are compacted on the node that leads.
  while (seen.records > RECORDS / 2) seen = await readAll(client)
  expect(seen.newest).toEqual(expected)
  expect(cluster.members.flatMap(({ log }) => log).filter(line => line.includes('damaged'))).toEqual([])
}, 120_000)
