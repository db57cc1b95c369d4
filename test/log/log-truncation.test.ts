import { readdir } from 'node:fs/promises'
import { describe, expect, it } from 'vitest'
import { SimMachine } from '../harness/sim-machine.ts'
import { append, makeBatch, openLog, readAll, synced, temporaryDirectory } from './log-harness.ts'

const CONFIG = { segmentBytes: 900 }

async function filledLog(count: number, directory?: string) {
  const fixture = await openLog({ directory: directory ?? (await temporaryDirectory()), config: CONFIG })
  for (let at = 0; at < count; at++) {
    append(fixture.log, { value: `v${at}`, valueBytes: 100, leaderEpoch: 1 + Math.floor(at / 10) })
  }
  await synced(fixture)
  return fixture
}

const values = (from: number, to: number) =>
  Array.from({ length: to - from }, (_, at) => `${from + at}:v${from + at}`)

describe('truncation', () => {
  it('removes segments, epochs and producers behind the cut, and goes on from there', async () => {
    const fixture = await filledLog(40)
    const { log } = fixture
    expect(await log.truncateTo(17)).toBe(17)
    expect([log.logEndOffset, log.writtenEndOffset, log.syncedEndOffset]).toEqual([17, 17, 17])
    expect(log.epochEntries).toEqual([
      { epoch: 1, startOffset: 0 },
      { epoch: 2, startOffset: 10 },
    ])
    expect(await readAll(log)).toEqual(values(0, 17))
    append(log, { value: 'v17', leaderEpoch: 9 })
    await synced(fixture)
    expect(await readAll(log)).toEqual(values(0, 18))
    await log.close()
    const again = await openLog({ directory: log.directory, config: CONFIG, recoveryPoint: 18 })
    expect(again.log.failure).toBeUndefined()
    expect(await readAll(again.log)).toEqual(values(0, 18))
    expect(again.log.epochEntries.at(-1)).toEqual({ epoch: 9, startOffset: 17 })
    await again.log.close()
  })

  it('takes a batch that straddles the offset as a whole', async () => {
    const fixture = await openLog({ directory: await temporaryDirectory() })
    append(fixture.log, { count: 3 })
    append(fixture.log, { count: 3 })
    await synced(fixture)
    expect(await fixture.log.truncateTo(4)).toBe(3)
    await fixture.log.close()
  })

  it('to where offsets are missing leaves a log that ends with its last batch, as a start finds it', async () => {
    const config = { ...CONFIG, compacted: true }
    const fixture = await openLog({ directory: await temporaryDirectory(), config })
    const { log } = fixture
    const copies = [0, 5, 20].map(baseOffset => makeBatch({ count: 5, baseOffset, leaderEpoch: 1 }))
    log.appendAsFollower(copies, { leaderEpoch: 1, wallMs: 1_700_000_000_000 })
    await synced(fixture)
    expect(await log.truncateTo(15)).toBe(10)
    expect([log.logEndOffset, log.writtenEndOffset, log.syncedEndOffset]).toEqual([10, 10, 10])
    const { recoveryPoint, directory } = log
    await log.close()
    const again = await openLog({ directory, config, recoveryPoint, cleanStop: false })
    expect(again.log.failure).toBeUndefined()
    expect(again.log.logEndOffset).toBe(10)
    await again.log.close()
  })

  it('keeps what is not written yet and lies below', async () => {
    const fixture = await openLog({ directory: await temporaryDirectory() })
    for (let at = 0; at < 5; at++) append(fixture.log, { value: `v${at}` })
    expect(await fixture.log.truncateTo(3)).toBe(3)
    await synced(fixture)
    expect(fixture.log.syncedEndOffset).toBe(3)
    expect(await readAll(fixture.log)).toEqual(values(0, 3))
    await fixture.log.close()
  })

  it('keeps the epoch of what is not written yet and lies below', async () => {
    const fixture = await openLog({ directory: await temporaryDirectory() })
    append(fixture.log, { value: 'v0', leaderEpoch: 1 })
    await synced(fixture)
    for (let at = 1; at < 5; at++) append(fixture.log, { value: `v${at}`, leaderEpoch: 2 })
    expect(await fixture.log.truncateTo(3)).toBe(3)
    await synced(fixture)
    append(fixture.log, { value: 'v3', leaderEpoch: 3 })
    await synced(fixture)
    expect(fixture.log.epochEntries).toEqual([
      { epoch: 1, startOffset: 0 },
      { epoch: 2, startOffset: 1 },
      { epoch: 3, startOffset: 3 },
    ])
    expect(await readAll(fixture.log)).toEqual(values(0, 4))
    await fixture.log.close()
  })

  it('lowers the recovery point before it cuts', async () => {
    const fixture = await filledLog(30)
    fixture.checkpointed.recoveryPoint = 30
    await fixture.log.truncateTo(12)
    expect(fixture.checkpointed.recoveryPoint).toBe(12)
    await fixture.log.close()
  })

  it('remembers producers as the log that is left does', async () => {
    const fixture = await openLog({ directory: await temporaryDirectory(), config: CONFIG })
    const { log } = fixture
    for (let at = 0; at < 20; at++) {
      append(log, { count: 1, valueBytes: 100, producerId: 5, baseSequence: at })
    }
    await synced(fixture)
    await log.truncateTo(11)
    expect(append(log, { producerId: 5, baseSequence: 10 })).toMatchObject({
      kind: 'duplicate',
      baseOffset: 10,
      lastOffset: 10,
    })
    expect(append(log, { producerId: 5, baseSequence: 11 })).toMatchObject({
      kind: 'appended',
      baseOffset: 11,
    })
    await log.close()
  })
})

describe('a reset', () => {
  it('empties the log and starts it elsewhere', async () => {
    const fixture = await filledLog(30)
    await fixture.log.resetTo(100)
    const { log } = fixture
    expect([log.logStartOffset, log.logEndOffset, log.highWatermark]).toEqual([100, 100, 100])
    append(log, { value: 'new', leaderEpoch: 2 })
    await synced(fixture)
    expect(await readAll(log)).toEqual(['100:new'])
    await log.close()
    expect((await readdir(log.directory)).filter(name => name.endsWith('.log'))).toEqual([
      '00000000000000000100.log',
    ])
  })
})

describe('a log that is being closed', () => {
  it('is not reset any more: its files may be those of another by then', async () => {
    const { log } = await filledLog(30)
    const closing = log.close()
    await expect(log.resetTo(100)).rejects.toMatchObject({ reason: 'CLOSED' })
    expect(await closing).toBe(true)
    expect((await readdir(log.directory)).filter(name => name.endsWith('.log')).length).toBeGreaterThan(1)
  })
})

describe('a log that is being cut', () => {
  it('is not damaged for what still stands behind the cut in its files', async () => {
    for (let steps = 0; steps < 40; steps++) {
      const machine = new SimMachine(steps)
      const { disk, clock } = machine
      const log = await machine.run(async () => {
        await disk.makeDirectory('orders-0')
        const fixture = await openLog({ disk, clock, directory: 'orders-0' })
        for (let at = 0; at < 8; at++) append(fixture.log, { timestamp: 1000 + at })
        await synced(fixture)
        return fixture.log
      })
      const cut = log.truncateTo(5)
      for (let step = 0; step < steps; step++) await machine.scheduler.step()
      const found = await machine.scheduler.finish(log.offsetForTimestamp(1006))
      await machine.scheduler.finish(cut)
      expect({ steps, found, failure: log.failure }).toEqual({ steps, found: undefined, failure: undefined })
    }
  })
})

describe('retention', () => {
  it('removes whole segments by size, but keeps at least what it is asked to and nothing above HW', async () => {
    const { log } = await filledLog(40)
    await log.updateConfig({ ...log.config, retentionBytes: 2000 })
    expect(await log.applyRetention(1)).toBe(0)
    log.highWatermark = 40
    expect(await log.applyRetention(1)).toBeGreaterThan(0)
    expect(log.sizeBytes).toBeGreaterThanOrEqual(2000)
    expect(log.sizeBytes).toBeLessThan(2900)
    expect(await readAll(log)).toEqual(values(log.logStartOffset, 40))
    await log.close()
  })

  it('removes by age of the newest record, the last segment too once all of it is too old', async () => {
    const fixture = await openLog({
      directory: await temporaryDirectory(),
      config: { ...CONFIG, retentionMs: 1000 },
    })
    const { log } = fixture
    for (let at = 0; at < 20; at++) append(log, { value: `v${at}`, valueBytes: 100, timestamp: at * 100 })
    await synced(fixture)
    log.highWatermark = 20
    await log.applyRetention(2000)
    expect(log.logStartOffset).toBeGreaterThan(0)
    expect(log.logStartOffset).toBeLessThanOrEqual(10)
    await log.applyRetention(100_000)
    expect([log.logStartOffset, log.logEndOffset, log.sizeBytes]).toEqual([20, 20, 0])
    append(log, { value: 'v20', timestamp: 100_000 })
    await synced(fixture)
    expect(await readAll(log)).toEqual(['20:v20'])
    await log.close()
    const again = await openLog({
      directory: log.directory,
      config: CONFIG,
      cleanStop: true,
      logStartOffset: 20,
    })
    expect(await readAll(again.log)).toEqual(['20:v20'])
    await again.log.close()
  })

  it('rolls by age', async () => {
    const fixture = await openLog({ directory: await temporaryDirectory(), config: { segmentMs: 1000 } })
    const { log } = fixture
    const at = Date.UTC(2030, 0)
    for (const wallMs of [at, at + 900, at + 1000, at + 1500]) {
      log.appendAsLeader(makeBatch(), { leaderEpoch: 1, wallMs })
    }
    await synced(fixture)
    expect(log.segmentBaseOffsets).toEqual([0, 2])
    await log.close()
  })
})

describe('deleting records', () => {
  it('ends where a cut that came meanwhile ends the log', async () => {
    const { log } = await filledLog(40)
    log.highWatermark = 30
    // The call is in order when it is made; what it is about is gone when its turn comes.
    const deleting = log.deleteRecordsBefore(25)
    expect(await log.truncateTo(10)).toBe(10)
    expect(await deleting).toBe(10)
    expect(log.logStartOffset).toBe(10)
    log.highWatermark = 10
    const resetting = log.resetTo(5)
    const late = log.deleteRecordsBefore(10)
    await resetting
    expect(await late).toBe(5)
    await log.close()
  })

  it('is refused above the high watermark, and hides the rest of a segment it does not remove', async () => {
    const { log, events } = await filledLog(40)
    log.highWatermark = 20
    await expect(log.deleteRecordsBefore(21)).rejects.toMatchObject({ reason: 'OFFSET_OUT_OF_RANGE' })
    expect(await log.deleteRecordsBefore(19)).toBe(19)
    expect(log.segmentBaseOffsets[0]).toBeGreaterThan(0)
    expect(events.some(event => event.kind === 'segmentsRemoved')).toBe(true)
    expect(await readAll(log)).toEqual(values(19, 40))
    expect(log.epochEntries[0]).toEqual({ epoch: 2, startOffset: 19 })
    await log.close()
  })
})
