import type { Client } from '../../../src/client/index.ts'
import { until } from '../../harness/node-cluster.ts'
import type { HistoryRecorder } from '../workload/history-recorder.ts'
import { CoordinatorRecord } from './coordinator-record.ts'
import { type MemberEvent, MemberProcess, type MemberTask, membersRecorder } from './member-process.ts'

export interface GroupMembersOptions {
  readonly client: Client
  readonly addresses: readonly string[]
  readonly history: HistoryRecorder
  readonly topic: string
  readonly group: string
  readonly manner?: Pick<MemberTask, 'sessionTimeoutMs' | 'takesBatches' | 'commitsByHand'>
  readonly onEvent?: (event: MemberEvent) => void
}

const THROUGH_TIMEOUT_MS = 120_000

/** Members of a group, a process each, and the record of who coordinates them; all of it becomes part of a history. */
export class GroupMembers implements AsyncDisposable {
  readonly members: MemberProcess[] = []
  /** Members that gave up, and what is wrong with the record. */
  readonly failures: string[] = []
  readonly #options: GroupMembersOptions
  readonly #record: CoordinatorRecord
  readonly #note: (event: MemberEvent) => void
  #spare: MemberProcess | undefined
  #count = 0

  private constructor(options: GroupMembersOptions, record: CoordinatorRecord) {
    this.#options = options
    this.#record = record
    this.#note = membersRecorder(options.history, options)
  }

  static async make(options: GroupMembersOptions): Promise<GroupMembers> {
    return new GroupMembers(options, await CoordinatorRecord.follow(options))
  }

  /** The record of the coordinators, for whoever looks for a cause. */
  get recordText(): string {
    return this.#record.lines.map(line => `${line}\n`).join('')
  }

  get running(): MemberProcess[] {
    return this.members.filter(({ isRunning }) => isRunning)
  }

  /** A name: it comes back under that. Default: a new one, of the process that was prepared if there is one. */
  add(name?: string): MemberProcess {
    const spare = name === undefined ? this.#spare : undefined
    const member = spare ?? this.#start({ member: name ?? this.#newName() })
    if (spare) {
      this.#spare = undefined
      spare.release()
    }
    this.members.push(member)
    return member
  }

  /** Starts the process that is the next member of a new name, and resolves when all that is left for it is to join. */
  async prepare(): Promise<void> {
    if (this.#spare) return
    let ready = () => {}
    const isReady = new Promise<void>(resolve => {
      ready = resolve
    })
    this.#spare = this.#start({ member: this.#newName(), isHeld: true }, ready)
    await isReady
  }

  /** Node id. */
  async coordinator(): Promise<number> {
    return (await this.#options.client.groups().describe(this.#options.group)).coordinator
  }

  /**
   * Nothing more is written to the topic, and nothing goes wrong any more: lets everything come out, ends the members, and
   * asks for what is committed.
   */
  async finish(): Promise<void> {
    const { client, group, history, topic } = this.#options
    await this.#spare?.kill()
    for (const member of this.running) member.resume()
    await this.#untilThrough()
    await Promise.all(this.running.map(member => member.end()))
    for (const { partition, nextOffset } of await client.groups().fetchOffsets(group, [{ topic }])) {
      await until(async () => this.#record.committed(topic, partition) === nextOffset || undefined).catch(
        () => {},
      )
      const asked = { op: 'committed', process: group, partition: `${topic}-${partition}`, group } as const
      const position = nextOffset === undefined ? {} : { position: nextOffset }
      history.begin(asked)({ type: 'ok', ...position })
    }
    await this.#record.finish()
    if (this.#record.failure) this.failures.push(`the record of ${group}: ${this.#record.failure.message}`)
  }

  /** At once: there may be no cluster any more to take leave of. */
  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.running.map(member => member.kill()), this.#spare?.kill()])
    await this.#record.close()
  }

  #newName(): string {
    return `member-${++this.#count}`
  }

  #start(task: Pick<MemberTask, 'member' | 'isHeld'>, onReady = () => {}): MemberProcess {
    const { addresses, topic, group, manner, onEvent } = this.#options
    return new MemberProcess({ addresses, topic, group, ...manner, ...task }, event => {
      if (event.what === 'ready') {
        onReady()
        return
      }
      this.#note(event)
      onEvent?.(event)
      if (event.what === 'failed') this.failures.push(`${task.member} of ${group} gave up: ${event.error}`)
    })
  }

  async #untilThrough(): Promise<void> {
    const { client, group, topic } = this.#options
    let late = ['nobody has answered']
    try {
      await until(
        async () => {
          const offsets = await client.groups().fetchOffsets(group, [{ topic }])
          late = offsets
            .filter(({ lag }) => lag !== 0)
            .map(one => `partition ${one.partition} at ${one.nextOffset} of ${one.highWatermark}`)
          return (offsets.length > 0 && late.length === 0) || undefined
        },
        { timeoutMs: THROUGH_TIMEOUT_MS },
      )
    } catch {
      this.failures.push(`${group} is not through after ${THROUGH_TIMEOUT_MS} ms: ${late.join('; ')}`)
    }
  }
}
