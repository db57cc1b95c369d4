import { expect } from 'vitest'
import { ReplicaCluster, type ReplicaClusterOptions } from './replica-cluster.ts'
import { TOPIC_ID } from './scripted-controller.ts'

type TopicOptions = Parameters<ReplicaCluster['controller']['createTopic']>[0]

/** Three nodes, node 1 leading, all three in sync (unless the topic says otherwise). */
export async function startTopic(
  topic: TopicOptions = {},
  options: ReplicaClusterOptions = {},
): Promise<ReplicaCluster> {
  const cluster = await ReplicaCluster.start(options)
  cluster.controller.createTopic(topic)
  await untilLedBy(cluster, 1)
  return cluster
}

export function isrIs(cluster: ReplicaCluster, isr: readonly number[]): () => boolean {
  return () => cluster.controller.partition().isr.join() === isr.join()
}

/** The node serves as the leader that the controller has made it. */
export async function untilLedBy(cluster: ReplicaCluster, nodeId: number): Promise<void> {
  await cluster.until(() => {
    const { leader, leaderEpoch } = cluster.controller.partition()
    return (
      leader === nodeId && cluster.node(nodeId).replicas?.leader(TOPIC_ID, 0)?.leaderEpoch === leaderEpoch
    )
  })
}

/** Produces until it is stored: while replicas come and go it may be refused. */
export async function produceAll(
  cluster: ReplicaCluster,
  leader: number,
  values: readonly string[],
): Promise<void> {
  for (const value of values) {
    const outcome = await cluster.run(cluster.produce(cluster.leader(leader), value))
    expect(outcome).toMatchObject({ kind: 'stored' })
  }
}
