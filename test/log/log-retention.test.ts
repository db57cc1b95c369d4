import { describe, expect, it } from 'vitest'
import type { Disk } from '../../src/ports/disk.ts'
import { SimMachine } from '../harness/sim-machine.ts'
import { append, type FixtureOptions, type LogFixture, openLog, readAll, synced } from './log-harness.ts'

const DIRECTORY = 'orders-0'
const WALL_MS = 1_700_000_000_000
const CONFIG = { segmentBytes: 900, indexIntervalBytes: 200, retentionMs: 1000 }

async function open(machine: SimMachine, options: Partial<FixtureOptions> = {}): Promise<LogFixture> {
  const { disk, clock } = machine
  await disk.makeDirectory(DIRECTORY)
  await disk.syncDirectory('.')
  return openLog({ disk, clock, directory: DIRECTORY, config: CONFIG, ...options })
}

/** A log of three segments, closed in order. Of each six records the first is the newest, as of `newestMs`. */
async function writeLog(machine: SimMachine, newestMs = WALL_MS): Promise<number[]> {
  const fixture = await open(machine)
  for (let at = 0; at < 18; at++) {
    const timestamp = at % 6 === 0 ? newestMs : newestMs - 5000
    append(fixture.log, { value: `v${at}`, valueBytes: 70, timestamp })
  }
  await synced(fixture)
  const bases = fixture.log.segmentBaseOffsets
  await fixture.log.close()
  return bases
}

function reopen(machine: SimMachine, options: Partial<FixtureOptions> = {}): Promise<LogFixture> {
  return open(machine, { cleanStop: true, recoveryPoint: 18, highWatermark: 18, ...options })
}

/** In the last entry of the time index: a timestamp of about 35 years before. */
function flipNewest(machine: SimMachine, baseOffset: number): void {
  const path = `${DIRECTORY}/${String(baseOffset).padStart(20, '0')}.timeindex`
  machine.image.flipBit(path, machine.image.readFile(path).length - 12 + 2, 0)
}

/** A disk on which one read of a file can be made to wait. */
class HeldReads {
  readonly disk: Disk
  #onHeld: (() => void) | undefined
  #held: Promise<void> | undefined
  release = (): void => {}

  constructor(disk: Disk, path: string) {
    this.disk = withMethod(disk, 'open', async (...args) => {
      const file = await disk.open(...args)
      if (args[0] !== path) return file
      return withMethod(file, 'read', async (...place) => {
        const held = this.#held
        this.#held = undefined
        this.#onHeld?.()
        await held
        return file.read(...place)
      })
    })
  }

  /** Resolves when the next read has come, which then waits for `release`. */
  next(): Promise<void> {
    this.#held = new Promise(resolve => {
      this.release = resolve
    })
    return new Promise(resolve => {
      this.#onHeld = resolve
    })
  }
}

/** The same object with another method in one place. */
function withMethod<Target extends object, Name extends keyof Target>(
  target: Target,
  name: Name,
  method: Target[Name],
): Target {
  return new Proxy(target, {
    get(_, key) {
      const value = key === name ? method : Reflect.get(target, key)
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
}

describe('retention by time', () => {
  it('removes no segment that only a damaged time index calls too old', async () => {
    const machine = new SimMachine(1)
    await machine.run(async () => {
      const bases = await writeLog(machine)
      expect(bases).toEqual([0, 6, 12])
      flipNewest(machine, 0)
      const { log, events } = await reopen(machine)
      expect(await log.applyRetention(WALL_MS + 900)).toBe(0)
      expect(log.logStartOffset).toBe(0)
      expect(await readAll(log)).toHaveLength(18)
      expect(events.map(({ kind }) => kind)).toContain('indexRebuilt')
      await log.close()
      // The file is right again.
      const again = await reopen(machine)
      expect(await again.log.applyRetention(WALL_MS + 900)).toBe(0)
      expect(again.events.map(({ kind }) => kind)).not.toContain('indexRebuilt')
      await again.log.close()
    })
  })

  it('nor the last one, whose index the last life left', async () => {
    const machine = new SimMachine(2)
    await machine.run(async () => {
      await writeLog(machine)
      flipNewest(machine, 12)
      const { log } = await reopen(machine)
      await log.deleteRecordsBefore(12)
      expect(log.segmentBaseOffsets).toEqual([12])
      expect(await log.applyRetention(WALL_MS + 900)).toBe(0)
      expect(log.logStartOffset).toBe(12)
      expect(await readAll(log)).toHaveLength(6)
      await log.close()
    })
  })

  it('removes what is too old by its records, also if an earlier life wrote them, and its index is right', async () => {
    const machine = new SimMachine(3)
    await machine.run(async () => {
      await writeLog(machine)
      const { log, events } = await reopen(machine)
      await log.applyRetention(WALL_MS + 1001)
      expect([log.logStartOffset, log.logEndOffset, log.sizeBytes]).toEqual([18, 18, 0])
      expect(events.map(({ kind }) => kind)).not.toContain('indexRebuilt')
      await log.close()
    })
  })

  it('calls no log damaged that is cut while its batches are read', async () => {
    const machine = new SimMachine(4)
    await machine.run(async () => {
      await writeLog(machine, WALL_MS - 2000)
      const held = new HeldReads(machine.disk, `${DIRECTORY}/00000000000000000012.log`)
      const { log } = await reopen(machine, { disk: held.disk })
      const reading = held.next()
      const retention = log.applyRetention(WALL_MS)
      await reading
      const cut = log.truncateTo(13)
      await cut
      held.release()
      await retention
      expect(log.failure).toBeUndefined()
      expect(log.logEndOffset).toBe(13)
      await log.close()
    })
  })

  it('keeps what is appended and committed while the last segment is judged', async () => {
    for (let steps = 0; steps < 60; steps++) {
      const machine = new SimMachine(steps)
      const { log, resources } = await machine.run(async () => {
        let opened: LogFixture | undefined
        const onProgress: FixtureOptions['onProgress'] = ({ syncedEndOffset }) => {
          if (opened) opened.log.highWatermark = syncedEndOffset
        }
        await writeLog(machine, WALL_MS - 2000)
        opened = await reopen(machine, { onProgress })
        return opened
      })
      const retention = log.applyRetention(WALL_MS)
      for (let step = 0; step < steps; step++) await machine.scheduler.step()
      append(log, { value: 'new', timestamp: WALL_MS })
      await machine.scheduler.finish(retention)
      await machine.scheduler.finish(resources.scheduler.idle())
      expect(await machine.scheduler.finish(readAll(log))).toContain('18:new')
    }
  })
})
