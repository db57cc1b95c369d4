import { beforeAll, describe, expect, it } from 'vitest'
import type { DiskErrorCode } from '../../src/ports/disk.ts'
import { initCompression } from '../../src/records/compression.ts'
import { SeededPrng } from '../harness/seeded-prng.ts'
import { SimMachine } from '../harness/sim-machine.ts'
import {
  brief,
  COMPACTED_DIRECTORY,
  cleanNow,
  derivedState,
  KEYED_TIME_MS,
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
