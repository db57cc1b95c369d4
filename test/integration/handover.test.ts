import { expect, it } from 'vitest'
import { verdictText } from '../chaos/checker/report.ts'
import { type LeaderFault, strikeLeader } from '../chaos/faults/leader-faults.ts'
import { LogWorkload } from '../chaos/workload/log-workload.ts'
import { NodeCluster } from '../harness/node-cluster.ts'

const TOPIC = 'handed-over'
const PARTITIONS = 3
const FAULTS: readonly LeaderFault[] = ['stop', 'drain']

it('hands leaderships over before a node stops: no client sees an error', async () => {
  await using cluster = await NodeCluster.start()
  await using client = await cluster.connect()
  const admin = client.admin()
  await admin.createTopics([{ name: TOPIC, partitions: PARTITIONS, replicationFactor: 3 }])
  await using workload = await LogWorkload.start(cluster, { topic: TOPIC, partitions: PARTITIONS })
  for (const fault of FAULTS) await strikeLeader(fault, { cluster, admin, workload })
  const verdict = await workload.finish()
  expect(workload.failures).toEqual([])
  expect(workload.readerFailures).toEqual([])
  expect(verdict.validity, verdictText(verdict)).toBe('valid')
}, 240_000)
