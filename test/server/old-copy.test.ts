import { expect, test } from 'vitest'
import type { NaruError } from '../../src/base/errors.ts'
import { type Disk, makeDirectoryDurably, writeFileAtomically } from '../../src/ports/disk.ts'
import { nodeIdOf } from '../../src/raft/membership.ts'
import { brokerOf, type ClusterNode, SimBrokerCluster } from '../harness/sim-broker-cluster.ts'

const DATA = 'data'

test.each([
  ['before its last start', /its directory took part under node epoch 2, and remembers 1/],
  ['since its last start', /acknowledged the metadata log to \d+, and has it to \d+/],
])(
  'a voter whose directory of %s is put back is told, starts over as a new member, and votes again',
  async (made, why) => {
    const failures: NaruError[] = []
    const brokerOptions = () => ({ onFailed: (error: NaruError) => failures.push(error) })
    const cluster = await SimBrokerCluster.start({ seed: 21, nodes: 3, brokerOptions })
    const leader = leaderOf(cluster)
    const member = cluster.members.find(other => other !== leader) as ClusterNode
    const copyOf = () => cluster.run(readTree(member.machine.disk, DATA))
    cluster.kill(member)
    const before = await copyOf()
    cluster.boot(member)
    await cluster.serving(member)
    const copy = made === 'before its last start' ? before : await copyOf()
    const former = brokerOf(member).quorum?.status.self
    for (let topic = 0; topic < 5; topic++) await cluster.run(brokerOf(leader).createTopic(`topic-${topic}`))
    await cluster.until(() => brokerOf(member).image.topics.byName('topic-4') !== undefined)

    cluster.kill(member)
    await cluster.run(putBack(member.machine.disk, DATA, copy))
    cluster.boot(member)
    await cluster.until(() => failures.length > 0)
    expect(failures[0]?.reason).toBe('CORRUPT_DATA')
    expect(failures[0]?.message).toMatch(why)
    expect(leaderOf(cluster)).toBe(leader)

    cluster.kill(member)
    cluster.boot(member)
    await cluster.serving(member)
    expect(failures.length).toBe(1)
    const self = brokerOf(member).quorum?.status.self
    expect(self).not.toBe(former)
    expect(brokerOf(member).image.topics.byName('topic-4')).toBeDefined()
    const voters = () => brokerOf(leader).quorum?.status.membership.voters ?? []
    await cluster.until(() => self !== undefined && voters().includes(self) && voters().length === 3, 120_000)
    expect(voters()).not.toContain(former)
  },
)

test('a voter whose old directory is put back gives no vote to whoever knows of a later one', async () => {
  const failures: NaruError[] = []
  const brokerOptions = () => ({ onFailed: (error: NaruError) => failures.push(error) })
  const cluster = await SimBrokerCluster.start({ seed: 23, nodes: 3, brokerOptions })
  const leader = leaderOf(cluster)
  const [old, third] = cluster.members.filter(other => other !== leader) as [ClusterNode, ClusterNode]
  cluster.kill(old)
  const copy = await cluster.run(readTree(old.machine.disk, DATA))
  cluster.boot(old)
  await cluster.serving(old)
  await cluster.run(brokerOf(leader).createTopic('logs'))
  await cluster.until(() => brokerOf(third).image.topics.byName('logs') !== undefined)
  cluster.kill(old)
  cluster.kill(leader)
  await cluster.run(putBack(old.machine.disk, DATA, copy))
  cluster.boot(old)
  await cluster.until(() => failures.length > 0)
  expect(failures[0]?.message).toMatch(/took part under node epoch 2, and remembers 1/)
  // Its vote would have been the majority.
  expect(brokerOf(third).quorum?.status.term).toBe(1)
  cluster.kill(old)
  cluster.boot(old)
  cluster.boot(leader)
  await cluster.serving(old, leader)
  expect(brokerOf(old).image.topics.byName('logs')).toBeDefined()
})

test('a replica whose old directory is put back is not elected for what it held', async () => {
  const cluster = await SimBrokerCluster.start({ seed: 22, nodes: 5 })
  const place = { topic: 'logs', partition: 0 }
  await cluster.run(cluster.any.createTopic('logs', { 'min.insync.replicas': '2' }, 1))
  const state = (by = cluster.any) => by.image.topics.byName('logs')?.partition(0)
  const [leader, old, third] = (state()?.replicas ?? []).map(id => cluster.members[id] as ClusterNode)
  if (!leader || !old || !third) throw new Error('three replicas')
  const others = cluster.members.filter(member => ![leader, old, third].includes(member))
  const isInSync = (...members: ClusterNode[]) => {
    const isr = state((others[0] as ClusterNode).node)?.isr ?? []
    return isr.length === members.length && members.every(({ nodeId }) => isr.includes(nodeId))
  }
  await cluster.run(brokerOf(leader).produce(place, ['before']))
  cluster.kill(old)
  const copy = await cluster.run(readTree(old.machine.disk, DATA))
  cluster.boot(old)
  await cluster.serving(old)
  await cluster.until(() => isInSync(leader, old, third))
  // The third is cut off from the leader, so that what follows is on two replicas.
  const hosts = [third, leader].map(({ machine }) => machine.name) as [string, string]
  cluster.network.cut(...hosts)
  cluster.network.cut(hosts[1], hosts[0])
  await cluster.until(() => isInSync(leader, old))
  await cluster.run(brokerOf(leader).produce(place, ['acknowledged by two']))

  cluster.kill(old)
  await cluster.until(() => isInSync(leader))
  expect(state((others[0] as ClusterNode).node)?.elr).toEqual([old.nodeId])
  await cluster.run(putBack(old.machine.disk, DATA, copy))
  cluster.kill(leader)
  const leaderless = () => state((others[0] as ClusterNode).node)?.leader === null
  await cluster.until(leaderless)
  // Its first start is told by the quorum of what it has lost there (rule A4).
  for (let start = 0; start < 2; start++) {
    cluster.boot(old)
    await cluster.scheduler.runFor(3_000)
    if (start === 0) cluster.kill(old)
  }
  await cluster.serving(old)
  await cluster.scheduler.runFor(5_000)
  expect(leaderless()).toBe(true)

  cluster.network.heal()
  cluster.boot(leader)
  await cluster.serving(leader)
  await cluster.until(() => isInSync(leader, old, third), 60_000)
  const { values } = await cluster.run(brokerOf(old).readAll('logs', 0))
  expect(values).toEqual(['before', 'acknowledged by two'])
})

function leaderOf(cluster: SimBrokerCluster): ClusterNode {
  const { quorum } = cluster.any
  const leader = quorum?.status.leader
  const member = cluster.members.find(({ nodeId }) => leader !== undefined && nodeId === nodeIdOf(leader))
  if (!member) throw new Error('nobody leads')
  return member
}

async function readTree(disk: Disk, directory: string): Promise<Map<string, Buffer>> {
  const files = new Map<string, Buffer>()
  for (const { name, isDirectory } of await disk.list(directory)) {
    const path = `${directory}/${name}`
    if (isDirectory) for (const [inner, content] of await readTree(disk, path)) files.set(inner, content)
    else files.set(path, (await disk.readFile(path)) ?? Buffer.alloc(0))
  }
  return files
}

async function putBack(disk: Disk, directory: string, files: ReadonlyMap<string, Buffer>): Promise<void> {
  await disk.removeDirectory(directory)
  for (const [path, content] of files) {
    await makeDirectoryDurably(disk, path.slice(0, path.lastIndexOf('/')))
    await writeFileAtomically(disk, path, content)
  }
}
