import { unreachable } from '../../base/assert.ts'
import { NaruError } from '../../base/errors.ts'
import type { MemberId } from '../../raft/membership.ts'
import type {
  Append,
  AppendAnswer,
  Heartbeat,
  HeartbeatAnswer,
  LogPosition,
  RaftMessage,
  SnapshotMessage,
} from '../../raft/messages.ts'
import type { MessageInit } from '../../wire/codec.ts'
import type * as wire from '../../wire/generated/raft.ts'

/** What travels on the stream of messages; snapshots have one of their own. */
export type StreamedMessage = Exclude<RaftMessage, SnapshotMessage>

/** Who speaks to whom: said once, in the first frame of the stream. */
export interface Ends {
  readonly from: MemberId
  readonly to: MemberId
}

/** Raft messages as `naru.internal.v1.RaftMessage`. Whether what comes out makes sense is the core's to check. */
export function toWire(message: StreamedMessage): MessageInit<wire.RaftMessage> {
  const { term } = message
  switch (message.type) {
    case 'pre-vote-request':
      return { term, preVoteRequest: { last: message.last } }
    case 'pre-vote-answer':
      return { term, preVoteAnswer: { requestTerm: message.requestTerm, granted: message.granted } }
    case 'vote-request':
      return { term, voteRequest: { last: message.last, transfer: message.transfer } }
    case 'vote-answer':
      return { term, voteAnswer: { granted: message.granted, quietMs: message.quietMs } }
    case 'append':
      return { term, append: appendToWire(message) }
    case 'append-answer':
      return { term, appendAnswer: appendAnswerToWire(message) }
    case 'heartbeat':
      return { term, heartbeat: heartbeatToWire(message) }
    case 'heartbeat-answer':
      return { term, heartbeatAnswer: heartbeatAnswerToWire(message) }
    case 'timeout-now':
      return { term, timeoutNow: {} }
    case 'read-index-request':
      return { term, readIndexRequest: { id: message.id } }
    case 'read-index-answer':
      return { term, readIndexAnswer: { id: message.id, index: message.index } }
    case 'newer-term':
      return { term, newerTerm: {} }
    default:
      return unreachable(message, 'raft message')
  }
}

/** Throws INVALID_REQUEST where a part is missing. Data of entries are views into what was decoded. */
export function fromWire(message: wire.RaftMessage, ends: Ends): StreamedMessage {
  const envelope = { ...ends, term: message.term }
  if (message.append) return { type: 'append', ...envelope, ...appendFromWire(message.append) }
  if (message.appendAnswer)
    return { type: 'append-answer', ...envelope, ...appendAnswerFromWire(message.appendAnswer) }
  if (message.heartbeat) return { type: 'heartbeat', ...envelope, ...heartbeatFromWire(message.heartbeat) }
  if (message.heartbeatAnswer) {
    const { round, askedMs, incarnation, attachment } = message.heartbeatAnswer
    return { type: 'heartbeat-answer', ...envelope, round, askedMs, incarnation, attachment }
  }
  if (message.readIndexRequest)
    return { type: 'read-index-request', ...envelope, ...message.readIndexRequest }
  if (message.readIndexAnswer) {
    const { id, index } = message.readIndexAnswer
    return { type: 'read-index-answer', ...envelope, id, index }
  }
  return electionFromWire(message, envelope)
}

function electionFromWire(message: wire.RaftMessage, envelope: Ends & { term: number }): StreamedMessage {
  if (message.preVoteRequest)
    return { type: 'pre-vote-request', ...envelope, last: required(message.preVoteRequest.last) }
  if (message.preVoteAnswer) return { type: 'pre-vote-answer', ...envelope, ...message.preVoteAnswer }
  if (message.voteRequest) {
    const { last, transfer } = message.voteRequest
    return { type: 'vote-request', ...envelope, last: required(last), transfer }
  }
  if (message.voteAnswer) {
    const { granted, quietMs } = message.voteAnswer
    return { type: 'vote-answer', ...envelope, granted, ...(quietMs !== undefined && { quietMs }) }
  }
  if (message.timeoutNow) return { type: 'timeout-now', ...envelope }
  if (message.newerTerm) return { type: 'newer-term', ...envelope }
  throw incomplete('no message that this release of Naru knows')
}

function appendToWire({ previous, entries, commitIndex }: Append): MessageInit<wire.RaftAppend> {
  return {
    previous,
    entries: entries.map(({ term, kind, data }) => ({ term, kind: KIND_TO_WIRE[kind], data })),
    commitIndex,
  }
}

function appendFromWire(append: wire.RaftAppend): Pick<Append, 'previous' | 'entries' | 'commitIndex'> {
  const previous = required(append.previous)
  const entries = append.entries.map(({ term, kind, data }, i) => ({
    index: previous.index + 1 + i,
    term,
    kind: KIND_FROM_WIRE[kind],
    data,
  }))
  return { previous, entries, commitIndex: append.commitIndex }
}

function appendAnswerToWire({ result, attachment }: AppendAnswer): MessageInit<wire.RaftAppendAnswer> {
  return result.accepted
    ? { accepted: { matchIndex: result.matchIndex }, attachment }
    : { refused: { previousIndex: result.previousIndex, hint: result.hint }, attachment }
}

function appendAnswerFromWire(answer: wire.RaftAppendAnswer): Pick<AppendAnswer, 'result' | 'attachment'> {
  const { accepted, refused, attachment } = answer
  if (accepted) return { result: { accepted: true, matchIndex: accepted.matchIndex }, attachment }
  if (!refused) throw incomplete('an append answer without its result')
  const { previousIndex, hint } = refused
  return { result: { accepted: false, previousIndex, hint: required(hint) }, attachment }
}

function heartbeatToWire({ commitIndex, round, proof }: Heartbeat): MessageInit<wire.RaftHeartbeat> {
  const { askedMs: freshAskedMs, index: freshIndex, incarnation: freshIncarnation } = proof ?? {}
  return { commitIndex, round, freshAskedMs, freshIndex, freshIncarnation }
}

function heartbeatFromWire(
  heartbeat: wire.RaftHeartbeat,
): Pick<Heartbeat, 'commitIndex' | 'round' | 'proof'> {
  const {
    commitIndex,
    round,
    freshAskedMs: askedMs,
    freshIndex: index,
    freshIncarnation: incarnation,
  } = heartbeat
  const isProven = askedMs !== undefined && index !== undefined && incarnation !== undefined
  return { commitIndex, round, proof: isProven ? { incarnation, askedMs, index } : undefined }
}

function heartbeatAnswerToWire(message: HeartbeatAnswer): MessageInit<wire.RaftHeartbeatAnswer> {
  const { round, askedMs, incarnation, attachment } = message
  return { round, askedMs, incarnation, attachment }
}

export function required(position: wire.RaftPosition | undefined): LogPosition {
  if (!position) throw incomplete('no position')
  return position
}

function incomplete(what: string): NaruError {
  return new NaruError('INVALID_REQUEST', `a raft message holds ${what}`)
}

const KIND_TO_WIRE = { noop: 'NOOP', command: 'COMMAND', config: 'CONFIG' } as const
const KIND_FROM_WIRE = { NOOP: 'noop', COMMAND: 'command', CONFIG: 'config' } as const
