import { expect, it } from 'vitest'
import { connect } from '../../src/server/client.ts'
import { RealCluster } from '../harness/real-cluster.ts'

it('records outlive the node that took them: three nodes, three replicas, over real connections', async () => {
  await using cluster = await RealCluster.start({ nodes: 3 })
  await using client = await connect(cluster.addresses)
  const admin = client.admin()
  await admin.createTopics([{ name: 'logs', partitions: 3, replicationFactor: 3 }])
  await using producer = client.producer()
  const send = (from: number, count: number) =>
    Promise.all(
      Array.from({ length: count }, (_, at) => producer.send({ topic: 'logs', value: `v${from + at}` })),
    )
  await send(0, 300)
  const [stopped] = cluster.members
  if (!stopped) throw new Error('no node')
  await cluster.stopNode(stopped)
  await send(300, 300)
  const seen = new Set<string>()
  const reader = client.reader({
    topic: 'logs',
    start: { earliest: true },
    stop: { currentEnd: true },
  })
  for await (const record of reader) seen.add(String(record.value))
  expect(seen.size).toBe(600)
}, 60_000)
