/**
 * One Raft core with the plainest driver that keeps the contract of `RaftOutput`: a disk whose writes are
 * synced one after the other when the test says so, and a state machine that chains the commands it applies.
 */
import { assert } from '../../src/base/assert.ts'
import type { MemberId } from '../../src/raft/membership.ts'
import type { LogEntry, LogPosition, RaftMessage, SnapshotMark } from '../../src/raft/messages.ts'
import type { RaftInput } from '../../src/raft/raft-input.ts'
import { RaftNode } from '../../src/raft/raft-node.ts'
import type { HardState, RaftOptions } from '../../src/raft/raft-options.ts'
import type { PersistRequest, RaftOutput } from '../../src/raft/raft-output.ts'

export interface AppliedState {
  readonly index: number
  /** Chained over all commands: equal only if the same commands were applied in the same order. */
  readonly hash: string
}

export interface Packet {
  readonly message: RaftMessage
  /** The content of the snapshot that a `snapshot` message announces. */
  readonly content: AppliedState | undefined
}

/** What survives a crash. */
export interface RaftDisk {
  hardState: HardState
  snapshot: SnapshotMark
  snapshotContent: AppliedState
  base: LogPosition
  entries: LogEntry[]
}

interface Write {
  readonly persist: PersistRequest | undefined
  readonly content: AppliedState | undefined
  readonly messages: readonly Packet[]
}

export interface RaftMemberOptions extends Omit<RaftOptions, 'self'> {
  readonly self: MemberId
  readonly disk: RaftDisk
  readonly nowMs: number
  readonly send: (packet: Packet) => void
  /** Sees each output before anything is done about it; what it returns is done instead. */
  readonly onOutput?: (member: RaftMember, output: RaftOutput, input: RaftInput) => RaftOutput
  readonly nodeClass?: typeof RaftNode
}

export function emptyDisk(snapshot: SnapshotMark): RaftDisk {
  return {
    hardState: { term: 0, votedFor: undefined },
    snapshot,
    snapshotContent: { index: snapshot.index, hash: '' },
    base: { index: snapshot.index, term: snapshot.term },
    entries: [],
  }
}

export function diskLast(disk: RaftDisk): LogPosition {
  return disk.entries.at(-1) ?? disk.base
}

export function chain(hash: string, entry: LogEntry): string {
  let value = 0x811c9dc5
  for (const char of `${hash}/${entry.index}:${entry.term}:${Buffer.from(entry.data).toString('latin1')}`) {
    value = Math.imul(value ^ char.charCodeAt(0), 0x01000193) >>> 0
  }
  return value.toString(36)
}

export class RaftMember {
  readonly id: MemberId
  readonly disk: RaftDisk
  readonly node: RaftNode
  /** Handed out and not synced yet, oldest first. */
  writes: Write[] = []
  applied: AppliedState
  readonly #options: RaftMemberOptions
  readonly #snapshotContents = new Map<string, AppliedState>()

  constructor(options: RaftMemberOptions) {
    this.id = options.self
    this.disk = options.disk
    this.#options = options
    this.applied = options.disk.snapshotContent
    const { hardState, snapshot, base, entries } = options.disk
    const NodeClass = options.nodeClass ?? RaftNode
    this.node = new NodeClass(options, { hardState, snapshot, base, entries: [...entries] }, options.nowMs)
  }

  step(input: RaftInput, nowMs: number): RaftOutput {
    const given = this.node.step(input, nowMs)
    const output = this.#options.onOutput?.(this, given, input) ?? given
    for (const message of output.sendNow) this.#options.send(this.#packet(message))
    const { persist } = output
    const content = persist?.snapshot && this.#snapshotContents.get(keyOf(persist.snapshot))
    if (persist !== undefined || output.sendAfterPersist.length > 0) {
      this.writes.push({
        persist,
        content,
        messages: output.sendAfterPersist.map(message => this.#packet(message)),
      })
    }
    if (output.committed.length > 0) this.#apply(output.committed, nowMs)
    return output
  }

  /** A message with the content of its snapshot, all of it, as the driver would have gathered it. */
  deliver({ message, content }: Packet, nowMs: number): RaftOutput {
    if (message.type === 'snapshot' && content !== undefined) {
      this.#snapshotContents.set(keyOf(message.snapshot), content)
    }
    return this.step({ type: 'message', message }, nowMs)
  }

  /** Syncs the oldest write, lets what waited for it leave, and tells the core. */
  syncOne(nowMs: number): RaftOutput | undefined {
    const write = this.writes.shift()
    if (write === undefined) return undefined
    if (write.persist !== undefined) store(this.disk, write.persist, write.content)
    if (write.persist?.snapshot !== undefined) {
      assert(write.content !== undefined, 'a snapshot whose content never came')
      this.applied = write.content
    }
    for (const packet of write.messages) this.#options.send(packet)
    if (write.persist === undefined) return undefined
    return this.step({ type: 'persisted', mark: write.persist.mark }, nowMs)
  }

  syncAll(nowMs: number): void {
    while (this.writes.length > 0) this.syncOne(nowMs)
  }

  /** What the disk holds after losing its power: the first `reached` writes got there, though nobody was told. */
  crash(reached: number): RaftDisk {
    for (const write of this.writes.slice(0, reached)) {
      if (write.persist !== undefined) store(this.disk, write.persist, write.content)
    }
    this.writes = []
    return this.disk
  }

  /** Makes the applied state durable as a snapshot and cuts the log, keeping `keep` entries below it. */
  compact(keep: number, nowMs: number): void {
    const { index } = this.applied
    if (index <= this.node.status.snapshotIndex) return
    const mark = this.node.snapshotMarkAt(index)
    const logStart = Math.max(this.disk.base.index, Math.min(index - keep, diskLast(this.disk).index))
    const term = logStart === this.disk.base.index ? this.disk.base.term : this.#diskTermAt(logStart)
    this.disk.snapshot = mark
    this.disk.snapshotContent = this.applied
    this.disk.entries = this.disk.entries.filter(entry => entry.index > logStart)
    this.disk.base = { index: logStart, term }
    this.step({ type: 'compacted', index, logStart }, nowMs)
  }

  #diskTermAt(index: number): number {
    const entry = this.disk.entries.find(candidate => candidate.index === index)
    assert(entry !== undefined, `entry ${index} is not on the disk`)
    return entry.term
  }

  #apply(entries: readonly LogEntry[], nowMs: number): void {
    for (const entry of entries) {
      assert(entry.index === this.applied.index + 1, `applies ${entry.index} after ${this.applied.index}`)
      this.applied = { index: entry.index, hash: chain(this.applied.hash, entry) }
    }
    this.step({ type: 'applied', index: this.applied.index }, nowMs)
  }

  #packet(message: RaftMessage): Packet {
    const content = message.type === 'snapshot' ? this.disk.snapshotContent : undefined
    return { message, content }
  }
}

function store(disk: RaftDisk, persist: PersistRequest, content: AppliedState | undefined): void {
  if (persist.hardState !== undefined) disk.hardState = persist.hardState
  if (persist.snapshot !== undefined && content !== undefined) {
    disk.snapshot = persist.snapshot
    disk.snapshotContent = content
    disk.base = { index: persist.snapshot.index, term: persist.snapshot.term }
    disk.entries = []
  }
  const first = persist.entries[0]
  if (first === undefined) return
  disk.entries = disk.entries.filter(entry => entry.index < first.index)
  assert(diskLast(disk).index === first.index - 1, `write of ${first.index} after ${diskLast(disk).index}`)
  disk.entries.push(...persist.entries)
}

function keyOf({ index, term }: LogPosition): string {
  return `${index}/${term}`
}
