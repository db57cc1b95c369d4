import { describe, expect, it } from 'vitest'
import { NaruError } from '../../../src/base/errors.ts'
import { formatRaft, type OpenedRaft, openRaft } from '../../../src/drivers/raft/open-raft-storage.ts'
import type { LogEntry, SnapshotMark } from '../../../src/raft/messages.ts'
import type { HardState } from '../../../src/raft/raft-options.ts'
import { SeededPrng } from '../../harness/seeded-prng.ts'
import { SimMachine } from '../../harness/sim-machine.ts'
import { resourcesOf } from './raft-cluster.ts'

const DIRECTORY = 'data/raft'
const VOTERS = ['1@a', '2@b', '3@c']

class Fixture {
  readonly machine = new SimMachine(1)

  async format(voters = VOTERS): Promise<void> {
    const { disk, clock } = this.machine
    const membership = { voters, learners: [] }
    const resources = resourcesOf(disk, clock)
    await this.machine.run(() => formatRaft({ resources, directory: DIRECTORY }, { self: '1@a', membership }))
  }

  open(): Promise<OpenedRaft> {
    const { disk, clock, scheduler } = this.machine
    const resources = resourcesOf(disk, clock)
    const prng = new SeededPrng(7)
    return scheduler.finish(openRaft({ resources, directory: DIRECTORY, nodeId: 1, prng, onEvent() {} }))
  }

  async write(opened: OpenedRaft, entries: readonly LogEntry[], hardState?: HardState): Promise<void> {
    const last = entries.at(-1) ?? { index: 0, term: 0 }
    const persist = { hardState, snapshot: undefined, entries, mark: { term: last.term, last } }
    await this.machine.run(() => new Promise<void>(resolve => opened.storage.persist(persist, resolve)))
  }

  close(opened: OpenedRaft): Promise<void> {
    return this.machine.scheduler.finish(opened.storage.close())
  }

  /** A voter with five entries of term 3, closed in order. */
  async filled(): Promise<void> {
    await this.format()
    const opened = await this.open()
    await this.write(opened, entriesOf(1, 5, 3), { term: 3, votedFor: '2@b' })
    await this.close(opened)
  }
}

function entriesOf(first: number, last: number, term: number): LogEntry[] {
  return Array.from({ length: last - first + 1 }, (_, i) => ({
    index: first + i,
    term,
    kind: 'command' as const,
    data: Buffer.from(`${term}/${first + i}`),
  }))
}

describe('the storage of a member', () => {
  it('brings back term, vote, membership and entries', async () => {
    const fixture = new Fixture()
    await fixture.filled()
    const { saved, storage, damage } = await fixture.open()
    expect(damage).toBeUndefined()
    expect(storage.self).toBe('1@a')
    expect(saved.hardState).toEqual({ term: 3, votedFor: '2@b' })
    expect(saved.snapshot.membership.voters).toEqual(VOTERS)
    expect(saved.entries.map(({ index, term, data }) => [index, term, String(data)])).toEqual(
      entriesOf(1, 5, 3).map(({ index, term, data }) => [index, term, String(data)]),
    )
  })

  it('cuts the log between any two entries that were written together', async () => {
    const fixture = new Fixture()
    await fixture.filled()
    const opened = await fixture.open()
    await fixture.write(opened, entriesOf(4, 4, 5), { term: 5, votedFor: undefined })
    fixture.machine.powerCut()
    const { saved } = await fixture.open()
    expect(saved.entries.map(entry => [entry.index, entry.term])).toEqual([
      [1, 3],
      [2, 3],
      [3, 3],
      [4, 5],
    ])
  })

  it('reports writes in order, and none of them before it is durable', async () => {
    const fixture = new Fixture()
    await fixture.format()
    const opened = await fixture.open()
    const done: string[] = []
    const write = (name: string, entries: LogEntry[], hardState?: HardState) => {
      const persist = {
        hardState,
        snapshot: undefined,
        entries,
        mark: { term: 1, last: { index: 1, term: 1 } },
      }
      opened.storage.persist(persist, () => done.push(name))
    }
    write('vote', [], { term: 1, votedFor: '1@a' })
    write('first', entriesOf(1, 2, 1))
    opened.storage.persist(undefined, () => done.push('barrier'))
    write('second', entriesOf(3, 3, 1))
    expect(done).toEqual([])
    await fixture.machine.scheduler.runUntil(() => done.length === 4)
    expect(done).toEqual(['vote', 'first', 'barrier', 'second'])
    fixture.machine.powerCut()
    expect((await fixture.open()).saved.entries.length).toBe(3)
  })

  it('keeps entries below a snapshot of its own for followers, and knows the term before them', async () => {
    const fixture = new Fixture()
    await fixture.filled()
    const opened = await fixture.open()
    const mark: SnapshotMark = { index: 4, term: 3, membership: { voters: VOTERS, learners: [] } }
    await fixture.machine.run(() => opened.storage.takeSnapshot(mark, [Buffer.from('state')]))
    opened.storage.removeThrough(2)
    await fixture.close(opened)
    const { saved, records } = await fixture.open()
    expect(records.map(String)).toEqual(['state'])
    expect(saved.snapshot).toEqual(mark)
    expect(saved.base).toEqual({ index: 2, term: 3 })
    expect(saved.entries.map(entry => entry.index)).toEqual([3, 4, 5])
  })
})

describe('a member whose storage is damaged', () => {
  const damages: [string, (fixture: Fixture) => void][] = [
    [
      'a turned bit in its term and vote',
      ({ machine }) => machine.image.flipBit(`${DIRECTORY}/quorum-state`, 40),
    ],
    ['a turned bit in an acknowledged entry', ({ machine }) => machine.image.flipBit(logFile, 90)],
    ['a log that is shorter than it was', ({ machine }) => machine.image.cutFile(logFile, 100)],
    [
      'a turned bit in its snapshot',
      ({ machine }) => machine.image.flipBit(`${DIRECTORY}/${'0'.repeat(20)}-${'0'.repeat(10)}.snapshot`, 20),
    ],
  ]
  for (const [name, harm] of damages) {
    it(`starts over as another member: ${name}`, async () => {
      const fixture = new Fixture()
      await fixture.filled()
      harm(fixture)
      const { saved, storage, damage } = await fixture.open()
      expect(damage).toMatch(/damaged|shorter|ends here|checksum/)
      expect(storage.self).toMatch(/^1@.{22}$/)
      expect(saved).toMatchObject({ hardState: { term: 0 }, entries: [], snapshot: { index: 0 } })
      expect(saved.snapshot.membership).toEqual({ voters: [], learners: [] })
      await fixture.close({ saved, storage, damage, records: [] })
      // It stays that other member, and what it was is put aside for people.
      const again = await fixture.open()
      expect(again.storage.self).toBe(storage.self)
      expect(again.damage).toBeUndefined()
      expect(fixture.machine.image.readFile(`${DIRECTORY}.damaged/quorum-state`).length).toBeGreaterThan(0)
    })
  }

  it('does so too when the power goes in the middle of it', async () => {
    for (let change = 1; change < 25; change++) {
      const fixture = new Fixture()
      await fixture.filled()
      fixture.machine.image.flipBit(logFile, 90)
      fixture.machine.crashAtChange(fixture.machine.image.changes + change)
      await fixture.open().catch(() => {})
      fixture.machine.powerCut()
      const { storage, saved } = await fixture.open()
      expect(storage.self).toMatch(/^1@.{22}$/)
      expect(saved.hardState.term).toBe(0)
    }
  })

  it('refuses to start if it is the only voter, and leaves its bytes alone', async () => {
    const fixture = new Fixture()
    await fixture.format(['1@a'])
    const opened = await fixture.open()
    await fixture.write(opened, entriesOf(1, 5, 3), { term: 3, votedFor: '1@a' })
    await fixture.close(opened)
    fixture.machine.image.flipBit(logFile, 90)
    const before = fixture.machine.image.readFile(logFile)
    const error = await fixture.open().catch(thrown => thrown)
    expect(error).toBeInstanceOf(NaruError)
    expect(error.reason).toBe('DATA_DIRECTORY_DAMAGED')
    expect(error.message).toContain('no other voter')
    expect(fixture.machine.image.readFile(logFile).equals(before)).toBe(true)
  })

  it('refuses a directory that was never made', async () => {
    const fixture = new Fixture()
    const error = await fixture.open().catch(thrown => thrown)
    expect(error.reason).toBe('DATA_DIRECTORY_DAMAGED')
  })
})

const logFile = `${DIRECTORY}/${'0'.repeat(20)}.log`
