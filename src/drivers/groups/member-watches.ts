import type { NaruError } from '../../base/errors.ts'
import type { GroupCoordinator } from '../../groups/group-coordinator.ts'
import type { GroupResult, MemberName, MemberStream } from '../../groups/group-result.ts'
import type { Membership, MembershipPartition } from '../../groups/member-control.ts'
import { MembershipFeed } from '../../groups/membership-feed.ts'
import type { Outcome } from '../../machine/machine-runtime.ts'
import type { MemberListener, MemberWatch } from './coordination.ts'

/** Runs a handler through the runtime that leads; never calls back after that has ended. */
export type RunHandler = <T>(
  handler: (groups: GroupCoordinator, nowMs: number) => GroupResult<T>,
  onDone: (outcome: Outcome<T>) => void,
) => void

/** The streams of members on this node, of one partition of `__groups`: what they are told follows what is committed. */
export class MemberWatches {
  readonly #run: RunHandler
  /** By member: more than one while a newer stream takes over from an older one. */
  readonly #watches = new Map<string, Set<Watch>>()
  readonly #due = new Set<Watch>()

  constructor(run: RunHandler) {
    this.#run = run
  }

  /** Told of what the member has by the next `flush`. */
  add(stream: MemberStream, listener: MemberListener): MemberWatch {
    const key = keyOf(stream)
    const watch = new Watch({
      stream,
      listener,
      run: this.#run,
      onDue: () => this.#due.add(watch),
      onOver: () => this.#remove(key, watch),
    })
    const others = this.#watches.get(key)
    if (others === undefined) this.#watches.set(key, new Set([watch]))
    else others.add(watch)
    watch.mark()
    return watch
  }

  has(member: MemberName): boolean {
    return this.#watches.has(keyOf(member))
  }

  /** What they were told may not be how it is any more; `flush` looks. */
  mark(members: readonly MemberName[]): void {
    for (const member of members) for (const watch of this.#watches.get(keyOf(member)) ?? []) watch.mark()
  }

  /** Also of those that could not be read before. */
  flush(): void {
    const due = [...this.#due]
    this.#due.clear()
    for (const watch of due) watch.read()
  }

  end(error: NaruError): void {
    for (const watches of [...this.#watches.values()]) for (const watch of [...watches]) watch.end(error)
  }

  #remove(key: string, watch: Watch): void {
    const watches = this.#watches.get(key)
    watches?.delete(watch)
    if (watches?.size === 0) this.#watches.delete(key)
    this.#due.delete(watch)
  }
}

interface WatchOptions {
  readonly stream: MemberStream
  readonly listener: MemberListener
  readonly run: RunHandler
  /** It wants to be read. */
  readonly onDue: () => void
  readonly onOver: () => void
}

/** One read of the membership is under way at a time; what changes meanwhile is read after it. */
class Watch implements MemberWatch {
  readonly #options: WatchOptions
  readonly #feed = new MembershipFeed()
  /** Partitions whose start the listener finds out, with the epochs at which they were assigned. */
  #resolving = new Map<string, number>()
  #isReading = false
  #isStale = false
  /** The read under way may be from before a release, and told after it. */
  #isOutdated = false
  #isOver = false

  constructor(options: WatchOptions) {
    this.#options = options
  }

  mark(): void {
    this.#isStale = true
    if (!this.#isReading) this.#options.onDue()
  }

  read(): void {
    if (this.#isOver || this.#isReading || !this.#isStale) return
    const { run, stream } = this.#options
    this.#isStale = false
    this.#isOutdated = false
    this.#isReading = true
    run(
      groups => groups.members.membership(stream),
      outcome => this.#onRead(outcome),
    )
  }

  released(partitions: readonly { readonly topicId: string; readonly partition: number }[]): void {
    this.#feed.onReleased(partitions)
    this.#isOutdated = true
  }

  close(): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#options.onOver()
  }

  end(error: NaruError): void {
    if (this.#isOver) return
    this.close()
    this.#options.listener.onEnd(error)
  }

  #onRead(outcome: Outcome<Membership>): void {
    this.#isReading = false
    if (this.#isOver) return
    // It would say that the member has what it has released, and the member would believe it (G1).
    if (this.#isOutdated) this.#isStale = true
    else if (outcome.ok) this.#tell(outcome.response)
    else if (outcome.error.retriable) this.#isStale = true
    else this.end(outcome.error)
    if (this.#isStale && !this.#isOver) this.#options.onDue()
  }

  #tell(membership: Membership): void {
    const { listener } = this.#options
    const changes = this.#feed.update(membership)
    if (changes.toRelease.length > 0) this.#release(changes.toRelease, changes.memberEpoch)
    const unresolved = this.#newlyUnresolved(changes.unresolved)
    if (unresolved.length > 0) listener.resolveStarts(unresolved)
    const { lost, assigned, revoking } = changes
    if (lost.length + assigned.length + revoking.length > 0) listener.onChanges(changes)
  }

  #newlyUnresolved(unresolved: readonly MembershipPartition[]): MembershipPartition[] {
    const before = this.#resolving
    this.#resolving = new Map(unresolved.map(of => [`${of.topicId}/${of.partition}`, of.assignedEpoch]))
    return unresolved.filter(of => before.get(`${of.topicId}/${of.partition}`) !== of.assignedEpoch)
  }

  /** Given and asked back before it was told of: where that is refused for now, the next look finds it again. */
  #release(partitions: readonly MembershipPartition[], memberEpoch: number): void {
    const { run, stream } = this.#options
    run(
      (groups, nowMs) => groups.members.release(stream, { memberEpoch, partitions }, nowMs),
      outcome => {
        if (!outcome.ok && outcome.error.retriable && !this.#isOver) this.mark()
      },
    )
  }
}

/** Names hold no line breaks. */
function keyOf({ group, member }: MemberName): string {
  return `${group}\n${member}`
}
