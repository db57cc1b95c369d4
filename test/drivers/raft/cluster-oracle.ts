import type { OpenedRaft } from '../../../src/drivers/raft/open-raft-storage.ts'
import type { MemberId } from '../../../src/raft/membership.ts'
import type { LogEntry, LogPosition } from '../../../src/raft/messages.ts'
import type { RaftEvent } from '../../../src/raft/raft-output.ts'
import type { RaftMessage } from '../../../src/wire/generated/raft.ts'
import type { HashedLog } from './hashed-log.ts'
import type { ClusterMember } from './raft-cluster.ts'

/** What a member has told others, and must therefore still know after any crash (R14). */
interface Claims {
  term: number
  votes: Map<number, MemberId>
  matchIndex: number
  /** Of the snapshot that it last started from, or installed. */
  snapshotIndex: number
}

/**
 * Judges a cluster of drivers after every event, by what its members say and apply, and by what they find on their
 * disks when they start again:
 *
 *   R1 one leader per term            R7, R14 what was promised or committed survives on the disks
 *   R2 term and vote never go back    R10 equal index, equal state       R13 reads see what was committed before
 *   R5 what was acknowledged is in the end there, in the state of all
 */
export class ClusterOracle {
  committedIndex = 0
  readonly #failures: unknown[] = []
  readonly #leaders = new Map<number, MemberId>()
  readonly #claims = new Map<MemberId, Claims>()
  readonly #commits = new Map<MemberId, number>()
  /** Index -> hash of the state after it. */
  readonly #hashes = new Map<number, string>()
  readonly #acknowledged: string[] = []
  #checks = 0
  readonly counts = { leaders: 0, snapshotsInstalled: 0, truncations: 0, acknowledged: 0, reads: 0, boots: 0 }

  fail(thrown: unknown): void {
    this.#failures.push(thrown)
  }

  check(members: readonly ClusterMember[]): void {
    if (this.#failures.length > 0) throw this.#failures[0]
    // Once in a while is enough for what cannot come back: a commit index that fell stays below its mark.
    this.#checks++
    if (this.#checks % 16 !== 0) return
    for (const { id, driver } of members) {
      if (!driver) continue
      const { commitIndex } = driver.status
      expectThat(commitIndex >= (this.#commits.get(id) ?? 0), `R6 the commit index of ${id} fell`)
      this.#commits.set(id, commitIndex)
    }
  }

  forget(member: MemberId): void {
    this.#commits.delete(member)
  }

  onBoot(member: MemberId, { saved, storage, damage }: OpenedRaft): void {
    this.counts.boots++
    expectThat(damage === undefined, `${member} finds its storage damaged: ${damage}`)
    expectThat(storage.self === member, `${member} is called ${storage.self} now`)
    const claims = this.#claimsOf(member)
    const { hardState, snapshot, entries } = saved
    expectThat(
      hardState.term >= claims.term,
      `R2 ${member} spoke in term ${claims.term}, its disk knows ${hardState.term}`,
    )
    const vote = claims.votes.get(hardState.term)
    expectThat(
      vote === undefined || vote === hardState.votedFor,
      `R2 ${member} voted for ${vote} in term ${hardState.term}, its disk says ${hardState.votedFor}`,
    )
    if (snapshot.index > claims.snapshotIndex) {
      claims.snapshotIndex = snapshot.index
      const holds = entries.some(entry => entry.index <= snapshot.index)
      if (!holds) claims.matchIndex = Math.min(claims.matchIndex, snapshot.index)
    }
    const last = entries.at(-1)?.index ?? snapshot.index
    expectThat(
      last >= claims.matchIndex,
      `R14 ${member} acknowledged ${claims.matchIndex}, its disk holds ${last} (snapshot ${snapshot.index})`,
    )
  }

  onSend(from: MemberId, to: MemberId, message: RaftMessage): void {
    const claims = this.#claimsOf(from)
    const { term, voteAnswer, voteRequest, appendAnswer } = message
    const vote = voteRequest ? from : voteAnswer?.granted ? to : undefined
    if (vote !== undefined) {
      const earlier = claims.votes.get(term)
      if (earlier !== undefined && earlier !== vote)
        this.fail(new Error(`R2 ${from} votes for ${earlier} and ${vote} in term ${term}`))
      claims.votes.set(term, vote)
    }
    const accepted = appendAnswer?.accepted
    if (accepted) claims.matchIndex = Math.max(claims.matchIndex, accepted.matchIndex)
    if (vote !== undefined || accepted) claims.term = Math.max(claims.term, term)
  }

  onEvent(member: MemberId, event: RaftEvent): void {
    if (event.type === 'role-changed' && event.role === 'leader') {
      const other = this.#leaders.get(event.term)
      expectThat(other === undefined, `R1 ${other} and ${member} lead in term ${event.term}`)
      this.counts.leaders++
      this.#leaders.set(event.term, member)
    }
    if (event.type !== 'truncated') return
    this.counts.truncations++
    const claims = this.#claimsOf(member)
    claims.matchIndex = Math.min(claims.matchIndex, event.from - 1)
  }

  onApplied(member: MemberId, { index }: LogEntry, hash: string): void {
    const known = this.#hashes.get(index)
    expectThat(known === undefined || known === hash, `R10 ${member} applied something else at ${index}`)
    this.#hashes.set(index, hash)
    this.committedIndex = Math.max(this.committedIndex, index)
  }

  onSnapshot(member: MemberId, { index }: LogPosition, hash: string): void {
    if (index === 0) return
    const known = this.#hashes.get(index)
    expectThat(known === hash, `R10 ${member} restored another state at ${index}`)
    const claims = this.#claimsOf(member)
    if (index <= claims.snapshotIndex) return
    this.counts.snapshotsInstalled++
    claims.snapshotIndex = index
    claims.matchIndex = Math.min(claims.matchIndex, index)
  }

  acknowledged(command: string): void {
    this.counts.acknowledged++
    this.#acknowledged.push(command)
  }

  read({ index, atLeast, applied }: { index: number; atLeast: number; applied: number }): void {
    this.counts.reads++
    if (index < atLeast) this.fail(new Error(`R13 a read at ${index} began after ${atLeast} was committed`))
    if (applied < index) this.fail(new Error(`R13 a read at ${index} is answered from ${applied}`))
  }

  checkFinal(log: HashedLog): void {
    expectThat(this.#hashes.get(log.index) === log.hash, 'R10 the final states differ')
    const commands = new Set(log.commands)
    const lost = this.#acknowledged.filter(command => !commands.has(command))
    expectThat(lost.length === 0, `R5 acknowledged and lost: ${lost.join(' ')}`)
    expectThat(commands.size === log.commands.length, 'a command was applied twice')
  }

  #claimsOf(member: MemberId): Claims {
    const known = this.#claims.get(member)
    if (known) return known
    const claims = { term: 0, votes: new Map(), matchIndex: 0, snapshotIndex: 0 }
    this.#claims.set(member, claims)
    return claims
  }
}

function expectThat(condition: boolean, message: string): asserts condition {
  if (!condition) throw new Error(message)
}
