import { expect, test } from 'vitest'
import type { NaruError } from '../../src/base/errors.ts'
import { type Disk, makeDirectoryDurably, writeFileAtomically } from '../../src/ports/disk.ts'
import { nodeIdOf } from '../../src/raft/membership.ts'
import { brokerOf, type ClusterNode, SimBrokerCluster } from '../harness/sim-broker-cluster.ts'

const DATA = 'data'

test('a voter whose old directory is put back is told by the leader, starts over as a new member, and votes again', async () => {
  const failures: NaruError[] = []
  const brokerOptions = () => ({ onFailed: (error: NaruError) => failures.push(error) })
  const cluster = await SimBrokerCluster.start({ seed: 21, nodes: 3, brokerOptions })
  const leader = leaderOf(cluster)
  const member = cluster.members.find(other => other !== leader) as ClusterNode
  cluster.kill(member)
  const copy = await cluster.run(readTree(member.machine.disk, DATA))
  cluster.boot(member)
  await cluster.serving(member)
  const former = brokerOf(member).quorum?.status.self
  for (let made = 0; made < 5; made++) await cluster.run(brokerOf(leader).createTopic(`topic-${made}`))
  await cluster.until(() => brokerOf(member).image.topics.byName('topic-4') !== undefined)

  cluster.kill(member)
  await cluster.run(putBack(member.machine.disk, DATA, copy))
  cluster.boot(member)
  await cluster.until(() => failures.length > 0)
  expect(failures[0]?.reason).toBe('CORRUPT_DATA')
  expect(failures[0]?.message).toMatch(/acknowledged the metadata log to \d+, and has it to \d+/)
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
