import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { FollowerSession } from '../../src/replication/follower-progress.ts'
import type { IsrProposal } from '../../src/replication/in-sync-replicas.ts'
import type { LeaderEffect } from '../../src/replication/leader-state.ts'
import { REPLICA_TIMING } from '../../src/replication/replica-timing.ts'
import {
  append,
  catchUp,
  follow,
  ineligible,
  isrOf,
  lead,
  log,
  METADATA,
  proposalOf,
  session,
  useLog,
} from './leader-fixture.ts'

describe('the high watermark', () => {
  test('waits for every member of the ISR, and for the own disk', () => {
    const state = lead({}, { storedEndOffset: 3 })
    expect(catchUp(state, 2, 4).effects).toEqual([])
    expect(catchUp(state, 3, 4).effects).toEqual([{ type: 'advanceHighWatermark', highWatermark: 3 }])
    expect(state.onStored(4)).toEqual([{ type: 'advanceHighWatermark', highWatermark: 4 }])
  })

  test('stands while the ISR is below min.insync.replicas, whatever is acknowledged', () => {
    const state = lead({ isr: [1] })
    catchUp(state, 2, 4)
    expect(state.highWatermark).toBe(0)
    expect(state.refusalOf('ALL', { isUnheard: false })).toBe('NOT_ENOUGH_REPLICAS')
    state.onMetadata({ ...METADATA, isr: [1, 2], partitionEpoch: 11 }, 0)
    expect(state.highWatermark).toBe(4)
    expect(state.refusalOf('ALL', { isUnheard: true })).toBeUndefined()
  })

  test('waits for a proposed member until metadata or the controller end the proposal (C5)', () => {
    const state = lead({ isr: [1, 2] })
    const two = catchUp(state, 2, 4)
    const three = catchUp(state, 3, 4)
    const proposal = proposalOf(three.effects) as IsrProposal
    expect(proposal.isr).toContainEqual({ nodeId: 3, nodeEpoch: 1 })
    append(state, 1)
    state.onStored(5)
    expect(state.onAck(two.from, { number: two.number, endOffset: 5 }, 0)).toEqual([])
    expect(state.onProposalAnswer(proposal, { kind: 'unknown' }, 0)).toEqual([])
    expect(state.onProposalAnswer(proposal, { kind: 'accepted' }, 0)).toEqual([])
    // A copy of it was accepted before this one was looked at.
    expect(state.onProposalAnswer(proposal, { kind: 'refused', partitionEpoch: 11 }, 0)).toEqual([])
    expect(state.maximalIsr).toEqual([1, 2, 3])
    const refused = state.onProposalAnswer(proposal, { kind: 'refused', partitionEpoch: 10 }, 0)
    expect(refused).toEqual([{ type: 'advanceHighWatermark', highWatermark: 5 }])
  })

  test('is told to be current once it has reached the start of the epoch', () => {
    const state = lead({ isr: [1, 2] })
    expect(state.isHighWatermarkCurrent).toBe(false)
    catchUp(state, 2, 4)
    expect(state.isHighWatermarkCurrent).toBe(true)
  })

  test('of a partition with one replica is the own disk', () => {
    const state = lead({ replicas: [1], isr: [1] }, { minInsyncReplicas: 1 })
    expect(state.begin()).toEqual([{ type: 'advanceHighWatermark', highWatermark: 4 }])
  })

  test('is what a naive count says, whatever comes in whatever order', () => {
    const event = fc.record({ node: fc.constantFrom(1, 2, 3), end: fc.nat(20), renew: fc.boolean() })
    fc.assert(
      fc.property(
        fc.array(event, { maxLength: 40 }),
        fc.constantFrom(1, 2, 3),
        fc.subarray([2, 3]),
        (events, min, isr) => {
          useLog('')
          const state = lead({ isr: [1, ...isr] }, { minInsyncReplicas: min, storedEndOffset: 0 })
          append(state, 20)
          const naive = new Map<number, number>([[1, 0]])
          const numbers = new Map<number, { from: FollowerSession; number: number }>()
          let expected = 0
          for (const { node, end, renew } of events) {
            if (node === 1) {
              state.onStored(end)
              naive.set(1, Math.max(end, naive.get(1) ?? 0))
            } else {
              let known = numbers.get(node)
              if (!known || renew) {
                const from = session(node)
                const { number, answer } = follow(state, from, {
                  fetchOffset: end,
                  lastFetchedEpoch: end ? 5 : undefined,
                })
                naive.delete(node)
                numbers.delete(node)
                if (answer.kind !== 'accepted') continue
                known = { from, number }
                numbers.set(node, known)
              }
              state.onAck(known.from, { number: known.number, endOffset: end }, 0)
              naive.set(node, Math.max(end, naive.get(node) ?? 0))
            }
            if (state.isr.length >= min && state.maximalIsr.every(id => naive.has(id)))
              expected = Math.max(expected, Math.min(...state.maximalIsr.map(id => naive.get(id) as number)))
            expect(state.highWatermark).toBe(expected)
          }
        },
      ),
      { numRuns: 500 },
    )
  })
})

describe('a follower leaves the ISR', () => {
  test('one second after the leader began, if it has not followed', () => {
    const state = lead()
    catchUp(state, 2, 4)
    expect(state.tick(1000)).toEqual([])
    expect(isrOf(state.tick(1001))).toEqual([1, 2])
  })

  test('not because nobody looked at it while nothing happened: a new Follow, a broken stream, new metadata', () => {
    const state = lead()
    const [second, third] = [catchUp(state, 2, 4).from, catchUp(state, 3, 4).from]
    expect(state.isQuiet).toBe(true)
    // An hour without ticks, in which the heartbeats went on.
    const nowMs = 3_600_000
    second.heardMs = third.heardMs = nowMs - 100
    follow(state, second)
    state.onSessionBroken(third, nowMs)
    expect(state.isQuiet).toBe(false)
    expect(state.tick(nowMs)).toEqual([])
    expect(state.onMetadata({ ...METADATA, partitionEpoch: 11 }, nowMs)).toEqual([])
    expect(state.proposal).toBeUndefined()
    state.tick(nowMs + REPLICA_TIMING.disconnectGraceMs + 1)
    expect(state.proposal?.isr.map(({ nodeId }) => nodeId)).toEqual([1, 2])
    expect(state.isQuiet).toBe(false)
  })

  test('and the partition is quiet as long as it could not come back', () => {
    const state = lead({ isr: [1, 2] })
    catchUp(state, 2, 4)
    expect(state.isQuiet).toBe(true)
    ineligible.add(3)
    catchUp(state, 3, 4)
    expect(state.isQuiet).toBe(true)
    ineligible.clear()
    expect(state.isQuiet).toBe(false)
    expect(isrOf(state.tick(100))).toEqual([1, 2, 3])
  })

  test('when it has not caught up for the lag time, though it follows and acknowledges', () => {
    const state = lead({ isr: [1, 2] })
    const { from } = catchUp(state, 2, 4)
    for (let nowMs = 200; nowMs <= 5200; nowMs += 100) {
      append(state, 1, nowMs)
      from.heardMs = nowMs
      expect(isrOf(state.tick(nowMs))).toBeUndefined()
    }
    expect(isrOf(state.tick(5201))).toEqual([1])
  })

  test('not while each acknowledgement covers an end of less than the lag time ago (C9)', () => {
    const state = lead({ isr: [1, 2] })
    const { from, number } = catchUp(state, 2, 4)
    for (let nowMs = 100; nowMs <= 20_000; nowMs += 100) {
      append(state, 1, nowMs)
      from.heardMs = nowMs
      // Three seconds behind all the time.
      state.onAck(from, { number, endOffset: Math.max(4, log.logEndOffset - 30) }, nowMs)
      expect(isrOf(state.tick(nowMs))).toBeUndefined()
    }
  })

  test('when nothing is heard of it, though all is acknowledged', () => {
    const state = lead({ isr: [1, 2] })
    const { from } = catchUp(state, 2, 4)
    from.heardMs = 2000
    expect(state.tick(7000)).toEqual([])
    expect(isrOf(state.tick(7001))).toEqual([1])
  })

  test('when its stream broke and it has not followed again within the grace', () => {
    const state = lead({ isr: [1, 2] })
    const { from } = catchUp(state, 2, 4)
    state.onSessionBroken(from, 1500)
    expect(state.tick(1800)).toEqual([])
    expect(isrOf(state.tick(1801))).toEqual([1])
  })

  test('not when it has followed again by then', () => {
    const state = lead({ isr: [1, 2] })
    const { from } = catchUp(state, 2, 4)
    state.onSessionBroken(from, 1500)
    catchUp(state, 2, 4, 1700)
    expect(state.tick(1900)).toEqual([])
  })
})

describe('a follower enters the ISR', () => {
  test('with HW and the start of the epoch acknowledged, though HW itself is below the start (C4)', () => {
    const state = lead({ isr: [1] })
    const from = session(2)
    const { number } = follow(state, from)
    expect(state.onAck(from, { number, endOffset: 3 }, 0)).toEqual([])
    expect(isrOf(state.onAck(from, { number, endOffset: 4 }, 0))).toEqual([1, 2])
    expect(state.highWatermark).toBe(0)
  })

  test('not while the metadata do not let it', () => {
    ineligible.add(2)
    const state = lead({ isr: [1] })
    expect(catchUp(state, 2, 4).effects).toEqual([])
    ineligible.clear()
    expect(isrOf(state.tick(1))).toEqual([1, 2])
  })

  test('by one proposal at a time, and after a refusal not at once', () => {
    const state = lead({ isr: [1] })
    const proposal = proposalOf(catchUp(state, 2, 4).effects) as IsrProposal
    expect(catchUp(state, 3, 4).effects).toEqual([])
    state.onProposalAnswer(proposal, { kind: 'refused', partitionEpoch: 10 }, 100)
    expect(state.tick(200)).toEqual([])
    expect(isrOf(state.tick(600))).toEqual([1, 2, 3])
  })

  test('after it left, only with a new Follow: the controller may have taken it out as damaged', () => {
    const state = lead()
    const { number } = catchUp(state, 2, 4)
    const effects = state.onMetadata({ ...METADATA, isr: [1, 3], partitionEpoch: 11 }, 0)
    expect(effects).toMatchObject([{ type: 'refuse', number, reason: 'AGAIN' }])
    expect(isrOf(catchUp(state, 2, 4).effects)).toEqual([1, 2, 3])
  })

  test('only with a new Follow if it may have been removed and added again unseen', () => {
    const state = lead({ isr: [1] })
    ineligible.add(2)
    const { number } = catchUp(state, 2, 4)
    ineligible.clear()
    const effects = state.onMetadata({ ...METADATA, isr: [1], partitionEpoch: 12 }, 0)
    expect(effects).toMatchObject([{ type: 'refuse', number, reason: 'AGAIN' }])
    expect(isrOf(catchUp(state, 2, 4).effects)).toEqual([1, 2])
  })
})

test('a follower whose replica was moved away is told so, and nothing goes to it any more', () => {
  const state = lead({ isr: [1, 2] })
  const { number } = catchUp(state, 3, 3)
  const effects = state.onMetadata({ ...METADATA, replicas: [1, 2], isr: [1, 2], partitionEpoch: 11 }, 0)
  expect(effects).toMatchObject([{ type: 'refuse', number, reason: 'NOT_REPLICA' }])
  expect(state.acknowledgedBy(3)).toBeUndefined()
})

test('HW does not move by an ISR of now and a min.insync.replicas of then', () => {
  const state = lead({}, { minInsyncReplicas: 1 })
  const after = { ...METADATA, isr: [1], elr: [2], partitionEpoch: 12 }
  expect(state.onMetadata(after, 0, 2)).toEqual([])
  expect(state.onMetadata(after, 0, 1)).toEqual([{ type: 'advanceHighWatermark', highWatermark: 4 }])
})

test('metadata of an older partition epoch are ignored', () => {
  const state = lead()
  expect(state.onMetadata({ ...METADATA, isr: [1], partitionEpoch: 10 }, 0)).toEqual([])
  expect(state.isr).toEqual([1, 2, 3])
})

test('a successor that follows anew says what it holds before it is given the lead', () => {
  const state = lead()
  for (const nodeId of [2, 3]) catchUp(state, nodeId, 4)
  follow(state, session(2))
  expect(state.handOver(2)).toBeUndefined()
  const again = session(2)
  const { number: next } = follow(state, again)
  state.onAck(again, { number: next, endOffset: 4 }, 0)
  expect(proposalOf([state.handOver(2) as LeaderEffect])?.successorId).toBe(2)
})

test('a leader that has asked for what may depose it has no lease until it knows that it was not (C12)', () => {
  const isUnheard = false
  const state = lead({}, { minInsyncReplicas: 3 })
  for (const nodeId of [2, 3]) catchUp(state, nodeId, 4)
  expect(state.mayBeDeposed).toBe(false)
  const handOver = proposalOf([state.handOver(2) as LeaderEffect]) as IsrProposal
  expect(state.refusalOf('LEADER', { isUnheard })).toBe('UNHEARD')
  expect(state.isQuiet).toBe(false)
  state.withdrawHandover()
  // It may still be accepted: that nothing is to be changed is refused only behind it.
  expect(state.mayBeDeposed).toBe(true)
  expect(state.onProposalAnswer(handOver, { kind: 'refused', partitionEpoch: 10 }, 0)).toEqual([])
  expect(state.mayBeDeposed).toBe(true)
  const unchanged = proposalOf(state.tick(0)) as IsrProposal
  expect(unchanged).toMatchObject({ isr: [{ nodeId: 1 }, { nodeId: 2 }, { nodeId: 3 }] })
  expect(unchanged.successorId).toBeUndefined()
  state.onProposalAnswer(unchanged, { kind: 'unknown' }, 0)
  expect(state.mayBeDeposed).toBe(true)
  state.onProposalAnswer(unchanged, { kind: 'refused', partitionEpoch: 10 }, 0)
  expect(state.mayBeDeposed).toBe(false)
  expect(state.isQuiet).toBe(true)
  expect(state.refusalOf('LEADER', { isUnheard })).toBeUndefined()
  // Below the minimum the controller may find that this leader is the one that is cut off (C8).
  const { from } = catchUp(state, 3, 4, 0)
  state.onSessionBroken(from, 0)
  proposalOf(state.tick(400 + REPLICA_TIMING.proposalBackoffMs))
  expect(state.refusalOf('LEADER', { isUnheard })).toBe('UNHEARD')
  state.onMetadata({ ...METADATA, isr: [1, 2], partitionEpoch: 11 }, 1_000)
  expect(state.refusalOf('LEADER', { isUnheard })).toBeUndefined()
})

test('a leader that the controller may not hear takes only acks=all (C12)', () => {
  const state = lead()
  expect(state.refusalOf('LEADER', { isUnheard: true })).toBe('UNHEARD')
  expect(state.refusalOf('NONE', { isUnheard: true })).toBe('UNHEARD')
  expect(state.refusalOf('ALL', { isUnheard: true })).toBeUndefined()
  expect(state.refusalOf('LEADER', { isUnheard: false })).toBeUndefined()
})
