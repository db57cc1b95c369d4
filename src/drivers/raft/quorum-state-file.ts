/**
 * `raft/quorum-state`: what a member must never forget, in one file that is replaced as a whole. A vote without
 * its term, or the other way round, would allow two votes in a term (R2).
 *
 *     { "version": 1, "memberId": "3@r4...", "term": 7, "votedFor": "1@Qx...", "voters": "1@Qx... 2@mE... 3@r4...",
 *       "crc32c": "..." }
 *
 * `votedFor` is null for none. `voters` is for people, and to know a sole voter when all else is damaged. `damage` is there
 * when this member was told that it has lost what it acknowledged: the next start puts it aside.
 */
import type { NaruError } from '../../base/errors.ts'
import { readJsonFile, writeJsonFile } from '../../log/json-file.ts'
import type { Disk } from '../../ports/disk.ts'
import { isMemberId, type MemberId } from '../../raft/membership.ts'
import type { HardState } from '../../raft/raft-options.ts'
import { CorruptRaftData } from './corrupt-raft-data.ts'

export interface QuorumState {
  readonly memberId: MemberId
  readonly hardState: HardState
  /** In force when this was written; committed or not. */
  readonly voters: readonly MemberId[]
  readonly damage?: string
}

const VERSION = 1

function quorumStatePath(directory: string): string {
  return `${directory}/quorum-state`
}

export async function writeQuorumState(disk: Disk, directory: string, state: QuorumState): Promise<void> {
  const { memberId, hardState, voters, damage } = state
  const { term, votedFor } = hardState
  const fields = { memberId, term, votedFor: votedFor ?? null, voters: voters.join(' ') }
  const mark = damage === undefined ? {} : { damage }
  await writeJsonFile(disk, quorumStatePath(directory), { version: VERSION, fields: { ...fields, ...mark } })
}

/** Undefined where there is none. Throws CorruptRaftData for a damaged one. */
export async function readQuorumState(disk: Disk, directory: string): Promise<QuorumState | undefined> {
  const path = quorumStatePath(directory)
  const fields = await readUndamaged(disk, path)
  if (!fields) return undefined
  const { memberId, term, votedFor, voters, damage } = fields
  const names = typeof voters === 'string' ? voters.split(' ').filter(name => name !== '') : undefined
  if (
    !isMemberId(memberId) ||
    typeof term !== 'number' ||
    !Number.isSafeInteger(term) ||
    term < 0 ||
    (votedFor !== null && !isMemberId(votedFor)) ||
    !names?.every(isMemberId)
  )
    throw new CorruptRaftData(`${path} does not hold a member, its term and its vote`)
  const state = { memberId, hardState: { term, votedFor: votedFor ?? undefined }, voters: names }
  return damage === undefined ? state : { ...state, damage: String(damage) }
}

async function readUndamaged(disk: Disk, path: string) {
  try {
    return await readJsonFile(disk, path, VERSION)
  } catch (thrown) {
    if ((thrown as NaruError).reason !== 'DATA_DIRECTORY_DAMAGED') throw thrown
    throw new CorruptRaftData((thrown as NaruError).message)
  }
}
