import { expect, it } from 'vitest'
import { initCompression } from '../../src/records/compression.ts'
import type { ReadResponse } from '../../src/wire/messages.ts'
import { Consumer, Producer } from '../../src/wire/methods.ts'
import { SeededPrng } from '../harness/seeded-prng.ts'
import { batchOf } from '../harness/service-node.ts'
import { MovingPartition } from './moving-partition.ts'
import { TestServiceCluster } from './service-cluster.ts'

const MOVES = 50

/** A client that reads through one node, whoever leads, and never names another. */
function reader(
  cluster: TestServiceCluster,
  entry: number,
): { offsets: number[]; epochs: number[]; failed: unknown[] } {
  const seen = { offsets: [] as number[], epochs: [] as number[], failed: [] as unknown[] }
  const stream = cluster.node(entry).channel.stream(Consumer.read.path)
  stream.setHandlers({
    onMessage: message => {
      const frame: ReadResponse = Consumer.read.response.decode(message)
      for (const { records, leaderEpoch } of frame.records) {
        seen.offsets.push(...records.map(({ offset }) => offset))
        seen.epochs.push(leaderEpoch)
      }
      seen.failed.push(...frame.failures, ...frame.skipped)
    },
    onClose: error => seen.failed.push(error),
  })
  stream.write(Consumer.read.request.encode({ add: [{ topic: 'logs', partition: 0 }] }))
  return seen
}

/** Led by node 1, read through each node, and written to through the first. */
async function begun() {
  await initCompression()
  const partition = new MovingPartition('logs', new SeededPrng('partition'))
  const cluster = new TestServiceCluster({ replicas: node => partition.replicas(node) })
  partition.cluster = cluster
  cluster.makeTopic('logs')
  partition.begin(1)
  const readers = [1, 2, 3].map(entry => reader(cluster, entry))
  const writing = cluster.node(1).channel.stream(Producer.produceStream.path)
  writing.setHandlers({ onMessage() {} })
  return { partition, cluster, readers, writing }
}

it(`reads each record once and in order over ${MOVES} moves of the leadership, through any node`, async () => {
  const prng = new SeededPrng('moves')
  const { partition, cluster, readers, writing } = await begun()
  const { scheduler } = cluster
  let sent = 0
  const leaders = new Set<number>()
  for (let moves = 0; moves < MOVES; moves++) {
    for (let count = 0; count < 4; count++) {
      const batch = batchOf([`${sent}`], { producerId: 1, baseSequence: sent })
      sent++
      writing.write(
        Producer.produceStream.request.encode({
          seq: sent,
          entries: [{ topic: 'logs', partition: 0, batch }],
        }),
      )
      await scheduler.runFor(prng.uint32() % 100)
    }
    partition.move(prng.pick([1, 2, 3]), prng.pick(['hand over', 'break', 'hang']))
    await scheduler.runFor(150)
    leaders.add(partition.leader?.nodeId ?? 0)
  }
  await scheduler.runUntil(() => readers.every(({ offsets }) => offsets.length >= sent), {
    timeMsMax: 20_000,
  })
  const all = Array.from({ length: sent }, (_, offset) => offset)
  for (const { offsets, epochs, failed } of readers) {
    expect(offsets).toEqual(all)
    expect(epochs).toEqual([...epochs].sort((a, b) => a - b))
    expect(failed).toEqual([])
  }
  expect(leaders).toEqual(new Set([1, 2, 3]))
}, 60_000)

it('fails what it reads where its end was given up, wherever the next leader is', async () => {
  const { partition, cluster, readers, writing } = await begun()
  const { scheduler } = cluster
  for (let seq = 1; seq <= 8; seq++) {
    const batch = batchOf([`${seq}`], { producerId: 1, baseSequence: seq - 1 })
    const entries = [{ topic: 'logs', partition: 0, batch }]
    writing.write(Producer.produceStream.request.encode({ seq, entries }))
  }
  await scheduler.runUntil(() => readers.every(({ offsets }) => offsets.length === 8), { timeMsMax: 5_000 })
  partition.log.length = partition.committedEnd = 5
  partition.move(2, 'break')
  await scheduler.runUntil(() => readers.every(({ failed }) => failed.length > 0), { timeMsMax: 20_000 })
  for (const { failed } of readers) {
    const [first] = failed as ReadResponse['failures']
    expect(first?.failure).toMatchObject({
      reason: 'OFFSET_OUT_OF_RANGE',
      details: expect.objectContaining({ high_watermark: '5' }),
    })
  }
})
