import { describe, expect, it } from 'vitest'
import { BatchFilter } from '../../src/records/filter-batch.ts'
import { stampBatch } from '../../src/records/stamp-batch.ts'
import { SimMachine } from '../harness/sim-machine.ts'
import {
  appendKeyed,
  brief,
  COMPACTED_DIRECTORY,
  type CompactedFixture,
  cleanNow,
  derivedState,
  KEYED_TIME_MS,
  type Keyed,
  keyedBatch,
  openCompacted,
  readKeyed,
  removeDerived,
} from './compacted-log.ts'
import { synced } from './log-harness.ts'

const DAY_MS = 24 * 3600 * 1000

function onMachine(work: (machine: SimMachine) => Promise<void>, seed = 1): Promise<void> {
  const machine = new SimMachine(seed)
  return machine.scheduler.finish(work(machine))
}

/** Appends batches of one record each; all of them are committed. */
async function fill(fixture: CompactedFixture, records: readonly Keyed[]): Promise<void> {
  for (const record of records) appendKeyed(fixture.log, [record])
  await commit(fixture)
}

async function commit(fixture: CompactedFixture): Promise<void> {
  await synced(fixture)
  fixture.log.highWatermark = fixture.log.logEndOffset
}

function stampedAt(batch: Buffer, baseOffset: number): Buffer {
  stampBatch(batch, 0, { baseOffset, leaderEpoch: 1 })
  return batch
}

/** Large enough that the segments before are closed ones. */
const FILLER: Keyed = ['filler', 'x'.repeat(400)]

async function close(fixture: CompactedFixture): Promise<void> {
  appendKeyed(fixture.log, [FILLER], { leaderEpoch: fixture.log.latestEpoch ?? 1 })
  await commit(fixture)
}

describe('a compacted log', () => {
  it('keeps the newest record of each key, at its offset', () =>
    onMachine(async machine => {
      const fixture = await openCompacted(machine)
      await fill(
        fixture,
        Array.from({ length: 40 }, (_, at): Keyed => [`k${at % 3}`, `v${at}`]),
      )
      await close(fixture)
      const before = fixture.log.sizeBytes
      expect(await cleanNow(fixture.log)).toBe(true)
      expect(brief(await readKeyed(fixture.log)).slice(0, 3)).toEqual(['37 k1=v37', '38 k2=v38', '39 k0=v39'])
      expect(fixture.log.sizeBytes).toBeLessThan(before / 2)
      expect(await cleanNow(fixture.log)).toBe(false)
      // What has become small is put together by the next cleaning.
      await close(fixture)
      await cleanNow(fixture.log)
      expect(fixture.log.segmentBaseOffsets.length).toBeLessThan(5)
      await fixture.log.close()
    }))

  it('leaves alone what is not committed, and the segment that is written to', () =>
    onMachine(async machine => {
      const fixture = await openCompacted(machine)
      for (let at = 0; at < 30; at++) appendKeyed(fixture.log, [['k', `v${at}`]])
      await synced(fixture)
      fixture.log.highWatermark = 11
      await cleanNow(fixture.log)
      const found = await readKeyed(fixture.log)
      const bases = fixture.log.segmentBaseOffsets
      // Of what is cleaned the newest stays; a segment that reaches beyond the high watermark stays as it is.
      const cleanedEnd = bases.filter(base => base <= 11).at(-1) ?? 0
      expect(cleanedEnd).toBeGreaterThan(5)
      expect(found.map(({ offset }) => offset)).toEqual(
        Array.from({ length: 30 - cleanedEnd + 1 }, (_, at) => cleanedEnd - 1 + at),
      )
      await fixture.log.close()
    }))

  it('goes no further than its owner has read', () =>
    onMachine(async machine => {
      const fixture = await openCompacted(machine)
      await fill(
        fixture,
        Array.from({ length: 30 }, (_, at): Keyed => ['k', `v${at}`]),
      )
      fixture.log.limitCleaning({ cleanableEnd: () => 3 })
      expect(await cleanNow(fixture.log)).toBe(false)
      fixture.log.limitCleaning({ cleanableEnd: undefined })
      expect(await cleanNow(fixture.log)).toBe(true)
      await fixture.log.close()
    }))

  it('keeps a tombstone for delete.retention.ms, and what it deleted is gone before it', () =>
    onMachine(async machine => {
      const fixture = await openCompacted(machine, { deleteRetentionMs: DAY_MS })
      const { log } = fixture
      await fill(fixture, [
        ['a', 'a0'],
        ['b', 'b1'],
        ['a', null],
      ])
      await close(fixture)
      await cleanNow(log)
      expect(brief(await readKeyed(log)).slice(0, 2)).toEqual(['1 b=b1', '2 a=-'])
      await close(fixture)
      await cleanNow(log, { wallMs: KEYED_TIME_MS + DAY_MS - 1 })
      expect(brief(await readKeyed(log)).slice(0, 2)).toEqual(['1 b=b1', '2 a=-'])
      expect(log.removedTombstonesEnd).toBe(0)
      await close(fixture)
      await cleanNow(log, { wallMs: KEYED_TIME_MS + DAY_MS })
      expect(brief(await readKeyed(log)).slice(0, 2)).toEqual(['1 b=b1', `4 filler=${FILLER[1]}`])
      expect(log.removedTombstonesEnd).toBe(3)
      expect(log.removals).toBe(1)
      await log.close()
      const again = await openCompacted(machine)
      expect(again.log.removedTombstonesEnd).toBe(3)
      await again.log.close()
    }))

  it('counts delete.retention.ms from its own first cleaning, whatever the log noted that it was copied from', () =>
    onMachine(async machine => {
      const fixture = await openCompacted(machine, { deleteRetentionMs: DAY_MS })
      const { log } = fixture
      await fill(fixture, [['a', 'a0']])
      // Cleaned there long ago, where the record that it deletes is gone.
      const filter = new BatchFilter(stampedAt(keyedBatch([['a', null]]), 1))
      while (filter.next()) filter.keep()
      const horizon = { deleteMs: KEYED_TIME_MS, isRenewed: false }
      const copied = filter.finish({ horizon, keepEmpty: false })
      log.appendAsFollower(copied ? [copied] : [], { leaderEpoch: 1, wallMs: KEYED_TIME_MS })
      await commit(fixture)
      const cleanedMs = KEYED_TIME_MS + 5 * DAY_MS
      await close(fixture)
      await cleanNow(log, { wallMs: cleanedMs })
      expect(brief(await readKeyed(log))[0]).toBe('1 a=-')
      await close(fixture)
      await cleanNow(log, { wallMs: cleanedMs + DAY_MS - 1 })
      expect(brief(await readKeyed(log))[0]).toBe('1 a=-')
      await close(fixture)
      await cleanNow(log, { wallMs: cleanedMs + DAY_MS })
      expect(brief(await readKeyed(log)).some(line => line.includes('a='))).toBe(false)
      await log.close()
    }))

  it('knows an epoch also where the log start lies in it, and nothing else of it is left', () =>
    onMachine(async machine => {
      const fixture = await openCompacted(machine)
      const { log } = fixture
      const records = [0, 1, 2].map((at): Keyed => ['k', `v${at}`])
      appendKeyed(log, records, { leaderEpoch: 1 })
      appendKeyed(log, [['k', 'v3']], { leaderEpoch: 2 })
      await close(fixture)
      await log.deleteRecordsBefore(1)
      const before = derivedState(log)
      expect(log.segmentBaseOffsets[1]).toBeGreaterThan(3)
      await cleanNow(log)
      await fixture.raise()
      await log.close()
      await removeDerived(machine)
      const again = await openCompacted(machine)
      expect(derivedState(again.log)).toEqual(before)
      await again.log.close()
    }))

  it('keeps a tombstone that somebody is on the way to', () =>
    onMachine(async machine => {
      const fixture = await openCompacted(machine, { deleteRetentionMs: 0 })
      const { log } = fixture
      await fill(fixture, [
        ['a', 'a0'],
        ['a', null],
      ])
      log.limitCleaning({ tombstonesKeptFrom: () => 1 })
      for (let round = 0; round < 2; round++) {
        await close(fixture)
        await cleanNow(log)
      }
      expect(brief(await readKeyed(log))[0]).toBe('1 a=-')
      log.limitCleaning({ tombstonesKeptFrom: undefined })
      await close(fixture)
      await cleanNow(log)
      expect(brief(await readKeyed(log)).some(line => line.includes('a='))).toBe(false)
      await log.close()
    }))

  it('tells of a producer what it told before, also from the segments alone', () =>
    onMachine(async machine => {
      const fixture = await openCompacted(machine)
      const { log } = fixture
      for (let at = 0; at < 12; at++)
        appendKeyed(log, [['k', `v${at}`]], { producerId: 7, baseSequence: at, leaderEpoch: 1 + (at >> 2) })
      await close(fixture)
      const before = derivedState(log)
      await cleanNow(log)
      expect(brief(await readKeyed(log))[0]).toBe('11 k=v11')
      expect(derivedState(log)).toEqual(before)
      await fixture.raise()
      await log.close()
      await removeDerived(machine)
      const again = await openCompacted(machine)
      expect(derivedState(again.log)).toEqual(before)
      const retry = appendKeyed(again.log, [['k', 'v11']], {
        producerId: 7,
        baseSequence: 11,
        leaderEpoch: 9,
      })
      expect(retry).toMatchObject({ kind: 'duplicate', baseOffset: 11 })
      await again.log.close()
    }))

  it('is cleaned in as many passes as the memory for keys asks for', () =>
    onMachine(async machine => {
      const fixture = await openCompacted(machine)
      await fill(
        fixture,
        Array.from({ length: 200 }, (_, at): Keyed => [`k${at % 50}`, `v${at}`]),
      )
      await close(fixture)
      // Room for 9 keys of the 50.
      await cleanNow(fixture.log, { keyMapBytesMax: 11 * 24 })
      const found = await readKeyed(fixture.log)
      expect(brief(found).slice(0, 50)).toEqual(
        Array.from({ length: 50 }, (_, at) => `${150 + at} k${at}=v${150 + at}`),
      )
      await fixture.log.close()
    }))

  it('answers reads, positions and times while segments are replaced', () =>
    onMachine(async machine => {
      const fixture = await openCompacted(machine)
      const { log } = fixture
      for (let at = 0; at < 300; at++)
        appendKeyed(log, [[`k${at % 10}`, `v${at}`]], { timestamp: KEYED_TIME_MS + at })
      await close(fixture)
      let isOver = false
      const seen: string[][] = []
      const times: (number | undefined)[] = []
      const readers = Array.from({ length: 4 }, async (_, reader) => {
        while (!isOver) {
          seen.push(brief(await readKeyed(log, 150 + reader * 400)))
          times.push((await log.offsetForTimestamp(KEYED_TIME_MS + 295))?.offset)
        }
      })
      await cleanNow(log)
      isOver = true
      await Promise.all(readers)
      expect(seen.length).toBeGreaterThan(4)
      const newest = brief(await readKeyed(log))
      expect(newest).toHaveLength(11)
      for (const lines of seen) {
        // Rising offsets, and whatever of the old was seen, the newest of each key was seen as well.
        const offsets = lines.map(line => Number(line.split(' ')[0]))
        expect(offsets).toEqual([...offsets].sort((a, b) => a - b))
        expect(lines.slice(-11)).toEqual(newest)
      }
      expect(new Set(times)).toEqual(new Set([295]))
      expect(log.failure).toBeUndefined()
      await log.close()
    }))

  it('gives up where a truncation or retention takes what it read', () =>
    onMachine(async machine => {
      const fixture = await openCompacted(machine)
      const { log } = fixture
      for (let at = 0; at < 60; at++) appendKeyed(log, [[`k${at % 5}`, `v${at}`]])
      await commit(fixture)
      let cut: Promise<unknown> | undefined
      let steps = 0
      await cleanNow(log, {
        onPace: () => {
          if (++steps === 12) cut = log.truncateTo(20)
        },
      })
      await cut
      expect(brief(await readKeyed(log))).toEqual(
        Array.from({ length: 20 }, (_, at) => `${at} k${at % 5}=v${at}`),
      )
      for (let at = 20; at < 40; at++) appendKeyed(log, [[`k${at % 5}`, `w${at}`]])
      await commit(fixture)
      const names = (await machine.disk.list(COMPACTED_DIRECTORY)).map(entry => entry.name)
      expect(names.filter(name => /cleaned|swap/.test(name))).toEqual([])
      let deleted: Promise<unknown> | undefined
      steps = 0
      await cleanNow(log, {
        onPace: () => {
          if (++steps === 12) deleted = log.deleteRecordsBefore(15)
        },
      })
      await deleted
      expect(log.failure).toBeUndefined()
      await cleanNow(log)
      expect(brief(await readKeyed(log)).slice(-5)).toEqual(
        Array.from({ length: 5 }, (_, at) => `${35 + at} k${at}=w${35 + at}`),
      )
      await log.close()
    }))

  it('cleans again what a truncation has replaced', () =>
    onMachine(async machine => {
      const fixture = await openCompacted(machine)
      const { log } = fixture
      await fill(
        fixture,
        Array.from({ length: 30 }, (_, at): Keyed => [`k${at % 2}`, `v${at}`]),
      )
      await close(fixture)
      await cleanNow(log)
      await log.truncateTo(29)
      await fill(
        fixture,
        Array.from({ length: 30 }, (_, at): Keyed => [`k${at % 2}`, `w${at}`]),
      )
      await close(fixture)
      await cleanNow(log)
      expect(brief(await readKeyed(log)).filter(line => line.includes('k'))).toHaveLength(2)
      await log.close()
    }))

  it('starts over without what was being cleaned', () =>
    onMachine(async machine => {
      const fixture = await openCompacted(machine, { deleteRetentionMs: 0 })
      const { log } = fixture
      await fill(fixture, [
        ['a', 'a0'],
        ['a', null],
      ])
      for (let round = 0; round < 2; round++) {
        await close(fixture)
        await cleanNow(log)
      }
      expect(log.removedTombstonesEnd).toBe(2)
      await log.resetTo(50)
      expect(log.removedTombstonesEnd).toBe(0)
      await log.close()
    }))

  it('lets retention go on where a segment that it comes to is replaced meanwhile', async () => {
    let isBeside = true
    for (let steps = 0; isBeside; steps++) {
      await onMachine(async machine => {
        const config = { retentionMs: 1000, indexIntervalBytes: 50 }
        const written = await openCompacted(machine, config)
        for (let at = 0; at < 20; at++) {
          const timestamp = at < 5 ? KEYED_TIME_MS - 5000 : KEYED_TIME_MS
          appendKeyed(written.log, [[`k${at % 2}`, `v${at}`]], { timestamp })
        }
        await close(written)
        await written.raise()
        await written.log.close()
        // By their files this life knows nothing of the segments yet.
        const { log } = await openCompacted(machine, config)
        log.highWatermark = log.logEndOffset
        let isOver = false
        const cleaning = cleanNow(log).then(() => {
          isOver = true
        })
        await new Promise<void>(resolve => machine.clock.setTimer(steps / 2, resolve))
        isBeside = !isOver
        await log.applyRetention(KEYED_TIME_MS)
        await cleaning
        expect(log.failure).toBeUndefined()
        expect(brief(await readKeyed(log)).slice(-3, -1)).toEqual(['18 k0=v18', '19 k1=v19'])
        await log.close()
      }, steps)
    }
  })

  it('goes on without room on the disk, and is cleaned once there is some', () =>
    onMachine(async machine => {
      const fixture = await openCompacted(machine)
      const { log } = fixture
      await fill(
        fixture,
        Array.from({ length: 30 }, (_, at): Keyed => ['k', `v${at}`]),
      )
      machine.image.onOperation = ({ kind, path }) =>
        kind === 'append' && path.endsWith('.cleaned') ? 'ENOSPC' : undefined
      await expect(cleanNow(log)).rejects.toMatchObject({ reason: 'DISK_FULL' })
      machine.image.onOperation = undefined
      expect(log.failure).toBeUndefined()
      expect(await readKeyed(log)).toHaveLength(30)
      await cleanNow(log)
      expect((await readKeyed(log)).length).toBeLessThan(30)
      await log.close()
    }))
})
