import { describe, expect, it } from 'vitest'
import { SimMachine } from '../harness/sim-machine.ts'
import { append, type FixtureOptions, type LogFixture, logResources, openLog, synced } from './log-harness.ts'

const FAR_MS = 1_700_000_000_000 + 30 * 24 * 3600 * 1000

async function openSim(machine: SimMachine, options: Partial<FixtureOptions> = {}): Promise<LogFixture> {
  const { disk, clock } = machine
  await disk.makeDirectory('orders-0')
  await disk.syncDirectory('.')
  return openLog({ disk, clock, directory: 'orders-0', ...options })
}

/** A log of three synced batches of producer 9, then a disk with `freeBytes` left. */
async function nearlyFull(seed: number, freeBytes: number, options: Partial<FixtureOptions> = {}) {
  const machine = new SimMachine(seed)
  const fixture = await machine.run(async () => {
    const opened = await openSim(machine, options)
    for (let at = 0; at < 3; at++) append(opened.log, { producerId: 9, baseSequence: at, valueBytes: 400 })
    await synced(opened)
    return opened
  })
  machine.image.capacityBytes = machine.image.usedBytes + freeBytes
  return { machine, fixture }
}

describe('a full disk is not a failed one', () => {
  it('when a log is closed with batches that could not be written: none of them is remembered as stored', async () => {
    const { machine, fixture } = await nearlyFull(1, 8_000)
    append(fixture.log, { producerId: 9, baseSequence: 3, valueBytes: 20_000 })
    await machine.scheduler.runFor(500)
    expect(await machine.run(() => fixture.log.close())).toBe(false)
    machine.kill()
    machine.image.capacityBytes = Number.POSITIVE_INFINITY
    const again = await machine.run(() => openSim(machine))
    expect(again.log.logEndOffset).toBe(3)
    const retried = append(again.log, { producerId: 9, baseSequence: 3, valueBytes: 20_000 })
    expect(retried).toMatchObject({ kind: 'appended', baseOffset: 3 })
  })

  it('when a log is closed on it: it stays healthy, and does not count as closed in order', async () => {
    const { machine, fixture } = await nearlyFull(2, 0)
    expect(await machine.run(() => fixture.log.close())).toBe(false)
    expect(fixture.log.failure).toBeUndefined()
    expect(fixture.events).not.toContainEqual(expect.objectContaining({ kind: 'offline' }))
  })

  it('when retention would roll the last segment: it is done once there is room', async () => {
    const { machine, fixture } = await nearlyFull(3, 0, { config: { retentionMs: 1000 } })
    const { log } = fixture
    log.highWatermark = 3
    await machine.run(() => log.applyRetention(FAR_MS).catch(() => 0))
    expect(log.failure).toBeUndefined()
    machine.image.capacityBytes = Number.POSITIVE_INFINITY
    await machine.run(() => log.applyRetention(FAR_MS))
    expect(log.segmentBaseOffsets).toEqual([3])
    expect(log.logStartOffset).toBe(3)
  })

  it('when the epoch checkpoint is due: it is written once there is room', async () => {
    const { machine, fixture } = await nearlyFull(4, 0)
    await machine.run(() => fixture.log.writeEpochs().catch(() => {}))
    expect(fixture.log.failure).toBeUndefined()
    machine.image.capacityBytes = Number.POSITIVE_INFINITY
    await machine.run(() => fixture.log.writeEpochs())
    expect(machine.image.readFile('orders-0/leader-epoch-checkpoint').toString()).toMatch(
      /^1\n1\n1 0\ncrc32c /,
    )
  })

  it('when a segment cannot be closed: its indexes stay in memory, whatever else is read meanwhile', async () => {
    const { machine, fixture } = await nearlyFull(5, 1_000, { config: { segmentBytes: 2_000 } })
    const { log, resources } = fixture
    append(log, { producerId: 9, baseSequence: 3, valueBytes: 900 })
    await machine.scheduler.runFor(500)
    // Indexes of other logs fill the cache.
    resources.indexCache.add({ loadedIndexes: { sizeBytes: 1_000_000 }, dropIndexes() {} })
    machine.image.capacityBytes = Number.POSITIVE_INFINITY
    await machine.scheduler.runFor(5_000)
    expect(log.syncedEndOffset).toBe(4)
    expect(log.segmentBaseOffsets).toEqual([0, 3])
  })
})

describe('a roll for retention', () => {
  it('beside an append that would begin a segment as well makes one segment', async () => {
    for (let steps = 0; steps < 60; steps++) {
      const machine = new SimMachine(steps)
      const { log, resources } = await machine.run(async () => {
        const opened = await openSim(machine, { config: { retentionMs: 1000, segmentMs: 1000 } })
        append(opened.log, { value: 'old' })
        await synced(opened)
        opened.log.highWatermark = opened.log.logEndOffset
        return opened
      })
      const retention = log.applyRetention(FAR_MS)
      for (let step = 0; step < steps; step++) await machine.scheduler.step()
      append(log, { value: 'new' })
      const batch = log.logEndOffset
      await machine.scheduler.finish(retention)
      await machine.scheduler.finish(resources.scheduler.idle())
      expect(log.failure).toBeUndefined()
      expect(log.syncedEndOffset).toBe(batch)
    }
  })
})

it('with write caching, a write and a sync that overlap are both over when the later one ends', async () => {
  const machine = new SimMachine(6)
  machine.image.syncLatencyMs = { min: 50, max: 50 }
  machine.image.latencyMs = { min: 10, max: 10 }
  const { log } = await machine.run(() => openSim(machine, { config: { writeCaching: true } }))
  for (let at = 0; at < 60; at++) {
    append(log)
    await machine.scheduler.runFor(10)
  }
  await machine.scheduler.runFor(2_000)
  expect(log.syncedEndOffset).toBe(60)
  expect(log.outstandingSinceMs).toBeUndefined()
})

describe('no descriptor left is not a failed write', () => {
  /** A log whose next write has to open its file, and cannot. */
  async function withoutDescriptors(seed: number, options: Partial<FixtureOptions> = {}) {
    const machine = new SimMachine(seed)
    const fixture = await machine.run(async () => {
      const opened = await openSim(machine, options)
      append(opened.log)
      await synced(opened)
      return opened
    })
    await machine.scheduler.runFor(1_000)
    await machine.run(() => fixture.resources.files.close())
    machine.image.onOperation = ({ kind }) => (kind === 'open' ? 'EMFILE' : undefined)
    return { machine, ...fixture }
  }

  for (const writeCaching of [false, true]) {
    it(`appends wait for one, others are refused (${writeCaching ? 'with' : 'without'} write caching)`, async () => {
      const { machine, log, events } = await withoutDescriptors(11, { config: { writeCaching } })
      append(log)
      await machine.scheduler.runFor(3_000)
      expect(log.syncedEndOffset).toBe(1)
      expect(() => append(log)).toThrow(expect.objectContaining({ reason: 'OVERLOADED', outcome: 'none' }))
      machine.image.onOperation = undefined
      await machine.scheduler.runFor(3_000)
      expect([log.failure, log.syncedEndOffset]).toEqual([undefined, 2])
      expect(append(log)).toMatchObject({ baseOffset: 2 })
      const shortages = events.map(event => event.kind)
      expect(shortages).toEqual(['noDescriptors', 'noDescriptorsOver'])
    })
  }

  it('a sync in the background, or one that was asked for, is done later', async () => {
    const { machine, log } = await withoutDescriptors(12)
    await log.updateConfig({ ...log.config, writeCaching: true })
    const generation = log.beginGeneration()
    await machine.scheduler.runFor(3_000)
    expect(log.failure).toBeUndefined()
    machine.image.onOperation = undefined
    await machine.scheduler.runFor(3_000)
    expect(log.failure).toBeUndefined()
    expect(generation).toBe(log.generation)
    expect(log.syncedEndOffset).toBe(1)
  })
})

it('a log whose write comes after its close, and after its directory went away, has not failed', async () => {
  const { machine, fixture } = await nearlyFull(13, 0)
  const { log, events, resources } = fixture
  let release = () => {}
  const released = new Promise<boolean>(resolve => {
    release = () => resolve(false)
  })
  // Syncs of other logs, before which none of this one's runs.
  for (let at = 0; at < 8; at++) resources.scheduler.request({ flush: () => released }, { urgent: false })
  append(log, { valueBytes: 5_000 })
  await machine.run(async disk => {
    await log.close()
    await disk.rename('orders-0', 'away.deleted')
  })
  await machine.run(() => log.updateConfig({ ...log.config, compacted: true }))
  machine.image.capacityBytes = Number.POSITIVE_INFINITY
  release()
  await machine.scheduler.runFor(5_000)
  expect(events.map(event => event.kind)).toEqual(['diskFull'])
  expect(log.failure).toBeUndefined()
})

it('a compaction mark without room is refused, and written by the next call', async () => {
  const { machine, fixture } = await nearlyFull(14, 0)
  const { log } = fixture
  const compacted = { ...log.config, compacted: true }
  await expect(machine.run(() => log.updateConfig(compacted))).rejects.toMatchObject({ reason: 'DISK_FULL' })
  expect([log.failure, log.config.compacted]).toEqual([undefined, false])
  machine.image.capacityBytes = Number.POSITIVE_INFINITY
  await machine.run(() => log.updateConfig(compacted))
  expect(log.config.compacted).toBe(true)
})

it('a read without a descriptor fails for now, and says nothing of the log', async () => {
  const machine = new SimMachine(7)
  const { log } = await machine.run(async () => {
    const opened = await openSim(machine, { config: { segmentBytes: 300 }, openFilesMax: 1 })
    for (let at = 0; at < 6; at++) append(opened.log, { valueBytes: 200 })
    await synced(opened)
    opened.resources.indexCache.add({ loadedIndexes: { sizeBytes: 1_000_000 }, dropIndexes() {} })
    return opened
  })
  machine.image.onOperation = ({ kind }) => (kind === 'open' ? 'EMFILE' : undefined)
  const range = { from: 1, upTo: 6, maxBytes: 100 }
  const refused = expect.objectContaining({ reason: 'OVERLOADED' })
  await expect(machine.run(() => log.read(range))).rejects.toEqual(refused)
  await expect(machine.run(() => log.offsetForTimestamp(1_700_000_000_000))).rejects.toEqual(refused)
  expect(log.failure).toBeUndefined()
  machine.image.onOperation = undefined
  expect(await machine.run(() => log.read(range))).toMatchObject({ baseOffset: 1 })
})

it('a wall clock that is set forward does not make a producer forgotten', async () => {
  const machine = new SimMachine(8)
  const { log } = await machine.run(() => openSim(machine))
  append(log, { producerId: 9, baseSequence: 0 })
  machine.time.stepWall(48 * 3600 * 1000)
  log.expireProducers({ expirationMs: 24 * 3600 * 1000 })
  expect(append(log, { producerId: 9, baseSequence: 0 })).toMatchObject({ kind: 'duplicate' })
  await machine.scheduler.runFor(25 * 3600 * 1000)
  log.expireProducers({ expirationMs: 24 * 3600 * 1000 })
  expect(append(log, { producerId: 9, baseSequence: 0 })).toMatchObject({ kind: 'appended' })
})

it('what was pending when memory was short is given back once it is written', async () => {
  const machine = new SimMachine(9)
  const { disk, clock } = machine
  const resources = logResources(disk, clock, { tailBytesMax: 1_000_000, tailsTotalBytesMax: 10_000 })
  const logs = await machine.run(async () => {
    const opened: LogFixture[] = []
    for (let at = 0; at < 20; at++) {
      await disk.makeDirectory(`orders-${at}`)
      opened.push(await openLog({ disk, clock, directory: `orders-${at}`, resources }))
    }
    return opened
  })
  for (const { log } of logs) append(log, { valueBytes: 2_000 })
  await machine.scheduler.runFor(1_000)
  expect(resources.tailBudget.sizeBytes).toBeLessThanOrEqual(10_000)
})

describe('the reset of a log in quarantine', () => {
  /** Three segments of damage, and an operation that fails; the reset is tried until it succeeds. */
  async function resetWith(failing: number, code: 'ENOSPC' | 'EMFILE') {
    const machine = new SimMachine(failing)
    const fixture = await machine.run(() => openSim(machine, { config: { segmentBytes: 600 } }))
    const { log, events } = fixture
    for (let at = 0; at < 3; at++) {
      append(log, { valueBytes: 500 })
      await machine.run(() => synced(fixture))
    }
    log.quarantine({ offset: 0, what: 'a test says so' })
    await machine.scheduler.runFor(100)
    let count = 0
    machine.image.onOperation = ({ kind }) => {
      const needsRoom = code === 'ENOSPC' && (kind === 'append' || kind === 'open')
      const isCounted = needsRoom || (code === 'EMFILE' && (kind === 'open' || kind === 'list'))
      return isCounted && ++count === failing ? code : undefined
    }
    const reset = () => machine.run(() => log.resetTo(7).catch((error: unknown) => error))
    const refusal = await reset()
    if (refusal) expect(await reset()).toBeUndefined()
    return { machine, log, events, refusal }
  }

  it.each(['ENOSPC', 'EMFILE'] as const)('is begun anew wherever it met %s', async code => {
    for (let failing = 1; ; failing++) {
      const { machine, log, events, refusal } = await resetWith(failing, code)
      if (!refusal && failing > 1) break
      const reason = code === 'ENOSPC' ? 'DISK_FULL' : 'OVERLOADED'
      expect(refusal, `operation ${failing}`).toMatchObject({ reason })
      expect(log.failure).toBeUndefined()
      expect(events.map(event => event.kind)).not.toContain('offline')
      expect(append(log, { leaderEpoch: 9 })).toMatchObject({ baseOffset: 7 })
      await machine.run(() => log.close())
      machine.powerCut()
      const again = await machine.run(() => openSim(machine, { logStartOffset: 7 }))
      expect(again.log).toMatchObject({ failure: undefined, logStartOffset: 7, logEndOffset: 8 })
    }
  })

  it('takes it offline where the disk fails', async () => {
    const { machine, fixture } = await nearlyFull(9, 1e6)
    const { log, events } = fixture
    log.quarantine({ offset: 0, what: 'a test says so' })
    await machine.scheduler.runFor(100)
    machine.image.syncErrorProbability = 1
    await expect(machine.run(() => log.resetTo(7))).rejects.toMatchObject({ reason: 'STORAGE_OFFLINE' })
    expect(log.failure).toMatchObject({ reason: 'STORAGE_OFFLINE' })
    expect(events.map(event => event.kind)).toContain('offline')
  })
})
