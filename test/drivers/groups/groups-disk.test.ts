import { expect, test } from 'vitest'
import { Groups } from '../../../src/wire/methods.ts'
import { SimBroker } from '../../harness/sim-broker.ts'
import { SimBrokerCluster } from '../../harness/sim-broker-cluster.ts'
import { SimMachine } from '../../harness/sim-machine.ts'
import { commit, committed, makeLogs } from './group-calls.ts'

const MIB = 1024 * 1024

test('groups go on when only the reserve of the disk is left, which refuses records (B6)', async () => {
  const machine = new SimMachine(1)
  const node = await machine.run(() => SimBroker.start(machine, { 'disk.free.min': 100_000 }))
  await machine.run(async () => {
    await makeLogs(node)
    await commit(node, 'g', { 0: 1 })
  })
  const { freeBytes, totalBytes } = await machine.run(disk => disk.space('data'))
  machine.image.capacityBytes = totalBytes - freeBytes + 50_000
  await machine.scheduler.runFor(5_000)
  await expect(machine.run(() => node.produce({ topic: 'logs' }, ['no']))).rejects.toMatchObject({
    reason: 'DISK_FULL',
  })
  await machine.run(() => commit(node, 'g', { 0: 7, 1: 3 }))
  expect(await machine.run(() => committed(node, 'g'))).toEqual({ 0: 7, 1: 3 })
  machine.powerCut()
  const again = await machine.run(() => SimBroker.start(machine, { 'disk.free.min': 100_000 }))
  expect(await machine.run(() => committed(again, 'g'))).toEqual({ 0: 7, 1: 3 })
})

test('groups go on when two of three disks are down to their reserve, whose followers stay in sync (B6)', async () => {
  const settings = { 'disk.free.min': 1_000_000 }
  const cluster = await SimBrokerCluster.start({ seed: 1, nodes: 3, settings })
  const [first, ...others] = cluster.members
  const node = first?.node
  if (!node) throw new Error('no node runs')
  const groups = Array.from({ length: 8 }, (_, at) => `group ${at}`)
  const commitAll = async (nextOffset: number) => {
    for (const group of groups) await cluster.run(commit(node, group, { 0: nextOffset }))
  }
  await cluster.run(makeLogs(node))
  await commitAll(1)
  for (const { image } of others.map(({ machine }) => machine))
    image.capacityBytes = image.usedBytes + 500_000
  await cluster.scheduler.runFor(5_000)
  await expect(cluster.run(node.produce({ topic: 'logs' }, ['no']))).rejects.toMatchObject({
    retriable: true,
  })
  await commitAll(7)
  const topic = node.image.topics.byName('__groups')
  for (const [partition, { isr }] of topic?.partitions() ?? [])
    expect(isr.length, `partition ${partition}`).toBe(3)
})

test('__groups does not grow with the number of commits', async () => {
  const machine = new SimMachine(2)
  const node = await machine.run(() => SimBroker.start(machine, {}))
  const partitions = 250
  await machine.run(() => node.createTopic('logs', {}, partitions))
  const offsets = Array.from({ length: partitions }, (_, partition) => ({
    topic: 'logs',
    partition,
    nextOffset: 0,
    metadata: 'x'.repeat(4_096),
  }))
  let appendedBytes = 0
  for (let round = 0; round < 8; round++) {
    for (let count = 0; count < 8; count++) {
      await machine.run(() => node.call(Groups.commitOffsets, { group: 'g', offsets }))
      appendedBytes += partitions * 4_096
    }
    await machine.scheduler.runFor(60_000)
    // The segment that is written to, and what has come since the last cleaning.
    expect(machine.image.usedBytes).toBeLessThan(2.8 * 16 * MIB)
  }
  expect(appendedBytes).toBeGreaterThan(3.8 * 16 * MIB)
  const { offsets: found } = await machine.run(() => node.call(Groups.fetchOffsets, { group: 'g' }))
  expect(found).toHaveLength(partitions)
})
