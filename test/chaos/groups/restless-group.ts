import type { SeededPrng } from '../../harness/seeded-prng.ts'
import { pause } from '../workload/numbered-producers.ts'
import { GroupMembers, type GroupMembersOptions } from './group-members.ts'
import type { MemberEvent } from './member-process.ts'

export interface RestlessGroupOptions extends Omit<GroupMembersOptions, 'manner' | 'onEvent'> {
  readonly prng: SeededPrng
  /** One line into the story of the round. */
  readonly note: (text: string) => void
}

const MEMBERS = 3
/** Short, so that members that stand still for some seconds come back to partitions that are others' by now. */
const SESSION_TIMEOUT_MS = 4_000
/** Between two that go. */
const CALM_MS: readonly [number, number] = [1_500, 5_000]
const STANDSTILL_MS: readonly [number, number] = [500, 8_000]

/** What becomes of a member: it leaves, is killed (perhaps to come back under its name), or stands still. */
type Fate = 'close' | 'kill' | 'kill and come back' | 'stand still'
const TOLD: ReadonlySet<MemberEvent['what']> = new Set(['assigned', 'revoked', 'lost', 'failed', 'left'])
const FATES: readonly Fate[] = ['close', 'kill', 'kill and come back', 'stand still', 'stand still']

/** A group whose members come and go all the time, one after another; how they take and commit records the seed draws. */
export class RestlessGroup implements AsyncDisposable {
  /** How often each fate befell a member. */
  readonly fates = new Map<string, number>()
  readonly #members: GroupMembers
  readonly #prng: SeededPrng
  readonly #note: (text: string) => void
  readonly #running: Promise<void>
  #wake: () => void = () => {}
  #isStopped = false

  private constructor(members: GroupMembers, { prng, note }: RestlessGroupOptions) {
    this.#members = members
    this.#prng = prng
    this.#note = note
    for (let i = 0; i < MEMBERS; i++) members.add()
    this.#running = this.#run()
  }

  static async start(options: RestlessGroupOptions): Promise<RestlessGroup> {
    const { prng, note } = options
    const manner = {
      sessionTimeoutMs: SESSION_TIMEOUT_MS,
      takesBatches: prng.chance(0.5),
      commitsByHand: prng.chance(0.5),
    }
    note(`members of groups: ${JSON.stringify(manner)}`)
    const onEvent = ({ what, member, partition, position }: MemberEvent) => {
      if (!TOLD.has(what)) return
      note(`    ${member}: ${what} ${partition ?? ''}${position === undefined ? '' : ` from ${position}`}`)
    }
    return new RestlessGroup(await GroupMembers.make({ ...options, manner, onEvent }), options)
  }

  /** The record of the coordinators. */
  get recordText(): string {
    return this.#members.recordText
  }

  get failures(): readonly string[] {
    return this.#members.failures
  }

  /** Node id. */
  coordinator(): Promise<number> {
    return this.#members.coordinator()
  }

  /** Nothing is written to the topic any more, and nothing goes wrong. */
  async finish(): Promise<void> {
    await this.#stop()
    await this.#members.finish()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stop()
    await this.#members[Symbol.asyncDispose]()
  }

  async #stop(): Promise<void> {
    this.#isStopped = true
    this.#wake()
    await this.#running
  }

  async #run(): Promise<void> {
    const prng = this.#prng
    while (!this.#isStopped) {
      await this.#pause(CALM_MS)
      if (this.#isStopped) return
      const { running } = this.#members
      // All have given up, which is a finding of its own.
      if (running.length === 0) return
      const member = prng.pick(running)
      const fate = prng.pick(FATES)
      this.#note(`    ${member.name}: ${fate}`)
      this.fates.set(`member: ${fate}`, (this.fates.get(`member: ${fate}`) ?? 0) + 1)
      if (fate === 'stand still') {
        member.pause()
        await this.#pause(STANDSTILL_MS)
        member.resume()
        continue
      }
      await (fate === 'close' ? member.close() : member.kill())
      this.#members.add(fate === 'kill and come back' ? member.name : undefined)
    }
  }

  /** Or until it is told to stop. */
  async #pause([least, most]: readonly [number, number]): Promise<void> {
    const woken = new Promise<void>(resolve => {
      this.#wake = resolve
    })
    if (this.#isStopped) return
    await Promise.race([pause(least + (most - least) * this.#prng.fraction()), woken])
  }
}
