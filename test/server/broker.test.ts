import { describe, expect, test } from 'vitest'
import { writeJsonFile } from '../../src/log/json-file.ts'
import { type Disk, writeFileAtomically } from '../../src/ports/disk.ts'
import { Admin, Producer } from '../../src/wire/methods.ts'
import { refusalOf, SimBroker } from '../harness/sim-broker.ts'
import { SimMachine } from '../harness/sim-machine.ts'

describe('a data directory', () => {
  const started = async () => {
    const machine = new SimMachine(1)
    await machine.run(async () => {
      const node = await SimBroker.start(machine)
      await node.createTopic('logs')
      await node.produce({ topic: 'logs' }, ['a', 'b'])
      await node.broker.close()
    })
    machine.kill()
    return machine
  }
  const startRefused = (machine: SimMachine, settings: Record<string, number> = {}) =>
    machine.run(() => refusalOf(SimBroker.start(machine, settings)))

  test('keeps its cluster, topics and records, and the identity of its node', async () => {
    const machine = await started()
    const before = await machine.run(disk => read(disk, 'data/node.json'))
    const node = await machine.run(() => SimBroker.start(machine))
    expect(await machine.run(() => node.readAll('logs'))).toEqual({ logStartOffset: 0, values: ['a', 'b'] })
    expect(await machine.run(disk => read(disk, 'data/node.json'))).toBe(before)
    expect(node.broker.identity?.clusterId).toBe(JSON.parse(before).clusterId)
  })

  test('whose view of groups is outdated gets an empty one, once', async () => {
    const machine = await started()
    const stale = { kind: 'put', key: Buffer.from('g'), value: Buffer.from('stale') } as const
    machine.state.write({ changes: [stale] }, { sync: true })
    await machine.run(disk => writeFileAtomically(disk, 'data/state-outdated', Buffer.from('1\n')))
    await machine.run(() => SimBroker.start(machine))
    expect(machine.state.value(stale.key)).toBeUndefined()
    machine.state.write({ changes: [stale] }, { sync: true })
    machine.powerCut()
    await machine.run(() => SimBroker.start(machine))
    expect(machine.state.value(stale.key)).toEqual(stale.value)
  })

  test('of another node is refused', async () => {
    const error = await startRefused(await started(), { 'node.id': 7 })
    expect(error).toMatchObject({ reason: 'INVALID_CONFIG' })
    expect(error.message).toMatch(/belongs to node 0, but node.id is 7/)
  })

  test('of a later format is refused, naming the way out', async () => {
    const machine = await started()
    await machine.run(disk => writeJsonFile(disk, 'data/node.json', { version: 99, fields: {} }))
    expect(await startRefused(machine)).toMatchObject({ reason: 'DATA_DIRECTORY_VERSION' })
  })

  test('whose node.json is damaged or gone is refused, and never taken for a fresh one', async () => {
    const damaged = await started()
    await damaged.run(disk => edit(disk, 'data/node.json', () => '{'))
    expect(await startRefused(damaged)).toMatchObject({ reason: 'DATA_DIRECTORY_DAMAGED' })
    const gone = await started()
    await gone.run(disk => disk.remove('data/node.json'))
    expect(await startRefused(gone)).toMatchObject({ reason: 'DATA_DIRECTORY_DAMAGED' })
  })

  test('without its metadata log is refused', async () => {
    const machine = await started()
    await machine.run(disk => disk.removeDirectory('data/raft'))
    const error = await startRefused(machine)
    expect(error).toMatchObject({ reason: 'DATA_DIRECTORY_DAMAGED' })
    expect(error.message).toMatch(/raft/)
  })

  test('with a partition that is gone says so, refuses that partition, and serves the others', async () => {
    const machine = await started()
    await machine.run(disk => disk.removeDirectory('data/topics/logs-0'))
    const node = await machine.run(() => SimBroker.start(machine))
    const error = await machine.run(() => refusalOf(node.readAll('logs')))
    expect(error).toMatchObject({ reason: 'CORRUPT_DATA' })
    await machine.run(async () => {
      await node.createTopic('others')
      await node.produce({ topic: 'others' }, ['c'])
    })
    expect(await machine.run(() => node.readAll('others'))).toMatchObject({ values: ['c'] })
    expect(await machine.run(() => refusalOf(node.produce({ topic: 'logs' }, ['d'])))).toMatchObject({
      reason: 'CORRUPT_DATA',
    })
  })
})

test('a topic that was deleted and made again has none of the old records, also after a restart in between', async () => {
  const machine = new SimMachine(2)
  await machine.run(async () => {
    const node = await SimBroker.start(machine)
    await node.createTopic('logs')
    await node.produce({ topic: 'logs' }, ['old'])
    await node.call(Admin.deleteTopics, { topics: ['logs'] })
    await node.createTopic('logs')
    await node.produce({ topic: 'logs' }, ['new'])
  })
  machine.kill()
  const node = await machine.run(() => SimBroker.start(machine))
  expect(await machine.run(() => node.readAll('logs'))).toEqual({ logStartOffset: 0, values: ['new'] })
})

test('a full disk refuses records, serves reads and deletes, and takes records again when there is room', async () => {
  const machine = new SimMachine(3)
  const node = await machine.run(() => SimBroker.start(machine, { 'disk.free.min': 100_000 }))
  await machine.run(async () => {
    await node.createTopic('kept')
    await node.createTopic('filler')
    await node.produce({ topic: 'kept' }, ['k'])
    await node.produce({ topic: 'filler' }, ['x'.repeat(300_000)])
  })
  // Room for the reserve is gone.
  const { freeBytes, totalBytes } = await machine.run(disk => disk.space('data'))
  machine.image.capacityBytes = totalBytes - freeBytes + 50_000
  await runFor(machine, 5_000)
  const refused = await machine.run(() => refusalOf(node.produce({ topic: 'kept' }, ['no'])))
  expect(refused).toMatchObject({ reason: 'DISK_FULL', retriable: true, outcome: 'none' })
  expect(await machine.run(() => node.readAll('kept'))).toMatchObject({ values: ['k'] })

  await machine.run(() => node.call(Admin.deleteTopics, { topics: ['filler'] }))
  await runFor(machine, 120_000)
  expect(await machine.run(() => node.produce({ topic: 'kept' }, ['yes']))).toMatchObject({ offset: 1 })
  expect(node.log.map(line => line.message).filter(text => text.includes('disk'))).toHaveLength(2)
})

test('a failed sync ends the node: nothing is acknowledged any more, and what was, is there after a restart', async () => {
  const machine = new SimMachine(4)
  const node = await machine.run(() => SimBroker.start(machine))
  await machine.run(async () => {
    await node.createTopic('logs')
    await node.produce({ topic: 'logs' }, ['a'])
  })
  machine.image.syncErrorProbability = 1
  expect(await machine.run(() => refusalOf(node.produce({ topic: 'logs' }, ['b'])))).toMatchObject({
    outcome: 'unknown',
  })
  expect(node.broker.failure).toMatchObject({ reason: 'STORAGE_OFFLINE' })
  expect(await machine.run(() => refusalOf(node.call(Producer.initProducer, {})))).toMatchObject({
    reason: 'STORAGE_OFFLINE',
  })
  machine.image.syncErrorProbability = 0
  machine.powerCut()
  const again = await machine.run(() => SimBroker.start(machine))
  expect((await machine.run(() => again.readAll('logs'))).values[0]).toBe('a')
})

async function read(disk: Disk, path: string): Promise<string> {
  const file = await disk.open(path, 'read')
  try {
    return (await file.read(0, file.sizeBytes)).toString()
  } finally {
    await file.close()
  }
}

async function edit(disk: Disk, path: string, change: (text: string) => string): Promise<void> {
  const text = change(await read(disk, path))
  const file = await disk.open(path, 'write')
  await file.truncate(0)
  await file.append([Buffer.from(text)])
  await file.sync()
  await file.close()
}

/** Lets virtual time pass. */
async function runFor(machine: SimMachine, timeMs: number): Promise<void> {
  const { clock } = machine
  await machine.run(() => new Promise<void>(resolve => clock.setTimer(timeMs, resolve)))
}

describe('a start that is stopped in the middle', () => {
  test('fails, leaves nothing open, and the next start finds what the one before it left', async () => {
    const machine = new SimMachine(5)
    await machine.run(async () => {
      const node = await SimBroker.start(machine)
      await node.createTopic('logs')
      await node.produce({ topic: 'logs' }, ['a'])
      await node.broker.close()
    })
    machine.kill()
    for (let atMs = 0; atMs < 40; atMs += 2) {
      const node = SimBroker.make(machine)
      const started = refusalOf(node.start())
      await machine.scheduler.runFor(atMs)
      if (node.broker.refusal === undefined) break
      await machine.run(() => node.broker.close())
      expect(await machine.scheduler.finish(started)).toMatchObject({ reason: 'NODE_DRAINING' })
      // The same process can open it anew: files and lock are free.
    }
    const node = await machine.run(() => SimBroker.start(machine))
    expect(await machine.run(() => node.readAll('logs'))).toMatchObject({ values: ['a'] })
  })

  test('refuses every call with the reason, before it serves and from its stop on', async () => {
    const machine = new SimMachine(6)
    const node = SimBroker.make(machine)
    const list = () => machine.run(() => refusalOf(node.call(Admin.listTopics, {})))
    expect(await list()).toMatchObject({ reason: 'NODE_STARTING', retriable: true })
    await machine.run(() => node.start())
    expect(await machine.run(() => node.call(Admin.listTopics, {}))).toMatchObject({ topics: [] })
    const closed = node.broker.close()
    expect(await list()).toMatchObject({ reason: 'NODE_DRAINING', retriable: true })
    await machine.scheduler.finish(closed)
  })
})

test('a data directory from before the first release is refused with the reason', async () => {
  const machine = new SimMachine(7)
  await machine.run(async disk => {
    await disk.makeDirectory('data')
    await disk.makeDirectory('data/raft')
    for (const name of ['recovery-point', '00000000000000000000.log'])
      await (await disk.open(`data/raft/${name}`, 'create')).close()
  })
  const error = await machine.run(() => refusalOf(SimBroker.start(machine)))
  expect(error).toMatchObject({ reason: 'DATA_DIRECTORY_VERSION' })
  expect(error.message).toMatch(/empty data\.dir/)
})
