import { decodeMembership, type MemberId, type Membership, nodeIdOf } from '../../src/raft/membership.ts'
import type { LogEntry, LogPosition, RaftMessage } from '../../src/raft/messages.ts'
import type { RaftInput } from '../../src/raft/raft-input.ts'
import type { RaftNode } from '../../src/raft/raft-node.ts'
import type { RaftOutput } from '../../src/raft/raft-output.ts'
import type { RaftStatus } from '../../src/raft/raft-status.ts'
import type { DurableRaft } from '../harness/sim-cluster-disk.ts'
import type { ClusterJournal } from './cluster-journal.ts'
import { ReadIndexOracle } from './read-index-oracle.ts'

/** One Raft core from its start to its end, as it shows from outside. */
interface Life {
  readonly member: MemberId
  readonly disk: DurableRaft
  /** Its log: index to term. */
  readonly terms: Map<number, number>
  /** Memberships in it, by index. */
  readonly memberships: Map<number, Membership>
  status: RaftStatus
}

export interface ClusterQuorumOracleOptions {
  readonly journal: ClusterJournal
  readonly diskOf: (nodeId: number) => DurableRaft
  /** A core leads from this step on, and has committed nothing of its own. */
  readonly onElected?: (nodeId: number) => void
}

interface Step {
  readonly life: Life
  readonly before: RaftStatus | undefined
  readonly now: RaftStatus
  readonly input: RaftInput
  readonly output: RaftOutput
}

/** What a member has told others, and must therefore still know after any crash. */
interface Claims {
  term: number
  votes: Map<number, MemberId>
  match: LogPosition
}

/**
 * Holds the metadata quorum of whole nodes to the rules of Raft, by the outputs of their cores, what their drivers send,
 * and the simulated disks below (rules R1-R15; raft-oracle.ts does the same for bare cores):
 *
 *   R1 one leader per term            R6 commit never falls             R11 a leader loads no snapshot
 *   R2 durable term and vote          R7 committed = on a majority      R12 one change of membership at a time
 *   R3 a leader never truncates       R8 commit by own-term entries     R13 reads see what was committed before
 *   R4 log matching                   R9 no truncation below commit     R14 nothing promised that is not synced
 *   R5 leader completeness            R10 equal index, equal entry      R15 a pre-vote changes nothing
 *
 * And to A4: who keeps its disk keeps its name, which says that it has all that it promised.
 */
export class ClusterQuorumOracle {
  committedMax = 0
  /** The newest that is committed, as far as this oracle has seen. */
  membership: Membership | undefined
  readonly #journal: ClusterJournal
  readonly #diskOf: (nodeId: number) => DurableRaft
  readonly #lives = new WeakMap<RaftNode, Life>()
  readonly #newest = new Map<MemberId, Life>()
  readonly #leaders = new Map<number, MemberId>()
  readonly #committed = new Map<number, { readonly term: number; readonly leaderTerm: number }>()
  readonly #applied = new Map<number, string>()
  readonly #entries = new Map<string, { readonly previousTerm: number | undefined; readonly text: string }>()
  readonly #hardStates = new Map<MemberId, { readonly term: number; readonly votedFor: string | undefined }>()
  readonly #claims = new Map<MemberId, Claims>()
  /** What an answer that stores entries stands for, as its sender's log was when the core gave it out. */
  readonly #acknowledged = new WeakMap<RaftMessage, LogPosition>()
  /** Every membership in any log, by the `index/term` of its entry. */
  readonly #memberships = new Map<string, Membership>()
  /** Name under which each node took part last. */
  readonly #names = new Map<number, MemberId>()
  readonly #reads: ReadIndexOracle
  readonly #onElected: (nodeId: number) => void

  constructor(options: ClusterQuorumOracleOptions) {
    this.#journal = options.journal
    this.#diskOf = options.diskOf
    this.#reads = new ReadIndexOracle(options.journal)
    this.#onElected = options.onElected ?? (() => {})
  }

  /** The node has another disk now: what it promised is gone with the one before. */
  onDiskReplaced(nodeId: number): void {
    this.#names.delete(nodeId)
  }

  /** A member holds a change that is not committed as far as it knows: it may still come to pass. */
  get isChanging(): boolean {
    const { voters, learners } = this.membership ?? { voters: [], learners: [] }
    return [...voters, ...learners].some(
      member => this.#newest.get(member)?.status.membershipIsCommitted === false,
    )
  }

  onStep(node: RaftNode, { input, output }: { input: RaftInput; output: RaftOutput }): void {
    const now = node.status
    const known = this.#lives.get(node)
    const life = known ?? this.#begin(node, now)
    const step = { life, before: known?.status, now, input, output }
    life.status = now
    this.#checkDisk(life)
    this.#checkTruncation(step)
    this.#checkMembership(step)
    this.#follow(step)
    this.#noteAnswers(step)
    this.#checkLeadership(step)
    this.#checkCommit(step)
    this.#checkPreVote(step)
    this.#reads.onStep(node, { input, output, now })
    for (const entry of output.committed) this.#checkApplied(life, entry)
    this.#tell(step)
  }

  onSend(message: RaftMessage): void {
    const { from, to, term } = message
    const disk = this.#diskOf(nodeIdOf(from))
    const vote =
      message.type === 'vote-request'
        ? from
        : message.type === 'vote-answer' && message.granted
          ? to
          : undefined
    const match =
      message.type === 'append-answer' && message.result.accepted ? message.result.matchIndex : undefined
    if (vote === undefined && match === undefined) return
    const { hardState } = disk
    const claims = this.#claimsOf(from)
    claims.term = Math.max(claims.term, term)
    this.#expect(
      hardState.term >= term,
      () => `R14 ${from} speaks in term ${term}, synced is ${hardState.term}`,
    )
    if (vote !== undefined) {
      const earlier = claims.votes.get(term) ?? vote
      this.#expect(earlier === vote, () => `R2 ${from} votes for ${earlier} and ${vote} in term ${term}`)
      claims.votes.set(term, vote)
      const isSynced = hardState.term > term || hardState.votedFor === vote
      this.#expect(
        isSynced,
        () => `R14 ${from} votes for ${vote} in term ${term}, synced is ${hardState.votedFor}`,
      )
    }
    if (match === undefined || match === 0) return
    const position = this.#acknowledged.get(message)
    this.#expect(
      position !== undefined && disk.holds(position),
      () => `R14 ${from} acknowledges ${match}/${position?.term}, which is not synced`,
    )
    // A leader of a later term may have replaced it while the disk was at it: then this tells only the leader before.
    const isKept = this.#newest.get(from)?.terms.get(match) === position?.term
    if (position && isKept && match > claims.match.index) claims.match = position
  }

  /** What a read of the quorum that begins now must see. */
  readBegins(): number {
    return this.committedMax + 1
  }

  readAnswered(read: { who: string; begunAt: number; endIndex: number; appliedEndIndex: number }): void {
    const { who, begunAt, endIndex, appliedEndIndex } = read
    this.#journal.count('reads of the quorum')
    this.#expect(
      endIndex >= begunAt,
      () => `R13 a read of ${who} ends at ${endIndex}, ${begunAt} was committed before`,
    )
    this.#expect(
      appliedEndIndex >= endIndex,
      () => `R13 a read of ${who} at ${endIndex} sees ${appliedEndIndex}`,
    )
  }

  #begin(node: RaftNode, status: RaftStatus): Life {
    const member = status.self
    const disk = this.#diskOf(nodeIdOf(member))
    const terms = disk.visibleTerms()
    const life = { member, disk, terms, memberships: this.#membershipsOf(terms), status }
    const { term, votes, match } = this.#claimsOf(member)
    const name = this.#names.get(nodeIdOf(member)) ?? member
    this.#expect(name === member, () => `A4 ${name} starts as ${member}, and has its disk`)
    this.#names.set(nodeIdOf(member), member)
    this.#expect(
      status.term >= term,
      () => `R2 ${member} spoke in term ${term}, and starts in ${status.term}`,
    )
    const vote = votes.get(status.term)
    const isKept = vote === undefined || vote === status.votedFor || status.role === 'candidate'
    this.#expect(
      isKept,
      () => `R2 ${member} voted for ${vote} in term ${status.term}, and starts with ${status.votedFor}`,
    )
    const isHeld = status.logStart.index >= match.index || life.terms.get(match.index) === match.term
    this.#expect(isHeld, () => `R14 ${member} acknowledged ${show(match)}, and starts without it`)
    this.#lives.set(node, life)
    this.#newest.set(member, life)
    return life
  }

  /** Keeps the mirror of the log, and R4. */
  #follow({ life, output }: Step): void {
    const { persist } = output
    const claims = this.#claimsOf(life.member)
    if (persist?.snapshot) {
      // What lies before it may still be on its way to the disk, and be acknowledged when it is there.
      const { index, term, membership } = persist.snapshot
      for (const kept of life.terms.keys()) if (kept > index) life.terms.delete(kept)
      for (const kept of life.memberships.keys()) if (kept > index) life.memberships.delete(kept)
      life.terms.set(index, term)
      life.memberships.set(index, membership)
      // What it acknowledged behind it, of a log that is not the leader's, goes with it (Raft, section 7), once it is on the disk.
      if (claims.match.index > index) claims.match = NOTHING
      this.#journal.count('snapshots installed')
      this.#journal.tell(
        `n${nodeIdOf(life.member)}`,
        () => `installs a snapshot through ${persist.snapshot?.index}`,
      )
    }
    const from = persist?.entries[0]?.index
    if (from === undefined) return
    if (life.terms.has(from)) {
      const kept = { index: from - 1, term: life.terms.get(from - 1) ?? 0 }
      if (claims.match.index >= from) claims.match = kept.term === 0 ? NOTHING : kept
      for (let index = from; life.terms.delete(index); index++) life.memberships.delete(index)
    }
    for (const entry of persist?.entries ?? []) {
      const previousTerm = life.terms.get(entry.index - 1)
      life.terms.set(entry.index, entry.term)
      const name = `${entry.index}/${entry.term}`
      const text = textOf(entry)
      const membership = entry.kind === 'config' ? decodeMembership(entry.data) : undefined
      if (membership) {
        life.memberships.set(entry.index, membership)
        this.#memberships.set(name, membership)
      }
      const known = this.#entries.get(name)
      if (!known || known.previousTerm === undefined) this.#entries.set(name, { previousTerm, text })
      if (!known) continue
      this.#expect(known.text === text, () => `R4 ${life.member} has another entry ${name}`)
      const agrees = [undefined, previousTerm].includes(known.previousTerm) || previousTerm === undefined
      this.#expect(
        agrees,
        () => `R4 ${life.member} has ${name} after term ${previousTerm}, not ${known.previousTerm}`,
      )
    }
  }

  #noteAnswers({ life, output }: Step): void {
    for (const message of [...output.sendNow, ...output.sendAfterPersist]) {
      if (message.type !== 'append-answer' || !message.result.accepted) continue
      const index = message.result.matchIndex
      this.#acknowledged.set(message, { index, term: life.terms.get(index) ?? 0 })
    }
  }

  #checkTruncation({ life, before, now, output }: Step): void {
    const { persist } = output
    const from = persist?.entries[0]?.index ?? Number.POSITIVE_INFINITY
    if (!before) return
    this.#expect(
      from > before.commitIndex,
      () => `R9 ${life.member} writes ${from} anew, ${before.commitIndex} is committed`,
    )
    if (before.role !== 'leader' || now.role !== 'leader' || before.term !== now.term) return
    this.#expect(from > before.last.index, () => `R3 the leader ${life.member} cuts its log at ${from}`)
    this.#expect(!persist?.snapshot, () => `R11 the leader ${life.member} loads a snapshot`)
  }

  #checkLeadership({ life, before, now }: Step): void {
    if (now.role !== 'leader' || (before?.role === 'leader' && before.term === now.term)) return
    const other = this.#leaders.get(now.term) ?? life.member
    this.#expect(other === life.member, () => `R1 ${other} and ${life.member} lead in term ${now.term}`)
    this.#leaders.set(now.term, life.member)
    this.#onElected(nodeIdOf(life.member))
    for (const [index, { term, leaderTerm }] of this.#committed) {
      // The votes of an election can arrive when a later one is long decided: such a leader commits nothing.
      if (index <= now.logStart.index || leaderTerm >= now.term) continue
      const own = life.terms.get(index)
      this.#expect(
        own === term,
        () =>
          `R5 the leader ${life.member} of term ${now.term} has ${show({ index, term: own ?? -1 })}, committed is term ${term}`,
      )
    }
  }

  #checkMembership({ before, now, output }: Step): void {
    if (before?.role !== 'leader' || now.role !== 'leader' || before.term !== now.term) return
    for (const entry of output.persist?.entries ?? []) {
      if (entry.kind !== 'config' || entry.index <= before.last.index) continue
      const after = decodeMembership(entry.data)
      this.#expect(after !== undefined, () => `R12 entry ${entry.index} holds no membership`)
      if (!after) continue
      this.#journal.count('membership changes')
      this.#expect(
        before.membershipIsCommitted,
        () => `R12 ${now.self} changes the membership during a change`,
      )
      const commit = this.#committed.get(before.commitIndex)
      this.#expect(
        commit?.term === before.term,
        () => `R12 ${now.self} changes the membership without an own-term commit`,
      )
      const voters = before.membership.voters
      const added = after.voters.filter(voter => !voters.includes(voter))
      const removed = voters.filter(voter => !after.voters.includes(voter))
      this.#expect(
        added.length + removed.length <= 1,
        () => `R12 entry ${entry.index} changes more than one voter`,
      )
    }
  }

  #checkCommit({ life, before, now, output }: Step): void {
    const from = before?.commitIndex ?? now.logStart.index
    this.#expect(now.commitIndex >= from, () => `R6 the commit index of ${life.member} fell`)
    if (now.commitIndex === from) return
    if (now.role === 'leader' && before?.term === now.term) this.#checkLeaderCommit(life, now, from)
    // What a snapshot brings is committed; what this log had in its place, of a deposed leader perhaps, is not.
    const comesByLogFrom = Math.max(from, output.persist?.snapshot?.index ?? 0)
    for (let index = comesByLogFrom + 1; index <= now.commitIndex; index++) {
      const term = life.terms.get(index)
      const committed = this.#committed.get(index)
      if (term === undefined) continue
      if (!committed) this.#committed.set(index, { term, leaderTerm: now.term })
      else
        this.#expect(
          committed.term === term,
          () => `R5 entry ${index} is committed in terms ${committed.term} and ${term}`,
        )
    }
    if (now.commitIndex <= this.committedMax) return
    this.committedMax = now.commitIndex
    if (now.membershipIsCommitted) this.membership = now.membership
  }

  #checkLeaderCommit(life: Life, now: RaftStatus, from: number): void {
    const position = { index: now.commitIndex, term: life.terms.get(now.commitIndex) ?? 0 }
    this.#expect(
      position.term === now.term,
      () => `R8 ${life.member} commits ${show(position)} in term ${now.term}`,
    )
    // In force is the last one in its log, whatever it believes.
    const [, { voters }] = [...life.memberships].reduce(newer, [0, now.membership])
    const holders = voters.filter(voter => this.#isHeldBy(voter, position))
    // A voter that is removed by the very commit is not counted, and need not be.
    const isHeld = holders.length > voters.length / 2 && now.commitIndex > from
    this.#expect(
      isHeld,
      () =>
        `R7 ${life.member} commits ${show(position)}, synced on ${holders.join(' ') || 'none'} of ${voters.join(' ')}`,
    )
  }

  /** Those among the entries of a log that is found; all of them were written under these eyes. */
  #membershipsOf(terms: ReadonlyMap<number, number>): Map<number, Membership> {
    const found = new Map<number, Membership>()
    for (const [index, term] of terms) {
      const membership = this.#memberships.get(`${index}/${term}`)
      if (membership) found.set(index, membership)
    }
    return found
  }

  /** What was acknowledged of a disk that is replaced counts: it was true, and that voter never votes again. */
  #isHeldBy(voter: MemberId, position: LogPosition): boolean {
    const disk = this.#diskOf(nodeIdOf(voter))
    if (disk.memberId !== voter) return this.#claimsOf(voter).match.index >= position.index
    return disk.holds(position)
  }

  #checkPreVote({ before, now, input }: Step): void {
    if (!before || input.type !== 'message' || input.message.type !== 'pre-vote-request') return
    const isSame = before.term === now.term && before.votedFor === now.votedFor && before.role === now.role
    this.#expect(isSame, () => `R15 ${now.self} changed on a pre-vote request`)
  }

  #checkApplied(life: Life, entry: LogEntry): void {
    const text = `${entry.term}:${textOf(entry)}`
    const known = this.#applied.get(entry.index)
    if (known === undefined) this.#applied.set(entry.index, text)
    else this.#expect(known === text, () => `R10 ${life.member} applies something else at ${entry.index}`)
  }

  #checkDisk({ member, disk }: Life): void {
    const { hardState } = disk
    const before = this.#hardStates.get(member)
    if (before === hardState) return
    this.#hardStates.set(member, hardState)
    if (!before) return
    this.#expect(
      hardState.term >= before.term,
      () => `R2 the synced term of ${member} fell to ${hardState.term}`,
    )
    const isFixed = hardState.term > before.term || [undefined, hardState.votedFor].includes(before.votedFor)
    this.#expect(isFixed, () => `R2 ${member} changes its vote in term ${hardState.term}`)
  }

  #tell({ life, before, now, output }: Step): void {
    const who = `n${nodeIdOf(life.member)}`
    for (const event of output.events) {
      if (event.type === 'role-changed') {
        if (event.role === 'leader') this.#journal.count('elections')
        this.#journal.tell(
          who,
          () => `${event.role} in term ${event.term}, leader ${event.leader}: ${event.reason}`,
        )
      } else if (event.type === 'truncated') {
        this.#journal.count('truncations')
        this.#journal.tell(who, () => `cuts its log from ${event.from} on`)
      } else if (event.type === 'membership-changed')
        this.#journal.tell(who, () => `members at ${event.index}: ${JSON.stringify(event.membership)}`)
      else if (event.type === 'transfer-ended') this.#journal.count('transfers of the leadership')
    }
    if (now.commitIndex !== before?.commitIndex)
      this.#journal.tell(who, () => `commit ${now.commitIndex} of ${show(now.last)} in term ${now.term}`)
  }

  #claimsOf(member: MemberId): Claims {
    const known = this.#claims.get(member)
    if (known) return known
    const claims = { term: 0, votes: new Map(), match: NOTHING }
    this.#claims.set(member, claims)
    return claims
  }

  #expect(condition: boolean, message: () => string): void {
    this.#journal.expect(condition, message)
  }
}

const NOTHING: LogPosition = { index: 0, term: 0 }

function newer(
  a: readonly [index: number, membership: Membership],
  b: readonly [index: number, membership: Membership],
): readonly [number, Membership] {
  return a[0] > b[0] ? a : b
}

function textOf(entry: LogEntry): string {
  return `${entry.kind}:${Buffer.from(entry.data).toString('latin1')}`
}

function show({ index, term }: LogPosition): string {
  return `${index}/${term}`
}
