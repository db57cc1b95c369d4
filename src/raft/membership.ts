/**
 * Who takes part in the quorum, and the single-member changes between two memberships.
 *
 * A member is a node *with its storage*: a node whose disk was replaced is another member, since it has
 * forgotten what the old one voted for and acknowledged (rule A1). Membership changes one member at a time
 * (Ongaro's thesis, section 4.1): any majority of the old voters and any majority of the new ones then share
 * a voter, which is what keeps two leaders of one term apart. Replacing a voter takes two changes (A3).
 */
import { assert } from '../base/assert.ts'
import type { NodeId, Uuid } from '../base/brands.ts'

/** `<node id>@<directory id>`: as a string, so that it can be compared, be a key, and be printed as it is. */
export type MemberId = string

/**
 * Invariants: both lists sorted and free of duplicates; no member is in both; no two voters share a node id.
 * No voters at all is the state of a node that has joined and waits to be told the membership.
 */
export interface Membership {
  readonly voters: readonly MemberId[]
  readonly learners: readonly MemberId[]
}

export interface MembershipChange {
  /** `promote` makes a learner a voter, `demote` the other way round; `remove` ends either. */
  readonly op: 'add-learner' | 'promote' | 'demote' | 'remove'
  readonly member: MemberId
}

export const NO_MEMBERS: Membership = { voters: [], learners: [] }

export function memberId(nodeId: NodeId, directoryId: Uuid): MemberId {
  return `${nodeId}@${directoryId}`
}

export function nodeIdOf(member: MemberId): NodeId {
  return Number(member.slice(0, member.indexOf('@')))
}

export function isMemberId(value: unknown): value is MemberId {
  return typeof value === 'string' && /^\d{1,10}@[A-Za-z0-9_-]{1,64}$/.test(value)
}

/** Sorts, and asserts the invariants of `Membership`. */
function makeMembership(parts: { voters: Iterable<MemberId>; learners: Iterable<MemberId> }): Membership {
  const membership = { voters: [...parts.voters].sort(), learners: [...parts.learners].sort() }
  const flaw = findFlaw(membership)
  assert(flaw === undefined, `membership: ${flaw}`)
  return membership
}

export function isVoter(membership: Membership, member: MemberId): boolean {
  return membership.voters.includes(member)
}

/** The membership after one change, or why this change cannot be made to this membership. */
export function changeMembership(
  before: Membership,
  change: MembershipChange,
): { after: Membership } | { refusal: string } {
  const { op, member } = change
  const voters = new Set(before.voters)
  const learners = new Set(before.learners)
  switch (op) {
    case 'add-learner':
      if (voters.has(member) || learners.has(member)) return { refusal: `${member} is a member already` }
      learners.add(member)
      break
    case 'promote':
      if (!learners.delete(member)) return { refusal: `${member} is not a learner` }
      for (const voter of voters) {
        if (nodeIdOf(voter) === nodeIdOf(member)) {
          return { refusal: `${voter} of the same node is still a voter: remove it first` }
        }
      }
      voters.add(member)
      break
    case 'demote':
      if (!voters.delete(member)) return { refusal: `${member} is not a voter` }
      learners.add(member)
      break
    case 'remove':
      if (!voters.delete(member) && !learners.delete(member)) return { refusal: `${member} is not a member` }
      break
  }
  if (voters.size === 0) return { refusal: `${member} is the only voter` }
  return { after: makeMembership({ voters, learners }) }
}

/** Version 1 of the data of a `config` entry: the whole membership as JSON, so that each entry stands alone. */
export function encodeMembership(membership: Membership): Uint8Array {
  return Buffer.from(JSON.stringify({ version: 1, ...membership }))
}

/** `undefined` for anything that `encodeMembership` does not write: the bytes come from the network or a disk. */
export function decodeMembership(data: Uint8Array): Membership | undefined {
  let parsed: unknown
  try {
    parsed = JSON.parse(Buffer.from(data).toString('utf8'))
  } catch {
    return undefined
  }
  if (typeof parsed !== 'object' || parsed === null) return undefined
  const { version, voters, learners } = parsed as Record<string, unknown>
  if (version !== 1 || !isMemberList(voters) || !isMemberList(learners)) return undefined
  const membership = { voters, learners }
  return findFlaw(membership) === undefined ? membership : undefined
}

export function findFlaw(membership: Membership): string | undefined {
  const { voters, learners } = membership
  const members = [...voters, ...learners]
  const strayId = members.find(member => !isMemberId(member))
  if (strayId !== undefined) return `"${strayId}" is not <node id>@<directory id>`
  if (new Set(members).size !== members.length) return `a member is listed twice in ${members.join(' ')}`
  if (new Set(voters.map(nodeIdOf)).size !== voters.length)
    return `two voters share a node: ${voters.join(' ')}`
  if (!isSorted(voters) || !isSorted(learners)) return `not sorted: ${members.join(' ')}`
  return undefined
}

function isSorted(members: readonly MemberId[]): boolean {
  return members.every((member, i) => i === 0 || (members[i - 1] as MemberId) < member)
}

function isMemberList(value: unknown): value is MemberId[] {
  return Array.isArray(value) && value.every(isMemberId)
}
