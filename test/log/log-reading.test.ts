import { describe, expect, it } from 'vitest'
import { SeededPrng } from '../harness/seeded-prng.ts'
import {
  append,
  type LogFixture,
  makeBatch,
  openLog,
  readAll,
  recordsOf,
  synced,
  temporaryDirectory,
} from './log-harness.ts'

describe('reading', () => {
  it('agrees with a plain list for any start, limit and size, from files and from memory', async () => {
    for (const tailBytesMax of [0, 3000]) {
      const prng = new SeededPrng(11)
      const directory = await temporaryDirectory()
      const fixture = await openLog({ directory, tailBytesMax, config: { segmentBytes: 3000 } })
      const { log } = fixture
      const batches: { base: number; last: number; sizeBytes: number }[] = []
      for (let at = 0; at < 120; at++) {
        const batch = makeBatch({ count: 1 + (prng.uint32() % 4), valueBytes: prng.uint32() % 500 })
        const { baseOffset: base, lastOffset: last } = log.appendAsLeader(batch, {
          leaderEpoch: 1,
          wallMs: 1,
        })
        batches.push({ base, last, sizeBytes: batch.length })
        if (prng.chance(0.3)) await synced(fixture)
      }
      await synced(fixture)
      for (let at = 0; at < 1500; at++) {
        const from = prng.uint32() % (log.logEndOffset + 1)
        const upTo = batches[prng.uint32() % batches.length]?.base ?? 0
        const maxBytes = prng.uint32() % 2500
        const slice = await log.read({ from, upTo, maxBytes })
        const { baseOffset, nextOffset } = naiveRead(batches, { from, upTo, maxBytes })
        expect(slice.baseOffset).toBe(baseOffset)
        // A read may end early (with its segment, say), but it never stands still.
        expect(slice.nextOffset).toBeLessThanOrEqual(nextOffset)
        expect(slice.nextOffset > from).toBe(nextOffset > from)
        expect(batches.some(batch => batch.last + 1 === slice.nextOffset) || slice.nextOffset === from).toBe(
          true,
        )
        expect(slice.sizeBytes).toBe(Buffer.concat(slice.buffers).length)
        const offsets = recordsOf(slice).map(record => record.offset)
        if (offsets.length > 0) expect(offsets[0]).toBe(slice.baseOffset)
      }
      await log.close()
    }
  })

  it('refuses what lies outside, naming the range', async () => {
    const fixture = await openLog({ directory: await temporaryDirectory() })
    append(fixture.log, { count: 5 })
    await synced(fixture)
    fixture.log.highWatermark = 5
    await fixture.log.deleteRecordsBefore(3)
    for (const from of [2, 6]) {
      await expect(fixture.log.read({ from, upTo: 5, maxBytes: 10 })).rejects.toMatchObject({
        reason: 'OFFSET_OUT_OF_RANGE',
        details: { logStartOffset: '3', logEndOffset: '5' },
      })
    }
    expect(await fixture.log.read({ from: 5, upTo: 5, maxBytes: 10 })).toMatchObject({
      nextOffset: 5,
      sizeBytes: 0,
    })
    await fixture.log.close()
  })

  it('serves unwritten batches from memory', async () => {
    const fixture = await openLog({ directory: await temporaryDirectory() })
    const batch = makeBatch({ value: 'now' })
    fixture.log.appendAsLeader(batch, { leaderEpoch: 1, wallMs: 1 })
    const slice = fixture.log.readTail({ from: 0, upTo: 1, maxBytes: 1 })
    expect(slice?.buffers).toEqual([batch])
    expect(slice?.buffers[0]).toBe(batch)
    await fixture.log.close()
  })

  it('goes on through truncation, rolls and deletion under way', async () => {
    const fixture = await openLog({ directory: await temporaryDirectory(), config: { segmentBytes: 800 } })
    const { log } = fixture
    for (let at = 0; at < 60; at++) append(log, { value: `v${at}`, valueBytes: 60 })
    await synced(fixture)
    const reads = Array.from({ length: 30 }, (_, at) =>
      log.read({ from: 25 + (at % 5), upTo: 60, maxBytes: 5000 }),
    )
    const cut = log.truncateTo(31)
    const slices = await Promise.all(reads)
    await cut
    for (const slice of slices) expect(slice.sizeBytes).toBeGreaterThan(0)
    expect(log.failure).toBeUndefined()
    append(log, { value: 'new' })
    await synced(fixture)
    expect((await readAll(log)).slice(-2)).toEqual(['30:v30', '31:new'])
    await log.close()
  })
})

function naiveRead(
  batches: { base: number; last: number; sizeBytes: number }[],
  range: { from: number; upTo: number; maxBytes: number },
) {
  let sizeBytes = 0
  let nextOffset = range.from
  let baseOffset = range.from
  for (const batch of batches.filter(one => one.last >= range.from)) {
    if (batch.last >= range.upTo || (sizeBytes > 0 && sizeBytes + batch.sizeBytes > range.maxBytes)) break
    if (sizeBytes === 0) baseOffset = batch.base
    sizeBytes += batch.sizeBytes
    nextOffset = batch.last + 1
  }
  return { baseOffset, nextOffset }
}

describe('offsets by timestamp', () => {
  it('are the first whose timestamp is at least the one asked for, also with timestamps out of order', async () => {
    const prng = new SeededPrng(5)
    const fixture = await openLog({ directory: await temporaryDirectory(), config: { segmentBytes: 2000 } })
    const timestamps: number[] = []
    for (let at = 0; at < 100; at++) {
      const timestamp = 1000 + at * 10 + (prng.uint32() % 60)
      append(fixture.log, { count: 2, timestamp, valueBytes: 40 })
      timestamps.push(timestamp, timestamp + 1)
    }
    // Some are still in memory.
    await compare(fixture, timestamps, prng)
    await synced(fixture)
    await compare(fixture, timestamps, prng)
    fixture.log.highWatermark = 150
    await fixture.log.deleteRecordsBefore(77)
    expect(await fixture.log.offsetForTimestamp(0)).toMatchObject({ offset: 77 })
    expect(await fixture.log.offsetForTimestamp(10_000)).toBeUndefined()
    expect(await fixture.log.offsetForTimestamp(timestamps[160] ?? 0, 100)).toBeUndefined()
    await fixture.log.close()
  })
})

async function compare(fixture: LogFixture, timestamps: number[], prng: SeededPrng): Promise<void> {
  for (let at = 0; at < 100; at++) {
    const timestamp = 990 + (prng.uint32() % 1080)
    const offset = timestamps.findIndex(one => one >= timestamp)
    const found = await fixture.log.offsetForTimestamp(timestamp)
    expect(found?.offset).toBe(offset === -1 ? undefined : offset)
    if (found) expect(found.timestamp).toBe(timestamps[offset])
  }
}
