import { expect, it } from 'vitest'
import { GroupWorkload } from '../chaos/groups/group-workload.ts'
import { NodeCluster, until } from '../harness/node-cluster.ts'

const PARTITIONS = 12
const MEMBERS = 6
/** Longer than a session. */
const PAUSE_MS = 12_000

it('gives every record to a group, in order, while its members come, leave, die and hang', async () => {
  await using cluster = await NodeCluster.start()
  await using client = await cluster.connect()
  await client.admin().createTopics([{ name: 'work', partitions: PARTITIONS, replicationFactor: 3 }])
  const options = { topic: 'work', group: 'workers', partitions: PARTITIONS, recordsPerSecond: 300 }
  await using workload = await GroupWorkload.start({ cluster, client, ...options })
  const members = Array.from({ length: MEMBERS }, () => workload.add())
  await workload.untilShared()
  const [first, second, third] = members
  if (first === undefined || second === undefined || third === undefined) throw new Error('no members')

  const ofFirst = workload.partitionsOf(first)
  const closedMs = performance.now()
  await first.close()
  await workload.handedOver(ofFirst, { member: first.name, atMs: closedMs })
  workload.add()

  const ofSecond = workload.partitionsOf(second)
  const killedMs = performance.now()
  await second.kill()
  await workload.handedOver(ofSecond, { member: second.name, atMs: killedMs })
  workload.add()

  const ofThird = workload.partitionsOf(third)
  const pausedMs = performance.now()
  third.pause()
  await workload.handedOver(ofThird, { member: third.name, atMs: pausedMs })
  await new Promise(resolve => setTimeout(resolve, Math.max(0, pausedMs + PAUSE_MS - performance.now())))
  third.resume()
  await workload.untilShared()
  await until(async () => workload.partitionsOf(third).length > 0 || undefined, { timeoutMs: 30_000 })

  const verdict = await workload.finish()
  expect(verdict.findings).toEqual([])
  expect(workload.sendFailures).toEqual([])
  expect(verdict.recordCount).toBeGreaterThan(MEMBERS * 300)
}, 240_000)
