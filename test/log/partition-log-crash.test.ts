import { describe, expect, it } from 'vitest'
import type { LogConfig } from '../../src/log/log-config.ts'
import type { PartitionLog } from '../../src/log/partition-log.ts'
import { writeFileAtomically } from '../../src/ports/disk.ts'
import { SeededPrng } from '../harness/seeded-prng.ts'
import { SimMachine } from '../harness/sim-machine.ts'
import { type LogFixture, makeBatch, openLog, readAll } from './log-harness.ts'

/**
 * A log on a simulated disk, a workload that appends, rolls, truncates and deletes, and a power cut in the middle of
 * every single operation that changes the disk. Whatever the cut left of unsynced bytes and names, the log must
 * come up as a prefix of what it was, with everything that was reported as synced.
 */
const DIRECTORY = 'data/orders-0'
const CHECKPOINT = 'data/checkpoint'

interface Model {
  /** Value of each record by offset, as appended. */
  records: string[]
  /** First offsets of batches. */
  bases: number[]
  /** Reported as synced; must survive. */
  syncedEnd: number
  /** Where the log may start: at the last start that resolved, or at one asked for since. */
  starts: number[]
}

interface OpenedLog extends LogFixture {
  /** Raises the checkpointed recovery point, as the data directory does from time to time. */
  raise(): Promise<void>
}

async function openOn(machine: SimMachine, config: Partial<LogConfig>, model?: Model): Promise<OpenedLog> {
  const { disk, clock } = machine
  await disk.makeDirectory(DIRECTORY)
  await disk.syncDirectory('data')
  await disk.syncDirectory('.')
  const content = await disk.readFile(CHECKPOINT)
  const known = content ? JSON.parse(content.toString()) : { recoveryPoint: 0, logStartOffset: 0 }
  let fixture: LogFixture | undefined
  fixture = await openLog({
    disk,
    clock,
    directory: DIRECTORY,
    config,
    ...known,
    checkpoint: async () => {
      const log = fixture?.log
      known.recoveryPoint = Math.min(known.recoveryPoint, log?.recoveryPoint ?? 0)
      known.logStartOffset = log?.logStartOffset ?? 0
      await writeFileAtomically(disk, CHECKPOINT, Buffer.from(JSON.stringify(known)))
    },
    onProgress: step => {
      if (model && step.generation === fixture?.log.generation) model.syncedEnd = step.syncedEndOffset
    },
  })
  const { log } = fixture
  const raise = async (): Promise<void> => {
    const { recoveryPoint } = log
    await log.writeEpochs()
    known.recoveryPoint = Math.min(recoveryPoint, log.recoveryPoint)
    await writeFileAtomically(disk, CHECKPOINT, Buffer.from(JSON.stringify(known)))
  }
  return { ...fixture, raise }
}

async function workload(
  machine: SimMachine,
  config: Partial<LogConfig>,
  model: Model,
  seed: number,
): Promise<void> {
  const prng = new SeededPrng(`workload ${seed}`)
  const fixture = await openOn(machine, config, model)
  const { log } = fixture
  let epoch = 1
  let producers = newProducers(0)
  for (let step = 0; step < 16; step++) {
    const choice = prng.fraction()
    if (choice < 0.68) appendSome(log, model, prng, { epoch, producers, step })
    else if (choice < 0.78) {
      const base = model.bases[prng.uint32() % Math.max(1, model.bases.length)] ?? 0
      const target = Math.max(base + (prng.chance(0.3) ? 1 : 0), log.logStartOffset, log.highWatermark)
      model.syncedEnd = Math.min(model.syncedEnd, baseBelow(model, target))
      const end = await log.truncateTo(target)
      model.records.length = end
      model.bases = model.bases.filter(offset => offset < end)
      producers = newProducers(step)
      epoch++
    } else if (choice < 0.86) {
      log.highWatermark = Math.max(log.highWatermark, Math.floor(log.syncedEndOffset * 0.7))
      model.starts.push(log.highWatermark)
      await log.deleteRecordsBefore(log.highWatermark)
      model.starts = [log.logStartOffset]
      producers = newProducers(step)
    } else if (choice < 0.9) epoch++
    else if (choice < 0.96) await fixture.raise()
    else log.beginGeneration()
    if (prng.chance(0.5)) await fixture.resources.scheduler.idle()
  }
  await log.close()
}

interface Producers {
  readonly firstId: number
  readonly sequences: Map<number, number>
}

/** Producers that the log may have forgotten start over with new ids, as clients do. */
function newProducers(step: number): Producers {
  return { firstId: 100 + step * 10, sequences: new Map() }
}

function appendSome(
  log: PartitionLog,
  model: Model,
  prng: SeededPrng,
  now: { epoch: number; producers: Producers; step: number },
): void {
  const { epoch, producers, step } = now
  for (let batch = 0; batch <= prng.uint32() % 3; batch++) {
    const count = 1 + (prng.uint32() % 3)
    const producerId = producers.firstId + (prng.uint32() % 2)
    const baseSequence = producers.sequences.get(producerId) ?? 0
    producers.sequences.set(producerId, baseSequence + count)
    const value = `s${step}b${batch}`
    const bytes = makeBatch({ count, value, valueBytes: prng.uint32() % 400, producerId, baseSequence })
    const { baseOffset } = log.appendAsLeader(bytes, { leaderEpoch: epoch, wallMs: 1 })
    model.bases.push(baseOffset)
    for (let at = 0; at < count; at++) model.records.push(value)
  }
}

/** Largest first offset of a batch at or below. */
function baseBelow(model: Model, offset: number): number {
  return Math.max(0, ...model.bases.filter(base => base <= offset))
}

async function check(machine: SimMachine, config: Partial<LogConfig>, model: Model): Promise<void> {
  const { log } = await openOn(machine, config)
  expect(log.failure).toBeUndefined()
  expect(model.starts).toContain(log.logStartOffset)
  expect(log.logEndOffset).toBeGreaterThanOrEqual(model.syncedEnd)
  const expected = model.records.map((value, offset) => `${offset}:${value}`)
  const found = await readAll(log)
  expect(found).toEqual(expected.slice(log.logStartOffset, log.logEndOffset))
  // What is derived and may be lost is lost: the same state comes back.
  const before = derivedState(log)
  await log.close()
  for (const entry of await machine.disk.list(DIRECTORY)) {
    if (/\.(index|timeindex|snapshot)$|^leader-epoch/.test(entry.name)) {
      await machine.disk.remove(`${DIRECTORY}/${entry.name}`)
    }
  }
  const again = (await openOn(machine, config)).log
  expect(again.failure).toBeUndefined()
  expect(derivedState(again)).toEqual(before)
  expect(await readAll(again)).toEqual(found)
  // And life goes on.
  again.appendAsLeader(makeBatch({ value: 'after' }), { leaderEpoch: 1000, wallMs: 1 })
  await again.close()
}

function derivedState(log: PartitionLog): unknown {
  return {
    end: log.logEndOffset,
    start: log.logStartOffset,
    epochs: log.epochEntries,
    producers: [...log.producerEntries],
  }
}

async function crashAt(change: number, seed: number, config: Partial<LogConfig>): Promise<boolean> {
  const machine = new SimMachine(seed * 100_003 + change)
  const model: Model = { records: [], bases: [], syncedEnd: 0, starts: [0] }
  let over = false
  let failure: unknown
  machine.image.crashAtChange(change, () => {
    over = true
  })
  let finished = false
  workload(machine, config, model, seed).then(
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
  await machine.scheduler.finish(check(machine, config, model))
  return finished
}

async function everyCrash(seed: number, config: Partial<LogConfig>): Promise<void> {
  let change = 0
  for (let finished = false; !finished; ) {
    change++
    try {
      finished = await crashAt(change, seed, config)
    } catch (thrown) {
      throw new Error(`power cut in change ${change} of workload ${seed}`, { cause: thrown })
    }
  }
  expect(change).toBeGreaterThan(50)
}

describe('a killed process', () => {
  it('leaves bytes in the page cache that the next start syncs before they count', async () => {
    const machine = new SimMachine(1)
    const model: Model = { records: [], bases: [], syncedEnd: 0, starts: [0] }
    await machine.run(async () => {
      const { log } = await openOn(machine, { writeCaching: true }, model)
      machine.image.syncLatencyMs = { min: 10_000, max: 10_000 }
      for (let at = 0; at < 20; at++) {
        log.appendAsLeader(makeBatch({ value: `v${at}`, valueBytes: 300 }), { leaderEpoch: 1, wallMs: 1 })
      }
      await new Promise<void>(resolve => machine.clock.setTimer(100, resolve))
      expect([log.writtenEndOffset, log.syncedEndOffset]).toEqual([20, 0])
    })
    machine.kill()
    await machine.run(async () => {
      const { log } = await openOn(machine, {})
      expect(log.syncedEndOffset).toBe(20)
    })
    machine.powerCut()
    await machine.run(async () => {
      const { log } = await openOn(machine, {})
      expect(log.logEndOffset).toBe(20)
    })
  })
})

describe('a power cut at every operation', () => {
  const config = { segmentBytes: 1500, indexIntervalBytes: 200 }
  it.each([1, 3, 4, 7])('leaves what was synced, and a log that goes on (workload %i)', async seed => {
    await everyCrash(seed, config)
  })

  it.each([2, 5])('also where writes do not wait for syncs (workload %i)', async seed => {
    await everyCrash(seed, { ...config, writeCaching: true })
  })
})
