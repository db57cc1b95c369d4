import { beforeEach, expect, it } from 'vitest'
import type { ProduceResult } from '../../src/wire/messages.ts'
import { Producer } from '../../src/wire/methods.ts'
import { SeededPrng } from '../harness/seeded-prng.ts'
import { batchOf } from '../harness/service-node.ts'
import { MovingPartition } from './moving-partition.ts'
import { TestServiceCluster } from './service-cluster.ts'

let cluster: TestServiceCluster
let partition: MovingPartition
let results: (ProduceResult | undefined)[]

/** Node 1 has led, node 2 does now and has not heard of it. */
beforeEach(async () => {
  const made = new MovingPartition('logs', new SeededPrng('later leader'))
  partition = made
  cluster = new TestServiceCluster({ replicas: node => made.replicas(node) })
  made.cluster = cluster
  cluster.makeTopic('logs')
  made.begin(1)
  results = []
  cluster.node(2).quorum.isHeld = true
  made.move(2, 'hand over')
  await cluster.scheduler.runUntil(() => made.leader !== undefined, { timeMsMax: 1_000 })
})

/** From a client that knows where leaders are, to node 2. */
function produceDirect(leaderEpoch?: number): void {
  const stream = cluster
    .node(2)
    .channel.stream(Producer.produceStream.path, { metadata: { 'naru-direct': '1' } })
  stream.setHandlers({
    onMessage: message => {
      for (const answer of Producer.produceStream.response.decode(message).answers)
        results.push(answer.results[0])
    },
  })
  const entry = { topic: 'logs', partition: 0, batch: batchOf(['a']), leaderEpoch }
  stream.write(Producer.produceStream.request.encode({ seq: 1, entries: [entry] }))
}

it('takes a batch for a leader that it is about to be, once it hears of that', async () => {
  partition.leader = undefined
  produceDirect(partition.epoch)
  await cluster.scheduler.runFor(300)
  expect(results).toEqual([])
  cluster.node(2).quorum.release()
  partition.begin(2)
  await cluster.scheduler.runFor(100)
  expect(results).toEqual([{ partition: 0, offset: 0 }])
})

it('refuses a batch for a leader that it does not hear of', async () => {
  partition.leader = undefined
  produceDirect(partition.epoch)
  await cluster.scheduler.runFor(2_000)
  expect(results.map(result => result?.failure?.reason)).toEqual(['NOT_LEADER'])
})

it('refuses at once what names no leader that is news', async () => {
  partition.leader = undefined
  produceDirect()
  produceDirect(partition.epoch - 1)
  await cluster.scheduler.runFor(100)
  expect(results.map(result => result?.failure?.reason)).toEqual(['NOT_LEADER', 'NOT_LEADER'])
})
