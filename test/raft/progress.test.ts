import { expect, test } from 'vitest'
import { Progress } from '../../src/raft/progress.ts'

test('a probe waits for its answer, and an accepted one starts replication', () => {
  const progress = at(10)
  progress.sentAppend({ entryCount: 0, bytes: 0, commitIndex: 0 })
  expect(progress).toMatchObject({ state: 'probe', isPaused: true })
  progress.accepted(9, 0)
  expect(progress).toMatchObject({ state: 'replicate', matchIndex: 9, nextIndex: 10, isPaused: false })
})

test('the window holds back messages, and its acknowledgements free it', () => {
  const progress = replicating()
  for (let i = 0; i < 2; i++) progress.sentAppend({ entryCount: 1, bytes: 1, commitIndex: 0 })
  expect(progress).toMatchObject({ isPaused: true, mayCarryEntries: false, inflightCount: 2, nextIndex: 12 })
  progress.accepted(10, 0)
  expect(progress).toMatchObject({ isPaused: false, mayCarryEntries: true, inflightCount: 1 })
})

test('the window counts bytes as well', () => {
  const progress = replicating()
  progress.sentAppend({ entryCount: 1, bytes: 100, commitIndex: 0 })
  expect(progress.isPaused).toBe(true)
})

test('a refusal goes back to what is known, an old one is an echo', () => {
  const progress = replicating()
  progress.sentAppend({ entryCount: 1, bytes: 1, commitIndex: 0 })
  progress.refused(9, 3)
  expect(progress).toMatchObject({ state: 'replicate', nextIndex: 11, inflightCount: 1 })
  progress.refused(10, 9)
  expect(progress).toMatchObject({ state: 'probe', nextIndex: 10, inflightCount: 0 })
})

test('the search for the common end never goes below what is acknowledged', () => {
  const progress = at(20)
  progress.refused(5, 2)
  expect(progress.nextIndex).toBe(20)
  progress.refused(19, 7)
  expect(progress.nextIndex).toBe(8)
  progress.accepted(7, 0)
  progress.connectionLost()
  progress.refused(7, 2)
  expect(progress.nextIndex).toBe(8)
})

test('a lost connection does not end the search for the common end', () => {
  const progress = at(20)
  progress.sentAppend({ entryCount: 1, bytes: 1, commitIndex: 0 })
  progress.connectionLost()
  expect(progress).toMatchObject({ state: 'probe', nextIndex: 20, isPaused: false })
})

test('a snapshot ends with an answer from where the log reaches back to, whichever snapshot it was', () => {
  const progress = at(5)
  progress.sentSnapshot(30, 1000)
  expect(progress).toMatchObject({ state: 'snapshot', nextIndex: 31, isPaused: true })
  progress.accepted(28, 25)
  expect(progress).toMatchObject({ state: 'replicate', matchIndex: 28, nextIndex: 29 })
})

test('a snapshot that the log was compacted beyond meanwhile is followed by the next one', () => {
  const progress = at(5)
  progress.sentSnapshot(30, 1000)
  progress.accepted(30, 40)
  expect(progress).toMatchObject({ state: 'probe', matchIndex: 30, nextIndex: 31, isPaused: false })
})

test('a snapshot nobody hears of is overdue, unless it is reported to go on', () => {
  const progress = at(5)
  progress.sentSnapshot(30, 1000)
  expect(progress.snapshotIsOverdue(999)).toBe(false)
  progress.snapshotGoesOn(2000)
  expect(progress.snapshotIsOverdue(1500)).toBe(false)
  expect(progress.snapshotIsOverdue(2000)).toBe(true)
  progress.snapshotFailed()
  expect(progress).toMatchObject({ state: 'probe', nextIndex: 1 })
})

function at(nextIndex: number): Progress {
  return new Progress({ nextIndex, nowMs: 0, limits: { messagesMax: 2, bytesMax: 50 } })
}

function replicating(): Progress {
  const progress = at(10)
  progress.accepted(9, 0)
  return progress
}
