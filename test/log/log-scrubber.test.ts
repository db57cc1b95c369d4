import { describe, expect, it } from 'vitest'
import { NaruError } from '../../src/base/errors.ts'
import { DEFAULT_LOG_CONFIG } from '../../src/log/log-config.ts'
import { LogDirectory } from '../../src/log/log-directory.ts'
import { LogScrubber, type Scrubbed } from '../../src/log/log-scrubber.ts'
import type { PartitionLog } from '../../src/log/partition-log.ts'
import { delay } from '../../src/ports/clock.ts'
import { SimMachine } from '../harness/sim-machine.ts'
import { append } from './log-harness.ts'

const TOPIC_ID = 'AAAAAAAAAAAAAAAAAAAAAA'
const DELETED_ID = 'BBBBBBBBBBBBBBBBBBBBBB'

/** A closed segment of 10 KB takes it ten seconds. */
const SCRUB_BYTES_PER_SECOND = 1_000

async function openDirectory(machine: SimMachine, errors: unknown[]): Promise<LogDirectory> {
  await machine.disk.makeDirectory('data')
  return LogDirectory.open({
    disk: machine.disk,
    clock: machine.clock,
    dataDirectory: 'data',
    onError: error => errors.push(error),
    limits: { scrubBytesPerSecond: SCRUB_BYTES_PER_SECOND },
  })
}

function open(directory: LogDirectory, topic: string, topicId: string): Promise<PartitionLog> {
  return directory.openPartition({
    topic,
    topicId,
    partition: 0,
    config: { ...DEFAULT_LOG_CONFIG, segmentBytes: 10_000 },
    onProgress: () => {},
    onEvent: () => {},
  })
}

/** A log of two closed segments and an open one. */
async function openFilled(directory: LogDirectory, topic: string, topicId: string): Promise<PartitionLog> {
  const log = await open(directory, topic, topicId)
  for (let at = 0; at < 5; at++) append(log, { valueBytes: 4_500 })
  await directory.resources.scheduler.idle()
  expect(log.segmentBaseOffsets).toEqual([0, 2, 4])
  return log
}

describe('a scrub', () => {
  it('goes on with the other logs when the one that it reads is deleted', async () => {
    const machine = new SimMachine(1)
    const errors: unknown[] = []
    await machine.run(async () => {
      const directory = await openDirectory(machine, errors)
      await openFilled(directory, 'a-deleted', DELETED_ID)
      const kept = await openFilled(directory, 'b-kept', TOPIC_ID)
      machine.image.flipBit('data/topics/b-kept-0/00000000000000000000.log', 3_000, 1)
      const scrubbing = directory.scrub()
      // The first segment is read at once; the second waits for its share of the rate, and by then the log is gone.
      await delay(machine.clock, 500)
      await directory.deletePartition({ topic: 'a-deleted', topicId: DELETED_ID, partition: 0 })
      await scrubbing
      expect(kept.failure?.reason).toBe('CORRUPT_DATA')
      expect(errors).toEqual([])
      await directory.close()
    })
  })

  it('soon looks at logs of an earlier life, however late after the start they are opened', async () => {
    const machine = new SimMachine(4)
    const errors: unknown[] = []
    await machine.run(async () => {
      const before = await openDirectory(machine, errors)
      await openFilled(before, 'logs', TOPIC_ID)
      await before.close()
      machine.image.flipBit('data/topics/logs-0/00000000000000000000.log', 3_000, 1)
      const directory = await openDirectory(machine, errors)
      await delay(machine.clock, 5_000)
      const log = await open(directory, 'logs', TOPIC_ID)
      expect(log.failure).toBeUndefined()
      // Its bytes at that rate, and some, but not until the pass after the next rest.
      await delay(machine.clock, 30_000)
      expect(log.failure?.reason).toBe('CORRUPT_DATA')
      await directory.close()
    })
  })

  it('that cannot read a log now tells so, and looks after the others', async () => {
    const machine = new SimMachine(2)
    const shortage = new NaruError('OVERLOADED', 'no descriptor is left')
    const scrubbed: string[] = []
    const errors: unknown[] = []
    const log = (name: string, failure?: Error): Scrubbed => ({
      name,
      hasClosedSegment: () => true,
      scrubSegment: async () => {
        scrubbed.push(name)
        if (failure) throw failure
        return undefined
      },
    })
    const scrubber = new LogScrubber({
      clock: machine.clock,
      logs: () => [log('a'), log('b', shortage), log('c')],
      bytesPerSecond: SCRUB_BYTES_PER_SECOND,
      restMs: 1_000,
      onError: error => errors.push(error),
    })
    await machine.run(() => scrubber.pass())
    expect(scrubbed).toEqual(['a', 'b', 'c'])
    expect(errors).toEqual([shortage])
  })

  it('passes over the logs that have no closed segment in one look', async () => {
    const machine = new SimMachine(3)
    let looks = 0
    const scrubbed: string[] = []
    const log = (name: string, closedSegments: number): Scrubbed => ({
      name,
      hasClosedSegment: from => {
        looks++
        return from < closedSegments
      },
      scrubSegment: async from => {
        scrubbed.push(`${name} ${from}`)
        return from < closedSegments ? { nextFrom: from + 1 } : undefined
      },
    })
    const logs = Array.from({ length: 100 }, (_, index) => log(`empty-${index}`, 0))
    const scrubber = new LogScrubber({
      clock: machine.clock,
      logs: () => [log('used', 2), ...logs],
      bytesPerSecond: SCRUB_BYTES_PER_SECOND,
      restMs: 1_000,
      onError: () => {},
    })
    await machine.run(() => scrubber.pass())
    expect(scrubbed).toEqual(['used 0', 'used 1'])
    // One for each segment that is read, and the one that finds no more.
    expect(looks).toBeLessThanOrEqual(3 * 101)
  })
})
