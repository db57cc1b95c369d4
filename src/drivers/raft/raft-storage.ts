import { assert } from '../../base/assert.ts'
import { NaruError } from '../../base/errors.ts'
import type { Clock } from '../../ports/clock.ts'
import { delay } from '../../ports/clock.ts'
import { type Disk, DiskError } from '../../ports/disk.ts'
import { decodeMembership, type MemberId } from '../../raft/membership.ts'
import type { LogEntry, SnapshotMark } from '../../raft/messages.ts'
import type { HardState } from '../../raft/raft-options.ts'
import type { PersistRequest } from '../../raft/raft-output.ts'
import { writeQuorumState } from './quorum-state-file.ts'
import type { RaftLogFiles } from './raft-log-files.ts'
import { parseSnapshotFileName, snapshotFileName, writeSnapshotFile } from './snapshot-file.ts'

export interface RaftStorageOptions {
  readonly disk: Disk
  readonly clock: Clock
  readonly directory: string
  readonly self: MemberId
  readonly files: RaftLogFiles
  readonly hardState: HardState
  readonly snapshot: SnapshotMark
  readonly voters: readonly MemberId[]
}

/** One thing to be made durable, after all that came before it. */
interface Write {
  readonly persist: PersistRequest | undefined
  /** Of `persist.snapshot`: the whole checked file that was received. */
  readonly received?: string
  readonly adopt?: { readonly mark: SnapshotMark; readonly path: string }
  readonly removeThrough?: number
  readonly checkpoint?: true
  readonly damage?: string
  readonly onDurable: () => void
  /** It will never be. */
  readonly onDropped?: () => void
}

/**
 * What a member makes durable, in the directory `raft/`: term and vote, the log, the snapshot. Writes are done one
 * after the other in the order asked (the contract of `raft-output.ts`); those that only add entries and wait while
 * a sync is under way share the next one. After a failure nothing more is written, and nothing reported as durable.
 *
 * Order within one write: term and vote, then the snapshot, then entries. So no entry on the disk is of a later term
 * than `quorum-state` has. A snapshot is durable by its name before the log behind it goes.
 *
 * Bounded by the core's own windows (entries in flight per follower, uncommitted bytes on the leader), and by the
 * driver, which drops what the network brings above a limit of `pendingBytes`.
 */
export class RaftStorage {
  readonly self: MemberId
  readonly #options: RaftStorageOptions
  readonly #queue: Write[] = []
  #hardState: HardState
  #snapshot: SnapshotMark
  #voters: readonly MemberId[]
  #receivedCount = 0
  #pendingBytes = 0
  #running = Promise.resolve()
  #isRunning = false
  #failure: NaruError | undefined
  #isClosed = false
  #onFailed: (error: NaruError) => void = () => {}

  constructor(options: RaftStorageOptions) {
    this.#options = options
    this.self = options.self
    this.#hardState = options.hardState
    this.#snapshot = options.snapshot
    this.#voters = options.voters
  }

  /** Called once, by who drives. `onFailed`: the disk failed, nothing will be durable any more. */
  setHandlers(handlers: { onFailed: (error: NaruError) => void }): void {
    this.#onFailed = handlers.onFailed
  }

  get snapshot(): SnapshotMark {
    return this.#snapshot
  }

  get snapshotPath(): string {
    return this.#path(snapshotFileName(this.#snapshot))
  }

  /** A place to gather a snapshot that another member sends; what is left there is gone at the next start. */
  receivingPath(): string {
    this.#receivedCount++
    return this.#path(`received-${this.#receivedCount}.snapshot.tmp`)
  }

  get pendingBytes(): number {
    return this.#pendingBytes
  }

  /** Since when one write or sync of the log has been under way (rule B6). */
  get outstandingSinceMs(): number | undefined {
    return this.#options.files.outstandingSinceMs
  }

  /** `onDurable` is called when this and everything before it is. Without a request: when everything before it is. */
  persist(persist: PersistRequest | undefined, onDurable: () => void, received?: string): void {
    assert(!persist?.snapshot || received !== undefined, 'a snapshot is installed from what was received')
    this.#push({ persist, onDurable, ...(received !== undefined && { received }) })
  }

  /** Makes a snapshot of this member's own the present one. False: there is one by now that reaches further. */
  async takeSnapshot(mark: SnapshotMark, records: readonly Buffer[]): Promise<boolean> {
    const path = this.#path(`${snapshotFileName(mark)}.tmp`)
    try {
      await this.#whenRoom(() => writeSnapshotFile(this.#options.disk, path, { mark, records }))
    } catch (thrown) {
      this.#fail(thrown)
      return false
    }
    await new Promise<void>(resolve => {
      this.#push({ persist: undefined, adopt: { mark, path }, onDurable: resolve, onDropped: resolve })
    })
    return this.#snapshot.index === mark.index
  }

  /** Entries up to there, inclusive, are no longer needed. */
  removeThrough(index: number): void {
    this.#push({ persist: undefined, removeThrough: index, onDurable: () => {} })
  }

  /** Notes how far the log was synced, so that a log which has lost some of it is found out. */
  checkpoint(): void {
    this.#push({ persist: undefined, checkpoint: true, onDurable: () => {} })
  }

  /** Resolves when the next start will find that this member must not go on, or the disk cannot be told. */
  markDamaged(damage: string): Promise<void> {
    return new Promise(resolve => {
      this.#push({ persist: undefined, damage, onDurable: resolve, onDropped: resolve })
    })
  }

  /** Writes what is asked for by now, unless the disk is full; later requests are dropped. */
  async close(): Promise<void> {
    const { files, clock } = this.#options
    this.#isClosed = true
    while (this.#isRunning) {
      // Nothing that waits for space was promised to anybody.
      if (!files.hasRoom) files.giveUp(stopping())
      await Promise.race([this.#running, delay(clock, CLOSE_CHECK_MS)])
    }
    await files.close()
  }

  #push(write: Write): void {
    if (this.#isClosed || this.#failure) {
      write.onDropped?.()
      return
    }
    this.#queue.push(write)
    this.#pendingBytes += bytesOf(write)
    if (this.#isRunning) return
    this.#isRunning = true
    this.#running = this.#run()
  }

  async #run(): Promise<void> {
    let group: readonly Write[] = []
    try {
      while (this.#queue.length > 0) {
        group = this.#takeGroup()
        await this.#write(group)
        for (const write of group) {
          this.#pendingBytes -= bytesOf(write)
          write.onDurable()
        }
      }
    } catch (thrown) {
      this.#fail(thrown, group)
    } finally {
      this.#isRunning = false
    }
  }

  /** The oldest write, and those behind it that add entries to its own and nothing else. */
  #takeGroup(): Write[] {
    const first = this.#queue.shift() as Write
    const group = [first]
    let lastIndex = first.persist?.entries.at(-1)?.index
    for (let next = this.#queue[0]; next !== undefined; next = this.#queue[0]) {
      if (next.adopt || next.removeThrough !== undefined || next.checkpoint || next.damage) break
      const { hardState, snapshot, entries } = next.persist ?? NOTHING
      const from = entries[0]?.index
      if (hardState || snapshot) break
      if (from !== undefined && lastIndex !== undefined && from !== lastIndex + 1) break
      lastIndex = entries.at(-1)?.index ?? lastIndex
      group.push(next)
      this.#queue.shift()
    }
    return group
  }

  async #write(group: readonly Write[]): Promise<void> {
    const { files } = this.#options
    const first = group[0] as Write
    const entries = group.flatMap(write => write.persist?.entries ?? [])
    await this.#writeQuorumState(first, entries)
    if (first.persist?.snapshot) await this.#install(first.persist.snapshot, first.received as string)
    await files.write(entries)
    if (first.adopt) await this.#adopt(first.adopt)
    const { removeThrough } = first
    if (removeThrough !== undefined) await this.#whenRoom(() => files.removeThrough(removeThrough))
    if (first.checkpoint) await this.#checkpoint()
  }

  async #writeQuorumState({ persist, damage }: Write, entries: readonly LogEntry[]): Promise<void> {
    const config = entries.findLast(entry => entry.kind === 'config')
    const membership = config ? decodeMembership(config.data) : persist?.snapshot?.membership
    if (!persist?.hardState && !membership && damage === undefined) return
    const { disk, directory } = this.#options
    const hardState = persist?.hardState ?? this.#hardState
    const voters = membership?.voters ?? this.#voters
    const state = { memberId: this.self, hardState, voters, ...(damage !== undefined && { damage }) }
    await this.#whenRoom(() => writeQuorumState(disk, directory, state))
    this.#hardState = hardState
    this.#voters = voters
  }

  async #install(mark: SnapshotMark, received: string): Promise<void> {
    assert(
      mark.index > this.#snapshot.index,
      'a snapshot that is installed reaches further than the present one',
    )
    await this.#putInPlace(received, mark)
    await this.#options.files.restartBehind(mark)
    this.#snapshot = mark
    await this.#removeOldSnapshots()
  }

  async #adopt({ mark, path }: { mark: SnapshotMark; path: string }): Promise<void> {
    if (mark.index <= this.#snapshot.index) {
      await this.#options.disk.remove(path)
      return
    }
    await this.#putInPlace(path, mark)
    this.#snapshot = mark
    await this.#removeOldSnapshots()
  }

  async #putInPlace(path: string, mark: SnapshotMark): Promise<void> {
    const { disk, directory } = this.#options
    await this.#whenRoom(() => disk.rename(path, this.#path(snapshotFileName(mark))))
    // Only then may older ones, and the log that this one stands for, go. Never repeated: the second one may be told that
    // all is well of what the first one lost.
    await disk.syncDirectory(directory)
  }

  async #removeOldSnapshots(): Promise<void> {
    const { disk, directory } = this.#options
    for (const { name } of await disk.list(directory)) {
      const position = parseSnapshotFileName(name)
      if (position && position.index < this.#snapshot.index) await disk.remove(this.#path(name))
    }
  }

  /** Without room the last note stays, which claims less; nobody waits behind it. */
  async #checkpoint(): Promise<void> {
    try {
      await this.#options.files.checkpoint()
    } catch (thrown) {
      if (!isShortage(thrown)) throw thrown
    }
  }

  /** A full disk is waited out: nothing of it was promised to anybody. */
  async #whenRoom(work: () => Promise<void>): Promise<void> {
    for (;;) {
      try {
        await work()
        return
      } catch (thrown) {
        if (!isShortage(thrown)) throw thrown
        if (this.#isClosed) throw stopping()
        await delay(this.#options.clock, DISK_FULL_RETRY_MS)
      }
    }
  }

  /** `group`: what could not be written, though it may be in part. */
  #fail(thrown: unknown, group: readonly Write[] = []): void {
    if (!(thrown instanceof DiskError) && !(thrown instanceof NaruError)) throw thrown
    if (this.#failure) return
    this.#failure =
      thrown instanceof NaruError
        ? thrown
        : new NaruError(
            'STORAGE_OFFLINE',
            `the metadata log in ${this.#options.directory} is offline after a failed disk operation ` +
              `(${thrown.message}): check the disk, then restart the node`,
            { cause: thrown, outcome: 'unknown' },
          )
    for (const write of [...group, ...this.#queue.splice(0)]) write.onDropped?.()
    if (!this.#isClosed) this.#onFailed(this.#failure)
  }

  #path(name: string): string {
    return `${this.#options.directory}/${name}`
  }
}

const DISK_FULL_RETRY_MS = 1000
const CLOSE_CHECK_MS = 50
const NOTHING: Pick<PersistRequest, 'hardState' | 'snapshot' | 'entries'> = {
  hardState: undefined,
  snapshot: undefined,
  entries: [],
}

/** Passes by itself, or when somebody frees space. */
function isShortage(thrown: unknown): boolean {
  if (thrown instanceof DiskError) return thrown.code === 'ENOSPC'
  return thrown instanceof NaruError && thrown.reason === 'DISK_FULL'
}

function stopping(): NaruError {
  return new NaruError('NODE_DRAINING', 'this node is stopping')
}

function bytesOf({ persist }: Write): number {
  return persist ? persist.entries.reduce((sum, entry) => sum + entry.data.length, 0) : 0
}
