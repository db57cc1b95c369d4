import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { ConsumedRecord } from '../../src/client/index.ts'
import { connect } from '../../src/server/client.ts'
import { NodeProcess } from '../harness/node-process.ts'

/** Real log files go in through gRPC and come out byte for byte, also after a kill -9. */
const FILES = { apache: 'apache_access.log', nginx: 'nginx_json.log' } as const

let node: NodeProcess

beforeAll(async () => {
  node = await NodeProcess.start()
})
afterAll(() => node[Symbol.asyncDispose]())

async function lines(file: string): Promise<string[]> {
  const text = await readFile(new URL(`../data/${file}`, import.meta.url), 'utf8')
  return text.replace(/\n$/, '').split('\n')
}

function sha256(values: Iterable<string>): string {
  const hash = createHash('sha256')
  for (const value of values) hash.update(`${value}\n`)
  return hash.digest('hex')
}

async function readAll(topic: string): Promise<ConsumedRecord[]> {
  await using client = await connect(node.address)
  await using reader = client.reader({ topic, start: 'earliest', stop: 'currentEnd' })
  const records: ConsumedRecord[] = []
  for await (const batch of reader.batches()) records.push(...batch.records)
  return records
}

test.each(Object.entries(FILES))(
  '%s: one partition gives back the same bytes, also after kill -9',
  async (topic, file) => {
    const source = await lines(file)
    {
      await using client = await connect(node.address)
      await client.admin().createTopics([{ name: topic, partitions: 1 }])
      await using producer = client.producer()
      for (const line of source) {
        if (!producer.enqueue({ topic, value: line })) await producer.ready()
      }
      await producer.flush()
    }
    const check = async () => {
      const records = await readAll(topic)
      expect(records.map(record => record.offset)).toEqual(source.map((_, offset) => offset))
      expect(sha256(records.map(record => String(record.value)))).toBe(sha256(source))
    }
    await check()
    await node.kill()
    await node.start()
    await check()
  },
)

test('with the client address as key over three partitions, the lines of each key keep their order', async () => {
  const source = await lines(FILES.apache)
  const keyOf = (line: string) => line.slice(0, line.indexOf(' '))
  await using client = await connect(node.address)
  await client.admin().createTopics([{ name: 'keyed', partitions: 3 }])
  await using producer = client.producer()
  for (const line of source) {
    if (!producer.enqueue({ topic: 'keyed', key: keyOf(line), value: line })) await producer.ready()
  }
  await producer.flush()

  const byKey = new Map<string, string[]>()
  const byPartition = new Map<number, number[]>()
  for (const record of await readAll('keyed')) {
    const key = String(record.key)
    byKey.set(key, [...(byKey.get(key) ?? []), String(record.value)])
    byPartition.set(record.partition, [...(byPartition.get(record.partition) ?? []), record.offset])
  }
  const expected = new Map<string, string[]>()
  for (const line of source) expected.set(keyOf(line), [...(expected.get(keyOf(line)) ?? []), line])
  expect(byKey).toEqual(expected)
  expect([...byPartition.keys()].sort()).toEqual([0, 1, 2])
  for (const offsets of byPartition.values()) expect(offsets).toEqual(offsets.map((_, offset) => offset))
})
