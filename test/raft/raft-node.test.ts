import { describe, expect, test } from 'vitest'
import type { RaftMessage } from '../../src/raft/messages.ts'
import type { RaftEvent } from '../../src/raft/raft-output.ts'
import { append, configEntry, entry, LoneNode } from '../harness/raft-lone-node.ts'

describe('durability', () => {
  test('a completion of a write from before a truncation says nothing of the same position after it', () => {
    const node = new LoneNode({ hardState: { term: 1, votedFor: undefined }, entries: [entry(1, 1)] })
    const previous = { index: 1, term: 1 }
    node.receive(append('2@a', 1, { previous, entries: [entry(2, 1)] }))
    node.receive(append('3@a', 2, { previous, entries: [entry(2, 2)] }))
    node.receive(append('2@a', 3, { previous, entries: [entry(2, 1)] }))
    // Three writes of index 2 are under way; the log holds 2/1 again, but 2/2 comes to the disk in between.
    node.persisted()
    expect(node.status.persistedIndex).toBe(1)
    node.persisted()
    expect(node.status.persistedIndex).toBe(1)
    node.persisted()
    expect(node.status.persistedIndex).toBe(2)
  })

  test('the write of a newer term vouches for what older writes left open', () => {
    const node = new LoneNode()
    node.receive(append('2@a', 1, { entries: [entry(1, 1), entry(2, 1)] }))
    node.receive({ type: 'heartbeat', from: '2@a', term: 2, commitIndex: 2, round: 1, proof: undefined })
    expect(node.persisted().committed).toEqual([])
    expect(node.persisted().committed).toHaveLength(2)
  })

  test('an acknowledgement of what was written before waits in line as well', () => {
    const node = new LoneNode()
    node.receive(append('2@a', 1, { entries: [entry(1, 1)] }))
    const again = node.receive(append('2@a', 1, { entries: [entry(1, 1)] }))
    expect(again.persist).toBeUndefined()
    expect(again.sendNow).toEqual([])
    expect(again.sendAfterPersist).toMatchObject([{ type: 'append-answer' }])
  })
})

describe('input from the network', () => {
  const flawed: [string, Omit<RaftMessage, 'to'> | object][] = [
    ['a gap', append('2@a', 1, { entries: [entry(2, 1)] })],
    ['a falling term', append('2@a', 2, { entries: [entry(1, 2), entry(2, 1)] })],
    ['an entry of the future', append('2@a', 1, { entries: [entry(1, 5)] })],
    ['an unreadable membership', append('2@a', 1, { entries: [{ ...entry(1, 1), kind: 'config' }] })],
    ['a term that is no number', append('2@a', Number.NaN)],
    ['a negative index', append('2@a', 1, { commitIndex: -1 })],
    ['a stranger that cannot be', append('mallory', 1)],
    ['itself', append('1@a', 1)],
    [
      'a position above its term',
      { type: 'vote-request', from: '2@a', term: 1, last: { index: 1, term: 9 }, transfer: false },
    ],
    [
      'two voters of one node',
      {
        type: 'snapshot',
        from: '2@a',
        term: 1,
        snapshot: { index: 1, term: 1, membership: { voters: ['1@a', '1@b'], learners: [] } },
      },
    ],
  ]
  test.each(flawed)('with %s changes nothing and is said', (_what, message) => {
    const node = new LoneNode()
    const before = node.status
    const output = node.receive(message as Parameters<LoneNode['receive']>[0])
    expect(node.status).toEqual(before)
    expect(eventsOf([output])).toEqual(['message-ignored'])
    expect([...output.sendNow, ...output.sendAfterPersist]).toEqual([])
  })

  test('for another disk of this node is not for this member', () => {
    const node = new LoneNode()
    const message = { ...append('2@a', 1), to: '1@b' } as RaftMessage
    expect(eventsOf([node.step({ type: 'message', message })])).toEqual(['message-ignored'])
    expect(node.status.term).toBe(0)
  })

  test('that commits what this log has lost makes this member silent, and is said', () => {
    const node = new LoneNode()
    const output = node.receive({
      type: 'heartbeat',
      from: '2@a',
      term: 1,
      commitIndex: 7,
      round: 1,
      proof: undefined,
    })
    expect(eventsOf([output])).toContain('log-lost')
    expect([...output.sendNow, ...output.sendAfterPersist]).toEqual([])
    expect(node.status.commitIndex).toBe(0)
  })

  test('that acknowledges what was never sent is refused, and said', () => {
    const node = new LoneNode()
    node.lead()
    const result = { accepted: true, matchIndex: 99 } as const
    const output = node.receive({
      type: 'append-answer',
      from: '2@a',
      term: 1,
      result,
      attachment: undefined,
    })
    expect(eventsOf([output])).toContain('message-ignored')
    expect(node.status.commitIndex).toBe(0)
  })
})

describe('limits', () => {
  test('the bytes of proposals that a lost leadership left behind do not count for ever', () => {
    const node = new LoneNode({ limits: { uncommittedBytesMax: 10 } })
    node.lead()
    node.step({ type: 'propose', commands: [Buffer.alloc(10)] })
    expect(node.step({ type: 'propose', commands: [Buffer.alloc(1)] }).refusal?.reason).toBe('OVERLOADED')
    // Another leader overwrites them; then this node leads again.
    node.receive(append('2@a', 2, { entries: [entry(1, 2, 'x')], commitIndex: 1 }))
    node.persistAll()
    node.lead()
    node.receive(accepted('2@a', node.status.term, node.status.last.index))
    expect(node.step({ type: 'propose', commands: [Buffer.alloc(10)] }).refusal).toBeUndefined()
  })

  test('a proposal that is too large alone is accepted when nothing waits', () => {
    const node = new LoneNode({ limits: { uncommittedBytesMax: 10 } })
    node.lead()
    expect(node.step({ type: 'propose', commands: [Buffer.alloc(100)] }).refusal).toBeUndefined()
  })

  test('reads above the limit are given up at once, none is forgotten', () => {
    const node = new LoneNode({ limits: { readsMax: 2 } })
    node.lead()
    const outputs = [1, 2, 3].map(ticket => node.step({ type: 'read-index', ticket }))
    expect(abortedTickets(outputs.flatMap(({ events }) => events))).toEqual([3])
    const end = node.receive({ type: 'newer-term', from: '2@a', term: 9 })
    expect(abortedTickets(end.events)).toEqual([1, 2])
  })

  test('a read that the leader does not answer is given up', () => {
    const node = new LoneNode()
    node.receive(append('2@a', 1))
    const { sendNow } = node.step({ type: 'read-index', ticket: 4 })
    expect(sendNow).toMatchObject([{ type: 'read-index-request', to: '2@a', id: 'i/1' }])
    for (let i = 0; i < 9; i++) {
      node.advance(100)
      node.receive({ type: 'heartbeat', from: '2@a', term: 1, commitIndex: 0, round: i, proof: undefined })
    }
    expect(abortedTickets(node.advance(100).flatMap(({ events }) => events))).toEqual([4])
    const late = node.receive({ type: 'read-index-answer', from: '2@a', term: 1, id: 'i/1', index: 3 })
    expect(late.readStates).toEqual([])
  })
})

describe('elections', () => {
  test('a lost connection shortens three waits, no more: a slow disk must get its chance', () => {
    const node = new LoneNode()
    node.receive(append('2@a', 1))
    node.step({ type: 'connection-lost', member: '2@a' })
    const waits: number[] = []
    for (let i = 0; i < 5; i++) {
      let ms = 0
      while (!eventsOf(node.advance(10)).includes('role-changed')) ms += 10
      waits.push(ms + 10)
    }
    expect(waits).toEqual([200, 200, 200, 1000, 1000])
  })

  test('whoever is elected knows when one of its voters may have heard the leader before for the last time', () => {
    const elected = (quietMs: { quietMs?: number }) => {
      const node = new LoneNode()
      node.receive(append('2@a', 1))
      const heardMs = node.nowMs
      node.advance(1000)
      node.receive({ type: 'pre-vote-answer', from: '3@a', term: 1, requestTerm: 1, granted: true })
      node.persistAll()
      node.advance(50)
      node.receive({ type: 'vote-answer', from: '3@a', term: 2, granted: true, ...quietMs })
      expect(node.status.role).toBe('leader')
      return (node.status.electorsHeardMs ?? 0) - heardMs
    }
    // Itself it asked for votes after 1000 ms.
    expect(elected({ quietMs: 1200 })).toBe(50)
    expect(elected({ quietMs: 300 })).toBe(750)
    expect(elected({})).toBe(1050)
  })

  test('who votes says how long it has heard no leader, and nothing where its process knows of none', () => {
    const node = new LoneNode()
    node.receive(append('2@a', 1))
    node.advance(700)
    const request = {
      type: 'vote-request',
      from: '3@a',
      term: 2,
      last: { index: 9, term: 1 },
      transfer: true,
    } as const
    expect(node.receive(request).sendAfterPersist).toMatchObject([{ granted: true, quietMs: 700 }])
    const [answer] = new LoneNode().receive(request).sendAfterPersist
    expect(answer).toMatchObject({ granted: true })
    expect(answer).not.toHaveProperty('quietMs')
  })

  test('a lost connection to somebody else shortens nothing', () => {
    const node = new LoneNode()
    node.receive(append('2@a', 1))
    node.step({ type: 'connection-lost', member: '3@a' })
    expect(eventsOf(node.advance(999))).not.toContain('role-changed')
  })

  test('the author of a new cluster does not wait', () => {
    const node = new LoneNode({ campaignAtOnce: true })
    expect(eventsOf(node.advance(0))).toEqual(['role-changed'])
    expect(node.status.role).toBe('pre-candidate')
  })

  test('a learner, and a node that knows no membership, never campaign', () => {
    for (const voters of [['2@a', '3@a'], []]) {
      const node = new LoneNode({ voters })
      node.advance(10_000)
      expect(node.status).toMatchObject({ role: 'follower', term: 0 })
    }
  })

  test('a copied timeout-now does not depose the leader it made', () => {
    const node = new LoneNode()
    node.receive({ type: 'timeout-now', from: '2@a', term: 1 })
    expect(node.status).toMatchObject({ role: 'candidate', term: 2 })
    node.receive({ type: 'timeout-now', from: '2@a', term: 1 })
    expect(node.status).toMatchObject({ role: 'candidate', term: 2 })
  })
})

describe('counting votes', () => {
  const VOTE = { type: 'vote-answer', from: '2@a', granted: true } as const

  test('the own vote counts when its own write is durable, not an earlier one', () => {
    const node = new LoneNode()
    node.receive(append('2@a', 1))
    node.receive({ type: 'timeout-now', from: '2@a', term: 1 })
    node.receive({ ...VOTE, term: 2 })
    node.persisted()
    expect(node.status.role).toBe('candidate')
    node.persisted()
    expect(node.status.role).toBe('leader')
  })

  test('a promise to vote in an earlier term is worth nothing in this one', () => {
    const node = new LoneNode({ hardState: { term: 3, votedFor: undefined } })
    node.advance(1000)
    node.receive({ type: 'pre-vote-answer', from: '2@a', term: 2, requestTerm: 2, granted: true })
    expect(node.status).toMatchObject({ role: 'pre-candidate', term: 3 })
    // Whereas one from who is behind, for this very term, is.
    node.receive({ type: 'pre-vote-answer', from: '2@a', term: 2, requestTerm: 3, granted: true })
    expect(node.status).toMatchObject({ role: 'candidate', term: 4 })
  })
})

describe('snapshots', () => {
  test('are not sent to a member that is not there', () => {
    const node = new LoneNode()
    node.lead()
    node.step({ type: 'propose', commands: [Buffer.from('x')] })
    node.persistAll()
    node.receive(accepted('2@a', 1, 2))
    node.step({ type: 'applied', index: 2 })
    node.step({ type: 'compacted', index: 2 })
    for (let i = 0; i < 10; i++) {
      node.advance(100)
      node.receive({
        type: 'heartbeat-answer',
        from: '2@a',
        term: 1,
        round: i,
        askedMs: 0,
        incarnation: 'x',
        attachment: undefined,
      })
    }
    const refused = { accepted: false, previousIndex: 0, hint: { index: 0, term: 0 } } as const
    const answer = {
      type: 'append-answer',
      from: '3@a',
      term: 1,
      result: refused,
      attachment: undefined,
    } as const
    node.step({ type: 'connection-lost', member: '3@a' })
    expect(node.step({ type: 'connection-restored', member: '3@a' }).sendNow).toEqual([])
    expect(node.receive(answer).sendNow).toMatchObject([{ type: 'snapshot', to: '3@a' }])
  })

  const membership = { voters: ['2@a', '3@a'], learners: ['1@a'] }
  const snapshot = { index: 9, term: 1, membership }

  test('one from the leader replaces the log, and is acknowledged when durable', () => {
    const node = new LoneNode({ hardState: { term: 1, votedFor: undefined }, entries: [entry(1, 1)] })
    const output = node.receive({ type: 'snapshot', from: '2@a', term: 2, snapshot })
    expect(output.persist).toMatchObject({ snapshot, entries: [] })
    expect(output.sendAfterPersist).toMatchObject([{ result: { accepted: true, matchIndex: 9 } }])
    expect(node.status).toMatchObject({ membership, last: { index: 9, term: 1 }, commitIndex: 9 })
  })

  test('one of entries that are held already only commits them', () => {
    const node = new LoneNode()
    node.receive(append('2@a', 1, { entries: [1, 2, 3].map(index => entry(index, 1)) }))
    const output = node.receive({
      type: 'snapshot',
      from: '2@a',
      term: 1,
      snapshot: { ...snapshot, index: 2 },
    })
    expect(output.persist).toBeUndefined()
    expect(node.status).toMatchObject({ commitIndex: 2, last: { index: 3, term: 1 } })
  })

  test('an own one that is finished after one from further ahead was installed is of no use', () => {
    const node = new LoneNode()
    node.receive(append('2@a', 1, { entries: [entry(1, 1), entry(2, 1)], commitIndex: 2 }))
    node.persistAll()
    node.step({ type: 'applied', index: 2 })
    node.receive({ type: 'snapshot', from: '2@a', term: 1, snapshot })
    node.step({ type: 'compacted', index: 2 })
    expect(node.status).toMatchObject({ snapshotIndex: 9, logStart: { index: 9, term: 1 } })
  })

  test('the mark for one carries the membership of its index, not the latest', () => {
    const node = new LoneNode()
    const later = configEntry(2, 1, membership)
    node.receive(append('2@a', 1, { entries: [entry(1, 1), later], commitIndex: 1 }))
    expect(node.node.snapshotMarkAt(1)).toEqual({
      index: 1,
      term: 1,
      membership: { voters: ['1@a', '2@a', '3@a'], learners: [] },
    })
  })
})

describe('liveness of members, for the controller', () => {
  test('the leader keeps what the last answer carried, and when it came', () => {
    const node = new LoneNode()
    node.lead()
    node.advance(100)
    const attachment = Buffer.from('applied 5')
    node.receive({
      type: 'heartbeat-answer',
      from: '2@a',
      term: 1,
      round: 1,
      askedMs: 0,
      incarnation: 'x',
      attachment,
    })
    expect(node.status.members.find(({ member }) => member === '2@a')).toMatchObject({
      attachment,
      heardMs: node.nowMs,
    })
  })

  test('answers carry what the driver attached last', () => {
    const node = new LoneNode()
    const attachment = Buffer.from('applied 5')
    node.step({ type: 'attach', attachment })
    expect(node.receive(append('2@a', 1)).sendAfterPersist).toMatchObject([{ attachment }])
    const output = node.receive({
      type: 'heartbeat',
      from: '2@a',
      term: 1,
      commitIndex: 0,
      round: 3,
      proof: undefined,
    })
    expect(output.sendNow).toMatchObject([{ type: 'heartbeat-answer', round: 3, attachment }])
  })
})

function eventsOf(outputs: readonly { events: readonly RaftEvent[] }[]): string[] {
  return outputs.flatMap(({ events }) => events.map(({ type }) => type))
}

function abortedTickets(events: readonly RaftEvent[]): number[] {
  return events.flatMap(event => (event.type === 'reads-aborted' ? event.tickets : []))
}

function accepted(from: string, term: number, matchIndex: number) {
  const result = { accepted: true, matchIndex } as const
  return { type: 'append-answer', from, term, result, attachment: undefined } as const
}
