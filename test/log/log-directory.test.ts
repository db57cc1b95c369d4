import { describe, expect, it } from 'vitest'
import { DEFAULT_LOG_CONFIG } from '../../src/log/log-config.ts'
import type { LogEvent } from '../../src/log/log-core.ts'
import { LogDirectory } from '../../src/log/log-directory.ts'
import type { LogDirectoryLimits, PartitionOpenOptions } from '../../src/log/log-directory-options.ts'
import type { PartitionLog } from '../../src/log/partition-log.ts'
import { SimMachine } from '../harness/sim-machine.ts'
import { append, readAll } from './log-harness.ts'

const TOPIC_ID = 'AAAAAAAAAAAAAAAAAAAAAA'
const OTHER_ID = 'BBBBBBBBBBBBBBBBBBBBBB'

async function openDirectory(
  machine: SimMachine,
  limits: Partial<LogDirectoryLimits> = {},
  onError: (error: unknown) => void = error => {
    throw error
  },
) {
  await machine.disk.makeDirectory('data')
  await machine.disk.syncDirectory('.')
  return LogDirectory.open({
    disk: machine.disk,
    clock: machine.clock,
    dataDirectory: 'data',
    onError,
    limits,
  })
}

const events: LogEvent[] = []

function openPartition(
  directory: LogDirectory,
  options: Partial<PartitionOpenOptions> = {},
): Promise<PartitionLog> {
  return directory.openPartition({
    topic: 'orders',
    topicId: TOPIC_ID,
    partition: 0,
    config: { ...DEFAULT_LOG_CONFIG, segmentBytes: 1000 },
    onProgress: () => {},
    onEvent: event => events.push(event),
    ...options,
  })
}

async function appendSynced(directory: LogDirectory, log: PartitionLog, count = 1): Promise<void> {
  for (let at = 0; at < count; at++) append(log, { value: `v${log.logEndOffset}`, valueBytes: 100 })
  await directory.resources.scheduler.idle()
}

describe('a log directory', () => {
  it('brings partitions back after a clean stop without scanning them', async () => {
    const machine = new SimMachine(1)
    await machine.run(async () => {
      const directory = await openDirectory(machine)
      const log = await openPartition(directory)
      await appendSynced(directory, log, 30)
      log.highWatermark = 20
      await directory.close({ nodeEpoch: 7 })
      const again = await openDirectory(machine)
      expect(again.cleanStopNodeEpoch).toBe(7)
      const same = await openPartition(again)
      expect(same.logEndOffset).toBe(30)
      expect(same.highWatermark).toBe(20)
      expect(same.openReport.scannedBytes).toBeLessThan(1000)
      expect(same.openReport.rebuilt).toEqual([])
      await again.close()
      // No epoch given: not a registered life, so no mark.
      expect((await openDirectory(machine)).cleanStopNodeEpoch).toBeUndefined()
    })
  })

  it('never claims a clean stop for a partition that it did not open after a crash', async () => {
    const machine = new SimMachine(2)
    await machine.run(async () => {
      const directory = await openDirectory(machine)
      await appendSynced(directory, await openPartition(directory), 3)
    })
    machine.powerCut()
    await machine.run(async () => {
      const directory = await openDirectory(machine)
      await directory.close({ nodeEpoch: 8 })
      expect(await machine.disk.stat('data/clean-shutdown')).toBeUndefined()
    })
  })

  it('recovers from its checkpoints after a power cut, and keeps the log start', async () => {
    const machine = new SimMachine(3)
    await machine.run(async () => {
      const directory = await openDirectory(machine)
      const log = await openPartition(directory)
      await appendSynced(directory, log, 30)
      log.highWatermark = 25
      await log.deleteRecordsBefore(22)
      await directory.checkpoint()
      await appendSynced(directory, log, 5)
    })
    machine.powerCut()
    await machine.run(async () => {
      const log = await openPartition(await openDirectory(machine))
      expect(log.failure).toBeUndefined()
      expect([log.logStartOffset, log.highWatermark, log.logEndOffset]).toEqual([22, 25, 35])
      expect(await readAll(log)).toHaveLength(13)
    })
  })

  it('does not call records committed because others were, that were cut off after an unclean election', async () => {
    const machine = new SimMachine(30)
    await machine.run(async () => {
      const directory = await openDirectory(machine)
      const log = await openPartition(directory)
      await appendSynced(directory, log, 30)
      log.highWatermark = 25
      await directory.checkpoint()
      await log.truncateTo(10)
      await appendSynced(directory, log, 20)
    })
    machine.powerCut()
    await machine.run(async () => {
      const log = await openPartition(await openDirectory(machine))
      expect([log.highWatermark, log.logEndOffset]).toEqual([10, 30])
    })
  })

  it('does not take a lost partition directory for a new one', async () => {
    const machine = new SimMachine(4)
    await machine.run(async () => {
      const directory = await openDirectory(machine)
      await appendSynced(directory, await openPartition(directory), 3)
      await directory.close({ nodeEpoch: 1 })
      await machine.disk.removeDirectory('data/topics/orders-0')
      const again = await openDirectory(machine)
      expect(again.isMissing('orders', 0)).toBe(true)
      expect(again.isMissing('orders', 1)).toBe(false)
      await expect(openPartition(again)).rejects.toMatchObject({ reason: 'CORRUPT_DATA' })
      const empty = await openPartition(again, { afterLoss: true })
      expect(empty.logEndOffset).toBe(0)
      expect(again.isMissing('orders', 0)).toBe(false)
      await again.close()
    })
  })

  it('does not take a directory with records for an unfinished one because it lost its partition.metadata', async () => {
    const machine = new SimMachine(4)
    await machine.run(async () => {
      const directory = await openDirectory(machine)
      await appendSynced(directory, await openPartition(directory), 3)
      await directory.close({ nodeEpoch: 1 })
      await machine.disk.remove('data/topics/orders-0/partition.metadata')
      const again = await openDirectory(machine)
      await expect(openPartition(again)).rejects.toMatchObject({ reason: 'CORRUPT_DATA' })
      expect((await machine.disk.list('data/topics')).map(entry => entry.name)).toEqual(['orders-0'])
      await again.close()
    })
  })

  it('leaves alone what it cannot read when it is asked for what nobody opened', async () => {
    const machine = new SimMachine(4)
    await machine.run(async () => {
      const directory = await openDirectory(machine)
      await appendSynced(directory, await openPartition(directory))
      await appendSynced(directory, await openPartition(directory, { partition: 1 }))
      await directory.close({ nodeEpoch: 1 })
      const errors: unknown[] = []
      const again = await openDirectory(machine, {}, error => errors.push(error))
      machine.image.onOperation = ({ kind, path }) =>
        kind === 'read' && path.includes('orders-0/') ? 'EIO' : undefined
      expect(await again.unopenedPartitions()).toEqual([{ topic: 'orders', topicId: TOPIC_ID, partition: 1 }])
      expect(errors).toMatchObject([{ code: 'EIO' }])
      await again.close()
    })
  })

  it('keeps the mark of a clean stop over a start that came to nothing', async () => {
    const machine = new SimMachine(4)
    await machine.run(async () => {
      const directory = await openDirectory(machine)
      await appendSynced(directory, await openPartition(directory), 3)
      await directory.close({ nodeEpoch: 7 })
      // No registration: it was stopped before the others came.
      await (await openDirectory(machine)).close()
      const third = await openDirectory(machine)
      expect(third.cleanStopNodeEpoch).toBe(7)
      third.checkCleanStop({ nodeEpoch: 7 })
      await openPartition(third)
      // A registration it has not, and records it may have: nothing to vouch for.
      third.checkCleanStop({ nodeEpoch: 6 })
      await third.close()
      expect((await openDirectory(machine)).cleanStopNodeEpoch).toBeUndefined()
    })
  })

  it('deletes a partition by renaming it, and removes its bytes later', async () => {
    const machine = new SimMachine(5)
    const limits = { deletedKeepMs: 10_000, retentionIntervalMs: 3_000 }
    await machine.run(async () => {
      const directory = await openDirectory(machine, limits)
      await appendSynced(directory, await openPartition(directory), 3)
      // A late call for an earlier topic of that name changes nothing.
      await directory.deletePartition({ topic: 'orders', topicId: OTHER_ID, partition: 0 })
      expect(await machine.disk.stat('data/topics/orders-0')).toBeDefined()
      await directory.deletePartition({ topic: 'orders', topicId: TOPIC_ID, partition: 0 })
      const names = async () => (await machine.disk.list('data/topics')).map(entry => entry.name)
      expect(await names()).toEqual([`${TOPIC_ID}-0.deleted`])
      const fresh = await openPartition(directory, { topicId: OTHER_ID })
      expect(fresh.logEndOffset).toBe(0)
      await appendSynced(directory, fresh)
      await new Promise<void>(resolve => machine.clock.setTimer(14_000, resolve))
      expect(await names()).toEqual(['orders-0'])
      await directory.close()
    })
  })

  it('puts away a directory of an earlier topic of the same name', async () => {
    const machine = new SimMachine(6)
    await machine.run(async () => {
      const directory = await openDirectory(machine)
      await appendSynced(directory, await openPartition(directory), 3)
      await directory.close({ nodeEpoch: 1 })
      const again = await openDirectory(machine)
      const log = await openPartition(again, { topicId: OTHER_ID })
      expect([log.logEndOffset, log.failure]).toEqual([0, undefined])
      await again.close()
    })
  })

  it('takes all logs offline when a sync of one fails, and leaves no clean-stop mark', async () => {
    const machine = new SimMachine(7)
    events.length = 0
    await machine.run(async () => {
      const directory = await openDirectory(machine)
      const first = await openPartition(directory)
      const second = await openPartition(directory, { partition: 1 })
      await appendSynced(directory, second)
      machine.image.onOperation = operation =>
        operation.kind === 'sync' && operation.path.includes('orders-0/') ? 'EIO' : undefined
      await appendSynced(directory, first)
      machine.image.onOperation = undefined
      expect(first.syncedEndOffset).toBe(0)
      for (const log of [first, second]) {
        expect(log.failure?.reason).toBe('STORAGE_OFFLINE')
        expect(() => append(log)).toThrow(expect.objectContaining({ reason: 'STORAGE_OFFLINE' }))
        await expect(log.read({ from: 0, upTo: 1, maxBytes: 1 })).rejects.toMatchObject({
          reason: 'STORAGE_OFFLINE',
        })
      }
      expect(events.filter(event => event.kind === 'offline').map(event => event.log)).toEqual([
        'orders-0',
        'orders-1',
      ])
      await directory.close({ nodeEpoch: 1 })
      expect(await machine.disk.stat('data/clean-shutdown')).toBeUndefined()
    })
  })

  it('costs the disk nothing for a partition that never held a record, through its whole life', async () => {
    const machine = new SimMachine(9)
    await machine.run(async () => {
      const directory = await openDirectory(machine)
      const operations: string[] = []
      machine.image.onOperation = ({ kind, path }) => {
        operations.push(`${kind} ${path}`)
        return undefined
      }
      const log = await openPartition(directory)
      log.beginGeneration()
      await directory.resources.scheduler.idle()
      await directory.applyRetention()
      expect([log.failure, log.hasRoom]).toEqual([undefined, true])
      expect((await log.read({ from: 0, upTo: 0, maxBytes: 100 })).buffers).toEqual([])
      expect(await log.offsetForTimestamp(0)).toBeUndefined()
      await directory.closePartition(log)
      const again = await openPartition(directory)
      await directory.deletePartition({ topic: 'orders', topicId: TOPIC_ID, partition: 0 })
      expect(again.failure).toBeUndefined()
      expect(operations).toEqual([])
      await openPartition(directory, { partition: 1 })
      await directory.close({ nodeEpoch: 1 })
      machine.image.onOperation = undefined
      expect(await machine.disk.list('data/topics')).toEqual([])
      const next = await openDirectory(machine)
      next.checkCleanStop({ nodeEpoch: 1 })
      expect(next.cleanStopNodeEpoch).toBe(1)
      expect([0, 1].filter(partition => next.isMissing('orders', partition))).toEqual([])
      await next.close()
    })
  })

  it('has the directory of a partition, and its name in the checkpoints, before its first record counts', async () => {
    let counted = 0
    for (let change = 1; change <= 60; change++) {
      const machine = new SimMachine(change)
      const syncedEnds = [0, 0]
      await machine.run(async () => {
        const directory = await openDirectory(machine)
        const open = (partition: number) =>
          openPartition(directory, {
            partition,
            onProgress: ({ syncedEndOffset }) => {
              syncedEnds[partition] = syncedEndOffset
            },
          })
        const logs = [await open(0), await open(1)]
        machine.crashAtChange(machine.image.changes + change)
        for (const log of logs) append(log)
      })
      await machine.scheduler.runFor(1_000)
      machine.powerCut()
      await machine.run(async () => {
        const stored = [0, 1].filter(partition => (syncedEnds[partition] ?? 0) > 0)
        counted += stored.length
        // From now on its loss is one.
        if (change % 2 === 0)
          for (const partition of stored)
            await machine.disk.removeDirectory(`data/topics/orders-${partition}`)
        const directory = await openDirectory(machine)
        const missing = [0, 1].filter(partition => directory.isMissing('orders', partition))
        if (change % 2 === 0) expect(missing).toEqual(expect.arrayContaining(stored))
        else {
          expect(missing).toEqual([])
          for (const partition of stored)
            expect((await openPartition(directory, { partition })).logEndOffset).toBe(1)
        }
        await directory.close()
      })
    }
    expect(counted).toBeGreaterThan(5)
  })

  it('makes the directory of a partition that begins as a copy of a compacted one', async () => {
    const machine = new SimMachine(10)
    await machine.run(async () => {
      const directory = await openDirectory(machine)
      const log = await openPartition(directory)
      await log.noteCompacted({ removedTombstonesEnd: 7 })
      expect(log.failure).toBeUndefined()
      await directory.close()
      const next = await openDirectory(machine)
      const again = await openPartition(next)
      expect([again.gapsAllowed, again.removedTombstonesEnd]).toEqual([true, 7])
      await next.close()
    })
  })

  it('gives a topic of a name that was there before none of the offsets that the checkpoints had for it', async () => {
    const machine = new SimMachine(10)
    await machine.run(async () => {
      const directory = await openDirectory(machine)
      const log = await openPartition(directory)
      await appendSynced(directory, log, 30)
      log.highWatermark = 30
      await log.deleteRecordsBefore(30)
      await directory.close({ nodeEpoch: 1 })
      // The recovery points are behind the other two files, as after a crash between their writes.
      await machine.disk.remove('data/recovery-point')
      await machine.disk.removeDirectory('data/topics/orders-0')
      const again = await openDirectory(machine)
      await appendSynced(again, await openPartition(again, { topicId: OTHER_ID }), 2)
    })
    machine.powerCut()
    await machine.run(async () => {
      const log = await openPartition(await openDirectory(machine), { topicId: OTHER_ID })
      expect([log.failure, log.logStartOffset, log.highWatermark, log.logEndOffset]).toEqual([
        undefined,
        0,
        0,
        2,
      ])
    })
  })

  it('applies retention by itself', async () => {
    const machine = new SimMachine(8)
    await machine.run(async () => {
      const directory = await openDirectory(machine, { retentionIntervalMs: 1_000 })
      const config = { ...DEFAULT_LOG_CONFIG, segmentBytes: 1000, retentionBytes: 1500 }
      const log = await openPartition(directory, { config })
      await appendSynced(directory, log, 40)
      log.highWatermark = 40
      await new Promise<void>(resolve => machine.clock.setTimer(1_500, resolve))
      expect(log.logStartOffset).toBeGreaterThan(0)
      expect(log.sizeBytes).toBeLessThan(3000)
      expect((await readAll(log)).at(-1)).toBe('39:v39')
      await directory.close()
    })
  })
})
