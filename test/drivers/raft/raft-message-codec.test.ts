import { describe, expect, it } from 'vitest'
import { fromWire, type StreamedMessage, toWire } from '../../../src/drivers/raft/raft-message-codec.ts'
import { Raft } from '../../../src/wire/generated/internal-services.ts'

const ends = { from: '1@a', to: '2@b' }
const last = { index: 7, term: 3 }

const MESSAGES: StreamedMessage[] = [
  { type: 'pre-vote-request', ...ends, term: 3, last },
  { type: 'pre-vote-answer', ...ends, term: 3, requestTerm: 4, granted: true },
  { type: 'vote-request', ...ends, term: 4, last, transfer: true },
  { type: 'vote-answer', ...ends, term: 4, granted: false },
  { type: 'vote-answer', ...ends, term: 4, granted: true, quietMs: 0 },
  {
    type: 'append',
    ...ends,
    term: 4,
    previous: last,
    entries: [
      { index: 8, term: 4, kind: 'noop', data: Buffer.alloc(0) },
      { index: 9, term: 4, kind: 'config', data: Buffer.from('members') },
      { index: 10, term: 4, kind: 'command', data: Buffer.from([0, 255]) },
    ],
    commitIndex: 7,
  },
  { type: 'append', ...ends, term: 1, previous: { index: 0, term: 0 }, entries: [], commitIndex: 0 },
  {
    type: 'append-answer',
    ...ends,
    term: 4,
    result: { accepted: true, matchIndex: 0 },
    attachment: undefined,
  },
  {
    type: 'append-answer',
    ...ends,
    term: 4,
    result: { accepted: false, previousIndex: 9, hint: { index: 0, term: 0 } },
    attachment: Buffer.alloc(0),
  },
  { type: 'heartbeat', ...ends, term: 4, commitIndex: 9, round: 12, proof: undefined },
  {
    type: 'heartbeat',
    ...ends,
    term: 4,
    commitIndex: 9,
    round: 12,
    proof: { incarnation: 'p', askedMs: 77, index: 5 },
  },
  {
    type: 'heartbeat-answer',
    ...ends,
    term: 4,
    round: 12,
    askedMs: 1_234,
    incarnation: 'p',
    attachment: Buffer.from('news'),
  },
  { type: 'timeout-now', ...ends, term: 4 },
  { type: 'read-index-request', ...ends, term: 4, id: 'x/1' },
  { type: 'read-index-answer', ...ends, term: 4, id: 'x/1', index: 0 },
  { type: 'read-index-answer', ...ends, term: 4, id: 'x/1', index: undefined },
  { type: 'newer-term', ...ends, term: 9 },
]

describe('raft messages on the wire', () => {
  for (const [i, message] of MESSAGES.entries()) {
    it(`come back as they were: ${message.type} (${i})`, () => {
      const bytes = Raft.exchange.request.encode({ message: toWire(message) })
      const decoded = Raft.exchange.request.decode(bytes).message
      expect(decoded && fromWire(decoded, ends)).toEqual(message)
    })
  }

  it('are refused where a part is missing', () => {
    expect(() => fromWire({ term: 1 }, ends)).toThrow(/no message/)
    expect(() => fromWire({ term: 1, voteRequest: { transfer: false } }, ends)).toThrow(/no position/)
    expect(() => fromWire({ term: 1, appendAnswer: {} }, ends)).toThrow(/without its result/)
  })
})
