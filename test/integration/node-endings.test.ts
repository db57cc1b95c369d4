import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { openSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { expect, it } from 'vitest'
import type { Client } from '../../src/client/index.ts'
import { connect } from '../../src/server/client.ts'
import { NodeProcess } from '../harness/node-process.ts'

const PROGRAM = fileURLToPath(new URL('../../bin/naru.js', import.meta.url))
const PARTITIONS = 3
const RECORDS = 6_000
const ROUNDS = 4

/** A topic is made, filled, read and deleted with all of its readers still at it. */
async function liveAndDie(client: Client, topic: string, writeCaching: boolean): Promise<void> {
  const settings = {
    'segment.bytes': String(1024 * 1024),
    'retention.ms': '1',
    'write.caching': String(writeCaching),
  }
  await client.admin().createTopics([{ name: topic, partitions: PARTITIONS, settings }])
  const readers = [0, 1, 2].map(() => client.reader({ topic, retryTimeoutMs: 1 }))
  const reading = Promise.allSettled(
    readers.map(async reader => {
      for await (const batch of reader.batches()) void batch
    }),
  )
  await using producer = client.producer()
  for (let at = 0; at < RECORDS; at++) {
    const record = { topic, partition: at % PARTITIONS, value: `${at}`.padEnd(1000, '.') }
    if (!producer.enqueue(record)) await producer.ready()
  }
  await producer.flush()
  await client.admin().deleteTopics([topic])
  const ends = await reading
  expect(ends.map(end => end.status)).toEqual(['rejected', 'rejected', 'rejected'])
  for (const reader of readers) await reader.close()
}

it('goes on while topics come and go under scrub, retention and readers', async () => {
  await using node = await NodeProcess.start({
    settings: { 'scrub.bytes.per.second': 2 * 1024 * 1024, 'log.retention.check.interval.ms': 1000 },
  })
  await using client = await connect(node.address)
  for (let round = 0; round < ROUNDS; round++)
    await Promise.all(['a', 'b'].map(name => liveAndDie(client, `${name}-${round}`, round % 2 === 0)))
  expect(node.log.filter(line => line.includes('"level":50') || line.includes('"level":60'))).toEqual([])
  expect(await node.stop()).toBe(0)
})

it('serves on while its log cannot be written', async () => {
  await using stand = await NodeProcess.start()
  const { dataDirectory, address } = stand
  await stand.stop()
  const port = address.split(':').at(-1) as string
  const flags = ['--data-dir', dataDirectory, '--client-port', port, '--http-port', '0']
  const child = spawn(process.execPath, [PROGRAM, 'server', ...flags], {
    stdio: ['ignore', 'ignore', openSync('/dev/full', 'w')],
  })
  const exited = once(child, 'exit')
  try {
    await using client = await connect(address)
    await client.admin().createTopics([{ name: 'logs', partitions: 1 }])
  } finally {
    child.kill('SIGTERM')
  }
  expect((await exited)[0]).toBe(0)
})

it('ends at once at a second signal, also where that is another one', async () => {
  await using node = await NodeProcess.start()
  // Both are there before it can have stopped for the first.
  node.pause()
  process.kill(node.pid, 'SIGTERM')
  process.kill(node.pid, 'SIGINT')
  node.resume()
  await expect.poll(() => node.endings.length, { timeout: 20_000 }).toBe(1)
  expect(node.endings[0]?.code).toSatisfy(code => code === 130 || code === 143)
})

it('outlives the terminal that it was started from in the background', async () => {
  await using node = await NodeProcess.start()
  process.kill(node.pid, 'SIGHUP')
  await expect.poll(() => node.log.at(-1)).toContain('SIGHUP')
  expect(await node.stop()).toBe(0)
})
