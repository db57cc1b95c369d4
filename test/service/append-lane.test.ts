import { expect, it } from 'vitest'
import { NaruError } from '../../src/base/errors.ts'
import type { PartitionLeader } from '../../src/drivers/replicas/partition-leader.ts'
import type { ReplicaSet } from '../../src/drivers/replicas/replica-set.ts'
import { Producer } from '../../src/wire/methods.ts'
import { batchOf } from '../harness/service-node.ts'
import { TestServiceCluster } from './service-cluster.ts'

type Produce = PartitionLeader['produce']

/** Three nodes, of which each leads, and what becomes of the batches is told try by try. */
function clusterWhere(...tries: Produce[]): TestServiceCluster {
  const produce: Produce = (...given) => tries.shift()?.(...given)
  const leader = { leaderEpoch: 0, hasRoom: true, produce }
  const replicas = { leader: () => leader, whenOpened: async () => {} }
  const cluster = new TestServiceCluster({ replicas: () => replicas as unknown as ReplicaSet })
  cluster.makeTopic('logs')
  return cluster
}

const stored: Produce = (_, { done }) =>
  done({ kind: 'stored', baseOffset: 5, lastOffset: 5, logAppendTimeMs: undefined })
const unknown: Produce = (_, { done }) =>
  done({ kind: 'failed', error: new NaruError('UNKNOWN_OUTCOME', 'the connection broke') })
const forgotten: Produce = () => {
  throw new NaruError('UNKNOWN_PRODUCER_ID', 'nothing is known of producer 7')
}
const gap: Produce = () => {
  throw new NaruError('OUT_OF_ORDER_SEQUENCE', 'sequence 4 is missing')
}

async function produce(cluster: TestServiceCluster) {
  const batch = batchOf(['a'], { producerId: 7, baseSequence: 5 })
  const { results } = await cluster.call(1, Producer.produce, {
    topic: 'logs',
    batches: [{ partition: 0, batch }],
  })
  return results[0]
}

it('does not take it for proof that a leader has forgotten the producer of a batch that may be stored', async () => {
  const result = await produce(clusterWhere(unknown, forgotten))
  expect(result?.failure).toMatchObject({ reason: 'UNKNOWN_OUTCOME', outcome: 'UNKNOWN' })
})

it('takes it for proof where the batch was not sent before, and that the one before it is missing always', async () => {
  expect((await produce(clusterWhere(forgotten)))?.failure?.reason).toBe('UNKNOWN_PRODUCER_ID')
  expect((await produce(clusterWhere(unknown, gap)))?.failure?.reason).toBe('OUT_OF_ORDER_SEQUENCE')
})

it('says that a batch may come again, unless its client has to see to that', async () => {
  const said: unknown[] = []
  const noting: Produce = (batch, options) => {
    said.push(options.mayComeAgain)
    stored(batch, options)
  }
  const cluster = clusterWhere(noting, noting)
  await produce(cluster)
  const stream = cluster
    .node(1)
    .channel.stream(Producer.produceStream.path, { metadata: { 'naru-direct': '1' } })
  stream.setHandlers({ onMessage() {} })
  const entry = { topic: 'logs', partition: 0, batch: batchOf(['a']) }
  stream.write(Producer.produceStream.request.encode({ seq: 1, entries: [entry] }))
  await cluster.scheduler.runUntil(() => said.length === 2, { timeMsMax: 1_000 })
  expect(said).toEqual([true, false])
})
