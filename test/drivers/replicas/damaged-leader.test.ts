import { expect, test } from 'vitest'
import type { PartitionLeader } from '../../../src/drivers/replicas/partition-leader.ts'
import { ReplicaCluster } from './replica-cluster.ts'
import { TOPIC_ID } from './scripted-controller.ts'

const DAMAGE = { offset: 0, what: 'a test says so' }

async function startLed(
  replicas: readonly number[],
): Promise<{ cluster: ReplicaCluster; leader: PartitionLeader }> {
  const cluster = await ReplicaCluster.start()
  cluster.controller.createTopic({ replicas: [...replicas], settings: { 'min.insync.replicas': '1' } })
  await cluster.until(() => cluster.node(1).replicas?.leader(TOPIC_ID, 0) !== undefined)
  const leader = cluster.leader(1)
  expect(await cluster.run(cluster.produce(leader, 'a'))).toMatchObject({ kind: 'stored' })
  return { cluster, leader }
}

/** As whoever asks this node for the leader now is told. */
function refusalOf(cluster: ReplicaCluster): unknown {
  const { replicas, image } = cluster.node(1)
  const topic = image.topics.byId(TOPIC_ID)
  if (replicas === undefined || topic === undefined) throw new Error('node 1 has no topic')
  try {
    return replicas.requireLeader(topic, 0)
  } catch (thrown) {
    return thrown
  }
}

test('damage where others have the records is told as want of a leader, by calls under way and later ones', async () => {
  const { cluster, leader } = await startLed([1, 2, 3])
  cluster.isControllerAway = true
  let heard: unknown
  leader.follow(() => {
    heard = leader.ended
  })
  const lookup = leader.offsetForTimestamp(0)
  cluster.log(1).quarantine(DAMAGE)
  const told = { reason: 'LEADER_NOT_AVAILABLE', retriable: true, cause: { reason: 'CORRUPT_DATA' } }
  expect(heard).toMatchObject(told)
  await expect(cluster.run(lookup)).rejects.toMatchObject(told)
  await expect(cluster.run(cluster.produce(leader, 'b'))).rejects.toMatchObject(told)
  expect(refusalOf(cluster)).toMatchObject(told)
})

test('damage that nobody else can make good for is told as what it is', async () => {
  const { cluster, leader } = await startLed([1])
  cluster.log(1).quarantine(DAMAGE)
  expect(leader.ended).toMatchObject({ reason: 'CORRUPT_DATA', retriable: false })
  expect(refusalOf(cluster)).toMatchObject({ reason: 'CORRUPT_DATA' })
})
