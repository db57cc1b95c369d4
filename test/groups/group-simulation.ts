/**
 * Random lives of groups: joins (some of which come late), leaves, breaks, silence, slow releases, changes of topics, commits
 * of every age, lost and moved coordinators with thinned-out logs. Invariants after every step; then all disturbance ends, and
 * every group must settle. An oracle knows which commits are to be accepted, and what was committed last.
 */
import type { GroupRecord, MemberInstance } from '../../src/groups/group-record.ts'
import type { MemberName } from '../../src/groups/group-result.ts'
import type { CommitOutcome } from '../../src/groups/offset-control.ts'
import { SeededPrng } from '../harness/seeded-prng.ts'
import { GroupContext, type GroupsCode, thinned } from './group-context.ts'
import { checkInvariants, Successions } from './group-invariants.ts'
import type { SimStream, StreamOptions } from './sim-stream.ts'

const GROUPS = ['g', 'h']
const MEMBERS = ['a', 'b', 'c', 'd']
const TOPICS = ['logs', 'logins', 'orders']
const STEPS = 60
/** Of members that must be gone when all has settled. */
const SESSION_MS_MAX = 11_000
/** Members that live come back to a new coordinator within that. */
const RETURN_MS_MIN = 500

/** A partition as it was told to a member at some time. */
interface Claim {
  readonly group: string
  readonly member: string
  readonly memberEpoch: number
  readonly topicId: string
  readonly topic: string
  readonly partition: number
  readonly assignedEpoch: number
  readonly attachEpoch: number
}

/** A process that speaks for a member. */
interface Process {
  readonly id: string
  attempts: number
}

/** A join that is on its way. */
interface Joining extends MemberName {
  readonly process: Process
  readonly instance: MemberInstance
  readonly options: StreamOptions
}

export class GroupSimulation {
  readonly #prng: SeededPrng
  readonly #context: GroupContext
  readonly #epochs = new Map<string, number>()
  readonly #claims: Claim[] = []
  /** Of each name, the newest at the end. */
  readonly #processes = new Map<string, Process[]>()
  readonly #late: Joining[] = []
  /** What the group committed last, as far as it was answered: group, topic id and partition -> offset. */
  readonly #committed = new Map<string, number>()
  /** Commits that a lost coordinator left unanswered: they may have happened. */
  readonly #unanswered = new Set<number>()
  readonly #seed: number
  #end = 1000

  constructor({ seed, code }: { seed: number; code?: GroupsCode }) {
    this.#seed = seed
    this.#prng = new SeededPrng(seed)
    this.#context = new GroupContext(code === undefined ? {} : { code })
    this.#context.catalog.put('logs', 3)
    this.#context.onGone = name => this.#checkGone(name)
  }

  /** The log as it came to be. */
  records(): GroupRecord[] {
    return this.#context.log.flat()
  }

  run(): void {
    for (let step = 0; step < STEPS; step++) {
      this.#step()
      this.#check()
    }
    this.#settle()
    const successions = new Successions()
    for (const record of this.records()) successions.replay(record)
  }

  #step(): void {
    const context = this.#context
    const roll = this.#prng.uint32() % 100
    if (roll < 17) this.#attend()
    else if (roll < 21) this.#arriveLate()
    else if (roll < 25) this.#someStream()?.subscribe([this.#pick(TOPICS)])
    else if (roll < 32) this.#someStream()?.leave()
    else if (roll < 38) this.#someStream()?.break()
    else if (roll < 41) this.#silence()
    else if (roll < 55) this.#commitSomething()
    else if (roll < 65) this.#releaseSomething()
    else if (roll < 73) this.#changeTopics()
    else if (roll < 77) this.#move()
    else if (roll < 80) context.commitsAtOnce = false
    else if (roll < 86) this.#commitAll()
    else context.advance(this.#pick([10, 100, 200, 3000, 11_000, 61_000]))
    if (!context.commitsAtOnce && this.#prng.uint32() % 4 === 0) this.#commitAll()
  }

  /** A process joins, for the first time or again; its join may be on its way for long. */
  #attend(): void {
    const topicPattern = this.#pick([undefined, undefined, 'lo*'])
    const options = {
      topics: topicPattern === undefined ? [this.#pick(TOPICS), 'logs'] : [],
      ...(topicPattern !== undefined && { topicPattern }),
      assignor: this.#pick(['uniform', 'range']),
      isSlow: this.#prng.uint32() % 3 === 0,
      ...(this.#prng.uint32() % 4 === 0 && { sessionTimeoutMs: 1_800_000 }),
      // "latest": later each time somebody asks.
      start: () => this.#end++,
    }
    const name = { group: this.#pick(GROUPS), member: this.#pick(MEMBERS) }
    const process = this.#process(name)
    const instance = { id: process.id, attempt: ++process.attempts, round: 0 }
    // It has one stream at a time. That the one before broke, the coordinator may see or not.
    for (const stream of this.#context.streams)
      if (stream.isConnected && stream.isOfProcess(process.id)) {
        if (this.#prng.uint32() % 2 === 0) stream.break()
        stream.isConnected = false
      }
    const joining = { ...name, process, instance, options }
    if (this.#prng.uint32() % 4 === 0) this.#late.push(joining)
    else this.#join(joining)
  }

  /** Perhaps long after the process has joined another way, or was replaced: then nobody is at the other end any more. */
  #arriveLate(): void {
    const [joining] = this.#late.splice(this.#prng.uint32() % Math.max(1, this.#late.length), 1)
    if (joining === undefined) return
    const stream = this.#join(joining)
    const { process, instance } = joining
    const newest = this.#processes.get(keyOfName(joining))?.at(-1)
    if (process.attempts > instance.attempt || process !== newest) stream.break()
  }

  #join({ group, member, instance, options }: Joining): SimStream {
    return this.#context.attend(group, member, { ...options, instance })
  }

  /** The newest one of the name, mostly; a new one; or one that was cut off meanwhile, and does not know that it was replaced. */
  #process(name: MemberName): Process {
    const known = this.#processes.get(keyOfName(name)) ?? []
    const [newest] = known.slice(-1)
    const roll = this.#prng.uint32() % 6
    if (newest !== undefined && roll < 3) return newest
    if (newest !== undefined && roll === 3) return this.#pick(known)
    const process = { id: this.#context.newInstance().id, attempts: 0 }
    this.#processes.set(keyOfName(name), [...known, process])
    return process
  }

  #silence(): void {
    const stream = this.#someStream()
    if (stream !== undefined) stream.isSilent = true
  }

  /** D3: accepted exactly if the member has had the partition ever since it was told so. */
  #commitSomething(): void {
    const { coordinator, nowMs } = this.#context
    const claim = this.#claims[this.#prng.uint32() % Math.max(1, this.#claims.length)]
    if (claim === undefined) return
    const { group, member, memberEpoch } = claim
    const image = this.#context.image.get(group)
    const owned = image?.assignments
      .get(member)
      ?.partitions.find(one => one.topicId === claim.topicId && one.partition === claim.partition)
    const isDeleted = this.#context.catalog.byId(claim.topicId) === undefined
    const isSameStream = image?.members.get(member)?.attachEpoch === claim.attachEpoch
    const isGood = owned?.assignedEpoch === claim.assignedEpoch && isSameStream && !isDeleted
    const nextOffset = this.#end++
    const offsets = [{ ...claim, nextOffset, leaderEpoch: null, metadata: '' }]
    const settle = (outcomes: CommitOutcome[]) => {
      const isAccepted = outcomes[0]?.error === undefined
      if (isAccepted !== isGood)
        throw new Error(`D3: a ${isGood ? 'good' : 'bad'} commit was ${isAccepted ? 'accepted' : 'refused'}`)
      if (isAccepted) this.#committed.set(keyOfOffset(group, claim), nextOffset)
    }
    this.#context.write(
      () => coordinator.offsets.commit({ group, member: { member, memberEpoch }, offsets }, nowMs),
      settle,
      error => {
        if (error.reason === 'LEADER_NOT_AVAILABLE') this.#unanswered.add(nextOffset)
        else if (error.reason !== 'UNKNOWN_MEMBER' || owned !== undefined) throw error
      },
    )
    if (this.#context.commitsAtOnce) this.#context.commit()
  }

  #releaseSomething(): void {
    this.#someStream()?.release()
    if (this.#context.commitsAtOnce) this.#context.commit()
  }

  #changeTopics(): void {
    const { catalog } = this.#context
    const name = this.#pick(TOPICS)
    const before = catalog.byName(name)
    if (before !== undefined && this.#prng.uint32() % 3 === 0) catalog.delete(name)
    else catalog.put(name, Math.min((before?.partitionCount ?? 0) + 1 + (this.#prng.uint32() % 3), 8))
    this.#context.refresh([name])
  }

  #move(): void {
    if (this.#prng.uint32() % 3 === 0) {
      // Somebody's time is nearly over.
      this.#someStream()?.break()
      this.#context.advance(2_800)
    }
    this.#context.moveCoordinator({
      keptCount: this.#prng.uint32() % 4,
      thin: records => thinned(records, () => this.#prng.uint32() % 3 === 0),
      // A replica that was just started has not seen it.
      knows: () => this.#prng.uint32() % 4 > 0,
    })
    // A new coordinator answers nothing until all that it found is committed (D1).
    if (this.#context.commitsAtOnce) this.#context.commit()
  }

  #commitAll(): void {
    this.#context.commitsAtOnce = true
    this.#context.commit()
  }

  #check(): void {
    const context = this.#context
    checkInvariants(context, this.#epochs)
    if (context.committedCount < context.log.length) return
    for (const group of context.image.all())
      for (const topicId of group.offsetTopics.keys())
        for (const [partition, { nextOffset }] of group.offsetsOf(topicId)) {
          const key = keyOfOffset(group.name, { topicId, partition })
          const known = this.#committed.get(key)
          if (known !== undefined && known !== nextOffset && !this.#unanswered.has(nextOffset))
            throw new Error(`G5: ${key} is ${nextOffset}, ${known} was committed`)
          this.#committed.set(key, nextOffset)
        }
    for (const stream of context.streams) {
      if (!stream.isConnected) continue
      for (const partition of stream.believes.values())
        this.#claims.push({
          ...stream.name,
          memberEpoch: stream.memberEpoch,
          attachEpoch: stream.stream?.attachEpoch ?? 0,
          ...partition,
        })
    }
    if (this.#claims.length > 300) this.#claims.splice(0, this.#claims.length - 300)
  }

  /** D1, D4: nobody is expelled while it may still give out records, nor before it could come to the coordinator that does. */
  #checkGone({ group, member }: MemberName): void {
    const { streams, nowMs, takenOverMs } = this.#context
    const own = streams.filter(one => one.isOf({ group, member }))
    if (own.some(({ hasLeft }) => hasLeft)) return
    const heardMs = Math.max(...own.map(one => one.heardMs))
    // An attending that was not answered may hold all the same.
    const newest = own.slice(own.findLastIndex(one => one.heardMs === heardMs))
    if (nowMs < heardMs + Math.min(...newest.map(one => one.graceMs)))
      throw new Error(`D4: ${member} of ${group} is expelled ${nowMs - heardMs} ms after it was heard`)
    if (nowMs < takenOverMs + RETURN_MS_MIN)
      throw new Error(`D1: ${member} of ${group} is expelled ${nowMs - takenOverMs} ms after a takeover`)
  }

  /** L5: left alone, groups come to rest, and clients have what the coordinator thinks they have. */
  #settle(): void {
    const context = this.#context
    this.#commitAll()
    // Half of the lives end with members that never release.
    const isPatient = this.#seed % 2 === 0
    for (let round = 0; round < 10; round++) {
      if (isPatient) for (const stream of context.streams) if (stream.isConnected) stream.release()
      context.commit()
      context.advance(isPatient ? 15_000 : 31_000)
      this.#check()
    }
    for (const group of context.image.all()) {
      if (group.members.size > 0 && group.state !== 'stable')
        throw new Error(`L5: ${group.name} does not settle`)
      for (const [member, { sessionTimeoutMs }] of group.members.entries()) {
        const isHeard = context.streams.some(
          one => one.isOf({ group: group.name, member }) && one.isConnected && !one.isSilent,
        )
        if (!isHeard && sessionTimeoutMs <= SESSION_MS_MAX)
          throw new Error(`L5: ${member} is gone for good and keeps its place in ${group.name}`)
      }
      for (const [member, { partitions }] of group.assignments.entries()) {
        const stream = context.streams.findLast(
          one => one.isOf({ group: group.name, member }) && one.isConnected,
        )
        if (stream && stream.believes.size !== partitions.length)
          throw new Error(`L5: ${member} believes to have ${stream.believes.size} of ${partitions.length}`)
      }
    }
  }

  #someStream(): SimStream | undefined {
    const connected = this.#context.streams.filter(({ isConnected }) => isConnected)
    return connected[this.#prng.uint32() % Math.max(1, connected.length)]
  }

  #pick<T>(things: readonly T[]): T {
    return things[this.#prng.uint32() % things.length] as T
  }
}

function keyOfOffset(group: string, { topicId, partition }: { topicId: string; partition: number }): string {
  return `${group}:${topicId}/${partition}`
}

function keyOfName({ group, member }: MemberName): string {
  return `${group}/${member}`
}
