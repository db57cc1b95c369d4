import { beforeAll, describe, expect, it } from 'vitest'
import type { PartitionLog } from '../../src/log/partition-log.ts'
import type { DiskErrorCode } from '../../src/ports/disk.ts'
import { initCompression } from '../../src/records/compression.ts'
import { SeededPrng } from '../harness/seeded-prng.ts'
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
  openCompacted,
  readKeyed,
  removeDerived,
} from './compacted-log.ts'
import { CompactedTwin } from './compacted-twin.ts'
import { synced } from './log-harness.ts'

/**
 * A compacted log whose power is cut, or whose disk fails, in the middle of every single operation of two cleanings,
 * the second of which merges segments and removes tombstones.
 */
const CONFIG = { segmentBytes: 400, indexIntervalBytes: 150, deleteRetentionMs: 1000 }

interface Progress {
  syncedEnd: number
  /** From here on tombstones may be gone. */
  wallMs: number
  isCleaning: boolean
}

async function workload(machine: SimMachine, twin: CompactedTwin, progress: Progress, seed: number) {
  const prng = new SeededPrng(`crash ${seed}`)
  const fixture = await openCompacted(machine, CONFIG)
  const { log } = fixture
  for (const wallMs of [KEYED_TIME_MS, KEYED_TIME_MS + 1000]) {
    for (let batch = 0; batch < 5; batch++) twin.append(log, prng)
    await synced(fixture)
    progress.syncedEnd = log.syncedEndOffset
    if (log.failure) return
    log.highWatermark = log.syncedEndOffset
    await fixture.raise()
    progress.wallMs = wallMs
    progress.isCleaning = true
    await cleanNow(log, { wallMs }).catch(() => {})
    progress.isCleaning = false
    if (log.failure) return
  }
  await log.close()
}

async function check(machine: SimMachine, twin: CompactedTwin, progress: Progress): Promise<void> {
  const fixture = await openCompacted(machine, CONFIG)
  const { log } = fixture
  expect(log.failure).toBeUndefined()
  expect(log.logEndOffset).toBeGreaterThanOrEqual(progress.syncedEnd)
  const found = await readKeyed(log)
  for (const record of found) expect(brief([record])[0]).toBe(twin.lineAt(record.offset))
  const seen = new Map(found.map(record => [record.key, record]))
  for (const [key, newest] of twin.newestBelow(log.logEndOffset)) {
    // A tombstone may be gone, and with it all that it deleted; an older value never comes to light again.
    if (newest.value === null && !seen.has(key)) expect(progress.wallMs).toBeGreaterThan(KEYED_TIME_MS)
    else expect(seen.get(key)?.offset).toBe(newest.offset)
  }
  const names = (await machine.disk.list(COMPACTED_DIRECTORY)).map(({ name }) => name)
  expect(names.filter(name => /cleaned|swap/.test(name))).toEqual([])
  const before = derivedState(log)
  await log.close()
  await removeDerived(machine)
  const again = await openCompacted(machine, CONFIG)
  expect(derivedState(again.log)).toEqual(before)
  expect(brief(await readKeyed(again.log))).toEqual(brief(found))
  // And life goes on.
  again.log.highWatermark = again.log.logEndOffset
  await cleanNow(again.log, { wallMs: progress.wallMs })
  expect(again.log.failure).toBeUndefined()
  const plan = await again.log.planCleaning(progress.wallMs)
  expect(plan).toBeUndefined()
  await again.log.close()
}

/** Of the disk, with which the first cleaning begins: what comes before is the matter of other tests. */
async function firstChange(seed: number): Promise<number> {
  const machine = new SimMachine(seed)
  const progress: Progress = { syncedEnd: 0, wallMs: KEYED_TIME_MS, isCleaning: false }
  let first = 0
  machine.image.onOperation = () => {
    if (progress.isCleaning) first ||= machine.image.changes
    return undefined
  }
  await machine.scheduler.finish(workload(machine, new CompactedTwin(CONFIG), progress, seed))
  return first
}

async function crashAt(change: number, seed: number): Promise<boolean> {
  const machine = new SimMachine(seed * 100_003 + change)
  const twin = new CompactedTwin(CONFIG)
  const progress: Progress = { syncedEnd: 0, wallMs: KEYED_TIME_MS, isCleaning: false }
  let over = false
  let finished = false
  let failure: unknown
  machine.image.crashAtChange(change, () => {
    over = true
  })
  workload(machine, twin, progress, seed).then(
    () => {
      finished = over = true
    },
    thrown => {
      failure = thrown
      over = true
    },
  )
  await machine.scheduler.runUntil(() => over)
  if (failure) throw failure
  if (finished) machine.powerCut()
  await machine.scheduler.finish(check(machine, twin, progress))
  return finished
}

async function failAt(operation: number, code: DiskErrorCode, seed: number): Promise<boolean> {
  const machine = new SimMachine(seed * 100_003 + operation)
  const twin = new CompactedTwin(CONFIG)
  const progress: Progress = { syncedEnd: 0, wallMs: KEYED_TIME_MS, isCleaning: false }
  let count = 0
  let isHit = false
  machine.image.onOperation = ({ kind }) => {
    // A sync finds no room only as EIO.
    const isPossible = code === 'EIO' || (code === 'EMFILE') === (kind === 'open')
    if (!isPossible || !progress.isCleaning || kind === 'read' || ++count !== operation) return undefined
    isHit = true
    return code
  }
  await machine.scheduler.finish(workload(machine, twin, progress, seed))
  machine.image.onOperation = undefined
  machine.powerCut()
  await machine.scheduler.finish(check(machine, twin, progress))
  return isHit
}

beforeAll(initCompression)

/** Every fourth point is one test's. */
const SHARES = [0, 1, 2, 3]

describe('a cleaning', () => {
  describe.each([1, 2])('that a power cut ends anywhere (workload %i)', seed => {
    it.each(SHARES)('leaves a log that is right (share %i)', async share => {
      const first = (await firstChange(seed)) + share
      let change = first
      for (;;) {
        try {
          if (await crashAt(change, seed)) break
        } catch (thrown) {
          throw new Error(`power cut in change ${change} of workload ${seed}`, { cause: thrown })
        }
        change += SHARES.length
      }
      expect(change - first).toBeGreaterThan(40)
    })
  })

  describe.each(['EIO', 'ENOSPC', 'EMFILE'] as const)('that %s ends anywhere', code => {
    it.each(SHARES)('leaves a log that is right (share %i)', async share => {
      const first = 1 + share
      let operation = first
      while (await failAt(operation, code, 3)) operation += SHARES.length
      expect(operation).toBeGreaterThan(first)
    })
  })
})

const FILLER = ['filler', 'x'.repeat(400)] as const

/** Keyed records, committed, and a segment begun behind them. */
async function appendClosed({ log, ...fixture }: CompactedFixture, records: readonly Keyed[]): Promise<void> {
  for (const record of [...records, FILLER]) appendKeyed(log, [record])
  await synced({ log, ...fixture })
  log.highWatermark = log.logEndOffset
}

/** `b` stays, the tombstone of `a` at offset 2 is gone, and all is cleaned. */
async function cleanedLog(machine: SimMachine): Promise<CompactedFixture> {
  const fixture = await openCompacted(machine, CONFIG)
  await appendClosed(fixture, [
    ['a', 'a0'],
    ['b', 'b1'],
    ['a', null],
  ])
  await cleanNow(fixture.log)
  await appendClosed(fixture, [])
  await cleanNow(fixture.log, { wallMs: KEYED_TIME_MS + 1000 })
  expect(fixture.log.removedTombstonesEnd).toBe(3)
  await fixture.raise()
  return fixture
}

describe('a reset', () => {
  it('forgets how far a log was cleaned that was in quarantine from its start', async () => {
    const machine = new SimMachine(1)
    await machine.run(async () => {
      const { log } = await cleanedLog(machine)
      log.quarantine({ offset: 0, what: 'not what it should be' })
      await log.close()
      const damaged = await openCompacted(machine, CONFIG)
      expect(damaged.log.failure?.reason).toBe('CORRUPT_DATA')
      await damaged.log.resetTo(0)
      // As of a leader that has not cleaned.
      await appendClosed(damaged, [
        ['a', 'a0'],
        ['a', null],
      ])
      await damaged.raise()
      await damaged.log.close()
      const again = await openCompacted(machine, CONFIG)
      for (const wallMs of [KEYED_TIME_MS, KEYED_TIME_MS + 1000]) {
        await appendClosed(again, [])
        await cleanNow(again.log, { wallMs })
      }
      expect((await readKeyed(again.log)).map(({ key }) => key)).not.toContain('a')
      expect(again.log.removedTombstonesEnd).toBe(2)
      await again.log.close()
    })
  })

  it('is the end of a checkpoint that is itself the damage', async () => {
    const machine = new SimMachine(2)
    await machine.run(async () => {
      const { log } = await cleanedLog(machine)
      await log.close()
      machine.image.flipBit(`${COMPACTED_DIRECTORY}/cleaner-checkpoint`, 4)
      const damaged = await openCompacted(machine, CONFIG)
      expect(damaged.log.failure?.message).toContain('cleaner-checkpoint')
      await damaged.log.resetTo(0)
      await damaged.log.close()
      const again = await openCompacted(machine, CONFIG)
      expect(again.log.failure).toBeUndefined()
      expect(again.log.removedTombstonesEnd).toBe(0)
      await again.log.close()
    })
  })

  it('lets a log that was in quarantine from its start be cleaned at once', async () => {
    const machine = new SimMachine(3)
    await machine.run(async () => {
      const { log } = await cleanedLog(machine)
      log.quarantine({ offset: 0, what: 'not what it should be' })
      await log.close()
      const damaged = await openCompacted(machine, CONFIG)
      await damaged.log.resetTo(0)
      await appendClosed(damaged, [
        ['a', 'a0'],
        ['b', 'b1'],
        ['a', 'a2'],
        ['b', 'b3'],
      ])
      await cleanNow(damaged.log)
      expect(brief(await readKeyed(damaged.log)).slice(0, 2)).toEqual(['2 a=a2', '3 b=b3'])
      await damaged.log.close()
    })
  })

  it.each([
    ['a reset', (log: PartitionLog) => log.resetTo(50)],
    ['a truncation', (log: PartitionLog) => log.truncateTo(1)],
  ])(
    'that a power cut ends anywhere leaves nothing that lacks tombstones and hides it (%s)',
    async (_, cut) => {
      let prefixes = 0
      for (let change = 1, finished = false; !finished; change++) {
        const machine = new SimMachine(change)
        const { log } = await machine.scheduler.finish(cleanedLog(machine))
        let over = false
        machine.image.crashAtChange(machine.image.changes + change, () => {
          over = true
        })
        cut(log).then(
          () => {
            finished = over = true
          },
          () => {},
        )
        await machine.scheduler.runUntil(() => over)
        if (finished) machine.powerCut()
        const again = await machine.scheduler.finish(openCompacted(machine, CONFIG))
        expect(again.log.failure).toBeUndefined()
        if (again.log.logStartOffset > 0 || again.log.logEndOffset < 3) continue
        prefixes++
        expect({ change, removed: again.log.removedTombstonesEnd }).toEqual({ change, removed: 3 })
      }
      expect(prefixes).toBeGreaterThan(2)
    },
  )
})
