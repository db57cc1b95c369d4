import { expect, it } from 'vitest'
import type { NaruError } from '../../src/base/errors.ts'
import type { Admin, Client, StopPosition } from '../../src/server/client.ts'
import { verdictText } from '../chaos/checker/report.ts'
import { described, healthy } from '../chaos/faults/leader-faults.ts'
import { LogWorkload } from '../chaos/workload/log-workload.ts'
import { NodeCluster, until } from '../harness/node-cluster.ts'

/** How long a send that cannot succeed is tried for. */
const REFUSED_MS = 4_000

async function makeTopic(admin: Admin, topic: string, minInsyncReplicas: number): Promise<void> {
  const settings = { 'min.insync.replicas': String(minInsyncReplicas) }
  await admin.createTopics([{ name: topic, partitions: 1, replicationFactor: 3, settings }])
}

/** Of the only partition. */
async function leaderOf(admin: Admin, topic: string, not?: number): Promise<number> {
  return await until(async () => {
    const [found] = await described(admin, topic)
    return found?.leader === not ? undefined : found?.leader
  })
}

/** That are in sync. */
async function followersOf(admin: Admin, topic: string): Promise<number[]> {
  const [found] = await described(admin, topic)
  return (found?.isr ?? []).filter(nodeId => nodeId !== found?.leader)
}

async function send(client: Client, topic: string, value: string): Promise<number> {
  await using producer = client.producer({ deliveryTimeoutMs: REFUSED_MS })
  return (await producer.send({ topic, partition: 0, value })).offset
}

async function valuesOf(client: Client, topic: string, stop: StopPosition = 'currentEnd'): Promise<string[]> {
  await using reader = client.reader({ topic, stop, retryTimeoutMs: REFUSED_MS })
  const values: string[] = []
  for await (const record of reader) values.push(String(record.value))
  return values
}

it('goes on with the last of three replicas, and takes the others back', async () => {
  await using cluster = await NodeCluster.start({ nodeCount: 5 })
  await using client = await cluster.connect()
  const admin = client.admin()
  const topic = 'last-one'
  await makeTopic(admin, topic, 1)
  await using workload = await LogWorkload.start(cluster, { topic, partitions: 1 })
  const acknowledged = () => workload.acknowledgedAtMs[0]?.length ?? 0
  const killed: number[] = []
  for (let leader = await leaderOf(admin, topic); killed.length < 2; ) {
    const enough = acknowledged() + 20
    await until(async () => (acknowledged() >= enough ? true : undefined))
    await cluster.node(leader).kill()
    killed.push(leader)
    leader = await leaderOf(admin, topic, leader)
  }
  const enough = acknowledged() + 20
  await until(async () => (acknowledged() >= enough ? true : undefined))
  const [alone] = await described(admin, topic)
  expect(alone?.isr).toEqual([alone?.leader])
  const readable = await valuesOf(client, topic)
  expect(readable.length).toBeGreaterThanOrEqual(enough)

  await Promise.all(killed.map(nodeId => cluster.node(nodeId).start()))
  await healthy({ cluster, admin, workload })
  const verdict = await workload.finish()
  expect(workload.failures).toEqual([])
  expect(workload.readerFailures).toEqual([])
  expect(verdict.validity, verdictText(verdict)).toBe('valid')
}, 240_000)

it('refuses writes with fewer replicas than min.insync.replicas, and reads on', async () => {
  await using cluster = await NodeCluster.start({ nodeCount: 5 })
  await using client = await cluster.connect()
  const admin = client.admin()
  const topic = 'two-at-least'
  await makeTopic(admin, topic, 2)
  expect(await send(client, topic, 'with three')).toBe(0)
  // The leader stays: the next one would not know how much of the last records is committed before two are there again.
  const [first = 0, second = 0] = await followersOf(admin, topic)
  await cluster.node(first).kill()
  await expect.poll(() => send(client, topic, 'with two'), { timeout: 20_000 }).toBe(1)
  await cluster.node(second).kill()
  await until(async () => ((await followersOf(admin, topic)).length === 0 ? true : undefined))

  const refused = await send(client, topic, 'with one').catch((thrown: NaruError) => thrown)
  expect(refused).toMatchObject({ reason: 'NOT_ENOUGH_REPLICAS', outcome: 'none' })
  expect(await valuesOf(client, topic)).toEqual(['with three', 'with two'])

  await cluster.node(first).start()
  await expect.poll(() => send(client, topic, 'with two again').catch(() => -1), { timeout: 30_000 }).toBe(2)
  expect(await valuesOf(client, topic)).toEqual(['with three', 'with two', 'with two again'])
}, 240_000)

it('tells no lie when the majority of the quorum is gone as well', async () => {
  await using cluster = await NodeCluster.start()
  await using client = await cluster.connect()
  const admin = client.admin()
  const topic = 'three-nodes'
  await makeTopic(admin, topic, 2)
  expect(await send(client, topic, 'with three')).toBe(0)
  const [one = 0, other = 0] = await followersOf(admin, topic)
  await cluster.node(one).kill()
  await expect.poll(() => send(client, topic, 'with two').catch(() => -1), { timeout: 20_000 }).toBe(1)
  await cluster.node(other).kill()

  const refused = await send(client, topic, 'with one').catch((thrown: NaruError) => thrown)
  expect(refused).toMatchObject({ name: 'NaruError' })
  // Where it ends now nobody can say.
  expect(await valuesOf(client, topic, { offset: 2 })).toEqual(['with three', 'with two'])

  await Promise.all([one, other].map(nodeId => cluster.node(nodeId).start()))
  await until(async () => await send(client, topic, 'with three again'))
  const values = await valuesOf(client, topic)
  expect(values.filter(value => value !== 'with one')).toEqual(['with three', 'with two', 'with three again'])
}, 240_000)
