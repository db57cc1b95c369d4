import { expect, test } from 'vitest'
import { DisconnectNotes } from '../../../src/drivers/groups/disconnect-notes.ts'
import { encodeGroupRecord } from '../../../src/drivers/groups/group-record-codec.ts'
import { AttendedTime } from '../../../src/drivers/replicas/attended-time.ts'
import type { MemberRecord } from '../../../src/groups/group-record.ts'
import { EventScheduler } from '../../harness/event-scheduler.ts'
import { SeededPrng } from '../../harness/seeded-prng.ts'
import { SimMachine } from '../../harness/sim-machine.ts'

const TICK_MS = 100

function start() {
  const scheduler = new EventScheduler(new SeededPrng(1))
  const { clock } = new SimMachine(1, { name: 'n', scheduler })
  const time = new AttendedTime(clock, TICK_MS)
  const notes = new DisconnectNotes(time)
  /** Of one member, whose stream attended at that epoch. */
  const read = (attachEpoch: number, value: { disconnected: boolean } | null) => {
    const record: MemberRecord = {
      type: 'member',
      version: 0,
      group: 'g',
      member: 'm',
      value: value && {
        attachEpoch,
        subscription: { topics: ['logs'], topicPattern: null },
        clientId: '',
        address: '',
        sessionTimeoutMs: 10_000,
        brokenStreamTimeoutMs: 3_000,
        instance: null,
        replaced: [],
        ...value,
      },
    }
    notes.onRecord(encodeGroupRecord(record))
  }
  const goneMs = (attachEpoch: number) => notes.disconnectedMs({ group: 'g', member: 'm', attachEpoch })
  const pass = async (ms: number) => {
    for (let passed = 0; passed < ms; passed += TICK_MS) {
      await scheduler.runFor(TICK_MS)
      time.tick()
    }
  }
  return { read, goneMs, pass, scheduler, time }
}

test('a member is gone for as long as its last record says so, counted from when that was read', async () => {
  const { read, goneMs, pass } = start()
  expect(goneMs(4)).toBe(0)
  read(4, { disconnected: true })
  await pass(1_000)
  // The log is read again from further back.
  read(4, { disconnected: true })
  await pass(500)
  expect(goneMs(4)).toBe(1_500)
})

test('nothing of it is held against the stream with which it came back, nor against one of its name later', async () => {
  const { read, goneMs, pass } = start()
  read(4, { disconnected: true })
  await pass(1_000)
  // What this replica has not read yet, a coordinator has that takes over here.
  expect(goneMs(5)).toBe(0)
  read(5, { disconnected: false })
  await pass(1_000)
  read(5, { disconnected: true })
  await pass(300)
  expect([goneMs(4), goneMs(5)]).toEqual([0, 300])
  read(5, null)
  expect(goneMs(5)).toBe(0)
})

test('what this process slept through counts against nobody (A8)', async () => {
  const { read, goneMs, pass, scheduler, time } = start()
  read(4, { disconnected: true })
  await pass(500)
  await scheduler.runFor(60_000)
  time.tick()
  expect(goneMs(4)).toBeLessThanOrEqual(500 + 2 * TICK_MS)
})
