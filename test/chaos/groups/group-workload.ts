import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { Client } from '../../../src/client/index.ts'
import { type NodeCluster, until } from '../../harness/node-cluster.ts'
import { checkGroup, type GroupVerdict, type MemberEvent } from './group-history.ts'

const PROGRAM = fileURLToPath(new URL('member.mjs', import.meta.url))
const TICK_MS = 20

export interface GroupWorkloadOptions {
  readonly cluster: NodeCluster
  readonly client: Client
  readonly topic: string
  readonly group: string
  readonly partitions: number
  readonly recordsPerSecond: number
}

/** Records that flow into a topic at an even pace, and the members of a group that share them: a process each. */
export class GroupWorkload implements AsyncDisposable {
  readonly events: MemberEvent[] = []
  readonly members: MemberProcess[] = []
  readonly sendFailures: unknown[] = []
  readonly #options: GroupWorkloadOptions
  readonly #producer
  readonly #timer: NodeJS.Timeout
  /** By partition: behind the last record that is stored. */
  readonly #stored = new Map<number, number>()
  #sent = 0
  #memberCount = 0

  constructor(options: GroupWorkloadOptions) {
    this.#options = options
    this.#producer = options.client.producer()
    this.#timer = setInterval(() => this.#send(), TICK_MS)
  }

  add(): MemberProcess {
    const { cluster, topic, group } = this.#options
    const name = `m${++this.#memberCount}`
    const member = new MemberProcess(name, [cluster.addresses.join(','), group, topic, name], event =>
      this.events.push(event),
    )
    this.members.push(member)
    return member
  }

  /** Each of the partitions is some running member's by what they say. */
  async untilShared(): Promise<void> {
    await until(async () => (this.owned.size === this.#options.partitions ? true : undefined), {
      timeoutMs: 60_000,
    })
  }

  /** Partition -> who was last given it. */
  get owned(): Map<number, string> {
    const owned = new Map<number, string>()
    for (const { what, partition, member } of this.events) {
      if (what === 'assigned') owned.set(partition, member)
      else if (what !== 'record' && owned.get(partition) === member) owned.delete(partition)
    }
    const running = new Set(this.members.filter(one => one.isRunning).map(({ name }) => name))
    for (const [partition, member] of owned) if (!running.has(member)) owned.delete(partition)
    return owned
  }

  partitionsOf({ name }: MemberProcess): number[] {
    return [...this.owned].filter(([, member]) => member === name).map(([partition]) => partition)
  }

  /** Ms from then until others have been given all of these. */
  async handedOver(partitions: readonly number[], from: { member: string; atMs: number }): Promise<number> {
    const taken = await until(
      async () => {
        const times = partitions.map(partition =>
          this.events.find(
            event =>
              event.what === 'assigned' &&
              event.partition === partition &&
              event.member !== from.member &&
              event.atMs >= from.atMs,
          ),
        )
        return times.includes(undefined) ? undefined : times.map(event => event?.atMs ?? 0)
      },
      { timeoutMs: 60_000 },
    )
    return Math.max(0, ...taken) - from.atMs
  }

  /** Since then, ms between two records, of the partitions that nobody was given meanwhile. */
  gapsOfUnmoved(sinceMs: number): number[] {
    const events = this.events.filter(({ atMs }) => atMs >= sinceMs).sort((a, b) => a.atMs - b.atMs)
    const moved = new Set(events.filter(({ what }) => what !== 'record').map(({ partition }) => partition))
    const gaps: number[] = []
    const lastMs = new Map<number, number>()
    for (const { partition, atMs } of events) {
      if (moved.has(partition)) continue
      const beforeMs = lastMs.get(partition)
      if (beforeMs !== undefined) gaps.push(atMs - beforeMs)
      lastMs.set(partition, atMs)
    }
    return gaps
  }

  /** Lets everything that is stored come out, ends the members, and judges. */
  async finish(): Promise<GroupVerdict> {
    clearInterval(this.#timer)
    await this.#producer.flush()
    await until(
      async () => {
        const ends = new Map<number, number>()
        for (const { what, partition, offset = 0 } of this.events)
          if (what === 'record') ends.set(partition, Math.max(ends.get(partition) ?? 0, offset + 1))
        return [...this.#stored].every(([partition, end]) => (ends.get(partition) ?? 0) >= end) || undefined
      },
      { timeoutMs: 60_000 },
    )
    await Promise.all(this.members.map(member => member.end()))
    return checkGroup(this.events, this.#stored)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#timer)
    await Promise.all(this.members.map(member => member.end()))
    await this.#producer.close().catch(() => {})
  }

  #send(): void {
    const { topic, partitions, recordsPerSecond } = this.#options
    for (let i = 0; i < (recordsPerSecond * TICK_MS) / 1000; i++) {
      const partition = this.#sent++ % partitions
      this.#producer.send({ topic, partition, value: String(this.#sent) }).then(
        ({ offset }) => this.#stored.set(partition, Math.max(this.#stored.get(partition) ?? 0, offset + 1)),
        error => this.sendFailures.push(error),
      )
    }
  }
}

export class MemberProcess {
  readonly name: string
  readonly #child: ChildProcess
  readonly #exited: Promise<unknown>

  constructor(name: string, args: readonly string[], onEvent: (event: MemberEvent) => void) {
    this.name = name
    this.#child = spawn(process.execPath, [PROGRAM, ...args], { stdio: ['ignore', 'pipe', 'inherit'] })
    this.#exited = once(this.#child, 'exit')
    const lines = createInterface({ input: this.#child.stdout as NodeJS.ReadableStream })
    lines.on('line', line => {
      const [what, partition, atMs, offset] = line.split(' ')
      onEvent({
        member: name,
        what: what as MemberEvent['what'],
        partition: Number(partition),
        atMs: Number(atMs),
        ...(offset !== undefined && { offset: Number(offset) }),
      })
    })
  }

  get isRunning(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null
  }

  pause(): void {
    this.#child.kill('SIGSTOP')
  }

  resume(): void {
    this.#child.kill('SIGCONT')
  }

  /** It commits and leaves. */
  async close(): Promise<void> {
    this.#child.kill('SIGTERM')
    await this.#exited
  }

  async kill(): Promise<void> {
    this.#child.kill('SIGKILL')
    await this.#exited
  }

  /** Whatever its state. */
  async end(): Promise<void> {
    if (!this.isRunning) return
    this.resume()
    await this.close()
  }
}
