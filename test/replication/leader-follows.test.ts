import { describe, expect, test } from 'vitest'
import type { IsrProposal } from '../../src/replication/in-sync-replicas.ts'
import { catchUp, follow, lead, METADATA, proposalOf, session } from './leader-fixture.ts'

describe('what counts as an acknowledgement', () => {
  test('only one under the present Follow (C1)', () => {
    const state = lead({ isr: [1, 2] })
    const old = catchUp(state, 2, 4)
    const renewed = follow(state, old.from)
    expect(state.acknowledgedBy(2)).toBeUndefined()
    expect(state.onAck(old.from, { number: old.number, endOffset: 4 }, 0)).toEqual([])
    expect(state.acknowledgedBy(2)).toBeUndefined()
    state.onAck(old.from, { number: renewed.number, endOffset: 4 }, 0)
    expect(state.acknowledgedBy(2)).toBe(4)
  })

  test('not the fetch offset (C2), nor more than the leader has', () => {
    const state = lead({ isr: [1, 2] })
    const from = session(2)
    const { number } = follow(state, from)
    expect(state.highWatermark).toBe(0)
    state.onAck(from, { number, endOffset: 5 }, 0)
    expect(state.highWatermark).toBe(0)
  })

  test('not one over a session that is gone', () => {
    const state = lead({ isr: [1, 2] })
    const from = session(2)
    const { number } = follow(state, from)
    state.onSessionBroken(from, 0)
    expect(state.onAck(from, { number, endOffset: 4 }, 0)).toEqual([])
  })
})

describe('a Follow', () => {
  test('of an older epoch is fenced, of a later one not for this leader', () => {
    const state = lead()
    expect(follow(state, session(2), { leaderEpoch: 4 }).answer).toMatchObject({ reason: 'FENCED' })
    expect(follow(state, session(2), { leaderEpoch: 6 }).answer).toMatchObject({ reason: 'NOT_LEADER' })
    expect(follow(state, session(9)).answer).toMatchObject({ reason: 'NOT_REPLICA' })
  })

  test('of a replica removed and added again counts once it knows of that: its log goes in between', () => {
    const state = lead()
    catchUp(state, 2, 4)
    state.onMetadata({ ...METADATA, replicas: [1, 3], isr: [1, 3], partitionEpoch: 11 }, 0)
    expect(follow(state, session(2), { partitionEpoch: 10 }).answer).toMatchObject({ reason: 'NOT_REPLICA' })
    state.onMetadata({ ...METADATA, isr: [1, 3], partitionEpoch: 12 }, 0)
    expect(follow(state, session(2), { partitionEpoch: 10 }).answer).toMatchObject({ reason: 'NOT_REPLICA' })
    expect(follow(state, session(2), { partitionEpoch: 12 }).answer).toEqual({ kind: 'accepted' })
    // Who stayed need not know of it.
    expect(follow(state, session(3), { partitionEpoch: 11 }).answer).toEqual({ kind: 'accepted' })
  })

  test('of one that may have been, because the changes were not seen one by one, waits for these too', () => {
    const state = lead({ isr: [1, 3] })
    state.onMetadata({ ...METADATA, isr: [1, 3], partitionEpoch: 12 }, 0)
    expect(follow(state, session(2), { partitionEpoch: 11 }).answer).toMatchObject({ reason: 'NOT_REPLICA' })
    expect(follow(state, session(2), { partitionEpoch: 12 }).answer).toEqual({ kind: 'accepted' })
    expect(follow(state, session(3), { partitionEpoch: 10 }).answer).toEqual({ kind: 'accepted' })
  })

  test('that comes late does not undo a later one', () => {
    const state = lead({ isr: [1, 2] })
    const { number } = catchUp(state, 2, 4)
    expect(follow(state, session(2), { number: number - 1 }).answer).toMatchObject({ reason: 'AGAIN' })
    expect(state.acknowledgedBy(2)).toBe(4)
  })

  test('of an ISR member below what its directory acknowledged in this epoch is damage (B2)', () => {
    const state = lead()
    catchUp(state, 2, 4)
    const asked = follow(state, session(2), { fetchOffset: 3, lastFetchedEpoch: 2 })
    expect(asked.answer).toMatchObject({ reason: 'DAMAGED' })
    expect(proposalOf(state.tick(1))).toMatchObject({ isr: [{ nodeId: 1 }, { nodeId: 3 }], damaged: [2] })
    // The mark ends when the replica has left the ISR.
    state.onMetadata({ ...METADATA, isr: [1, 3], partitionEpoch: 11 }, 2)
    expect(follow(state, session(2), { fetchOffset: 3, lastFetchedEpoch: 2 }).answer).toEqual({
      kind: 'accepted',
    })
  })

  test('of a new ISR member below what it was let in for is damage, though it acknowledged nothing since', () => {
    const state = lead({ isr: [1, 3] })
    const proposal = proposalOf(catchUp(state, 2, 4).effects) as IsrProposal
    expect(proposal.isr.map(member => member.nodeId)).toEqual([1, 2, 3])
    const asked = () => follow(state, session(2), { fetchOffset: 3, lastFetchedEpoch: 2 }).answer
    expect(asked()).toMatchObject({ reason: 'DAMAGED' })
    state.onMetadata({ ...METADATA, partitionEpoch: 11 }, 0)
    expect(asked()).toMatchObject({ reason: 'DAMAGED' })
  })

  test('may begin lower under write.caching, or with another directory', () => {
    const caching = lead({}, { writeCaching: true })
    catchUp(caching, 2, 4)
    expect(follow(caching, session(2), { fetchOffset: 3, lastFetchedEpoch: 2 }).answer.kind).toBe('accepted')
    const state = lead()
    catchUp(state, 2, 4)
    const other = { ...session(2), directoryId: 'new' }
    expect(follow(state, other, { fetchOffset: 3, lastFetchedEpoch: 2 }).answer.kind).toBe('accepted')
  })
})

describe('a damaged follower', () => {
  test('is not counted any more, and leaves the ISR as one that must not be elected', () => {
    const state = lead()
    catchUp(state, 2, 4)
    expect(follow(state, session(2), { isDamaged: true }).answer).toMatchObject({ reason: 'DAMAGED' })
    expect(state.acknowledgedBy(2)).toBeUndefined()
    expect(proposalOf(state.tick(1))).toMatchObject({ isr: [{ nodeId: 1 }, { nodeId: 3 }], damaged: [2] })
  })

  test('gives its bytes up only when no proposal may put it into the ISR', () => {
    const state = lead({ isr: [1, 3] })
    const proposal = proposalOf(catchUp(state, 2, 4).effects) as IsrProposal
    expect(follow(state, session(2), { isDamaged: true }).answer).toMatchObject({ reason: 'DAMAGED' })
    state.onProposalAnswer(proposal, { kind: 'refused', partitionEpoch: 10 }, 0)
    expect(follow(state, session(2), { isDamaged: true }).answer).toMatchObject({ reason: 'RESET' })
  })

  test('keeps its bytes while it is in the ELR, whatever it knows of that itself', () => {
    const state = lead({ isr: [1], elr: [2] })
    expect(follow(state, session(2), { isDamaged: true }).answer).toMatchObject({ reason: 'DAMAGED' })
    state.onMetadata({ ...METADATA, isr: [1], partitionEpoch: 11 }, 0)
    expect(follow(state, session(2), { isDamaged: true }).answer).toMatchObject({ reason: 'RESET' })
  })
})
