/**
 * Making `raft/` and reading it back. A member that finds less than it wrote, or something else, has forgotten what
 * it voted for and acknowledged. It must never speak under its name again (rule A4): its directory is put aside as
 * `raft.damaged`, and it starts over as a new member, of nobody's quorum, that waits to be told the log and to be
 * made a voter. The new name never promised anything, so it may vote as soon as others count its vote.
 * A sole voter cannot: nobody else has what it lost, so it stops and leaves its bytes alone.
 */
import type { NodeId } from '../../base/brands.ts'
import { NaruError } from '../../base/errors.ts'
import type { LogEvent } from '../../log/log-core.ts'
import type { LogResources } from '../../log/partition-log.ts'
import { makeDirectoryDurably } from '../../ports/disk.ts'
import { type Prng, randomUuid } from '../../ports/prng.ts'
import {
  decodeMembership,
  type MemberId,
  type Membership,
  memberId,
  NO_MEMBERS,
  nodeIdOf,
} from '../../raft/membership.ts'
import type { LogEntry } from '../../raft/messages.ts'
import type { SavedRaft } from '../../raft/raft-options.ts'
import { CorruptRaftData } from './corrupt-raft-data.ts'
import { type QuorumState, readQuorumState, writeQuorumState } from './quorum-state-file.ts'
import { RaftLogFiles } from './raft-log-files.ts'
import { RaftStorage } from './raft-storage.ts'
import {
  parseSnapshotFileName,
  readSnapshotFile,
  type Snapshot,
  snapshotFileName,
  writeSnapshotFile,
} from './snapshot-file.ts'

export interface OpenRaftOptions {
  readonly resources: LogResources
  /** `data/raft`; made by `formatRaft`. */
  readonly directory: string
  readonly nodeId: NodeId
  readonly prng: Prng
  readonly segmentBytes?: number
  readonly onEvent: (event: LogEvent) => void
}

export interface OpenedRaft {
  readonly storage: RaftStorage
  readonly saved: SavedRaft
  /** Content of the snapshot that `saved` starts from. */
  readonly records: readonly Buffer[]
  /** Why this member starts over under a new name, if it does. */
  readonly damage: string | undefined
}

/**
 * The first content of a member's directory: with the voters of a new cluster, or with none for one that joins. May be
 * repeated until it has succeeded once; what makes it a member's directory is the last file that is written.
 */
export async function formatRaft(
  options: { readonly resources: Pick<LogResources, 'disk'>; readonly directory: string },
  first: { self: MemberId; membership: Membership },
): Promise<void> {
  const { directory } = options
  const { disk } = options.resources
  await makeDirectoryDurably(disk, directory)
  const mark = { index: 0, term: 0, membership: first.membership }
  await writeSnapshotFile(disk, `${directory}/${snapshotFileName(mark)}`, { mark, records: [] })
  await disk.syncDirectory(directory)
  await writeQuorumState(disk, directory, {
    memberId: first.self,
    hardState: { term: 0, votedFor: undefined },
    voters: first.membership.voters,
  })
}

export async function openRaft(options: OpenRaftOptions): Promise<OpenedRaft> {
  const { directory } = options
  const { disk } = options.resources
  const aside = `${directory}.damaged`
  const { opened, damage } = await loadUndamaged(options)
  if (opened) return opened
  if (damage !== undefined) {
    await refuseIfLastCopy(options, damage)
    // One is kept, for people: the next damage has nothing older to tell.
    await disk.removeDirectory(aside)
    await disk.rename(directory, aside)
    await disk.syncDirectory(parentOf(directory))
  } else if (!(await disk.stat(aside))) throw notFormatted(directory)
  // Else an earlier process has put its directory aside, and did not get further.
  const self = memberId(options.nodeId, randomUuid(options.prng))
  await formatRaft(options, { self, membership: NO_MEMBERS })
  const fresh = await load(options)
  if (!fresh) throw notFormatted(directory)
  return { ...fresh, damage: damage ?? 'an earlier process found it damaged' }
}

async function loadUndamaged(
  options: OpenRaftOptions,
): Promise<{ opened?: OpenedRaft | undefined; damage?: string }> {
  try {
    return { opened: await load(options) }
  } catch (thrown) {
    if (!(thrown instanceof CorruptRaftData)) throw thrown
    return { damage: thrown.message }
  }
}

/** Undefined where the directory is not there, or its making was cut short. */
async function load(options: OpenRaftOptions): Promise<OpenedRaft | undefined> {
  const { resources, directory, onEvent, segmentBytes } = options
  const { disk, clock } = resources
  const quorum = await readQuorumState(disk, directory)
  if (!quorum) return refuseIfUsed(options)
  if (quorum.damage !== undefined) throw new CorruptRaftData(quorum.damage)
  const snapshot = await loadSnapshot(options)
  const { files, startIsKnown } = await RaftLogFiles.open({
    resources,
    directory,
    onEvent,
    ...(segmentBytes !== undefined && { segmentBytes }),
  })
  try {
    const saved = await settle(files, startIsKnown, { quorum, snapshot })
    const storage = new RaftStorage({
      disk,
      clock,
      directory,
      self: quorum.memberId,
      files,
      hardState: quorum.hardState,
      snapshot: snapshot.mark,
      voters: quorum.voters,
    })
    return { storage, saved, records: snapshot.records, damage: undefined }
  } catch (thrown) {
    await files.close()
    throw thrown
  }
}

/** The snapshot that reaches furthest: an older one is a leftover, and so is what was on its way. */
async function loadSnapshot({ resources, directory }: OpenRaftOptions): Promise<Snapshot> {
  const { disk } = resources
  const names = (await disk.list(directory)).map(entry => entry.name).filter(parseSnapshotFileName)
  const name = names.at(-1)
  if (name === undefined) throw new CorruptRaftData(`${directory} holds no snapshot`)
  const snapshot = await readSnapshotFile(disk, `${directory}/${name}`)
  if (snapshotFileName(snapshot.mark) !== name)
    throw new CorruptRaftData(`${directory}/${name} is another snapshot`)
  // Of a process that was killed: what it renamed is in the page cache, and no sync may have covered it.
  await disk.syncDirectory(directory)
  for (const older of names.slice(0, -1)) await disk.remove(`${directory}/${older}`)
  return snapshot
}

/** Log, snapshot and term as one consistent start; throws CorruptRaftData where they cannot belong together. */
async function settle(
  files: RaftLogFiles,
  startIsKnown: boolean,
  { quorum, snapshot }: { quorum: QuorumState; snapshot: Snapshot },
): Promise<SavedRaft> {
  const { mark } = snapshot
  if (files.start.index > mark.index)
    throw new CorruptRaftData(`the log starts at ${files.start.index}, above its snapshot at ${mark.index}`)
  const { hardState } = quorum
  const entries = await files.readAll()
  const position = { index: mark.index, term: mark.term }
  const held = mark.index === files.start.index ? files.start.term : termAt(entries, mark.index)
  const endsAtStart = mark.index === files.start.index && !startIsKnown
  if (held !== mark.term && !endsAtStart) {
    // A snapshot of the leader was put in place, and the process ended before the log had gone for it.
    await files.restartBehind(position)
    checkTerms(hardState.term, mark.term)
    return { hardState, snapshot: mark, entries: [] }
  }
  for (const entry of entries) {
    if (entry.kind === 'config' && !decodeMembership(entry.data))
      throw new CorruptRaftData(`entry ${entry.index} does not hold a membership`)
  }
  checkTerms(hardState.term, entries.at(-1)?.term ?? mark.term)
  if (startIsKnown) return { hardState, snapshot: mark, entries, base: files.start }
  return { hardState, snapshot: mark, entries: entries.filter(entry => entry.index > mark.index) }
}

function termAt(entries: readonly LogEntry[], index: number): number | undefined {
  const first = entries[0]
  return first && entries[index - first.index]?.term
}

function checkTerms(hardTerm: number, lastTerm: number): void {
  if (lastTerm > hardTerm)
    throw new CorruptRaftData(`the log is of term ${lastTerm}, but the term on record is ${hardTerm}`)
}

async function refuseIfUsed({ resources, directory }: OpenRaftOptions): Promise<undefined> {
  const { disk } = resources
  if (!(await disk.stat(directory))) return
  const names = (await disk.list(directory)).map(entry => entry.name)
  if (names.some(name => name === 'log-state' || name.endsWith('.log')))
    throw new CorruptRaftData(`${directory} has lost its quorum-state`)
}

/** What other voters have can be had from them again. What only this disk has must not be given up. */
async function refuseIfLastCopy(options: OpenRaftOptions, damage: string): Promise<void> {
  const voters = await knownVoters(options)
  const isLastCopy = voters?.length === 1 && nodeIdOf(voters[0] as MemberId) === options.nodeId
  if (voters !== undefined && !isLastCopy) return
  throw new NaruError(
    'DATA_DIRECTORY_DAMAGED',
    `the metadata log in ${options.directory} is damaged (${damage}), and no other voter is known to have a copy: ` +
      'nothing was changed; restore the directory from a backup of the same moment as the rest of the data',
    { details: { directory: options.directory } },
  )
}

async function knownVoters(options: OpenRaftOptions): Promise<readonly MemberId[] | undefined> {
  try {
    const quorum = await readQuorumState(options.resources.disk, options.directory)
    if (quorum) return quorum.voters
  } catch (thrown) {
    if (!(thrown instanceof CorruptRaftData)) throw thrown
  }
  try {
    return (await loadSnapshot(options)).mark.membership.voters
  } catch (thrown) {
    if (!(thrown instanceof CorruptRaftData)) throw thrown
    return undefined
  }
}

function notFormatted(directory: string): NaruError {
  return new NaruError(
    'DATA_DIRECTORY_DAMAGED',
    `${directory} holds no state of the metadata quorum, though this data directory belongs to a cluster: restore it ` +
      'from a backup, or start with an empty data directory and let the node join anew',
    { details: { directory } },
  )
}

function parentOf(directory: string): string {
  const slash = directory.lastIndexOf('/')
  return slash > 0 ? directory.slice(0, slash) : '.'
}
