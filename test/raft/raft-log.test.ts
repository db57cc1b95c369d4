import { expect, test } from 'vitest'
import type { LogEntry } from '../../src/raft/messages.ts'
import { RaftLog } from '../../src/raft/raft-log.ts'
import { entry } from '../harness/raft-lone-node.ts'
import { SeededPrng } from '../harness/seeded-prng.ts'

/** The same log as a plain array from index 1 on, with the numbers beside it. */
class NaiveLog {
  all: LogEntry[] = []
  base = 0
  commit = 0
  persisted = 0
  handed = 0
  delivered = 0
}

test('the log does what a plain array does', () => {
  for (let seed = 0; seed < 100; seed++) runAgainstTwin(new SeededPrng(seed))
})

function runAgainstTwin(prng: SeededPrng): void {
  const log = new RaftLog({ base: { index: 0, term: 0 }, entries: [], snapshotIndex: 0, applyBytesMax: 1000 })
  const twin = new NaiveLog()
  let term = 1
  for (let step = 0; step < 100; step++) {
    const last = twin.all.length
    const action = prng.pick([
      'append',
      'truncate',
      'commit',
      'hand',
      'persist',
      'deliver',
      'compact',
    ] as const)
    if (action === 'append') {
      if (prng.chance(0.2)) term++
      const entries = Array.from({ length: 1 + Math.floor(prng.fraction() * 3) }, (_, i) =>
        entry(last + 1 + i, term),
      )
      log.append(entries)
      twin.all.push(...entries)
    } else if (action === 'truncate' && twin.commit < last) {
      const from = twin.commit + 1 + Math.floor(prng.fraction() * (last - twin.commit))
      log.truncateFrom(from)
      twin.all.length = from - 1
      twin.handed = Math.min(twin.handed, from - 1)
      twin.persisted = Math.min(twin.persisted, from - 1)
      term++
    } else if (action === 'commit') {
      const index = Math.floor(prng.fraction() * (last + 1))
      log.commitTo(index)
      twin.commit = Math.max(twin.commit, index)
    } else if (action === 'hand') {
      expect(log.takeUnpersisted()).toEqual(twin.all.slice(twin.handed))
      twin.handed = last
    } else if (action === 'persist' && twin.handed > 0) {
      const position = twin.all[Math.floor(prng.fraction() * twin.handed)] as LogEntry
      if (position.index > twin.base) log.persistedTo(position)
      twin.persisted = Math.max(twin.persisted, position.index)
    } else if (action === 'deliver') {
      const end = Math.max(Math.min(twin.commit, twin.persisted), twin.delivered)
      expect(log.takeCommitted()).toEqual(twin.all.slice(twin.delivered, end))
      twin.delivered = end
      log.appliedTo(end)
    } else if (action === 'compact') {
      const index = Math.floor(prng.fraction() * (twin.delivered + 1))
      log.compactTo(index)
      twin.base = Math.max(twin.base, index)
    }
    expectEqual(log, twin)
  }
}

function expectEqual(log: RaftLog, twin: NaiveLog): void {
  expect([log.base.index, log.lastIndex, log.commitIndex, log.persistedIndex, log.appliedIndex]).toEqual([
    twin.base,
    twin.all.length,
    twin.commit,
    twin.persisted,
    twin.delivered,
  ])
  const kept = twin.all.slice(twin.base)
  expect(kept.map(({ index }) => log.termAt(index))).toEqual(kept.map(({ term }) => term))
  expect(log.termAt(twin.all.length + 1)).toBeUndefined()
  if (twin.base > 0) expect(log.termAt(twin.base - 1)).toBeUndefined()
}

test('truncation below the commit index is refused loudly', () => {
  const log = logOf(entry(1, 1), entry(2, 1), entry(3, 1))
  log.commitTo(2)
  expect(() => log.truncateFrom(2)).toThrow('would undo what is committed')
  log.truncateFrom(3)
  expect(log.lastIndex).toBe(2)
})

test('an append with a gap or a falling term is refused loudly', () => {
  const log = logOf(entry(1, 2))
  expect(() => log.append([entry(3, 2)])).toThrow('entry 3 appended after 1')
  expect(() => log.append([entry(2, 1)])).toThrow('after term 2')
})

test('no more is handed out for applying than the limit, and the rest follows', () => {
  const entries = Array.from({ length: 5 }, (_, i) => entry(i + 1, 1, 'xxxx'))
  const log = new RaftLog({ base: { index: 0, term: 0 }, entries, snapshotIndex: 0, applyBytesMax: 8 })
  log.commitTo(5)
  expect(log.takeCommitted().map(({ index }) => index)).toEqual([1, 2])
  expect(log.takeCommitted()).toEqual([])
  log.appliedTo(1)
  expect(log.takeCommitted().map(({ index }) => index)).toEqual([3])
  log.appliedTo(3)
  expect(log.takeCommitted().map(({ index }) => index)).toEqual([4, 5])
})

test('a message is filled up to its limits, and never stays empty', () => {
  const log = logOf(entry(1, 1, 'xxxx'), entry(2, 1, 'xx'), entry(3, 1, 'xx'))
  const indexes = (bytesMax: number, countMax: number) =>
    log.entriesFrom(1, { bytesMax, countMax }).map(({ index }) => index)
  expect(indexes(1, 9)).toEqual([1])
  expect(indexes(6, 9)).toEqual([1, 2])
  expect(indexes(99, 2)).toEqual([1, 2])
})

function logOf(...entries: LogEntry[]): RaftLog {
  return new RaftLog({ base: { index: 0, term: 0 }, entries, snapshotIndex: 0, applyBytesMax: 1000 })
}
