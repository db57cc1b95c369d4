import { expect, it } from 'vitest'
import { LogScrubber } from '../../src/log/log-scrubber.ts'
import type { PartitionLog } from '../../src/log/partition-log.ts'
import { SimMachine } from '../harness/sim-machine.ts'
import { append, openLog, synced } from './log-harness.ts'

const DIRECTORY = 'orders-0'
const MIB = 1024 * 1024

function open(machine: SimMachine) {
  const { disk, clock } = machine
  return openLog({ disk, clock, directory: DIRECTORY, config: { segmentBytes: 16 * MIB } })
}

async function scrub(machine: SimMachine, log: PartitionLog): Promise<void> {
  const { clock } = machine
  const onError = (error: unknown) => {
    throw error
  }
  await new LogScrubber({ clock, logs: () => [log], bytesPerSecond: 1e9, restMs: 1, onError }).pass()
}

/** A scan reads chunks of 1 MiB: batches around that size, the first of a log and those after one another. */
const SIZES = [3 * MIB, 1.5 * MIB, 2 * MIB, MIB - 69, MIB, 10, 7 * MIB, 1.2 * MIB, 1.2 * MIB]

it('finds batches that are larger than what it reads at a time: a power cut takes none, a scrub finds no damage', async () => {
  const machine = new SimMachine(1)
  await machine.run(async () => {
    await machine.disk.makeDirectory(DIRECTORY)
    await machine.disk.syncDirectory('.')
    const fixture = await open(machine)
    for (const valueBytes of SIZES) {
      append(fixture.log, { valueBytes })
      await synced(fixture)
    }
    expect(fixture.log.segmentBaseOffsets.length).toBeGreaterThan(1)
    await scrub(machine, fixture.log)
    expect(fixture.log.failure).toBeUndefined()
  })
  machine.powerCut()
  await machine.run(async () => {
    const { log } = await open(machine)
    expect([log.failure, log.logEndOffset]).toEqual([undefined, SIZES.length])
    await log.close()
  })
})

it('cuts off a batch of which the end is missing, however large it says it is', async () => {
  for (const missingBytes of [1, MIB, 2 * MIB + 100_000, 3 * MIB]) {
    const machine = new SimMachine(1)
    await machine.run(async () => {
      await machine.disk.makeDirectory(DIRECTORY)
      const fixture = await open(machine)
      append(fixture.log, { valueBytes: 10 })
      append(fixture.log, { valueBytes: 3 * MIB })
      await synced(fixture)
      const path = `${DIRECTORY}/00000000000000000000.log`
      const file = await machine.disk.open(path, 'write')
      await file.truncate(file.sizeBytes - missingBytes)
      await file.close()
    })
    machine.kill()
    await machine.run(async () => {
      const { log } = await open(machine)
      expect([log.failure, log.logEndOffset], String(missingBytes)).toEqual([undefined, 1])
      await log.close()
    })
  }
})
