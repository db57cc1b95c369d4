import { expect, test } from 'vitest'
import { SeededPrng } from '../../harness/seeded-prng.ts'
import { imageOf, offset, ViewFixture } from './view-fixture.ts'

test('follows the log, the newest of each key, and deletes what was deleted', async () => {
  const fixture = await ViewFixture.start()
  fixture.append([offset('a', 0, 1), offset('a', 1, 1)])
  fixture.append([offset('a', 0, 2), offset('b', 0, 9)])
  fixture.append([offset('a', 1, null)])
  await fixture.settle()
  const contents = await fixture.contents()
  expect(contents?.endOffset).toBe(5)
  expect(contents?.records.map(record => [record.group, record.value])).toEqual([
    ['a', expect.objectContaining({ nextOffset: 2 })],
    ['b', expect.objectContaining({ nextOffset: 9 })],
  ])
})

test('applies only what is committed and synced here, of a log that is in step (D2)', async () => {
  const fixture = await ViewFixture.start()
  fixture.append([offset('a', 0, 1)])
  fixture.append([offset('a', 0, 2)])
  await fixture.settle()
  fixture.append([offset('a', 0, 3)])
  fixture.append([offset('a', 0, 4)])
  // Committed by others, and not synced here for a while.
  fixture.machine.image.syncLatencyMs = { min: 700, max: 700 }
  fixture.log.highWatermark = 4
  await fixture.scheduler.runFor(600)
  expect([fixture.log.syncedEndOffset, fixture.view.appliedEnd]).toEqual([2, 2])
  await fixture.settle()
  expect(fixture.view.appliedEnd).toBe(4)
  // Synced, and not committed.
  fixture.append([offset('a', 0, 5)])
  await fixture.scheduler.runFor(1_000)
  expect([fixture.log.syncedEndOffset, fixture.view.appliedEnd]).toEqual([5, 4])
  // Committed and synced, in a log whose leader has not accepted this replica.
  fixture.isInStep = false
  fixture.commit()
  await fixture.scheduler.runFor(1_000)
  expect(fixture.view.appliedEnd).toBe(4)
  fixture.isInStep = true
  await fixture.settle()
  expect(fixture.view.appliedEnd).toBe(5)
})

test('syncs at most ten times a second, and not at all where nothing is new', async () => {
  const fixture = await ViewFixture.start()
  const before = fixture.writes
  for (let at = 0; at < 300; at++) {
    fixture.append([offset('a', at % 7, at)])
    await fixture.scheduler.runFor(10)
    fixture.commit()
  }
  await fixture.settle()
  const writes = fixture.writes - before
  expect(writes).toBeGreaterThan(10)
  expect(writes).toBeLessThanOrEqual(31)
  await fixture.scheduler.runFor(5_000)
  expect(fixture.writes - before).toBe(writes)
})

test('goes on after a restart from where it was, without the log before', async () => {
  const fixture = await ViewFixture.start()
  fixture.append([offset('a', 0, 1)])
  await fixture.settle()
  fixture.powerCut()
  await fixture.boot()
  expect(fixture.view.appliedEnd).toBe(1)
  fixture.append([offset('a', 1, 2)], 2)
  await fixture.settle()
  expect(imageOf((await fixture.contents())?.records ?? [])).toEqual(await fixture.imageOf(2))
})

test('is whole up to its end after a power cut at any moment', async () => {
  for (let seed = 1; seed <= 12; seed++) {
    const fixture = await ViewFixture.start(seed)
    fixture.machine.state.skipsDamagedBlocks = true
    const prng = new SeededPrng(`workload ${seed}`)
    for (let life = 0; life < 4; life++) {
      for (let at = 0; at < 20; at++) {
        const group = `g${Math.floor(prng.fraction() * 3)}`
        const partition = Math.floor(prng.fraction() * 4)
        const isDeleted = prng.chance(0.2)
        fixture.append([offset(group, partition, isDeleted ? null : at), offset(group, 9, at)], life + 1)
        await fixture.scheduler.runFor(prng.fraction() * 80)
        if (prng.chance(0.7)) fixture.commit(Math.max(fixture.log.highWatermark, fixture.log.syncedEndOffset))
      }
      const { highWatermark } = fixture.log
      fixture.powerCut()
      await fixture.boot()
      const contents = await fixture.contents()
      expect(contents?.endOffset).toBeLessThanOrEqual(highWatermark)
      expect(imageOf(contents?.records ?? [])).toEqual(await fixture.imageOf(contents?.endOffset ?? 0))
    }
    expect(fixture.errors).toEqual([])
  }
})

test('with a damaged value is not read, and made anew', async () => {
  const fixture = await ViewFixture.start()
  fixture.append([offset('a', 0, 1), offset('a', 1, 1)])
  await fixture.settle()
  const { state } = fixture.machine
  const [, row] = state.pairs({})
  if (!row) throw new Error('the view is empty')
  const [key, value] = row
  value[value.length - 1] = (value.at(-1) ?? 0) ^ 1
  state.write({ changes: [{ kind: 'put', key, value }] }, { sync: true })
  expect(await fixture.contents()).toBeUndefined()
  expect(fixture.errors.map(({ reason }) => reason)).toEqual(['CORRUPT_DATA'])
  await fixture.settle()
  expect((await fixture.contents())?.records).toHaveLength(2)
})

test('that is ahead of its log, or of another one, is begun anew', async () => {
  const fixture = await ViewFixture.start()
  fixture.append([offset('old', 0, 1), offset('old', 1, 1)])
  await fixture.settle()
  // A replica that left this node and came back: its log is empty.
  fixture.powerCut()
  fixture.replaceDirectory()
  await fixture.boot()
  expect(fixture.view.appliedEnd).toBe(0)
  fixture.append([offset('new', 0, 1), offset('new', 1, 1), offset('new', 2, 1)])
  await fixture.settle()
  const groups = async () => new Set((await fixture.contents())?.records.map(({ group }) => group))
  expect(await groups()).toEqual(new Set(['new']))
  // As long as before, and of another epoch there.
  fixture.powerCut()
  fixture.replaceDirectory()
  await fixture.boot()
  fixture.append([offset('other', 0, 1), offset('other', 1, 1), offset('other', 2, 1)], 7)
  await fixture.settle()
  expect(await groups()).toEqual(new Set(['other']))
  // A topic of that name that was made anew.
  fixture.powerCut()
  fixture.topicId = 'another'
  await fixture.boot()
  expect(fixture.view.appliedEnd).toBe(0)
})

test('whose log was cut below it is begun anew', async () => {
  const fixture = await ViewFixture.start()
  fixture.append([offset('kept', 0, 1)])
  fixture.append([offset('cut', 0, 1)])
  await fixture.settle()
  fixture.log.highWatermark = 1
  await fixture.run(fixture.log.truncateTo(1))
  fixture.append([offset('instead', 0, 1)], 2)
  fixture.append([offset('instead', 1, 1)], 2)
  await fixture.settle()
  const contents = await fixture.contents()
  expect(contents?.records.map(({ group }) => group)).toEqual(['kept', 'instead', 'instead'])
})

test('keeps nothing of a log that was emptied, though what comes instead is longer', async () => {
  const fixture = await ViewFixture.start()
  fixture.append([offset('deleted', 0, 1)])
  await fixture.settle()
  // The tombstone has been removed by compaction before this replica came to it (B8).
  await fixture.run(fixture.view.forget())
  await fixture.run(fixture.log.resetTo(0))
  fixture.append([offset('a', 0, 1)])
  fixture.append([offset('a', 1, 1)])
  await fixture.settle()
  const contents = await fixture.contents()
  expect(contents?.records.map(({ group }) => group)).toEqual(['a', 'a'])
})

test('is forgotten for good, though the power goes right after', async () => {
  for (let seed = 1; seed <= 8; seed++) {
    const fixture = await ViewFixture.start(seed)
    fixture.append([offset('a', 0, 1)])
    await fixture.settle()
    await fixture.run(fixture.view.forget())
    fixture.powerCut()
    await fixture.boot()
    expect(fixture.view.appliedEnd).toBe(0)
  }
})

test('is done without where its store cannot be written', async () => {
  const fixture = await ViewFixture.start()
  fixture.machine.state.isDamaged = true
  fixture.append([offset('a', 0, 1)])
  await fixture.scheduler.runFor(1_000)
  fixture.commit()
  await fixture.scheduler.runFor(1_000)
  expect(fixture.errors.map(({ message }) => message)).toEqual([
    expect.stringContaining('is not kept until this node is restarted'),
  ])
  expect(await fixture.contents()).toBeUndefined()
  expect(fixture.view.appliedEnd).toBe(0)
})

test('is forgotten where its store cannot be written: the next start makes that anew', async () => {
  const fixture = await ViewFixture.start()
  fixture.append([offset('deleted', 0, 1)])
  await fixture.settle()
  fixture.machine.state.isDamaged = true
  await fixture.run(fixture.view.forget())
  await fixture.run(fixture.log.resetTo(0))
  fixture.machine.state.isDamaged = false
  fixture.append([offset('a', 0, 1)])
  await fixture.run(fixture.log.close())
  fixture.powerCut()
  await fixture.boot()
  await fixture.settle()
  const contents = await fixture.contents()
  expect(contents?.records.map(({ group }) => group)).toEqual(['a'])
})

test('holds the cleaner back from what it has not read (B8)', async () => {
  const fixture = await ViewFixture.start()
  await fixture.run(fixture.log.updateConfig({ ...fixture.log.config, compacted: true, segmentBytes: 1 }))
  for (let at = 0; at < 4; at++) {
    fixture.append([offset('a', 0, at)])
    await fixture.scheduler.runFor(5)
  }
  fixture.commit()
  const planned = () => fixture.run(fixture.log.planCleaning(fixture.machine.clock.wallMs()))
  expect(fixture.view.appliedEnd).toBe(0)
  expect(await planned()).toBeUndefined()
  await fixture.settle()
  expect((await planned())?.endOffset).toBe(3)
})
