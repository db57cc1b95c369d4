import { expect, test } from 'vitest'
import { NaruError } from '../../../src/base/errors.ts'
import { partitionForKey } from '../../../src/records/murmur2.ts'
import type { AttendJoin, MessageInit } from '../../../src/wire/messages.ts'
import { Groups } from '../../../src/wire/methods.ts'
import type { SimBroker } from '../../harness/sim-broker.ts'
import { brokerOf, type ClusterNode, SimBrokerCluster } from '../../harness/sim-broker-cluster.ts'
import { SimMachine } from '../../harness/sim-machine.ts'
import { SimTransport } from '../../harness/sim-transport.ts'
import { TestMember } from '../../service/groups/group-cluster.ts'
import { commit, committed, makeLogs } from './group-calls.ts'

async function startCluster(seed: number): Promise<SimBrokerCluster> {
  const cluster = await SimBrokerCluster.start({ seed, nodes: 3 })
  await cluster.run(makeLogs(cluster.any))
  return cluster
}

/** The node that coordinates the group now. */
function coordinatorOf(cluster: SimBrokerCluster, group: string, seenBy = cluster.any): ClusterNode {
  const topic = seenBy.image.topics.byName('__groups')
  const partition = partitionForKey(Buffer.from(group), topic?.partitionCount ?? 1)
  const leader = topic?.partition(partition)?.leader ?? -1
  return cluster.members[leader] as ClusterNode
}

/** As a client does that tries again while it may. */
async function surely<T>(cluster: SimBrokerCluster, call: () => Promise<T>): Promise<T> {
  for (let tries = 0; tries < 100; tries++) {
    const outcome = await cluster.run(
      call().then(
        value => ({ value }),
        error => ({ error: NaruError.from(error) }),
      ),
    )
    if ('value' in outcome) return outcome.value
    if (!outcome.error.retriable && outcome.error.reason !== 'UNKNOWN_OUTCOME') throw outcome.error
    await cluster.scheduler.runFor(100)
  }
  throw new Error('refused again and again')
}

let clients = 0

/** A member over the network, as of a client that is no node. */
function attend(cluster: SimBrokerCluster, node: ClusterNode, join: MessageInit<AttendJoin>): TestMember {
  const name = `client-${clients++}`
  const machine = new SimMachine(clients, { name, scheduler: cluster.scheduler })
  const transport = new SimTransport(cluster.network, machine.incarnation, name)
  const channel = transport.connect(`${node.machine.name}:7450`)
  const member = new TestMember(cluster, channel.stream(Groups.attend.path))
  member.send({ join })
  return member
}

const membersOf = async (cluster: SimBrokerCluster, node: SimBroker, group: string): Promise<string[]> => {
  const { members } = await surely(cluster, () => node.call(Groups.describeGroup, { group }))
  return members.map(({ member }) => member)
}

test('what was answered is there on whoever takes over, move by move', async () => {
  const cluster = await startCluster(1)
  await surely(cluster, () => commit(cluster.any, 'g', { 0: 0 }))
  for (let next = 1; next <= 6; next++) {
    await surely(cluster, () => commit(cluster.any, 'g', { 0: next, 1: next }))
    const coordinator = coordinatorOf(cluster, 'g')
    if (next % 2 === 0) cluster.kill(coordinator)
    else cluster.powerCut(coordinator)
    expect(await surely(cluster, () => committed(cluster.any, 'g'))).toEqual({ 0: next, 1: next })
    cluster.boot(coordinator)
    await cluster.serving(coordinator)
  }
})

test('a coordinator that the others do not hear answers no more, and serves again once it is back (C12)', async () => {
  const cluster = await startCluster(2)
  await surely(cluster, () => commit(cluster.any, 'g', { 0: 1 }))
  const deposed = coordinatorOf(cluster, 'g')
  const others = cluster.members.filter(member => member !== deposed)
  const member = attend(cluster, deposed, { group: 'g', topics: ['logs'], member: 'm' })
  await member.until(({ joined }) => joined !== undefined)
  for (const other of others) {
    cluster.network.cut(deposed.machine.name, other.machine.name)
    cluster.network.cut(other.machine.name, deposed.machine.name)
  }
  // Its stream ends before anybody else can have been given what it had.
  const error = await member.untilClosed()
  expect(error?.retriable).toBe(true)
  const node = brokerOf(deposed)
  const refused = await cluster.run(committed(node, 'g').catch((thrown: NaruError) => thrown))
  expect(refused).toMatchObject({ retriable: true })
  const [other] = others as [ClusterNode]
  await surely(cluster, () => committed(brokerOf(other), 'g'))
  expect(coordinatorOf(cluster, 'g', brokerOf(other))).not.toBe(deposed)
  cluster.network.heal()
  expect(await surely(cluster, () => committed(node, 'g'))).toEqual(
    await surely(cluster, () => committed(brokerOf(other), 'g')),
  )
})

test('a new coordinator gives members their whole session, and then judges them (D1)', async () => {
  const cluster = await startCluster(3)
  await surely(cluster, () => commit(cluster.any, 'g', { 0: 1 }))
  const coordinator = coordinatorOf(cluster, 'g')
  const [entry] = cluster.members.filter(member => member !== coordinator) as [ClusterNode]
  const join = { group: 'g', topics: ['logs'], member: 'm', sessionTimeoutMs: 5_000 }
  const member = attend(cluster, entry, join)
  await member.until(({ owned }) => owned.length === 4)
  // Nearly all of its session is over when the coordinator goes, and with it the stream.
  member.stream.fail(new Error('gone'))
  cluster.kill(coordinator)
  const killedMs = cluster.scheduler.nowMs
  expect(await membersOf(cluster, brokerOf(entry), 'g')).toEqual(['m'])
  const takenOverMs = cluster.scheduler.nowMs
  await cluster.scheduler.runFor(killedMs + 4_900 - takenOverMs)
  expect(await membersOf(cluster, brokerOf(entry), 'g')).toEqual(['m'])
  await cluster.scheduler.runFor(takenOverMs + 5_500 - cluster.scheduler.nowMs)
  expect(await membersOf(cluster, brokerOf(entry), 'g')).toEqual([])
})

test.each([2_850, 1_500, 50, -400])(
  'a member killed %i ms before its coordinator is replaced after 3 s, and within 4 s',
  async beforeMs => {
    const cluster = await startCluster(7)
    await surely(cluster, () => commit(cluster.any, 'g', { 0: 1 }))
    const coordinator = coordinatorOf(cluster, 'g')
    const [entry, next] = cluster.members.filter(member => member !== coordinator) as [
      ClusterNode,
      ClusterNode,
    ]
    const join = { group: 'g', topics: ['logs'] }
    const member = attend(cluster, entry, { ...join, member: 'm' })
    const other = attend(cluster, next, { ...join, member: 'other' })
    await other.until(({ owned }) => owned.length === 2)
    const { scheduler } = cluster
    const firstMs = scheduler.nowMs
    scheduler.schedule(Math.max(0, -beforeMs), () => member.stream.fail(new Error('gone')))
    scheduler.schedule(Math.max(0, beforeMs), () => cluster.kill(coordinator))
    const goneMs = firstMs + Math.max(0, -beforeMs)
    await other.untilClosed()
    // The other one lives, and comes back.
    const back = attend(cluster, next, { ...join, member: 'other' })
    await back.until(({ owned }) => owned.length === 2)
    await scheduler.runFor(Math.max(0, goneMs + 2_800 - scheduler.nowMs))
    expect(back.owned).toHaveLength(2)
    await back.until(({ owned }) => owned.length === 4)
    expect(scheduler.nowMs - goneMs).toBeLessThan(4_000)
  },
)

test('members share, give and take over while coordinators move', async () => {
  const cluster = await startCluster(4)
  await surely(cluster, () => commit(cluster.any, 'g', { 0: 1 }))
  const nodes = cluster.members as [ClusterNode, ClusterNode, ClusterNode]
  const join = (name: string) => ({ group: 'g', topics: ['logs'], member: name })
  const first = attend(cluster, nodes[0], join('first'))
  await first.until(({ owned }) => owned.length === 4)
  expect(first.owned).toEqual(['logs/0@1', 'logs/1@0', 'logs/2@0', 'logs/3@0'])
  const second = attend(cluster, nodes[1], join('second'))
  await second.until(({ owned }) => owned.length === 2)
  expect(first.owned).toHaveLength(2)
  const coordinator = coordinatorOf(cluster, 'g')
  cluster.kill(coordinator)
  const [alive] = nodes.filter(node => node !== coordinator) as [ClusterNode]
  const again = attend(cluster, alive, join('second'))
  await again.until(({ owned }) => owned.length === 2)
  expect(again.owned).toEqual(second.owned)
})

test('an owner is told of topics that are made, widened and deleted', async () => {
  const cluster = await startCluster(5)
  const [node] = cluster.members as [ClusterNode]
  const member = attend(cluster, node, { group: 'g', topicPattern: 'l*', member: 'm' })
  await member.until(({ owned }) => owned.length === 4)
  await cluster.run(brokerOf(node).createTopic('later', {}, 2))
  await member.until(({ owned }) => owned.length === 6)
  expect(member.owned).toContain('later/1@0')
})

test.each([
  ['deleted', (machine: SimMachine) => machine.state.destroy()],
  ['not to be opened', (machine: SimMachine) => Object.assign(machine.state, { isDamaged: true })],
])('with a LevelDB that is %s nothing is lost: the log has it all', async (_what, harm) => {
  const cluster = await startCluster(6)
  await surely(cluster, () => commit(cluster.any, 'g', { 0: 1, 1: 2, 2: 3 }))
  await surely(cluster, () => commit(cluster.any, 'h', { 3: 9 }))
  await cluster.scheduler.runFor(1_000)
  for (const member of cluster.members) {
    cluster.powerCut(member)
    harm(member.machine)
  }
  for (const member of cluster.members) cluster.boot(member)
  await cluster.serving(...cluster.members)
  expect(await surely(cluster, () => committed(cluster.any, 'g'))).toEqual({ 0: 1, 1: 2, 2: 3 })
  expect(await surely(cluster, () => committed(cluster.any, 'h'))).toEqual({ 3: 9 })
  // And the views come back by themselves.
  await cluster.scheduler.runFor(2_000)
  for (const { machine } of cluster.members) expect(machine.state.pairs({}).length).toBeGreaterThan(16)
})
