import { expect, test } from 'vitest'
import { connect } from '../../src/server/client.ts'
import { NodeProcess } from '../harness/node-process.ts'

const ROUNDS = 50
const TOPIC = 'killed'
const PARTITIONS = 3
/** Each round kills the node after a different number of acknowledgements, so that kills meet every stage. */
const ACKNOWLEDGEMENTS_MIN = 20

/**
 * A producer sends numbered records all the time; the node is killed and started again under it. The SDK goes on by
 * itself: it resends what has no answer under the same sequence.
 */
test(`${ROUNDS} rounds of kill -9 under load: each acknowledged record is there once, at its offset`, async () => {
  await using node = await NodeProcess.start({ settings: { 'log.segment.bytes': 1024 * 1024 } })
  await using client = await connect(node.address)
  await client.admin().createTopics([{ name: TOPIC, partitions: PARTITIONS }])
  const producer = client.producer({ lingerMs: 0, batchBytesMax: 4096 })

  const acknowledged = new Map<string, string>()
  const failures: unknown[] = []
  let next = 0
  let stopped = false
  const load = Promise.all(
    Array.from({ length: 64 }, async () => {
      while (!stopped) {
        const value = `${next++}`
        try {
          const { partition, offset } = await producer.send({ topic: TOPIC, value: value.padEnd(200, ' ') })
          acknowledged.set(`${partition}:${offset}`, value)
        } catch (error) {
          failures.push(error)
          return
        }
      }
    }),
  )
  for (let round = 0; round < ROUNDS; round++) {
    const target = acknowledged.size + ACKNOWLEDGEMENTS_MIN + round * 7
    await expect.poll(() => acknowledged.size, { timeout: 20_000, interval: 1 }).toBeGreaterThan(target)
    await node.kill()
    await node.start()
  }
  stopped = true
  await load
  await producer.close()
  expect(failures).toEqual([])

  const found = new Map<string, string>()
  const times = new Map<string, number>()
  await using reader = client.reader({ topic: TOPIC, start: 'earliest', stop: 'currentEnd' })
  for await (const batch of reader.batches()) {
    for (const record of batch.records) {
      const value = String(record.value).trimEnd()
      found.set(`${record.partition}:${record.offset}`, value)
      times.set(value, (times.get(value) ?? 0) + 1)
    }
  }
  const lost = [...acknowledged].filter(([place, value]) => found.get(place) !== value)
  expect(lost).toEqual([])
  expect([...times].filter(([, count]) => count > 1)).toEqual([])
  // Every send was acknowledged in the end, and so nothing else is there.
  expect(found.size).toBe(acknowledged.size)
  expect(acknowledged.size).toBe(next)
}, 300_000)

test('after an unclean stop the node says what it recovered, after an orderly one that nothing was needed', async () => {
  await using node = await NodeProcess.start()
  await using client = await connect(node.address)
  await client.admin().createTopics([{ name: TOPIC, partitions: 1 }])
  {
    await using producer = client.producer()
    await producer.send({ topic: TOPIC, value: 'one' })
  }
  const lastReport = () => node.log.map(line => JSON.parse(line)).findLast(line => 'scannedBytes' in line)
  await node.kill()
  await node.start()
  expect(lastReport()).toMatchObject({ cleanStop: false, partitions: 1 })
  expect(lastReport().scannedBytes).toBeGreaterThan(0)
  expect(await node.stop()).toBe(0)
  await node.start()
  expect(lastReport()).toMatchObject({ cleanStop: true, cutBytes: 0, partitions: 1 })
})
