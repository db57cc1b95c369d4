import { describe, expect, it } from 'vitest'
import { SimMachine } from '../harness/sim-machine.ts'
import {
  append,
  type FixtureOptions,
  type LogFixture,
  makeBatch,
  openLog,
  readAll,
  synced,
  temporaryDirectory,
} from './log-harness.ts'

async function openSim(machine: SimMachine, options: Partial<FixtureOptions> = {}): Promise<LogFixture> {
  const { disk, clock } = machine
  await disk.makeDirectory('orders-0')
  await disk.syncDirectory('.')
  return openLog({ disk, clock, directory: 'orders-0', ...options })
}

describe('appending', () => {
  it('answers a batch sent again with its first offsets, also after a restart', async () => {
    const directory = await temporaryDirectory()
    const fixture = await openLog({ directory })
    const send = (log: LogFixture['log'], baseSequence: number) =>
      append(log, { count: 2, producerId: 9, baseSequence })
    for (let at = 0; at < 6; at++) send(fixture.log, at * 2)
    expect(send(fixture.log, 2)).toMatchObject({ kind: 'duplicate', baseOffset: 2, lastOffset: 3 })
    expect(fixture.log.logEndOffset).toBe(12)
    expect(() => send(fixture.log, 14)).toThrow(expect.objectContaining({ reason: 'OUT_OF_ORDER_SEQUENCE' }))
    await synced(fixture)
    await fixture.log.close()
    const again = await openLog({ directory, cleanStop: true })
    expect(send(again.log, 2)).toMatchObject({ kind: 'duplicate', baseOffset: 2, lastOffset: 3 })
    expect(send(again.log, 12)).toMatchObject({ kind: 'appended', baseOffset: 12 })
    await again.log.close()
  })

  it('takes a follower only what follows on, all or nothing', async () => {
    const fixture = await openLog({ directory: await temporaryDirectory() })
    const { log } = fixture
    const first = makeBatch({ count: 2, baseOffset: 0, leaderEpoch: 3 })
    const second = makeBatch({ count: 3, baseOffset: 2, leaderEpoch: 4 })
    log.appendAsFollower([Buffer.concat([first, second])], { leaderEpoch: 4, wallMs: 1 })
    expect(log.logEndOffset).toBe(5)
    const good = makeBatch({ baseOffset: 5, leaderEpoch: 4 })
    const damaged = Buffer.from(makeBatch({ baseOffset: 6, leaderEpoch: 4 }))
    damaged[damaged.length - 1] = (damaged.at(-1) ?? 0) ^ 1
    for (const bad of [
      [makeBatch({ baseOffset: 6, leaderEpoch: 4 })],
      [makeBatch({ baseOffset: 4, leaderEpoch: 4 })],
      [makeBatch({ baseOffset: 5, leaderEpoch: 3 })],
      // Of no leader that there was yet: outside the CRC, and the end of all batches after it.
      [makeBatch({ baseOffset: 5, leaderEpoch: 6 })],
      [good, damaged],
      [good.subarray(0, good.length - 1)],
    ]) {
      expect(() => log.appendAsFollower(bad, { leaderEpoch: 5, wallMs: 1 })).toThrow(
        expect.objectContaining({ reason: 'CORRUPT_BATCH' }),
      )
      expect(log.logEndOffset).toBe(5)
    }
    log.appendAsFollower([good], { leaderEpoch: 5, wallMs: 1 })
    await synced(fixture)
    expect(await readAll(log)).toHaveLength(6)
    expect(log.epochEntries).toEqual([
      { epoch: 3, startOffset: 0 },
      { epoch: 4, startOffset: 2 },
    ])
    expect(log.endOffsetForEpoch(3)).toEqual({ epoch: 3, endOffset: 2 })
    expect(log.endOffsetForEpoch(9)).toEqual({ epoch: 4, endOffset: 6 })
    expect(log.endOffsetForEpoch(2)).toBeUndefined()
    await log.close()
  })

  it('refuses the batch of an older leader epoch before anything changes', async () => {
    const fixture = await openLog({ directory: await temporaryDirectory() })
    append(fixture.log, { leaderEpoch: 5 })
    expect(() => append(fixture.log, { leaderEpoch: 4 })).toThrow(
      expect.objectContaining({ reason: 'FENCED_LEADER_EPOCH' }),
    )
    expect(fixture.log.logEndOffset).toBe(1)
    await fixture.log.close()
  })

  it('bounds what waits for the disk, and says when there is room again', async () => {
    const machine = new SimMachine(1)
    await machine.run(async () => {
      const fixture = await openSim(machine, { appendPendingBytesMax: 1000 })
      machine.image.stall()
      while (fixture.log.hasRoom) append(fixture.log, { valueBytes: 100 })
      expect(() => append(fixture.log)).toThrow(expect.objectContaining({ reason: 'OVERLOADED' }))
      let hasRoom = false
      const room = fixture.log.room().then(() => {
        hasRoom = true
      })
      expect(hasRoom).toBe(false)
      machine.image.unstall()
      await room
      append(fixture.log)
      await fixture.log.close()
    })
  })

  it('gathers appends while a sync is under way into one write and one sync', async () => {
    const machine = new SimMachine(2)
    await machine.run(async () => {
      const fixture = await openSim(machine)
      const operations: string[] = []
      machine.image.onOperation = operation => {
        if (operation.path.endsWith('.log')) operations.push(operation.kind)
        return undefined
      }
      append(fixture.log)
      await new Promise<void>(resolve => machine.clock.setTimer(0.001, resolve))
      for (let at = 0; at < 50; at++) append(fixture.log)
      await synced(fixture)
      expect(operations.filter(kind => kind === 'append' || kind === 'sync')).toEqual([
        'append',
        'sync',
        'append',
        'sync',
      ])
      expect(fixture.log.syncedEndOffset).toBe(51)
      await fixture.log.close()
    })
  })

  it('waits out a full disk: nothing is acknowledged, nothing is lost, and it goes on by itself', async () => {
    const machine = new SimMachine(3)
    await machine.run(async () => {
      const fixture = await openSim(machine, { config: { segmentBytes: 2000 } })
      const { log, events } = fixture
      for (let at = 0; at < 3; at++) append(log, { value: `v${at}`, valueBytes: 300 })
      await synced(fixture)
      machine.image.capacityBytes = machine.image.usedBytes + 500
      for (let at = 3; at < 9; at++) append(log, { value: `v${at}`, valueBytes: 300 })
      await synced(fixture)
      expect(log.failure).toBeUndefined()
      expect(log.syncedEndOffset).toBe(3)
      expect(() => append(log)).toThrow(expect.objectContaining({ reason: 'DISK_FULL' }))
      expect(events.map(event => event.kind)).toContain('diskFull')
      machine.image.capacityBytes = Number.POSITIVE_INFINITY
      await log.room()
      append(log, { value: 'v9' })
      await synced(fixture)
      expect(log.syncedEndOffset).toBe(10)
      expect(await readAll(log)).toEqual(Array.from({ length: 10 }, (_, at) => `${at}:v${at}`))
      expect(events.map(event => event.kind)).toContain('diskFullOver')
      await log.close()
    })
  })

  it('acknowledges nothing after a failed sync, and never tries it again', async () => {
    const machine = new SimMachine(4)
    await machine.run(async () => {
      const fixture = await openSim(machine)
      let syncs = 0
      machine.image.onOperation = operation => {
        if (operation.kind !== 'sync') return undefined
        return syncs++ === 0 ? 'EIO' : undefined
      }
      append(fixture.log)
      await synced(fixture)
      await new Promise<void>(resolve => machine.clock.setTimer(10_000, resolve))
      expect(fixture.log.syncedEndOffset).toBe(0)
      expect(syncs).toBe(1)
      expect(fixture.log.failure).toMatchObject({ reason: 'STORAGE_OFFLINE', outcome: 'unknown' })
      expect(await fixture.log.close()).toBe(false)
    })
  })

  it('tells how long a write or sync has been under way', async () => {
    const machine = new SimMachine(5)
    await machine.run(async () => {
      const { log } = await openSim(machine)
      expect(log.outstandingSinceMs).toBeUndefined()
      machine.image.stall()
      append(log)
      await new Promise<void>(resolve => machine.clock.setTimer(3000, resolve))
      expect(machine.clock.monotonicMs() - (log.outstandingSinceMs ?? 0)).toBeGreaterThan(2000)
      machine.image.unstall()
      await log.close()
    })
  })
})

describe('a generation', () => {
  it('ignores the sync of the one before, and begins with its own', async () => {
    const machine = new SimMachine(6)
    await machine.run(async () => {
      const fixture = await openSim(machine)
      const { log, progress } = fixture
      machine.image.syncLatencyMs = { min: 50, max: 50 }
      append(log, { count: 10 })
      await new Promise<void>(resolve => machine.clock.setTimer(10, resolve))
      expect(log.writtenEndOffset).toBe(10)
      const cut = log.truncateTo(0)
      expect(log.logEndOffset).toBe(0)
      await cut
      await synced(fixture)
      expect(progress.every(step => step.generation === 0 || step.syncedEndOffset === 0)).toBe(true)
      expect(log.syncedEndOffset).toBe(0)
      const generation = log.beginGeneration()
      await synced(fixture)
      expect(progress.at(-1)).toEqual({ generation, writtenEndOffset: 0, syncedEndOffset: 0 })
      await log.close()
    })
  })
})

describe('write caching', () => {
  it('turned on, leaves nothing behind that was queued before', async () => {
    const machine = new SimMachine(8)
    await machine.run(async () => {
      const fixture = await openSim(machine)
      const { log } = fixture
      append(log)
      await synced(fixture)
      append(log)
      await log.updateConfig({ ...log.config, writeCaching: true })
      await synced(fixture)
      await new Promise<void>(resolve => machine.clock.setTimer(1000, resolve))
      expect([log.writtenEndOffset, log.syncedEndOffset]).toEqual([2, 2])
      await log.close()
    })
  })

  it('reports bytes as written without waiting for a sync, and syncs them soon after', async () => {
    const machine = new SimMachine(7)
    await machine.run(async () => {
      const fixture = await openSim(machine, { config: { writeCaching: true } })
      const { log } = fixture
      machine.image.syncLatencyMs = { min: 1000, max: 1000 }
      for (let at = 0; at < 5; at++) {
        append(log)
        await new Promise<void>(resolve => machine.clock.setTimer(5, resolve))
        expect(log.writtenEndOffset).toBe(at + 1)
      }
      expect(log.syncedEndOffset).toBe(0)
      await new Promise<void>(resolve => machine.clock.setTimer(1500, resolve))
      expect(log.syncedEndOffset).toBeGreaterThan(0)
      await log.updateConfig({ ...log.config, writeCaching: false })
      await synced(fixture)
      expect(log.syncedEndOffset).toBe(5)
      await log.close()
    })
  })
})
