import { expect, it } from 'vitest'
import { verdictText } from '../chaos/checker/report.ts'
import { type LeaderFault, strikeLeader } from '../chaos/faults/leader-faults.ts'
import { LogWorkload } from '../chaos/workload/log-workload.ts'
import { NodeCluster } from '../harness/node-cluster.ts'

const TOPIC = 'survivors'
const PARTITIONS = 3
/** Beside the controller, as the controller, and hanging for longer than a session lasts. */
const FAULTS: readonly LeaderFault[] = ['kill', 'kill-controller', 'pause']

it('keeps every acknowledged record, once and in order, when leaders are killed and hang', async () => {
  await using cluster = await NodeCluster.start()
  await using client = await cluster.connect()
  const admin = client.admin()
  await admin.createTopics([{ name: TOPIC, partitions: PARTITIONS, replicationFactor: 3 }])
  await using workload = await LogWorkload.start(cluster, { topic: TOPIC, partitions: PARTITIONS })
  for (const fault of FAULTS) await strikeLeader(fault, { cluster, admin, workload })
  const verdict = await workload.finish()
  expect(verdict.validity, verdictText(verdict)).toBe('valid')
  expect(workload.readerFailures).toEqual([])
  expect(workload.failures).toEqual([])
  expect(verdict.sends.ok).toBeGreaterThan(FAULTS.length * PARTITIONS * 20)
}, 240_000)
