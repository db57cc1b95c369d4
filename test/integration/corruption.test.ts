import { open, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { type Client, connect } from '../../src/server/client.ts'
import { described } from '../chaos/faults/leader-faults.ts'
import { NodeCluster, until } from '../harness/node-cluster.ts'
import { NodeProcess } from '../harness/node-process.ts'

const TOPIC = 'damaged'

async function fill(address: string, { replicationFactor = 1 } = {}): Promise<void> {
  await using client = await connect(address)
  const settings = { 'segment.bytes': String(1024 * 1024) }
  await client.admin().createTopics([{ name: TOPIC, partitions: 2, replicationFactor, settings }])
  await using producer = client.producer()
  for (let at = 0; at < 6000; at++) {
    const record = { topic: TOPIC, partition: at % 2, value: `${at}`.padEnd(1000, '.') }
    if (!producer.enqueue(record)) await producer.ready()
  }
  await producer.flush()
}

async function flipByte(node: NodeProcess, position: number): Promise<string> {
  const directory = join(node.dataDirectory, 'topics', `${TOPIC}-0`)
  const segments = (await readdir(directory)).filter(name => name.endsWith('.log')).sort()
  expect(segments.length).toBeGreaterThan(2)
  const path = join(directory, segments[1] as string)
  const file = await open(path, 'r+')
  const byte = Buffer.alloc(1)
  await file.read(byte, 0, 1, position)
  byte[0] = (byte[0] ?? 0) ^ 0x10
  await file.write(byte, 0, 1, position)
  await file.close()
  return segments[1] as string
}

async function readPartition(address: string, partition: number): Promise<number> {
  await using client = await connect(address)
  await using reader = client.reader({
    topic: TOPIC,
    partitions: [partition],
    stop: 'currentEnd',
    retryTimeoutMs: 1000,
  })
  let count = 0
  for await (const batch of reader.batches()) {
    for (const record of batch.records) {
      // Whatever is served is what was written.
      expect(String(record.value)).toBe(`${record.offset * 2 + partition}`.padEnd(1000, '.'))
      count++
    }
  }
  return count
}

test('a flipped byte of a closed segment is found when it is read, is never served, and stops only its partition', async () => {
  await using node = await NodeProcess.start({
    settings: { 'tail.bytes.max': 0, 'scrub.bytes.per.second': 0 },
  })
  await fill(node.address)
  const segment = await flipByte(node, 500_000)
  const error = await readPartition(node.address, 0).catch(thrown => thrown)
  expect(error).toMatchObject({ reason: 'CORRUPT_DATA' })
  expect(error.message).toContain(segment)
  expect(error.message).toMatch(/byte \d+ \(offset \d+\)/)
  expect(await readPartition(node.address, 1)).toBe(3000)
  expect(node.log.join('\n')).toContain(segment)
  // The mark survives: a restart does not serve it either.
  await node.stop()
  await node.start()
  expect(await readPartition(node.address, 0).catch(thrown => thrown)).toMatchObject({
    reason: 'CORRUPT_DATA',
  })
  expect(await readPartition(node.address, 1)).toBe(3000)
})

test('the background scrub finds it without a reader', async () => {
  await using node = await NodeProcess.start({ settings: { 'scrub.bytes.per.second': 512 * 1024 * 1024 } })
  await fill(node.address)
  await node.stop()
  const segment = await flipByte(node, 300_000)
  await node.start()
  await expect.poll(() => node.log.join('\n'), { timeout: 20_000 }).toContain(segment)
  expect(await readPartition(node.address, 0).catch(thrown => thrown)).toMatchObject({
    reason: 'CORRUPT_DATA',
  })
  expect(await readPartition(node.address, 1)).toBe(3000)
})

/** All values of partition 0 up to `end`, in their order; goes on producing meanwhile. */
async function readAndWrite(client: Client, { end, group }: { end: number; group: string }) {
  await using consumer = client.consumer({ group, topics: [TOPIC] })
  await using producer = client.producer()
  await using reader = client.reader({ topic: TOPIC, partitions: [0] })
  const sends: Promise<unknown>[] = []
  const produce = async () => {
    for (let at = 3000; at < end; at++) {
      sends.push(producer.send({ topic: TOPIC, partition: 0, value: `${at * 2}`.padEnd(1000, '.') }))
      if (at % 10 === 0) await new Promise(resolve => setTimeout(resolve, 5))
    }
    await Promise.all(sends)
  }
  const take = async (records: AsyncIterable<{ partition: number; value: Uint8Array | null }>) => {
    const values: string[] = []
    for await (const { partition, value } of records) {
      if (partition === 0) values.push(String(value))
      if (values.length === end) break
    }
    return values
  }
  const [read, consumed] = await Promise.all([take(reader), take(consumer), produce()])
  return { read, consumed }
}

test('with other replicas nobody who reads, consumes or produces fails by it, and all records come', async () => {
  await using cluster = await NodeCluster.start({
    settings: { 'tail.bytes.max': 0, 'scrub.bytes.per.second': 0 },
  })
  await using client = await cluster.connect()
  await fill(cluster.addresses[0] ?? '', { replicationFactor: 3 })
  const damaged = (await described(client.admin(), TOPIC))[0]?.leader ?? 0
  const segment = await flipByte(cluster.node(damaged), 500_000)
  const end = 4000
  const { read, consumed } = await readAndWrite(client, { end, group: 'readers' })
  const expected = Array.from({ length: end }, (_, at) => `${at * 2}`.padEnd(1000, '.'))
  expect(read).toEqual(expected)
  expect(consumed).toEqual(expected)
  expect(cluster.node(damaged).log.join('\n')).toContain(segment)
  await until(async () => ((await described(client.admin(), TOPIC))[0]?.isr.length === 3 ? true : undefined))
}, 120_000)
