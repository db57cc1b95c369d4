import { expect, test } from 'vitest'
import { ReadIndex } from '../../src/raft/read-index.ts'

const VOTERS = ['1@a', '2@a', '3@a']

test('a read needs a round that begins after it', () => {
  const reads = new ReadIndex(10)
  reads.beginRound()
  reads.add({ ticket: 1 }, 5)
  reads.answered('2@a', 1)
  expect(confirmed(reads)).toEqual([])
  expect(reads.wantsRound).toBe(true)
  reads.beginRound()
  reads.answered('2@a', 2)
  expect(confirmed(reads)).toEqual([[1, 5]])
})

test('reads that come in during a round share the next one', () => {
  const reads = new ReadIndex(10)
  reads.add({ ticket: 1 }, 5)
  reads.beginRound()
  reads.add({ ticket: 2 }, 6)
  reads.add({ ticket: 3 }, 7)
  expect(reads.wantsRound).toBe(false)
  reads.answered('3@a', 1)
  expect(confirmed(reads)).toEqual([[1, 5]])
  expect(reads.wantsRound).toBe(true)
  reads.beginRound()
  reads.answered('3@a', 2)
  expect(confirmed(reads)).toEqual([
    [2, 6],
    [3, 7],
  ])
})

test('an answer to a later round confirms the earlier ones, an answer that comes late takes nothing back', () => {
  const reads = new ReadIndex(10)
  reads.beginRound()
  reads.beginRound()
  reads.answered('2@a', 2)
  reads.answered('2@a', 1)
  reads.add({ ticket: 1 }, 5)
  reads.beginRound()
  reads.answered('3@a', 3)
  reads.answered('3@a', 2)
  expect(confirmed(reads)).toEqual([[1, 5]])
})

test('answers of strangers, of learners, and to rounds that never were confirm nothing', () => {
  const reads = new ReadIndex(10)
  reads.add({ ticket: 1 }, 5)
  reads.beginRound()
  reads.answered('9@a', 1)
  reads.answered('2@a', 7)
  expect(confirmed(reads)).toEqual([])
})

test('a sole voter needs nobody', () => {
  const reads = new ReadIndex(10)
  reads.add({ ticket: 1 }, 5)
  reads.beginRound()
  expect(reads.confirm('1@a', ['1@a'])).toBe(1)
  expect(reads.takeConfirmed()).toHaveLength(1)
})

function confirmed(reads: ReadIndex) {
  reads.confirm('1@a', VOTERS)
  return reads
    .takeConfirmed()
    .map(({ reader, index }) => ['ticket' in reader ? reader.ticket : reader.id, index])
}
