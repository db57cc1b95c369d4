import { describe, expect, test } from 'vitest'
import { Admin } from '../../src/wire/methods.ts'
import { refusalOf, SimBroker } from '../harness/sim-broker.ts'
import { SimMachine } from '../harness/sim-machine.ts'

const deleteBefore = (node: SimBroker, topic: string, offset: number) =>
  node.call(Admin.deleteRecords, { partitions: [{ topic, partition: 0, before: { offset } }] })

describe('on a disk without a single free byte', () => {
  const full = async (seed: number) => {
    const machine = new SimMachine(seed)
    const node = await machine.run(async () => {
      const started = await SimBroker.start(machine)
      await started.createTopic('logs')
      for (let at = 0; at < 6; at++) await started.produce({ topic: 'logs' }, [`value ${at}`])
      return started
    })
    machine.image.capacityBytes = machine.image.usedBytes
    return { machine, node }
  }

  test('the checkpoints of the background wait, and the node goes on', async () => {
    const { machine, node } = await full(1)
    await machine.scheduler.runFor(200_000)
    expect(node.broker.failure).toBeUndefined()
    machine.image.capacityBytes = Number.POSITIVE_INFINITY
    await machine.scheduler.runFor(5_000)
    expect(await machine.run(() => node.produce({ topic: 'logs' }, ['more']))).toMatchObject({ offset: 6 })
  })

  test('a deletion of records that is answered as done is durable', async () => {
    const { machine, node } = await full(2)
    const first = await machine.run(() => deleteBefore(node, 'logs', 4))
    expect(node.broker.failure).toBeUndefined()
    machine.image.capacityBytes = Number.POSITIVE_INFINITY
    const second = await machine.run(() => deleteBefore(node, 'logs', 4))
    expect(second.results[0]?.failure).toBeUndefined()
    expect(first.results[0]?.failure?.reason).toBe('DISK_FULL')
    machine.powerCut()
    const again = await machine.run(() => SimBroker.start(machine))
    expect((await machine.run(() => again.readAll('logs'))).logStartOffset).toBe(4)
  })

  test('a topic can be deleted, which makes room', async () => {
    const { machine, node } = await full(3)
    // What little there is goes to the metadata log, which the deletion needs: that is what the reserve is for.
    machine.image.capacityBytes += 5_000
    machine.image.onOperation = ({ kind, path }) => {
      const gone = machine.image.usedBytes < machine.image.capacityBytes - 5_000
      return kind === 'append' && !path.startsWith('data/raft') && !gone ? 'ENOSPC' : undefined
    }
    const parked = refusalOf(node.produce({ topic: 'logs' }, ['x'.repeat(1000)]))
    await machine.scheduler.runFor(100)
    await machine.run(() => node.call(Admin.deleteTopics, { topics: ['logs'] }))
    expect(await machine.scheduler.finish(parked)).toMatchObject({ outcome: 'unknown' })
    await machine.scheduler.runFor(100)
    expect(node.broker.failure).toBeUndefined()
    expect((await machine.run(disk => disk.list('data/topics'))).map(entry => entry.name)).toEqual([])
  })

  test('an orderly stop ends, and the next start has all that was acknowledged', async () => {
    const { machine, node } = await full(4)
    await machine.run(() => node.broker.close().catch(() => {}))
    machine.kill()
    machine.image.capacityBytes = Number.POSITIVE_INFINITY
    const again = await machine.run(() => SimBroker.start(machine))
    expect((await machine.run(() => again.readAll('logs'))).values).toHaveLength(6)
  })
})

test('a topic made again after a crash in its deletion keeps its records through the next crash', async () => {
  for (let change = 1; change < 60; change++) {
    const machine = new SimMachine(change)
    const node = await machine.run(async () => {
      const started = await SimBroker.start(machine)
      await started.createTopic('logs')
      for (let at = 0; at < 8; at++) await started.produce({ topic: 'logs' }, ['old'])
      await deleteBefore(started, 'logs', 8)
      return started
    })
    machine.crashAtChange(machine.image.changes + change)
    void node.call(Admin.deleteTopics, { topics: ['logs'] }).catch(() => {})
    await machine.scheduler.runFor(1_000)
    machine.powerCut()
    const second = await machine.run(() => SimBroker.start(machine))
    await machine.run(async () => {
      await second.call(Admin.deleteTopics, { topics: ['logs'] })
      await second.createTopic('logs')
      await second.produce({ topic: 'logs' }, ['new'])
    })
    machine.powerCut()
    const third = await machine.run(() => SimBroker.start(machine))
    expect(await machine.run(() => third.readAll('logs'))).toEqual({ logStartOffset: 0, values: ['new'] })
  }
})

test('a topic that is made, deleted and made again in one breath serves', async () => {
  for (let seed = 0; seed < 20; seed++) {
    const machine = new SimMachine(seed)
    const node = await machine.run(() => SimBroker.start(machine))
    const steps = Promise.all([
      node.createTopic('logs').catch(() => {}),
      node.call(Admin.deleteTopics, { topics: ['logs'] }),
      node.createTopic('logs'),
    ])
    await machine.scheduler.finish(steps)
    expect(await machine.run(() => node.produce({ topic: 'logs' }, ['a']))).toMatchObject({ offset: 0 })
  }
})

test('a batch sent again is answered with the append time of the first time', async () => {
  const machine = new SimMachine(7)
  const node = await machine.run(() => SimBroker.start(machine))
  await machine.run(() => node.createTopic('logs', { 'message.timestamp.type': 'LogAppendTime' }))
  const producer = { producerId: 5, producerEpoch: 0, baseSequence: 0 }
  const first = await machine.run(() => node.produce({ topic: 'logs', producer }, ['a']))
  expect(first.logAppendTimeMs).toBeGreaterThan(0)
  await machine.scheduler.runFor(10_000)
  expect(await machine.run(() => node.produce({ topic: 'logs', producer }, ['a']))).toEqual(first)
})

describe('a metadata log', () => {
  const stopped = async () => {
    const machine = new SimMachine(8)
    await machine.run(async () => {
      const node = await SimBroker.start(machine)
      await node.createTopic('logs')
      await node.produce({ topic: 'logs' }, ['a'])
      await node.broker.close()
    })
    machine.kill()
    return machine
  }
  const RAFT = 'data/raft/00000000000000000000.log'

  test('that is damaged is refused, and never cut as if its end were torn', async () => {
    const machine = await stopped()
    machine.image.flipBit(RAFT, Math.floor(machine.image.readFile(RAFT).length / 2))
    expect(await machine.run(() => refusalOf(SimBroker.start(machine)))).toMatchObject({
      reason: 'DATA_DIRECTORY_DAMAGED',
    })
  })

  test('that lost its bytes is refused, and never taken for that of a new cluster', async () => {
    const machine = await stopped()
    await machine.run(disk => disk.remove(RAFT))
    const error = await machine.run(() => refusalOf(SimBroker.start(machine)))
    expect(error.reason).toBe('DATA_DIRECTORY_DAMAGED')
  })
})

test('a deletion that a crash cut short is finished at the next start, and the stop after it is clean', async () => {
  for (let change = 1; change <= 12; change++) {
    const machine = new SimMachine(9)
    const node = await machine.run(() => SimBroker.start(machine))
    await machine.run(async () => {
      await node.createTopic('kept')
      await node.createTopic('gone')
      for (const topic of ['kept', 'gone']) await node.produce({ topic }, ['a'])
    })
    machine.crashAtChange(machine.image.changes + change)
    let isAnswered = false
    void node.call(Admin.deleteTopics, { topics: ['gone'] }).then(
      () => {
        isAnswered = true
      },
      () => {},
    )
    await machine.scheduler.runFor(3_000)
    if (machine.incarnation.isAlive) machine.powerCut()
    machine.crashAtChange(Number.POSITIVE_INFINITY)
    const again = await machine.run(() => SimBroker.start(machine))
    await machine.scheduler.runFor(1_000)
    const isGone = again.image.topics.byName('gone') === undefined
    expect(isGone || !isAnswered).toBe(true)
    const names = (await machine.run(disk => disk.list('data/topics'))).map(entry => entry.name)
    const live = names.filter(name => !name.endsWith('.deleted')).sort()
    expect(live, `change ${change}`).toEqual(isGone ? ['kept-0'] : ['gone-0', 'kept-0'])
    await machine.run(() => again.broker.close())
    const files = (await machine.run(disk => disk.list('data'))).map(entry => entry.name)
    expect(files, `change ${change}`).toContain('clean-shutdown')
  }
})
