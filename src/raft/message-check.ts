/**
 * The gateway for what comes from the network: whatever passes here keeps the invariants that `messages.ts`
 * states, so the roles can assert them. What does not pass is ignored, and said.
 */
import { decodeMembership, findFlaw, isMemberId, type MemberId } from './membership.ts'
import type { LogEntry, LogPosition, RaftMessage } from './messages.ts'

/** What is wrong with the message, if anything is. */
export function findMessageFlaw(message: RaftMessage, self: MemberId): string | undefined {
  if (message.to !== self) return `is for ${message.to}, this is ${self}`
  if (!isMemberId(message.from) || message.from === self) return `comes from "${message.from}"`
  if (!isIndex(message.term)) return `has term ${message.term}`
  switch (message.type) {
    case 'pre-vote-request':
    case 'vote-request':
      return checkPosition(message.last, message.term)
    case 'pre-vote-answer':
      return isIndex(message.requestTerm) ? undefined : `has request term ${message.requestTerm}`
    case 'vote-answer':
      return isIndex(message.quietMs ?? 0) ? undefined : `has heard no leader for ${message.quietMs} ms`
    case 'append':
      if (!isIndex(message.commitIndex)) return `has commit index ${message.commitIndex}`
      return checkPosition(message.previous, message.term) ?? checkEntries(message)
    case 'append-answer': {
      const { result } = message
      if (result.accepted)
        return isIndex(result.matchIndex) ? undefined : `has match index ${result.matchIndex}`
      if (!isIndex(result.previousIndex)) return `has previous index ${result.previousIndex}`
      return checkPosition(result.hint, Number.MAX_SAFE_INTEGER)
    }
    case 'heartbeat':
      if (!isIndex(message.commitIndex)) return `has commit index ${message.commitIndex}`
      if (message.proof && !(isIndex(message.proof.index) && isIndex(message.proof.askedMs)))
        return `proves index ${message.proof.index} as of ${message.proof.askedMs}`
      return isIndex(message.round) ? undefined : `has round ${message.round}`
    case 'heartbeat-answer':
      if (!isIndex(message.askedMs)) return `was asked at ${message.askedMs}`
      return isIndex(message.round) ? undefined : `has round ${message.round}`
    case 'snapshot':
      return checkPosition(message.snapshot, message.term) ?? findFlaw(message.snapshot.membership)
    case 'read-index-answer':
      return message.index === undefined || isIndex(message.index) ? undefined : `has index ${message.index}`
    default:
      return undefined
  }
}

function checkEntries(message: { previous: LogPosition; entries: readonly LogEntry[]; term: number }) {
  let { index, term } = message.previous
  for (const entry of message.entries) {
    if (entry.index !== index + 1) return `has entry ${entry.index} after ${index}`
    if (!isIndex(entry.term) || entry.term < term || entry.term > message.term) {
      return `has an entry of term ${entry.term} after term ${term}`
    }
    if (entry.kind === 'config' && decodeMembership(entry.data) === undefined) {
      return `has an unreadable membership in entry ${entry.index}`
    }
    index = entry.index
    term = entry.term
  }
  return undefined
}

function checkPosition({ index, term }: LogPosition, termMax: number): string | undefined {
  if (!isIndex(index) || !isIndex(term)) return `names the position ${index} of term ${term}`
  return term > termMax ? `names the term ${term}, above its own` : undefined
}

function isIndex(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0
}
