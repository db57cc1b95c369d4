import { expect, it } from 'vitest'
import { DiskReserve } from '../../src/log/disk-reserve.ts'
import { SimMachine } from '../harness/sim-machine.ts'

const MIB = 1024 * 1024

/** A disk of 10 MiB of which 2 MiB are the reserve and 2.2 MiB end the shortage. */
async function watched(usedMib: number) {
  const machine = new SimMachine(1)
  machine.image.capacityBytes = 10 * MIB
  const changes: boolean[] = []
  const errors: unknown[] = []
  const fill = (mib: number) =>
    machine.run(async disk => {
      const file = await disk.open('ballast', 'create')
      await file.truncate(Math.round(mib * MIB))
      await file.close()
    })
  await fill(usedMib)
  const reserve = new DiskReserve({
    disk: machine.disk,
    clock: machine.clock,
    dataDirectory: 'data',
    freeBytesMin: 2 * MIB,
    onChange: isLow => changes.push(isLow),
    onError: error => errors.push(error),
  })
  await machine.scheduler.finish(reserve.start())
  return { machine, reserve, changes, errors, fill }
}

it('knows at its start that the disk is low', async () => {
  const { reserve, changes } = await watched(9)
  expect(reserve.isLow).toBe(true)
  expect(changes).toEqual([true])
})

it('notices the shortage within its interval, and ends it by itself above the second mark only', async () => {
  const { machine, reserve, changes, fill } = await watched(5)
  expect(reserve.isLow).toBe(false)
  await fill(8.5)
  await machine.scheduler.runFor(1100)
  expect(reserve.isLow).toBe(true)
  await fill(7.9)
  await machine.scheduler.runFor(5000)
  expect(reserve.isLow, '2.1 MiB free: one deleted segment is not enough').toBe(true)
  await fill(7.5)
  await machine.scheduler.runFor(1100)
  expect(reserve.isLow).toBe(false)
  await fill(7.9)
  await machine.scheduler.runFor(5000)
  expect(changes).toEqual([true, false])
})

it('is low at once when somebody met a full disk, until the next look finds room', async () => {
  const { machine, reserve, changes } = await watched(5)
  reserve.noteFull()
  expect(reserve.isLow).toBe(true)
  await machine.scheduler.runFor(1100)
  expect(reserve.isLow).toBe(false)
  expect(changes).toEqual([true, false])
})

it('keeps what it last knew while the space cannot be told, and says so', async () => {
  const { machine, reserve, errors } = await watched(9)
  machine.image.onOperation = operation => (operation.kind === 'space' ? 'EIO' : undefined)
  await machine.scheduler.runFor(2500)
  expect(reserve.isLow).toBe(true)
  expect(errors.length).toBeGreaterThan(0)
  machine.image.onOperation = undefined
  machine.image.capacityBytes = 100 * MIB
  await machine.scheduler.runFor(1100)
  expect(reserve.isLow).toBe(false)
})

it('tells nobody anything after it was stopped, a look under way included', async () => {
  const { machine, reserve, changes, fill } = await watched(5)
  await fill(9)
  const look = reserve.look()
  reserve.stop()
  await machine.scheduler.finish(look)
  await machine.scheduler.runFor(5000)
  expect(changes).toEqual([])
  expect(machine.scheduler.isIdle).toBe(true)
})

it('names the directory, the setting and the way out', async () => {
  const { reserve } = await watched(9)
  expect(reserve.error()).toMatchObject({ reason: 'DISK_FULL', retriable: true })
  expect(reserve.error().message).toContain('1 MiB are free on the disk of data; below 2 MiB (disk.free.min)')
})
