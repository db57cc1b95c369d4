import { beforeAll, expect, it } from 'vitest'
import { initCompression } from '../../src/records/compression.ts'
import { SeededPrng } from '../harness/seeded-prng.ts'
import { SimMachine } from '../harness/sim-machine.ts'
import {
  brief,
  cleanNow,
  derivedState,
  KEYED_TIME_MS,
  openCompacted,
  readKeyed,
  removeDerived,
} from './compacted-log.ts'
import { CompactedTwin } from './compacted-twin.ts'
import { synced } from './log-harness.ts'

const CONFIG = { segmentBytes: 900, indexIntervalBytes: 150, deleteRetentionMs: 1000 }

beforeAll(initCompression)

/** Appends, commits, cleanings at rising times, and restarts without what is derived; after each the twin's records. */
async function story(machine: SimMachine, seed: number): Promise<{ cleanings: number; removed: number }> {
  const prng = new SeededPrng(`twin ${seed}`)
  const twin = new CompactedTwin(CONFIG)
  let wallMs = KEYED_TIME_MS
  let cleanings = 0
  let fixture = await openCompacted(machine, CONFIG)
  for (let step = 0; step < 30; step++) {
    wallMs += prng.uint32() % 400
    const choice = prng.fraction()
    const { log } = fixture
    if (choice < 0.6) {
      for (let batch = prng.uint32() % 8; batch >= 0; batch--) twin.append(log, prng)
      await synced(fixture)
      if (prng.chance(0.8))
        log.highWatermark = Math.max(log.highWatermark, log.logEndOffset - (prng.uint32() % 10))
    } else if (choice < 0.9) {
      const plan = await log.planCleaning(wallMs)
      const keyMapBytesMax = 24 * (prng.chance(0.5) ? 5 : 100)
      await cleanNow(log, { wallMs, keyMapBytesMax })
      if (!plan) continue
      twin.clean(plan.endOffset, wallMs)
      cleanings++
    } else {
      const before = derivedState(log)
      await fixture.raise()
      await log.close()
      await removeDerived(machine)
      fixture = await openCompacted(machine, CONFIG)
      expect(derivedState(fixture.log)).toEqual(before)
    }
    expect(fixture.log.failure).toBeUndefined()
    expect(brief(await readKeyed(fixture.log, 100 + (prng.uint32() % 900)))).toEqual(twin.lines)
  }
  const removed = fixture.log.removedTombstonesEnd
  await fixture.log.close()
  return { cleanings, removed }
}

it.each(Array.from({ length: 8 }, (_, seed) => seed))(
  'leaves what its twin leaves (story %i)',
  async seed => {
    const machine = new SimMachine(seed)
    const outcome = await machine.scheduler.finish(story(machine, seed))
    expect(outcome.cleanings).toBeGreaterThan(1)
  },
)
