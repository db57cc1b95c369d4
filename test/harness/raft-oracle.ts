/**
 * Watches every step of every Raft core of a simulated cluster and throws at the first breach. It knows what
 * no member knows: all disks, every entry ever made, everything ever committed. Rules R1-R15 of the metadata quorum:
 *
 *   R1 one leader per term                        R9  no truncation below commit (the core's own assertion)
 *   R2 durable term never falls, vote is fixed    R10 equal index, equal state
 *   R3 a leader never truncates                   R11 log starts at or below a snapshot; a leader loads none
 *   R4 log matching                               R12 one change at a time, after an own-term commit
 *   R5 a leader has everything committed          R13 a read sees what was committed before it
 *   R6 commit never falls                         R14 nothing is promised that is not durable
 *   R7 committed = durable on a majority          R15 a pre-vote request changes nothing
 *   R8 commit by own-term entries only
 */
import { decodeMembership, type MemberId, type Membership } from '../../src/raft/membership.ts'
import type { LogEntry, RaftMessage } from '../../src/raft/messages.ts'
import type { RaftInput } from '../../src/raft/raft-input.ts'
import type { HardState } from '../../src/raft/raft-options.ts'
import type { RaftOutput } from '../../src/raft/raft-output.ts'
import type { RaftStatus } from '../../src/raft/raft-status.ts'
import { diskLast, type RaftDisk, type RaftMember } from './raft-member.ts'

export class RaftBreach extends Error {
  override readonly name = 'RaftBreach'
}

export function check(condition: boolean, message: string): asserts condition {
  if (!condition) throw new RaftBreach(message)
}

export class RaftOracle {
  /** By index: everything that any leader ever committed. */
  readonly committed = new Map<number, { term: number; leaderTerm: number }>()
  committedMax = 0
  readonly #diskOf: (member: MemberId) => RaftDisk | undefined
  readonly #leaders = new Map<number, MemberId>()
  readonly #entries = new Map<string, { previousTerm: number; text: string }>()
  readonly #hardStates = new Map<MemberId, HardState>()
  readonly #hashes = new Map<number, string>()
  readonly #reads = new Map<number, number>()
  readonly #views = new Map<MemberId, { node: unknown; status: RaftStatus }>()

  constructor(diskOf: (member: MemberId) => RaftDisk | undefined) {
    this.#diskOf = diskOf
  }

  readBegins(ticket: number): void {
    this.#reads.set(ticket, this.committedMax)
  }

  onOutput(member: RaftMember, output: RaftOutput, input: RaftInput): void {
    const now = member.node.status
    const view = this.#views.get(member.id)
    const before = view?.node === member.node ? view.status : undefined
    this.#views.set(member.id, { node: member.node, status: now })
    this.#checkLeadership(member, output, now, before)
    for (const entry of output.persist?.entries ?? []) this.#checkEntry(member, output, entry)
    this.#checkMembershipEntries(output, now, before)
    this.#checkCommit(member, now, before)
    this.#checkDisk(member)
    if (input.type === 'message' && input.message.type === 'pre-vote-request' && before !== undefined) {
      const unchanged =
        before.term === now.term && before.votedFor === now.votedFor && before.role === now.role
      check(unchanged, `R15 ${member.id} changed on a pre-vote request`)
    }
    for (const { ticket, index } of output.readStates) {
      const atLeast = this.#reads.get(ticket) ?? 0
      check(index >= atLeast, `R13 ${member.id} read at ${index} what began after ${atLeast} was committed`)
    }
  }

  onApplied(member: RaftMember): void {
    const { index, hash } = member.applied
    const known = this.#hashes.get(index)
    if (known === undefined) this.#hashes.set(index, hash)
    else check(known === hash, `R10 ${member.id} applied something else up to ${index}`)
  }

  onSend(member: RaftMember, message: RaftMessage): void {
    const { hardState } = member.disk
    const last = diskLast(member.disk)
    const isTermDurable = hardState.term >= message.term
    const votedInTerm = hardState.term > message.term ? undefined : hardState.votedFor
    if (message.type === 'vote-request') {
      check(
        isTermDurable && votedInTerm === member.id,
        `R14 ${member.id} campaigns before its vote is durable`,
      )
    } else if (message.type === 'vote-answer' && message.granted) {
      check(isTermDurable && votedInTerm === message.to, `R14 ${member.id} grants a vote that is not durable`)
    } else if (message.type === 'append-answer' && message.result.accepted) {
      const isHeld = isTermDurable && last.index >= message.result.matchIndex
      check(isHeld, `R14 ${member.id} acknowledges ${message.result.matchIndex}, durable is ${last.index}`)
    }
  }

  #checkLeadership(
    member: RaftMember,
    output: RaftOutput,
    now: RaftStatus,
    before: RaftStatus | undefined,
  ): void {
    if (now.role !== 'leader') return
    const other = this.#leaders.get(now.term)
    check(other === undefined || other === member.id, `R1 ${other} and ${member.id} lead in term ${now.term}`)
    this.#leaders.set(now.term, member.id)
    const wasLeader = before?.role === 'leader' && before.term === now.term
    check(
      !output.events.some(e => e.type === 'truncated') || !wasLeader,
      `R3 the leader ${member.id} truncated its log`,
    )
    check(
      output.persist?.snapshot === undefined || !wasLeader,
      `R11 the leader ${member.id} loaded a snapshot`,
    )
    if (!wasLeader) this.#checkCompleteness(member, output, now)
  }

  #checkCompleteness(member: RaftMember, output: RaftOutput, now: RaftStatus): void {
    const log = new Map<number, number>()
    const writes = [...member.writes.map(write => write.persist), output.persist]
    for (const entry of member.disk.entries) log.set(entry.index, entry.term)
    for (const persist of writes) {
      for (const [index] of log) if (index >= (persist?.entries[0]?.index ?? Infinity)) log.delete(index)
      for (const entry of persist?.entries ?? []) log.set(entry.index, entry.term)
    }
    for (const [index, { term, leaderTerm }] of this.committed) {
      // The votes of an election can arrive when a later one is long decided: such a leader commits nothing.
      if (index <= now.logStart.index || leaderTerm >= now.term) continue
      check(
        log.get(index) === term,
        `R5 the leader ${member.id} of term ${now.term} lacks the committed entry ${index}`,
      )
    }
  }

  #checkEntry(member: RaftMember, output: RaftOutput, entry: LogEntry): void {
    const name = `${entry.index}/${entry.term}`
    const text = `${entry.kind}:${Buffer.from(entry.data).toString('latin1')}`
    const entries = output.persist?.entries ?? []
    const previous = entries[entries.indexOf(entry) - 1]
    const known = this.#entries.get(name)
    if (known === undefined) {
      this.#entries.set(name, { previousTerm: previous?.term ?? -1, text })
      return
    }
    check(known.text === text, `R4 ${member.id} has another entry ${name}`)
    if (previous === undefined) return
    check(
      known.previousTerm === -1 || known.previousTerm === previous.term,
      `R4 ${member.id} has entry ${name} after term ${previous.term}, another member after ${known.previousTerm}`,
    )
    known.previousTerm = previous.term
  }

  #checkMembershipEntries(output: RaftOutput, now: RaftStatus, before: RaftStatus | undefined): void {
    if (before?.role !== 'leader' || now.role !== 'leader' || before.term !== now.term) return
    for (const entry of output.persist?.entries ?? []) {
      if (entry.kind !== 'config' || entry.index <= before.last.index) continue
      const after = decodeMembership(entry.data)
      check(after !== undefined, `R12 entry ${entry.index} holds no membership`)
      check(
        before.membershipIsCommitted,
        `R12 ${now.self} changes the membership while a change is under way`,
      )
      const commit = this.committed.get(before.commitIndex)
      check(commit?.term === before.term, `R12 ${now.self} changes the membership without an own-term commit`)
      check(
        differences(before.membership, after) <= 1,
        `R12 entry ${entry.index} changes more than one voter`,
      )
      for (const voter of after.voters) {
        if (before.membership.voters.includes(voter)) continue
        const disk = this.#diskOf(voter)
        check(
          disk !== undefined && diskLast(disk).index >= before.commitIndex,
          `R12 voter ${voter} is not caught up`,
        )
      }
    }
  }

  #checkCommit(member: RaftMember, now: RaftStatus, before: RaftStatus | undefined): void {
    check(now.commitIndex >= (before?.commitIndex ?? 0), `R6 the commit index of ${member.id} fell`)
    if (now.role !== 'leader' || before?.term !== now.term || now.commitIndex <= before.commitIndex) return
    const isHeldBy = (disk: RaftDisk | undefined) =>
      disk !== undefined && diskLast(disk).index >= now.commitIndex
    const { voters } = now.membership
    const holders = voters.filter(voter => isHeldBy(this.#diskOf(voter)))
    // A voter removed by the very commit is not counted, and need not be.
    check(
      holders.length > voters.length / 2,
      `R7 ${member.id} commits ${now.commitIndex}, durable on ${holders.join(' ') || 'none'} of ${voters.join(' ')}`,
    )
    for (let index = before.commitIndex + 1; index <= now.commitIndex; index++) {
      const { term } = member.node.snapshotMarkAt(index)
      if (index === now.commitIndex) {
        check(term === now.term, `R8 ${member.id} commits ${index} of term ${term} in term ${now.term}`)
      }
      const known = this.committed.get(index)
      check(
        known === undefined || known.term === term,
        `R5 entry ${index} is committed in terms ${known?.term} and ${term}`,
      )
      if (known === undefined) this.committed.set(index, { term, leaderTerm: now.term })
    }
    this.committedMax = Math.max(this.committedMax, now.commitIndex)
  }

  #checkDisk(member: RaftMember): void {
    const { hardState, base, snapshot, snapshotContent } = member.disk
    const before = this.#hardStates.get(member.id)
    this.#hardStates.set(member.id, hardState)
    check(base.index <= snapshot.index, `R11 the log of ${member.id} starts above its snapshot`)
    check(snapshot.index === snapshotContent.index, `R11 ${member.id} has the wrong snapshot content`)
    if (before === undefined || before === hardState) return
    check(hardState.term >= before.term, `R2 the term of ${member.id} fell`)
    const isFixed =
      hardState.term > before.term || before.votedFor === undefined || before.votedFor === hardState.votedFor
    check(isFixed, `R2 ${member.id} changed its vote in term ${hardState.term}`)
  }
}

function differences(before: Membership, after: Membership): number {
  const removed = before.voters.filter(voter => !after.voters.includes(voter))
  const added = after.voters.filter(voter => !before.voters.includes(voter))
  return removed.length + added.length
}
