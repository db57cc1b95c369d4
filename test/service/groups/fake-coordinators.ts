import { NaruError } from '../../../src/base/errors.ts'
import type {
  GroupCoordinators,
  MemberListener,
  MemberWatch,
  PartitionCoordinator,
} from '../../../src/drivers/groups/coordination.ts'
import { GroupCoordinator } from '../../../src/groups/group-coordinator.ts'
import type { GroupRecord } from '../../../src/groups/group-record.ts'
import type { GroupResult, GroupTimer, MemberName, MemberStream } from '../../../src/groups/group-result.ts'
import { GroupsImage } from '../../../src/groups/groups-image.ts'
import { MembershipFeed } from '../../../src/groups/membership-feed.ts'
import { MachineRuntime } from '../../../src/machine/machine-runtime.ts'
import type { SimClock } from '../../harness/sim-clock.ts'
import type { FakeQuorum } from '../fake-quorum.ts'

const TOPIC = '__groups'
const PARTITIONS = 16
const COMMIT_MS = 1

/** The logs of the partitions of `__groups`, which no node loses. */
export type GroupLogs = Map<number, GroupRecord[][]>

/** The real core over logs in memory: what the driver does around it, as far as services see it, at once. */
export class FakeCoordinators implements GroupCoordinators {
  readonly #quorum: FakeQuorum
  readonly #clock: SimClock
  readonly #logs: GroupLogs
  readonly #led = new Map<number, FakeCoordinator>()
  /** No write is committed: answers wait. */
  isStalled = false

  constructor(quorum: FakeQuorum, of: { clock: SimClock; logs: GroupLogs }) {
    this.#quorum = quorum
    this.#clock = of.clock
    this.#logs = of.logs
    quorum.subscribe(() => this.#follow())
  }

  partitionOf(group: string): number | undefined {
    if (this.#topic === undefined) return undefined
    return [...group].reduce((sum, character) => sum + character.charCodeAt(0), 0) % PARTITIONS
  }

  of(group: string): FakeCoordinator {
    const partition = this.partitionOf(group)
    const coordinator = partition === undefined ? undefined : this.#led.get(partition)
    if (coordinator !== undefined) return coordinator
    throw new NaruError('NOT_LEADER', `node ${this.#quorum.nodeId} does not coordinate "${group}"`)
  }

  led(): Iterable<FakeCoordinator> {
    this.#follow()
    return this.#led.values()
  }

  get #topic() {
    return this.#quorum.image.topics.byName(TOPIC)
  }

  #follow(): void {
    const topic = this.#topic
    if (topic === undefined) return
    for (let partition = 0; partition < PARTITIONS; partition++) {
      const isLed = topic.partition(partition)?.leader === this.#quorum.nodeId
      const coordinator = this.#led.get(partition)
      if (!isLed) {
        this.#led.delete(partition)
        coordinator?.resign()
      } else if (coordinator === undefined) {
        const log = this.#logs.get(partition) ?? []
        this.#logs.set(partition, log)
        const { image } = this.#quorum
        const parts = { log, clock: this.#clock, catalog: image.topics, isStalled: () => this.isStalled }
        this.#led.set(partition, new FakeCoordinator(partition, parts))
      }
    }
    for (const coordinator of this.#led.values()) coordinator.refresh()
  }
}

export class FakeCoordinator implements PartitionCoordinator {
  readonly leaderEpoch = 1
  readonly partition: number
  readonly core: GroupCoordinator
  readonly #image = new GroupsImage()
  readonly #runtime: MachineRuntime<GroupRecord>
  readonly #log: GroupRecord[][]
  readonly #clock: SimClock
  readonly #isStalled: () => boolean
  readonly #watches = new Set<FakeWatch>()
  #isResigned = false

  constructor(
    partition: number,
    of: {
      log: GroupRecord[][]
      clock: SimClock
      catalog: ConstructorParameters<typeof GroupCoordinator>[1]['catalog']
      isStalled: () => boolean
    },
  ) {
    this.partition = partition
    this.#log = of.log
    this.#clock = of.clock
    this.#isStalled = of.isStalled
    this.core = new GroupCoordinator(this.#image, { catalog: of.catalog })
    this.#runtime = new MachineRuntime<GroupRecord>({
      machine: this.#image,
      registry: this.#image.registry,
      append: records => of.log.push([...records]),
      lostLeadership: outcome => moved(outcome),
      pendingMax: 10_000,
    })
    this.#runtime.restore({ records: of.log.flat(), endIndex: of.log.length })
    this.#runtime.lead()
    for (const timer of this.core.timersAtTakeover(this.#clock.wallMs(), () => 0)) this.#schedule(timer)
  }

  run<T>(handler: (groups: GroupCoordinator, nowMs: number) => GroupResult<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      if (this.#isResigned) return reject(moved('none'))
      this.#runtime.write(
        () => this.#took(handler(this.core, this.#clock.wallMs())),
        outcome => (outcome.ok ? resolve(outcome.response) : reject(outcome.error)),
      )
      this.#commitSoon()
    })
  }

  watch(stream: MemberStream, listener: MemberListener): MemberWatch {
    const watch = new FakeWatch(this, stream, listener)
    this.#watches.add(watch)
    this.#look(watch)
    return watch
  }

  isWatched({ group, member }: MemberName): boolean {
    return [...this.#watches].some(({ stream }) => stream.group === group && stream.member === member)
  }

  refresh(): void {
    for (const group of this.#image.names())
      void this.run((core, nowMs) => core.refresh(group, nowMs)).catch(() => {})
  }

  resign(): void {
    this.#isResigned = true
    this.#runtime.resign()
    for (const watch of [...this.#watches]) this.#end(watch, moved('none'))
  }

  forget(watch: FakeWatch): void {
    this.#watches.delete(watch)
  }

  #took<T>(result: GroupResult<T>): GroupResult<T> {
    for (const timer of result.timers) this.#schedule(timer)
    for (const { group, member } of result.changed)
      for (const watch of this.#watches)
        if (watch.stream.group === group && watch.stream.member === member)
          this.#clock.setTimer(0, () => this.#look(watch))
    return result
  }

  #schedule({ key, delayMs, run }: GroupTimer): void {
    this.#runtime.schedule(key, {
      deadlineMs: this.#clock.wallMs() + delayMs,
      handler: nowMs => this.#took(run(nowMs)),
    })
    this.#clock.setTimer(delayMs + 1, () => {
      if (this.#isResigned) return
      this.#runtime.onTime(this.#clock.wallMs())
      this.#commitSoon()
    })
  }

  #commitSoon(): void {
    this.#clock.setTimer(COMMIT_MS, () => {
      if (this.#isResigned) return
      if (this.#isStalled()) this.#commitSoon()
      else this.#runtime.onCommitted(this.#log.length)
    })
  }

  #look(watch: FakeWatch): void {
    this.run(core => core.members.membership(watch.stream)).then(
      membership => {
        if (!this.#watches.has(watch)) return
        const changes = watch.feed.update(membership)
        const { lost, assigned, revoking, unresolved } = changes
        if (lost.length + assigned.length + revoking.length > 0) watch.listener.onChanges(changes)
        if (unresolved.length > 0) watch.listener.resolveStarts(unresolved)
      },
      (error: NaruError) => this.#end(watch, error),
    )
  }

  #end(watch: FakeWatch, error: NaruError): void {
    if (this.#watches.delete(watch)) watch.listener.onEnd(error)
  }
}

class FakeWatch implements MemberWatch {
  readonly feed = new MembershipFeed()
  readonly stream: MemberStream
  readonly listener: MemberListener
  readonly #owner: FakeCoordinator

  constructor(owner: FakeCoordinator, stream: MemberStream, listener: MemberListener) {
    this.#owner = owner
    this.stream = stream
    this.listener = listener
  }

  released(partitions: readonly { readonly topicId: string; readonly partition: number }[]): void {
    this.feed.onReleased(partitions)
  }

  close(): void {
    this.#owner.forget(this)
  }
}

function moved(outcome: 'none' | 'unknown'): NaruError {
  return new NaruError('NOT_LEADER', 'the coordinator has moved', { outcome })
}
