import { expect, it } from 'vitest'
import { verdictText } from '../chaos/checker/report.ts'
import { healthy } from '../chaos/faults/leader-faults.ts'
import { LogWorkload } from '../chaos/workload/log-workload.ts'
import { NodeCluster, until } from '../harness/node-cluster.ts'

const TOPIC = 'everywhere'
const PARTITIONS = 3
const ROUNDS = 2
/** Acknowledged in each partition, to the writer that awaits each record, before each kill. */
const ACKNOWLEDGED_MIN = 20

it('has every acknowledged record after all of its nodes were killed at one moment, under load', async () => {
  await using cluster = await NodeCluster.start()
  await using client = await cluster.connect()
  const admin = client.admin()
  const settings = { 'min.insync.replicas': '2' }
  await admin.createTopics([{ name: TOPIC, partitions: PARTITIONS, replicationFactor: 3, settings }])
  await using workload = await LogWorkload.start(cluster, {
    topic: TOPIC,
    partitions: PARTITIONS,
    load: 'light',
  })
  const { acknowledgedAtMs } = workload
  const nodes = [...cluster.nodes.values()]
  for (let round = 1; round <= ROUNDS; round++) {
    const before = acknowledgedAtMs.map(times => times.length)
    await until(
      async () => {
        const isMore = acknowledgedAtMs.every(
          (times, at) => times.length >= (before[at] ?? 0) + ACKNOWLEDGED_MIN,
        )
        return isMore ? true : undefined
      },
      { timeoutMs: 60_000 },
    )
    await Promise.all(nodes.map(node => node.kill()))
    await Promise.all(nodes.map(node => node.start()))
    await healthy({ cluster, admin, workload })
  }
  const verdict = await workload.finish()
  expect(verdict.validity, verdictText(verdict)).toBe('valid')
  expect(workload.failures).toEqual([])
  expect(workload.readerFailures).toEqual([])
  expect(verdict.sends.ok).toBeGreaterThan(ROUNDS * PARTITIONS * ACKNOWLEDGED_MIN)
}, 240_000)
