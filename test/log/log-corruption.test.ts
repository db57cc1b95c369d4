import { readdir } from 'node:fs/promises'
import { describe, expect, it } from 'vitest'
import { LogScrubber } from '../../src/log/log-scrubber.ts'
import { QUARANTINE_FILE } from '../../src/log/quarantine-file.ts'
import { writeFileAtomically } from '../../src/ports/disk.ts'
import { SimMachine } from '../harness/sim-machine.ts'
import {
  append,
  type LogFixture,
  makeBatch,
  openLog,
  readAll,
  synced,
  temporaryDirectory,
} from './log-harness.ts'

const DIRECTORY = 'orders-0'
const CONFIG = { segmentBytes: 700, indexIntervalBytes: 200 }

/** Three segments of a few batches, two epochs, closed in order. */
async function writeLog(machine: SimMachine): Promise<{ expected: string[]; bases: number[] }> {
  await machine.disk.makeDirectory(DIRECTORY)
  await machine.disk.syncDirectory('.')
  const fixture = await openLog({
    disk: machine.disk,
    clock: machine.clock,
    directory: DIRECTORY,
    config: CONFIG,
  })
  for (let at = 0; at < 12; at++) {
    append(fixture.log, { count: 2, value: `v${at}`, valueBytes: 30, leaderEpoch: at < 5 ? 3 : 4 })
    await synced(fixture)
  }
  const expected = await readAll(fixture.log)
  const bases = fixture.log.segmentBaseOffsets
  await fixture.log.close()
  return { expected, bases }
}

function reopen(machine: SimMachine, cleanStop = true): Promise<LogFixture> {
  const { disk, clock } = machine
  return openLog({ disk, clock, directory: DIRECTORY, config: CONFIG, cleanStop, recoveryPoint: 24 })
}

/** What readers got before the log refused; the refusal if there was one. */
async function readUntilRefused(fixture: LogFixture): Promise<{ records: string[]; refused: unknown }> {
  const records: string[] = []
  let from = 0
  while (from < fixture.log.logEndOffset) {
    try {
      const slice = await fixture.log.read({ from, upTo: fixture.log.logEndOffset, maxBytes: 300 })
      for (let offset = from; offset < slice.nextOffset; offset++) records.push(String(offset))
      from = slice.nextOffset
    } catch (thrown) {
      return { records, refused: thrown }
    }
  }
  return { records, refused: undefined }
}

async function flipInFirstSegment(position: number): Promise<SimMachine> {
  const machine = new SimMachine(position)
  await machine.run(async () => {
    await writeLog(machine)
  })
  machine.image.flipBit(`${DIRECTORY}/00000000000000000000.log`, position, position % 8)
  return machine
}

function rethrow(error: Error): never {
  throw error
}

describe('a flipped bit in a closed segment', () => {
  it('is never served, wherever it is: the read that meets it puts the log in quarantine', async () => {
    const probe = await flipInFirstSegment(0)
    const sizeBytes = probe.image.readFile(`${DIRECTORY}/00000000000000000000.log`).length
    for (let position = 0; position < sizeBytes; position++) {
      const machine = await flipInFirstSegment(position)
      await machine.run(async () => {
        const fixture = await reopen(machine)
        const { refused } = await readUntilRefused(fixture)
        const found = { position, reason: (refused as { reason?: string } | undefined)?.reason }
        expect(found).toEqual({ position, reason: 'CORRUPT_DATA' })
        const [event] = fixture.events.filter(event => event.kind === 'quarantined')
        expect(event?.kind === 'quarantined' && event.defect.position).toBeLessThanOrEqual(position)
        expect(fixture.log.failure?.reason).toBe('CORRUPT_DATA')
      })
    }
  })

  it('is found by the scrubber without any reader, wherever it is', async () => {
    const probe = await flipInFirstSegment(0)
    const sizeBytes = probe.image.readFile(`${DIRECTORY}/00000000000000000000.log`).length
    for (let position = 0; position < sizeBytes; position++) {
      const machine = await flipInFirstSegment(position)
      await machine.run(async () => {
        const { log } = await reopen(machine)
        const scrubber = new LogScrubber({
          clock: machine.clock,
          logs: () => [log],
          bytesPerSecond: 1e9,
          restMs: 1,
          onError: rethrow,
        })
        await scrubber.pass()
        expect({ position, reason: log.failure?.reason }).toEqual({ position, reason: 'CORRUPT_DATA' })
      })
    }
  })
})

describe('a log in quarantine', () => {
  it('stays so over a restart, its bytes untouched, until it is reset, which a power cut does not undo', async () => {
    const machine = await flipInFirstSegment(100)
    await machine.run(async () => {
      const fixture = await reopen(machine)
      await readUntilRefused(fixture)
      expect(() => append(fixture.log)).toThrow(expect.objectContaining({ reason: 'CORRUPT_DATA' }))
      await fixture.log.close()
      const before = machine.image.readFile(`${DIRECTORY}/00000000000000000000.log`)
      const again = await reopen(machine)
      expect(again.log.failure?.message).toContain('00000000000000000000.log at byte')
      expect(machine.image.readFile(`${DIRECTORY}/00000000000000000000.log`)).toEqual(before)
      await again.log.resetTo(7)
      expect(append(again.log, { leaderEpoch: 9 })).toMatchObject({ baseOffset: 7 })
      await synced(again)
      // From here on it may be in sync, and the only one that has the record.
      machine.powerCut()
    })
    await machine.run(async () => {
      const healed = await openLog({
        disk: machine.disk,
        clock: machine.clock,
        directory: DIRECTORY,
        config: CONFIG,
        recoveryPoint: 8,
      })
      expect(healed.log.failure).toBeUndefined()
      expect(await readAll(healed.log)).toEqual(['7:0'])
    })
  })

  it('leaves logs whose bytes are right alone: a scrub of a sound log finds nothing', async () => {
    const machine = new SimMachine(1)
    await machine.run(async () => {
      const { expected } = await writeLog(machine)
      const { log } = await reopen(machine)
      const scrubber = new LogScrubber({
        clock: machine.clock,
        logs: () => [log],
        bytesPerSecond: 1e9,
        restMs: 1,
        onError: rethrow,
      })
      await scrubber.pass()
      expect(log.failure).toBeUndefined()
      expect(await readAll(log)).toEqual(expected)
    })
  })
})

describe('damage that an unclean start meets', () => {
  it('is corruption, not a torn tail, where it was synced once', async () => {
    const machine = new SimMachine(1)
    await machine.run(async () => {
      const { bases } = await writeLog(machine)
      const last = `${DIRECTORY}/${String(bases.at(-1)).padStart(20, '0')}.log`
      machine.image.flipBit(last, 70)
      const fixture = await reopen(machine, false)
      expect(fixture.log.failure?.reason).toBe('CORRUPT_DATA')
      const torn = await openLog({
        disk: machine.disk,
        clock: machine.clock,
        directory: DIRECTORY,
        config: CONFIG,
        recoveryPoint: 0,
      })
      // The mark of the first start decides.
      expect(torn.log.failure?.reason).toBe('CORRUPT_DATA')
    })
  })

  it('is cut as a torn tail where nothing says that it was synced', async () => {
    const machine = new SimMachine(1)
    await machine.run(async () => {
      const { bases, expected } = await writeLog(machine)
      const last = `${DIRECTORY}/${String(bases.at(-1)).padStart(20, '0')}.log`
      machine.image.flipBit(last, 70)
      const { disk, clock } = machine
      const base = bases.at(-1) ?? 0
      const { log } = await openLog({
        disk,
        clock,
        directory: DIRECTORY,
        config: CONFIG,
        recoveryPoint: base,
      })
      expect(log.failure).toBeUndefined()
      expect(log.logEndOffset).toBe(base)
      expect(log.openReport.cutBytes).toBeGreaterThan(0)
      expect(await readAll(log)).toEqual(expected.slice(0, base))
    })
  })

  it('is corruption where a segment file is missing in the middle, or the first ones', async () => {
    for (const cleanStop of [false, true]) {
      const machine = new SimMachine(1)
      await machine.run(async () => {
        const { bases } = await writeLog(machine)
        await machine.disk.remove(`${DIRECTORY}/${String(bases[1]).padStart(20, '0')}.log`)
        const fixture = await reopen(machine, cleanStop)
        const { records, refused } = await readUntilRefused(fixture)
        expect(refused ?? fixture.log.failure).toMatchObject({ reason: 'CORRUPT_DATA' })
        expect(records.length).toBeLessThanOrEqual(bases[1] ?? 0)
      })
    }
  })

  it('is corruption in a log with gaps, too, where a base offset that rotted leads beyond what was synced', async () => {
    const machine = new SimMachine(1)
    await machine.run(async () => {
      await writeWithGaps(machine)
      const last = `${DIRECTORY}/00000000000000000017.log`
      await eachFlip(machine, last, async flip => {
        const rotten = machine.image.readFile(last)
        const { log } = await openWithGaps(machine, 28, false)
        expect({ flip, reason: log.failure?.reason }).toEqual({ flip, reason: 'CORRUPT_DATA' })
        expect(machine.image.readFile(last).equals(rotten), flip).toBe(true)
        await log.close()
        await machine.disk.remove(`${DIRECTORY}/${QUARANTINE_FILE}`)
      })
    })
  })

  it('is none where offsets are missing before and behind what was synced', async () => {
    const machine = new SimMachine(1)
    await machine.run(async () => {
      await machine.disk.makeDirectory(DIRECTORY)
      await machine.disk.syncDirectory('.')
      const fixture = await openWithGaps(machine, 0)
      const copies = [3, 8, 20].map(baseOffset => makeBatch({ count: 2, baseOffset, leaderEpoch: 1 }))
      fixture.log.appendAsFollower(copies, { leaderEpoch: 1, wallMs: 1_700_000_000_000 })
      await synced(fixture)
      await fixture.log.close()
      for (const recoveryPoint of [0, 5, 10, 22]) {
        const { log } = await openWithGaps(machine, recoveryPoint, false)
        expect(log.failure, `${recoveryPoint}`).toBeUndefined()
        expect(log.logEndOffset).toBe(22)
        await log.close()
      }
    })
  })
})

/** Each way to turn one bit of the file, all from the same content; a log is opened and closed in `look`. */
async function eachFlip(
  machine: SimMachine,
  path: string,
  look: (flip: string) => Promise<void>,
): Promise<void> {
  const right = machine.image.readFile(path)
  for (let position = 0; position < right.length; position++) {
    for (let bit = 0; bit < 8; bit++) {
      await writeFileAtomically(machine.disk, path, right)
      machine.image.flipBit(path, position, bit)
      await look(`bit ${bit} of byte ${position}`)
    }
  }
}

function openWithGaps(machine: SimMachine, recoveryPoint = 28, cleanStop = true): Promise<LogFixture> {
  const { disk, clock } = machine
  const config = { segmentBytes: 1500, indexIntervalBytes: 250, compacted: true }
  return openLog({ disk, clock, directory: DIRECTORY, config, cleanStop, recoveryPoint })
}

/** A log in which offsets may be missing, and none is: two segments of batches of one record. */
async function writeWithGaps(machine: SimMachine): Promise<{ indexes: string[] }> {
  await machine.disk.makeDirectory(DIRECTORY)
  await machine.disk.syncDirectory('.')
  const fixture = await openWithGaps(machine, 0)
  for (let at = 0; at < 28; at++)
    append(fixture.log, { value: `v${at}`, valueBytes: 20, timestamp: 1000 + 10 * at })
  await synced(fixture)
  const bases = fixture.log.segmentBaseOffsets
  expect(bases).toEqual([0, 17])
  await fixture.log.close()
  return { indexes: bases.map(base => `${DIRECTORY}/${String(base).padStart(20, '0')}.index`) }
}

describe('a flipped bit in an index', () => {
  it('leads no reader of a log with gaps past a record that is there', () => {
    const machine = new SimMachine(1)
    return machine.run(async () => {
      const { indexes } = await writeWithGaps(machine)
      await eachFlip(machine, indexes[0] ?? '', async flip => {
        const { log } = await openWithGaps(machine)
        for (const from of [0, 5, 6, 9, 12, 16]) {
          const slice = await log.read({ from, upTo: log.logEndOffset, maxBytes: 1 })
          expect({ flip, offset: slice.baseOffset }).toEqual({ flip, offset: from })
        }
        await log.close()
      })
    })
  })

  it('nor a search for a time', () => {
    const machine = new SimMachine(2)
    return machine.run(async () => {
      const { indexes } = await writeWithGaps(machine)
      await eachFlip(machine, indexes[0] ?? '', async flip => {
        const { log } = await openWithGaps(machine)
        for (const offset of [1, 7, 12]) {
          const found = await log.offsetForTimestamp(1000 + 10 * offset)
          expect({ flip, offset: found?.offset }).toEqual({ flip, offset })
        }
        await log.close()
      })
    })
  })

  it('lets a truncation end where it is asked to', async () => {
    const probe = new SimMachine(3)
    const bytes = await probe.run(async () => {
      const { indexes } = await writeWithGaps(probe)
      return probe.image.readFile(indexes[0] ?? '')
    })
    // Of the low byte of each entry's offset, which only then is another one of the segment.
    for (const end of [5, 11]) {
      for (let position = 3; position < bytes.length; position += 8) {
        for (let bit = 0; bit < 4; bit++) {
          const machine = new SimMachine(3)
          await machine.run(async () => {
            const { indexes } = await writeWithGaps(machine)
            machine.image.flipBit(indexes[0] ?? '', position, bit)
            const { log } = await openWithGaps(machine)
            expect({ position, bit, end: await log.truncateTo(end) }).toEqual({ position, bit, end })
            expect(log.failure).toBeUndefined()
            expect(await readAll(log)).toHaveLength(end)
            await log.close()
          })
        }
      }
    }
  })

  it('nor stops what is appended behind a truncation', async () => {
    const probe = new SimMachine(5)
    const timeIndexOf = (indexes: string[]) => (indexes[0] ?? '').replace('.index', '.timeindex')
    const bytes = await probe.run(async () => {
      const { indexes } = await writeWithGaps(probe)
      return probe.image.readFile(timeIndexOf(indexes))
    })
    // Of each entry's timestamp and offset the bytes in which those of the segment differ.
    const positions = [...bytes.keys()].filter(position => [6, 7, 11].includes(position % 12))
    for (const position of positions) {
      for (let bit = 0; bit < 8; bit++) {
        const machine = new SimMachine(5)
        await machine.run(async () => {
          const { indexes } = await writeWithGaps(machine)
          machine.image.flipBit(timeIndexOf(indexes), position, bit)
          const fixture = await openWithGaps(machine)
          const { log } = fixture
          await log.truncateTo(14)
          for (let at = 0; at < 4; at++) append(log, { valueBytes: 60, timestamp: 1100 })
          await synced(fixture)
          const { failure, syncedEndOffset } = log
          expect({ position, bit, failure, syncedEndOffset }).toMatchObject({
            failure: undefined,
            syncedEndOffset: 18,
          })
          await log.close()
        })
      }
    }
  })

  it('costs a clean start a scan, whichever it is of the last segment, and nothing later', () => {
    const machine = new SimMachine(4)
    return machine.run(async () => {
      const { indexes } = await writeWithGaps(machine)
      for (const path of [indexes[1] ?? '', (indexes[1] ?? '').replace('.index', '.timeindex')]) {
        await eachFlip(machine, path, async flip => {
          const fixture = await openWithGaps(machine)
          const { log } = fixture
          expect({ flip, failure: log.failure }).toEqual({ flip, failure: undefined })
          for (let at = 0; at < 4; at++) append(log, { valueBytes: 60, timestamp: 2000 + at })
          await synced(fixture)
          expect(log.syncedEndOffset).toBe(32)
          await log.truncateTo(28)
          await log.close()
        })
      }
    })
  })
})

describe('a wrong index', () => {
  it('costs a scan, not the log', async () => {
    const directory = await temporaryDirectory()
    const fixture = await openLog({ directory, config: CONFIG })
    for (let at = 0; at < 40; at++) append(fixture.log, { value: `v${at}`, valueBytes: 60 })
    await synced(fixture)
    const expected = await readAll(fixture.log)
    await fixture.log.close()
    const { NodeDisk } = await import('../../src/ports/node-disk.ts')
    const disk = new NodeDisk()
    for (const name of await readdir(directory)) {
      if (!name.endsWith('.index')) continue
      const file = await disk.open(`${directory}/${name}`, 'write')
      const bytes = await file.read(0, file.sizeBytes)
      // Every position a little off: the file still looks like an index.
      for (let at = 4; at < bytes.length; at += 8) bytes.writeUInt32BE(bytes.readUInt32BE(at) + 1, at)
      await file.truncate(0)
      await file.append([bytes])
      await file.close()
    }
    const again = await openLog({ directory, config: CONFIG, recoveryPoint: 40 })
    for (const from of [39, 3, 17, 25, 0, 11]) {
      const slice = await again.log.read({ from, upTo: 40, maxBytes: 1 })
      expect([slice.baseOffset, slice.nextOffset]).toEqual([from, from + 1])
    }
    expect(again.events.some(event => event.kind === 'indexRebuilt')).toBe(true)
    expect(await readAll(again.log)).toEqual(expected)
    await again.log.close()
  })
})
