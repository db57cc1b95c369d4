import type { Client } from '../../../src/client/index.ts'
import { type NodeCluster, until } from '../../harness/node-cluster.ts'
import { checkHistory } from '../checker/check-history.ts'
import { verdictText } from '../checker/report.ts'
import { HistoryRecorder } from '../workload/history-recorder.ts'
import { GroupFlow } from './group-flow.ts'
import { GroupMembers } from './group-members.ts'
import type { MemberProcess } from './member-process.ts'

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
  readonly flow: GroupFlow
  readonly sendFailures: unknown[] = []
  readonly #options: GroupWorkloadOptions
  readonly #history: HistoryRecorder
  readonly #group: GroupMembers
  readonly #producer
  readonly #timer: NodeJS.Timeout
  #sent = 0

  private constructor(
    options: GroupWorkloadOptions,
    { history, group, flow }: { history: HistoryRecorder; group: GroupMembers; flow: GroupFlow },
  ) {
    this.#options = options
    this.#history = history
    this.#group = group
    this.flow = flow
    this.#producer = options.client.producer()
    this.#timer = setInterval(() => this.#send(), TICK_MS)
  }

  static async start(options: GroupWorkloadOptions): Promise<GroupWorkload> {
    const history = new HistoryRecorder()
    const flow = new GroupFlow()
    const { cluster, client, topic, group: name } = options
    const group = await GroupMembers.make({
      client,
      addresses: cluster.addresses,
      history,
      topic,
      group: name,
      onEvent: event => flow.onEvent(event),
    })
    return new GroupWorkload(options, { history, group, flow })
  }

  get members(): readonly MemberProcess[] {
    return this.#group.members
  }

  add(): MemberProcess {
    return this.#group.add()
  }

  /** See GroupMembers. */
  prepare(): Promise<void> {
    return this.#group.prepare()
  }

  /** Each of the partitions is some running member's by what they say. */
  async untilShared(): Promise<void> {
    await until(async () => (this.owned.size === this.#options.partitions ? true : undefined), {
      timeoutMs: 60_000,
    })
  }

  /** Partition -> the running member that was last given it. */
  get owned(): Map<number, string> {
    const running = new Set(this.members.filter(one => one.isRunning).map(({ name }) => name))
    return new Map([...this.flow.owned].filter(([, member]) => running.has(member)))
  }

  partitionsOf({ name }: MemberProcess): number[] {
    return [...this.owned].filter(([, member]) => member === name).map(([partition]) => partition)
  }

  /** Ms from then until others have been given all of these. */
  async handedOver(partitions: readonly number[], from: { member: string; atMs: number }): Promise<number> {
    const takenMs = await until(
      async () => {
        const times = partitions.map(partition => this.flow.takenMs(partition, from) ?? Number.NaN)
        return times.some(Number.isNaN) ? undefined : times
      },
      { timeoutMs: 60_000 },
    )
    return Math.max(0, ...takenMs.map(ms => ms - from.atMs))
  }

  /** Lets everything that is stored come out, ends the members, and judges. */
  async finish(): Promise<GroupVerdict> {
    clearInterval(this.#timer)
    await this.#producer.flush()
    await this.#group.finish()
    const verdict = checkHistory(this.#history.events)
    const findings = [...this.#group.failures]
    if (verdict.validity === 'invalid') findings.push(verdictText(verdict))
    const { recordCount, repeatedCount } = this.flow
    return { findings, recordCount, repeatedCount }
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
        ({ offset }) => {
          this.flow.onAcknowledged(partition)
          end({ type: 'ok', offsets: [offset] })
        },
        error => {
          end({ type: error.outcome === 'none' ? 'fail' : 'info', error: error.message })
          this.sendFailures.push(error)
        },
      )
    }
  }
}
