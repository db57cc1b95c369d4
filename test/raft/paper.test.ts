/**
 * The rules of "In Search of an Understandable Consensus Algorithm" (Ongaro, Ousterhout; extended version) and of
 * Ongaro's thesis, each quoted, each tried on one core alone.
 */
import { describe, expect, test } from 'vitest'
import { append, configEntry, entry, LoneNode } from '../harness/raft-lone-node.ts'

const OTHER_TERM_MESSAGES = [
  { type: 'append-answer', from: '2@a', result: { accepted: true, matchIndex: 0 }, attachment: undefined },
  { type: 'heartbeat-answer', from: '2@a', round: 1, askedMs: 0, incarnation: 'x', attachment: undefined },
  { type: 'vote-answer', from: '2@a', granted: true },
  { type: 'newer-term', from: '2@a' },
] as const

describe('5.1 basics', () => {
  test('"If one server\'s current term is smaller than the other\'s, then it updates its current term to the larger value."', () => {
    const node = new LoneNode({ hardState: { term: 1, votedFor: undefined } })
    node.receive(append('2@a', 5))
    expect(node.status).toMatchObject({ term: 5, role: 'follower', leader: '2@a' })
  })

  test('"If a candidate or leader discovers that its term is out of date, it immediately reverts to follower state."', () => {
    for (const message of OTHER_TERM_MESSAGES) {
      const leader = new LoneNode()
      leader.lead()
      expect(leader.status.role).toBe('leader')
      leader.receive({ ...message, term: 7 })
      expect(leader.status).toMatchObject({ role: 'follower', term: 7, votedFor: undefined })
    }
  })

  test('"If a server receives a request with a stale term number, it rejects the request."', () => {
    const node = new LoneNode({ hardState: { term: 3, votedFor: undefined } })
    const output = node.receive(append('2@a', 2, { entries: [entry(1, 2)] }))
    expect(node.status.last.index).toBe(0)
    expect(output.sendAfterPersist).toMatchObject([{ type: 'newer-term', to: '2@a', term: 3 }])
    const answer = node.receive({
      type: 'vote-request',
      from: '3@a',
      term: 2,
      last: { index: 9, term: 2 },
      transfer: false,
    })
    expect(answer.sendAfterPersist).toMatchObject([{ type: 'vote-answer', granted: false, term: 3 }])
  })
})

describe('5.2 leader election', () => {
  test('"When servers start up, they begin as followers."', () => {
    expect(new LoneNode().status).toMatchObject({ role: 'follower', leader: undefined })
  })

  test('"If a follower receives no communication over a period of time called the election timeout, then it assumes there is no viable leader and begins an election."', () => {
    const node = new LoneNode()
    node.advance(999)
    expect(node.status.role).toBe('follower')
    node.advance(1)
    // Begins with the question whether it could win (thesis, 9.6).
    expect(node.status).toMatchObject({ role: 'pre-candidate', term: 0 })
  })

  test('"A server remains in follower state as long as it receives valid RPCs from a leader or candidate."', () => {
    const node = new LoneNode()
    for (let i = 0; i < 20; i++) {
      node.advance(500)
      node.receive({ type: 'heartbeat', from: '2@a', term: 1, commitIndex: 0, round: i, proof: undefined })
    }
    expect(node.status).toMatchObject({ role: 'follower', leader: '2@a' })
  })

  test('"To begin an election, a follower increments its current term and transitions to candidate state. It then votes for itself and issues RequestVote RPCs in parallel to each of the other servers in the cluster."', () => {
    const node = new LoneNode()
    node.advance(1000)
    const output = node.receive({
      type: 'pre-vote-answer',
      from: '2@a',
      term: 0,
      requestTerm: 0,
      granted: true,
    })
    expect(node.status).toMatchObject({ role: 'candidate', term: 1, votedFor: '1@a' })
    expect(output.persist?.hardState).toEqual({ term: 1, votedFor: '1@a' })
    expect(output.sendNow).toEqual([])
    expect(output.sendAfterPersist.map(message => [message.type, message.to])).toEqual([
      ['vote-request', '2@a'],
      ['vote-request', '3@a'],
    ])
  })

  test('"A candidate wins an election if it receives votes from a majority of the servers in the full cluster for the same term."', () => {
    const voters = ['1@a', '2@a', '3@a', '4@a', '5@a']
    const node = new LoneNode({ voters })
    node.advance(1000)
    node.receive({ type: 'pre-vote-answer', from: '2@a', term: 0, requestTerm: 0, granted: true })
    node.receive({ type: 'pre-vote-answer', from: '3@a', term: 0, requestTerm: 0, granted: true })
    node.receive({ type: 'vote-answer', from: '2@a', term: 1, granted: true })
    node.receive({ type: 'vote-answer', from: '2@a', term: 1, granted: true })
    node.receive({ type: 'vote-answer', from: '3@a', term: 1, granted: true })
    // Two and its own, which does not count before it is durable.
    expect(node.status.role).toBe('candidate')
    node.persistAll()
    expect(node.status.role).toBe('leader')
  })

  test('"Each server will vote for at most one candidate in a given term, on a first-come-first-served basis."', () => {
    const node = new LoneNode()
    const request = { type: 'vote-request', term: 1, last: { index: 0, term: 0 }, transfer: false } as const
    expect(node.receive({ ...request, from: '2@a' }).sendAfterPersist).toMatchObject([{ granted: true }])
    expect(node.receive({ ...request, from: '3@a' }).sendAfterPersist).toMatchObject([{ granted: false }])
    expect(node.receive({ ...request, from: '2@a' }).sendAfterPersist).toMatchObject([{ granted: true }])
    expect(node.status.votedFor).toBe('2@a')
  })

  test('"If the leader\'s term is at least as large as the candidate\'s current term, then the candidate recognizes the leader as legitimate and returns to follower state."', () => {
    const node = new LoneNode()
    node.advance(1000)
    node.receive({ type: 'pre-vote-answer', from: '2@a', term: 0, requestTerm: 0, granted: true })
    node.receive(append('3@a', 1))
    // And its vote of the term stays what it was.
    expect(node.status).toMatchObject({ role: 'follower', leader: '3@a', term: 1, votedFor: '1@a' })
  })

  test('"Each candidate will time out and start a new election by incrementing its term."', () => {
    const node = new LoneNode()
    node.advance(1000)
    node.receive({ type: 'pre-vote-answer', from: '2@a', term: 0, requestTerm: 0, granted: true })
    node.advance(1000)
    expect(node.status).toMatchObject({ role: 'pre-candidate', term: 1 })
    node.receive({ type: 'pre-vote-answer', from: '2@a', term: 1, requestTerm: 1, granted: true })
    expect(node.status).toMatchObject({ role: 'candidate', term: 2 })
  })

  test('"Election timeouts are chosen randomly from a fixed interval."', () => {
    const waits = [0, 0.5, 0.999].map(fraction => {
      const node = new LoneNode({ random: () => fraction })
      let ms = 0
      for (; node.status.role === 'follower'; ms += 10) node.advance(10)
      return ms
    })
    expect(waits).toEqual([1000, 1500, 2000])
  })

  test('"Once a candidate wins an election, it becomes leader. It then sends heartbeat messages to all of the other servers."', () => {
    const node = new LoneNode()
    node.lead()
    const sent = node.advance(100).flatMap(output => output.sendNow)
    expect(sent).toMatchObject([
      { type: 'heartbeat', to: '2@a', term: 1 },
      { type: 'heartbeat', to: '3@a', term: 1 },
    ])
  })
})

describe('5.3 log replication', () => {
  test('"The leader appends the command to its log as a new entry, then issues AppendEntries RPCs in parallel to each of the other servers."', () => {
    const node = readyLeader()
    const output = node.step({ type: 'propose', commands: [Buffer.from('x')] })
    expect(output.accepted).toEqual({ index: 2, term: 1 })
    expect(output.persist?.entries).toMatchObject([{ index: 2, term: 1, kind: 'command' }])
    expect(output.sendNow).toMatchObject([
      { type: 'append', to: '2@a', previous: { index: 1, term: 1 } },
      { type: 'append', to: '3@a' },
    ])
  })

  test('"A log entry is committed once the leader that created the entry has replicated it on a majority of the servers."', () => {
    const node = readyLeader()
    node.step({ type: 'propose', commands: [Buffer.from('x')] })
    node.persistAll()
    expect(node.status.commitIndex).toBe(1)
    const output = node.receive(accepted('3@a', 1, 2))
    expect(node.status.commitIndex).toBe(2)
    expect(output.committed).toMatchObject([{ index: 2 }])
    expect(output.sendNow.map(message => message.type)).toContain('append')
  })

  test('"This also commits all preceding entries in the leader\'s log, including entries created by previous leaders."', () => {
    const node = new LoneNode({
      hardState: { term: 1, votedFor: undefined },
      entries: [entry(1, 1), entry(2, 1)],
    })
    node.lead()
    node.receive(accepted('2@a', 2, 3))
    expect(node.status.commitIndex).toBe(3)
  })

  test('"Once a follower learns that a log entry is committed, it applies the entry to its local state machine (in log order)."', () => {
    const node = new LoneNode()
    node.receive(append('2@a', 1, { entries: [entry(1, 1), entry(2, 1), entry(3, 1)], commitIndex: 2 }))
    expect(node.persisted().committed.map(({ index }) => index)).toEqual([1, 2])
  })

  test('"If the follower does not find an entry in its log with the same index and term, then it refuses the new entries."', () => {
    const node = new LoneNode({
      hardState: { term: 2, votedFor: undefined },
      entries: [entry(1, 1), entry(2, 2)],
    })
    for (const previous of [
      { index: 2, term: 1 },
      { index: 3, term: 2 },
    ]) {
      const output = node.receive(append('2@a', 3, { previous, entries: [entry(previous.index + 1, 3)] }))
      expect(output.sendAfterPersist).toMatchObject([
        { result: { accepted: false, previousIndex: previous.index } },
      ])
    }
    expect(node.status.last).toEqual({ index: 2, term: 2 })
  })

  test('"If an existing entry conflicts with a new one (same index but different terms), delete the existing entry and all that follow it."', () => {
    const entries = [entry(1, 1), entry(2, 1), entry(3, 1)]
    const node = new LoneNode({ hardState: { term: 1, votedFor: undefined }, entries })
    const output = node.receive(append('2@a', 2, { previous: { index: 1, term: 1 }, entries: [entry(2, 2)] }))
    expect(output.persist?.entries).toMatchObject([{ index: 2, term: 2 }])
    expect(node.status.last).toEqual({ index: 2, term: 2 })
  })

  test('... and only then: an append that is shorter than the log deletes nothing', () => {
    const node = new LoneNode()
    node.receive(append('2@a', 1, { entries: [entry(1, 1), entry(2, 1), entry(3, 1)] }))
    const output = node.receive(append('2@a', 1, { entries: [entry(1, 1)] }))
    expect(node.status.last.index).toBe(3)
    expect(output.sendAfterPersist).toMatchObject([{ result: { accepted: true, matchIndex: 1 } }])
  })

  test('"If leaderCommit > commitIndex, set commitIndex = min(leaderCommit, index of last new entry)."', () => {
    const node = new LoneNode({
      hardState: { term: 1, votedFor: undefined },
      entries: [entry(1, 1), entry(2, 1)],
    })
    node.receive(append('2@a', 2, { previous: { index: 1, term: 1 }, commitIndex: 2 }))
    // Entry 2 may not be the leader's: it vouched for no more than entry 1.
    expect(node.status.commitIndex).toBe(1)
  })

  test('"If followers crash or run slowly, the leader retries AppendEntries RPCs indefinitely."', () => {
    const node = readyLeader()
    node.step({ type: 'propose', commands: [Buffer.from('x')] })
    node.step({ type: 'connection-lost', member: '2@a' })
    const output = node.step({ type: 'connection-restored', member: '2@a' })
    expect(output.sendNow).toMatchObject([{ type: 'append', to: '2@a', entries: [{ index: 2 }] }])
  })
})

describe('5.4 safety', () => {
  test('"If the logs have last entries with different terms, then the log with the later term is more up-to-date. If the logs end with the same term, then whichever log is longer is more up-to-date."', () => {
    const cases: [{ index: number; term: number }, boolean][] = [
      [{ index: 1, term: 3 }, true],
      [{ index: 2, term: 2 }, true],
      [{ index: 3, term: 2 }, true],
      [{ index: 1, term: 2 }, false],
      [{ index: 9, term: 1 }, false],
    ]
    for (const [last, granted] of cases) {
      const node = new LoneNode({
        hardState: { term: 3, votedFor: undefined },
        entries: [entry(1, 1), entry(2, 2)],
      })
      const output = node.receive({ type: 'vote-request', from: '2@a', term: 4, last, transfer: false })
      expect(output.sendAfterPersist, JSON.stringify(last)).toMatchObject([{ granted }])
    }
  })

  test('"Raft never commits log entries from previous terms by counting replicas. Only log entries from the leader\'s current term are committed by counting replicas."', () => {
    // Figure 8: entry 2 of term 2 is on a majority, and may be overwritten all the same.
    const node = new LoneNode({
      hardState: { term: 2, votedFor: undefined },
      entries: [entry(1, 1), entry(2, 2)],
    })
    node.lead()
    node.receive(accepted('2@a', 3, 2))
    expect(node.status.commitIndex).toBe(0)
    node.receive(accepted('2@a', 3, 3))
    expect(node.status.commitIndex).toBe(3)
  })
})

describe('thesis', () => {
  test('3.8 "Each server persists new log entries before they are counted towards the entries\' commitment"', () => {
    const node = readyLeader()
    node.step({ type: 'propose', commands: [Buffer.from('x')] })
    expect(node.receive(accepted('2@a', 1, 2)).committed).toEqual([])
    expect(node.status.commitIndex).toBe(1)
    expect(node.persisted().committed).toMatchObject([{ index: 2 }])
  })

  test('3.10 "To transfer leadership ... the prior leader stops accepting new client requests ... sends a TimeoutNow request"', () => {
    const node = readyLeader()
    node.receive(accepted('2@a', 1, 1))
    expect(node.step({ type: 'transfer', to: '2@a' }).sendNow).toMatchObject([
      { type: 'timeout-now', to: '2@a' },
    ])
    const refused = node.step({ type: 'propose', commands: [Buffer.from('x')] })
    expect(refused.refusal).toMatchObject({ reason: 'NOT_CONTROLLER', retriable: true })
  })

  test('4.1 "A server always uses the latest configuration in its log, regardless of whether the entry is committed."', () => {
    const node = new LoneNode()
    const membership = { voters: ['1@a', '2@a'], learners: [] }
    node.receive(append('2@a', 1, { entries: [configEntry(1, 1, membership)] }))
    expect(node.status).toMatchObject({ membership, membershipIsCommitted: false })
    node.receive(append('3@a', 2, { entries: [entry(1, 2)] }))
    expect(node.status.membership.voters).toEqual(['1@a', '2@a', '3@a'])
  })

  test('4.2.3 "If a server receives a RequestVote request within the minimum election timeout of hearing from a current leader, it does not update its term or grant its vote."', () => {
    const node = new LoneNode()
    node.receive(append('2@a', 1))
    node.advance(999)
    const request = {
      type: 'vote-request',
      from: '3@a',
      term: 9,
      last: { index: 9, term: 8 },
      transfer: false,
    } as const
    expect(node.receive(request).sendAfterPersist).toEqual([])
    expect(node.status.term).toBe(1)
    expect(node.receive({ ...request, transfer: true }).sendAfterPersist).toMatchObject([{ granted: true }])
  })

  test('6.2 "A leader in Raft steps down if an election timeout elapses without a successful round of heartbeats to a majority of its cluster."', () => {
    const node = readyLeader()
    node.advance(999)
    expect(node.status.role).toBe('leader')
    node.advance(101)
    expect(node.status).toMatchObject({ role: 'follower', term: 1 })
  })

  test('6.4 "If the leader has not yet marked an entry from its current term committed, it waits until it has done so."', () => {
    const node = new LoneNode()
    node.lead()
    expect(node.step({ type: 'read-index', ticket: 5 }).sendNow).toEqual([])
    const round = node.receive(accepted('2@a', 1, 1)).sendNow.find(message => message.type === 'heartbeat')
    const output = node.receive({
      type: 'heartbeat-answer',
      from: '2@a',
      term: 1,
      round: round?.round ?? 0,
      askedMs: 0,
      incarnation: 'x',
      attachment: undefined,
    })
    expect(output.readStates).toEqual([{ ticket: 5, index: 1 }])
  })

  test('9.6 "A candidate only increments its term if it first learns from a majority of the cluster that they would be willing to grant the candidate their votes."', () => {
    const node = new LoneNode()
    node.advance(1000)
    node.receive({ type: 'pre-vote-answer', from: '2@a', term: 0, requestTerm: 0, granted: false })
    node.receive({ type: 'pre-vote-answer', from: '3@a', term: 0, requestTerm: 0, granted: false })
    expect(node.status).toMatchObject({ role: 'follower', term: 0 })
  })
})

function readyLeader(): LoneNode {
  const node = new LoneNode()
  node.lead()
  node.receive(accepted('2@a', 1, 1))
  node.receive(accepted('3@a', 1, 1))
  expect(node.status).toMatchObject({ role: 'leader', term: 1, commitIndex: 1, isReady: true })
  return node
}

function accepted(from: string, term: number, matchIndex: number) {
  const result = { accepted: true, matchIndex } as const
  return { type: 'append-answer', from, term, result, attachment: undefined } as const
}
