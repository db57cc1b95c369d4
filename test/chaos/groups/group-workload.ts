import type { Client } from '../../../src/client/index.ts'
import { type NodeCluster, until } from '../../harness/node-cluster.ts'
import { checkHistory } from '../checker/check-history.ts'
import { verdictText } from '../checker/report.ts'
import { HistoryRecorder } from '../workload/history-recorder.ts'
import { GroupMembers } from './group-members.ts'
import type { MemberEvent, MemberProcess } from './member-process.ts'

const TICK_MS = 20

export interface GroupWorkloadOptions {
  readonly cluster: NodeCluster
  readonly client: Client
  readonly topic: string
  readonly group: string
  readonly partitions: number
  readonly recordsPerSecond: number
}

export interface GroupVerdict {
  /** What is wrong, in words; empty: nothing. */
  readonly findings: readonly string[]
  readonly recordCount: number
  /** Given out a second time. */
  readonly repeatedCount: number
}

/** Records that flow into a topic at an even pace, and the members of a group that share them: a process each. */
export class GroupWorkload implements AsyncDisposable {
  readonly events: readonly MemberEvent[]
  readonly sendFailures: unknown[] = []
  readonly #options: GroupWorkloadOptions
  readonly #history: HistoryRecorder
  readonly #group: GroupMembers
  readonly #producer
  readonly #timer: NodeJS.Timeout
  #sent = 0

  private constructor(
    options: GroupWorkloadOptions,
    { history, group, events }: { history: HistoryRecorder; group: GroupMembers; events: MemberEvent[] },
  ) {
    this.#options = options
    this.#history = history
    this.#group = group
    this.events = events
    this.#producer = options.client.producer()
    this.#timer = setInterval(() => this.#send(), TICK_MS)
  }

  static async start(options: GroupWorkloadOptions): Promise<GroupWorkload> {
    const history = new HistoryRecorder()
    const events: MemberEvent[] = []
    const { cluster, client, topic, group: name } = options
    const group = await GroupMembers.make({
      client,
      addresses: cluster.addresses,
      history,
      topic,
      group: name,
      onEvent: event => events.push(event),
    })
    return new GroupWorkload(options, { history, group, events })
  }

  get members(): readonly MemberProcess[] {
    return this.#group.members
  }

  add(): MemberProcess {
    return this.#group.add()
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
      else if ((what === 'revoked' || what === 'lost') && owned.get(partition) === member)
        owned.delete(partition)
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
    const isMove = ({ what }: MemberEvent) => what === 'assigned' || what === 'revoked' || what === 'lost'
    const moved = new Set(events.filter(isMove).map(({ partition }) => partition))
    const gaps: number[] = []
    const lastMs = new Map<number, number>()
    for (const { what, partition, atMs } of events) {
      if (what !== 'records' || moved.has(partition)) continue
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
    await this.#group.finish()
    const verdict = checkHistory(this.#history.events)
    const findings = [...this.#group.failures]
    if (verdict.validity === 'invalid') findings.push(verdictText(verdict))
    const given = new Set<string>()
    let recordCount = 0
    for (const { partition, offsets = [] } of this.events) {
      recordCount += offsets.length
      for (const offset of offsets) given.add(`${partition} ${offset}`)
    }
    return { findings, recordCount, repeatedCount: recordCount - given.size }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#timer)
    await this.#group[Symbol.asyncDispose]()
    await this.#producer.close().catch(() => {})
  }

  #send(): void {
    const { topic, partitions, recordsPerSecond } = this.#options
    for (let i = 0; i < (recordsPerSecond * TICK_MS) / 1000; i++) {
      const value = String(++this.#sent)
      const partition = this.#sent % partitions
      const end = this.#history.begin({
        op: 'send',
        process: 'producer',
        partition: `${topic}-${partition}`,
        values: [value],
      })
      this.#producer.send({ topic, partition, value }).then(
        ({ offset }) => end({ type: 'ok', offsets: [offset] }),
        error => {
          end({ type: error.outcome === 'none' ? 'fail' : 'info', error: error.message })
          this.sendFailures.push(error)
        },
      )
    }
  }
}
