/** One Raft core alone, fed by hand with what others would send: for tests of a single rule. */
import { encodeMembership, type Membership } from '../../src/raft/membership.ts'
import type { LogEntry, LogPosition, RaftMessage } from '../../src/raft/messages.ts'
import type { RaftInput } from '../../src/raft/raft-input.ts'
import { RaftNode } from '../../src/raft/raft-node.ts'
import type { HardState, RaftOptions, SavedRaft } from '../../src/raft/raft-options.ts'
import type { PersistMark, RaftOutput } from '../../src/raft/raft-output.ts'

export interface LoneNodeOptions extends Partial<RaftOptions> {
  readonly voters?: readonly string[]
  readonly hardState?: HardState
  readonly entries?: readonly LogEntry[]
}

type Unaddressed<Message> = Message extends RaftMessage ? Omit<Message, 'to'> : never

export class LoneNode {
  readonly node: RaftNode
  nowMs = 0
  /** Of writes that were asked for and not completed yet. */
  readonly marks: PersistMark[] = []

  constructor(options: LoneNodeOptions = {}) {
    const {
      voters = ['1@a', '2@a', '3@a'],
      hardState = { term: 0, votedFor: undefined },
      entries = [],
    } = options
    const membership: Membership = { voters, learners: [] }
    const saved: SavedRaft = { hardState, snapshot: { index: 0, term: 0, membership }, entries }
    const defaults = { self: '1@a', incarnation: 'i', random: () => 0 }
    this.node = new RaftNode({ ...defaults, ...options }, saved, 0)
  }

  get status() {
    return this.node.status
  }

  step(input: RaftInput): RaftOutput {
    const output = this.node.step(input, this.nowMs)
    if (output.persist !== undefined) this.marks.push(output.persist.mark)
    return output
  }

  receive(message: Unaddressed<RaftMessage>): RaftOutput {
    return this.step({ type: 'message', message: { ...message, to: this.status.self } as RaftMessage })
  }

  /** Completes the oldest write. */
  persisted(): RaftOutput {
    const mark = this.marks.shift()
    if (mark === undefined) throw new Error('no write is under way')
    return this.step({ type: 'persisted', mark })
  }

  persistAll(): RaftOutput[] {
    const outputs: RaftOutput[] = []
    while (this.marks.length > 0) outputs.push(this.persisted())
    return outputs
  }

  /** Ticks until the time has passed; gives what came out of it together. */
  advance(ms: number): RaftOutput[] {
    const endMs = this.nowMs + ms
    const outputs: RaftOutput[] = []
    while (this.node.nextTickMs <= endMs) {
      this.nowMs = Math.max(this.nowMs, this.node.nextTickMs)
      outputs.push(this.step({ type: 'tick' }))
    }
    this.nowMs = endMs
    return outputs
  }

  /** Makes the node the leader of the next term, its noop durable here but nowhere else. */
  lead(): void {
    this.advance(1000)
    for (const from of this.#others()) {
      const { term } = this.status
      if (this.status.role === 'pre-candidate') {
        this.receive({ type: 'pre-vote-answer', from, term, requestTerm: term, granted: true })
      }
    }
    this.persistAll()
    for (const from of this.#others()) {
      if (this.status.role === 'candidate') {
        this.receive({ type: 'vote-answer', from, term: this.status.term, granted: true })
      }
    }
    this.persistAll()
  }

  #others(): string[] {
    return this.status.membership.voters.filter(voter => voter !== this.status.self)
  }
}

export function entry(index: number, term: number, text = `${index}/${term}`): LogEntry {
  return { index, term, kind: 'command', data: Buffer.from(text) }
}

export function configEntry(index: number, term: number, membership: Membership): LogEntry {
  return { index, term, kind: 'config', data: encodeMembership(membership) }
}

export function append(
  from: string,
  term: number,
  options: { previous?: LogPosition; entries?: readonly LogEntry[]; commitIndex?: number } = {},
) {
  const { previous = { index: 0, term: 0 }, entries = [], commitIndex = 0 } = options
  return { type: 'append', from, term, previous, entries, commitIndex } as const
}
