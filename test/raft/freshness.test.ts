/** Rule C12: the lease of a node counts from when it asked, and needs a leader that led after that. */
import { expect, test } from 'vitest'
import { append, entry, LoneNode } from '../harness/raft-lone-node.ts'

const LEADER = { from: '2@a', term: 1 } as const

test('what arrives after a pause is as old as the question that it answers', () => {
  const node = new LoneNode()
  node.nowMs = 100
  hear(node, undefined)
  node.nowMs = 200
  hear(node, { askedMs: 100, index: 0 })
  expect(freshMs(node)).toBe(100)
  // Stopped for ten seconds, and then everything at once that had come meanwhile.
  node.nowMs = 10_200
  for (let round = 0; round < 20; round++) hear(node, { askedMs: 200, index: 0 })
  expect(freshMs(node)).toBe(200)
  node.nowMs = 10_250
  hear(node, { askedMs: 10_200, index: 0 })
  expect(freshMs(node)).toBe(10_200)
})

test('each answer asks anew, by the own clock', () => {
  const node = new LoneNode()
  node.nowMs = 123.9
  expect(hear(node, undefined).sendNow).toMatchObject([
    { type: 'heartbeat-answer', askedMs: 123, incarnation: 'i' },
  ])
})

test('what the process before asked, by a clock of its own, proves nothing to the next one', () => {
  const node = new LoneNode()
  node.nowMs = 100
  hear(node, { incarnation: 'before', askedMs: 3_600_000, index: 0 })
  hear(node, { incarnation: 'before', askedMs: 50, index: 0 })
  expect(freshMs(node)).toBeUndefined()
  hear(node, { askedMs: 60, index: 0 })
  expect(freshMs(node)).toBe(60)
})

test('who lacks what the leader had decided by then is not so fresh, until it has applied that', () => {
  const node = new LoneNode()
  node.nowMs = 100
  node.receive(append('2@a', 1, { entries: [entry(1, 1), entry(2, 1)], commitIndex: 2 }))
  node.persistAll()
  hear(node, { askedMs: 50, index: 2 })
  hear(node, { askedMs: 60, index: 3 })
  expect(freshMs(node)).toBeUndefined()
  node.step({ type: 'applied', index: 1 })
  expect(freshMs(node)).toBeUndefined()
  node.step({ type: 'applied', index: 2 })
  expect(freshMs(node)).toBe(50)
})

test('a snapshot makes fresh only once it is installed: until then the state is the one before', () => {
  const node = new LoneNode()
  node.nowMs = 100
  node.receive(append('2@a', 1, { entries: [entry(1, 1)], commitIndex: 1 }))
  node.persistAll()
  node.step({ type: 'applied', index: 1 })
  node.receive(append('2@a', 1, { previous: { index: 1, term: 1 }, entries: [entry(2, 1)] }))
  const snapshot = { index: 9, term: 1, membership: node.status.membership }
  node.receive({ type: 'snapshot', ...LEADER, snapshot })
  hear(node, { askedMs: 40, index: 1 })
  expect(freshMs(node)).toBe(40)
  hear(node, { askedMs: 50, index: 9 })
  // The write of the entry before is no word of the snapshot.
  node.persisted()
  expect(freshMs(node)).toBe(40)
  node.persisted()
  expect(freshMs(node)).toBe(50)
})

test('a leader proves nothing, not even to itself, that a majority has not confirmed after the question', () => {
  const node = new LoneNode({ voters: ['1@a', '2@a', '3@a', '4@a', '5@a'] })
  node.lead()
  const { term, last } = node.status
  const result = { accepted: true, matchIndex: last.index } as const
  for (const from of ['2@a', '3@a'])
    node.receive({ type: 'append-answer', from, term, result, attachment: undefined })
  node.step({ type: 'applied', index: last.index })
  const proofsAfter = () =>
    node
      .advance(100)
      .flatMap(output => output.sendNow)
      .flatMap(message => (message.type === 'heartbeat' && message.to === '2@a' ? message : []))
  const answer = (from: string, round: number, askedMs: number) =>
    node.receive({
      type: 'heartbeat-answer',
      from,
      term,
      round,
      askedMs,
      incarnation: from,
      attachment: undefined,
    })
  const [first] = proofsAfter()
  const firstMs = node.nowMs
  answer('2@a', first?.round ?? 0, 7)
  const [second] = proofsAfter()
  expect(second?.proof).toBeUndefined()
  // The first round is confirmed now, which began before the question.
  answer('3@a', first?.round ?? 0, 8)
  expect(freshMs(node)).toBe(firstMs)
  const [third] = proofsAfter()
  expect(third?.proof).toBeUndefined()
  answer('3@a', second?.round ?? 0, 9)
  answer('4@a', second?.round ?? 0, 9)
  const [fourth] = proofsAfter()
  expect(fourth?.proof).toEqual({ incarnation: '2@a', askedMs: 7, index: last.index })
})

test('a sole voter that leads is always fresh', () => {
  const node = new LoneNode({ voters: ['1@a'] })
  expect(freshMs(node)).toBeUndefined()
  node.advance(0)
  node.persistAll()
  node.persistAll()
  expect(node.status.role).toBe('leader')
  node.nowMs = 5_000
  expect(freshMs(node)).toBe(5_000)
})

function hear(node: LoneNode, asked: { incarnation?: string; askedMs: number; index: number } | undefined) {
  const proof = asked && { incarnation: 'i', ...asked }
  return node.receive({ type: 'heartbeat', ...LEADER, commitIndex: 0, round: 1, proof })
}

function freshMs(node: LoneNode): number | undefined {
  return node.node.freshMs(node.nowMs)
}
