/** The words that scenario transcripts are written in. Positions are `index/term`; member 1@a is just 1. */
import { decodeMembership, type MemberId, type Membership } from '../../src/raft/membership.ts'
import type { LogEntry, LogPosition, RaftMessage } from '../../src/raft/messages.ts'
import type { RaftEvent } from '../../src/raft/raft-output.ts'
import type { RaftStatus } from '../../src/raft/raft-status.ts'

export function shortId(member: MemberId): string {
  return member.replace(/@a$/, '')
}

export function longId(short: string): MemberId {
  return short.includes('@') ? short : `${short}@a`
}

export function describePosition({ index, term }: LogPosition): string {
  return `${index}/${term}`
}

export function describeMembership({ voters, learners }: Membership): string {
  const names = (members: readonly MemberId[]) => members.map(shortId).join(' ')
  return `voters (${names(voters)})${learners.length > 0 ? ` learners (${names(learners)})` : ''}`
}

export function describeEntry(entry: LogEntry): string {
  const place = describePosition(entry)
  if (entry.kind === 'noop') return `${place} noop`
  if (entry.kind === 'command') return `${place} "${Buffer.from(entry.data).toString()}"`
  const membership = decodeMembership(entry.data)
  return `${place} ${membership === undefined ? 'unreadable' : describeMembership(membership)}`
}

export function describeMessage(message: RaftMessage): string {
  const head = `${shortId(message.from)}->${shortId(message.to)} ${message.type} term ${message.term}`
  switch (message.type) {
    case 'pre-vote-request':
      return `${head} last ${describePosition(message.last)}`
    case 'pre-vote-answer':
      return `${head} ${message.granted ? 'granted' : 'refused'}`
    case 'vote-request':
      return `${head} last ${describePosition(message.last)}${message.transfer ? ' transfer' : ''}`
    case 'vote-answer':
      return `${head} ${message.granted ? 'granted' : 'refused'}`
    case 'append': {
      const entries = message.entries.map(describeEntry).join(', ')
      return `${head} after ${describePosition(message.previous)} [${entries}] commit ${message.commitIndex}`
    }
    case 'append-answer': {
      const { result } = message
      if (result.accepted) return `${head} match ${result.matchIndex}`
      return `${head} refused after ${result.previousIndex}, hint ${describePosition(result.hint)}`
    }
    case 'heartbeat':
      return `${head} round ${message.round} commit ${message.commitIndex}`
    case 'heartbeat-answer':
      return `${head} round ${message.round}`
    case 'snapshot':
      return `${head} ${describePosition(message.snapshot)} ${describeMembership(message.snapshot.membership)}`
    case 'read-index-request':
      return `${head} read ${message.id}`
    case 'read-index-answer':
      return `${head} read ${message.id} ${message.index === undefined ? 'refused' : `index ${message.index}`}`
    default:
      return head
  }
}

export function describeEvent(event: RaftEvent): string {
  switch (event.type) {
    case 'role-changed': {
      const leader = event.leader === undefined ? '' : ` of ${shortId(event.leader)}`
      return `is ${event.role}${event.role === 'follower' ? leader : ''} in term ${event.term}: ${event.reason.replaceAll('@a', '')}`
    }
    case 'leader-ready':
      return `leads with an entry of its own committed, ${event.index}/${event.term}`
    case 'membership-changed':
      return `has from ${event.index} on ${describeMembership(event.membership)}`
    case 'truncated':
      return `cuts its log before ${event.from}`
    case 'reads-aborted':
      return `gives up reads ${event.tickets.join(' ')}: ${event.reason.replaceAll('@a', '')}`
    case 'transfer-ended':
      return `ends the transfer to ${shortId(event.to)}: ${event.reason.replaceAll('@a', '')}`
    case 'stall-detected':
      return `stood still for ${event.stalledMs} ms`
    case 'log-lost':
      return `has lost what it acknowledged to ${shortId(event.from)}: ${event.acknowledged}, its log ends at ${event.lastIndex}`
    case 'message-ignored':
      return `ignores ${event.kind} of ${shortId(event.from)}: ${event.reason.replaceAll('@a', '')}`
  }
}

export function describeStatus(status: RaftStatus | undefined, member: MemberId): string[] {
  if (status === undefined) return [`${shortId(member)} is down`]
  const { role, term, leader, last, persistedIndex, commitIndex, appliedIndex, logStart } = status
  const of = role === 'follower' ? ` of ${leader === undefined ? 'nobody' : shortId(leader)}` : ''
  const start = logStart.index > 0 ? ` start ${describePosition(logStart)}` : ''
  const lines = [
    `${shortId(member)} ${role}${of} term ${term}${start} last ${describePosition(last)} ` +
      `persisted ${persistedIndex} commit ${commitIndex} applied ${appliedIndex} ${describeMembership(status.membership)}`,
  ]
  for (const { member: other, state, matchIndex, nextIndex, isPaused, inflightCount } of status.members) {
    const inflight = inflightCount > 0 ? ` inflight ${inflightCount}` : ''
    lines.push(
      `  ${shortId(other)}: ${state} match ${matchIndex} next ${nextIndex}${isPaused ? ' paused' : ''}${inflight}`,
    )
  }
  return lines
}
