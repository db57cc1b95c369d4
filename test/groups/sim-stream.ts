import type { NaruError } from '../../src/base/errors.ts'
import type { MemberInstance } from '../../src/groups/group-record.ts'
import type { MemberName, MemberStream } from '../../src/groups/group-result.ts'
import type { Membership, MembershipPartition } from '../../src/groups/member-control.ts'
import type { MembershipFeed } from '../../src/groups/membership-feed.ts'
import type { GroupContext } from './group-context.ts'

export interface StreamOptions {
  readonly topics?: readonly string[]
  readonly topicPattern?: string
  readonly assignor?: string
  readonly sessionTimeoutMs?: number
  /** Default: a process of its own. */
  readonly instance?: MemberInstance
  /** Where a partition starts that has no commit. Default: 0. */
  readonly start?: (partition: { topic: string; partition: number }) => number
  /** Does not release by itself. */
  readonly isSlow?: boolean
  /** Does not resolve where to start by itself. */
  readonly isUnresolved?: boolean
}

/** One stream of a member, with the client at its other end: what it believes to have, and when it gives it back. */
export class SimStream {
  isConnected = true
  isSilent = false
  stream: MemberStream | undefined
  /** Partition (`topic/number`) -> what the client was told of it. */
  readonly believes = new Map<string, MembershipPartition>()
  readonly name: MemberName
  memberEpoch = 0
  /** When it said last what a coordinator has answered: from then on its member counts on nothing but its timeouts. */
  heardMs = Number.NEGATIVE_INFINITY
  hasLeft = false
  readonly #context: GroupContext
  readonly #options: StreamOptions
  readonly #feed: MembershipFeed

  constructor(context: GroupContext, name: MemberName, options: StreamOptions) {
    this.#context = context
    this.name = name
    this.#options = options
    this.#feed = new context.code.MembershipFeed()
  }

  /** For so long after it was heard last its member goes on with what it has. */
  get graceMs(): number {
    return this.#options.sessionTimeoutMs ?? 3_000
  }

  isOfProcess(id: string): boolean {
    return this.#options.instance?.id === id
  }

  isOf({ group, member }: MemberName): boolean {
    return this.name.group === group && this.name.member === member
  }

  open(): void {
    const { coordinator, nowMs } = this.#context
    const openedMs = nowMs
    const { topics = [], topicPattern, assignor, sessionTimeoutMs } = this.#options
    const { instance = this.#context.newInstance() } = this.#options
    const request = {
      ...this.name,
      topics,
      topicPattern,
      assignor,
      sessionTimeoutMs,
      clientId: '',
      address: '',
      instance,
    }
    this.#context.write(
      () => coordinator.members.attend(request, nowMs),
      attended => {
        if (!this.isConnected) return
        this.stream = attended.stream
        this.memberEpoch = attended.memberEpoch
        this.heardMs = openedMs
        this.#tell(
          'joined',
          attended.warnings.map(warning => `(warning: ${warning})`),
        )
        this.look()
      },
      // Told here, so that a refused stream of a story is part of it; tests look at `endedBy`.
      error => this.#end(error),
    )
  }

  endedBy: NaruError | undefined

  /** Asks for what it has. */
  look(): void {
    const { stream } = this
    if (stream === undefined || !this.isConnected) return
    const { members } = this.#context.coordinator
    this.#context.write(
      () => members.membership(stream),
      membership => this.#onMembership(stream, membership),
      error => this.#end(error),
    )
  }

  beat(): void {
    const { stream } = this
    if (stream === undefined || !this.isConnected || this.isSilent) return
    const sentMs = this.#context.nowMs
    this.#context.write(
      () => this.#context.coordinator.members.heartbeat(stream),
      () => {
        this.heardMs = sentMs
      },
      error => this.#end(error),
    )
  }

  /** The connection breaks, as the coordinator sees. */
  break(): void {
    const { stream } = this
    this.isConnected = false
    if (stream === undefined) return
    this.#context.write(
      () => this.#context.coordinator.members.disconnect(stream),
      () => {},
      () => {},
    )
    if (this.#context.commitsAtOnce) this.#context.commit()
  }

  leave(): void {
    const { stream } = this
    if (stream === undefined || !this.isConnected) return
    this.isConnected = false
    this.hasLeft = true
    this.believes.clear()
    this.#context.write(
      () => this.#context.coordinator.members.leave(stream, this.#context.nowMs),
      () => {},
      () => {},
    )
    if (this.#context.commitsAtOnce) this.#context.commit()
  }

  subscribe(topics: readonly string[]): void {
    const { stream } = this
    if (stream === undefined || !this.isConnected) return
    this.#context.write(
      () => this.#context.coordinator.members.subscribe(stream, { topics }, this.#context.nowMs),
      () => {},
      error => this.#end(error),
    )
    if (this.#context.commitsAtOnce) this.#context.commit()
  }

  /** Gives back all that it was asked for. */
  release(): void {
    const asked = [...this.believes.values()].filter(({ revokingEpoch }) => revokingEpoch !== null)
    if (asked.length > 0) this.#release(asked, this.memberEpoch)
  }

  #onMembership(stream: MemberStream, membership: Membership): void {
    if (!this.isConnected) return
    const changes = this.#feed.update(membership)
    this.memberEpoch = changes.memberEpoch
    for (const partition of changes.lost) this.believes.delete(short(partition))
    for (const partition of changes.assigned) this.believes.set(short(partition), partition)
    for (const partition of changes.revoking) this.believes.set(short(partition), partition)
    this.#tell('lost', changes.lost.map(short))
    this.#tell(
      'assigned',
      changes.assigned.map(partition => `${short(partition)}@${partition.nextOffset}`),
    )
    this.#tell('revoking', changes.revoking.map(short))
    if (changes.toRelease.length > 0) this.#release(changes.toRelease, changes.memberEpoch)
    if (changes.revoking.length > 0 && !this.#options.isSlow) this.release()
    if (changes.unresolved.length === 0 || this.#options.isUnresolved) return
    const start = this.#options.start ?? (() => 0)
    const starts = changes.unresolved.map(partition => ({
      topicId: partition.topicId,
      partition: partition.partition,
      nextOffset: start(partition),
      leaderEpoch: null,
    }))
    this.#context.write(
      () => this.#context.coordinator.members.commitStarts(stream, starts, this.#context.nowMs),
      () => {},
      () => {},
    )
  }

  #release(partitions: readonly MembershipPartition[], memberEpoch: number): void {
    const { stream } = this
    if (stream === undefined) return
    for (const partition of partitions) this.believes.delete(short(partition))
    this.#feed.onReleased(partitions)
    this.#tell('releases', partitions.map(short))
    this.#context.write(
      () =>
        this.#context.coordinator.members.release(stream, { memberEpoch, partitions }, this.#context.nowMs),
      () => {},
      () => {},
    )
  }

  #end(error: NaruError): void {
    if (!this.isConnected) return
    this.endedBy = error
    this.isConnected = false
    this.believes.clear()
    this.#context.told.push(`${this.#label()} ends: ${error.reason}: ${error.message}`)
  }

  #tell(what: string, things: readonly string[]): void {
    if (things.length === 0 && what !== 'joined') return
    const epoch = what === 'releases' || what === 'lost' ? '' : ` (epoch ${this.memberEpoch})`
    this.#context.told.push(`${this.#label()} ${what}${things.map(thing => ` ${thing}`).join('')}${epoch}`)
  }

  #label(): string {
    return `${this.name.group}/${this.name.member}`
  }
}

export function short({ topic, partition }: { topic: string; partition: number }): string {
  return `${topic}/${partition}`
}
