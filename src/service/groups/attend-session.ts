import { NaruError } from '../../base/errors.ts'
import type { MemberListener, MemberWatch, PartitionCoordinator } from '../../drivers/groups/coordination.ts'
import type { GroupCoordinator } from '../../groups/group-coordinator.ts'
import type { MemberInstance } from '../../groups/group-record.ts'
import type { GroupResult, MemberStream } from '../../groups/group-result.ts'
import type { MembershipPartition } from '../../groups/member-control.ts'
import type { MembershipChanges } from '../../groups/membership-feed.ts'
import { errorToFailure } from '../../wire/failure.ts'
import type { AttendJoin, AttendRelease, AttendResponse } from '../../wire/messages.ts'
import { Groups } from '../../wire/methods.ts'
import { isOfTheLeader } from '../leader-attempts.ts'
import type { ReadMemory } from '../read-memory.ts'
import { invalidRequest } from '../request-checks.ts'
import type { ServiceNode } from '../service-node.ts'
import type { AttendBackend, AttendOutlet } from './attend-backend.ts'
import { coordinatorMoves } from './attend-errors.ts'
import { MemberStarts } from './member-starts.ts'

/** Waiting for a client that does not read, beyond what the transport takes. */
const WAITING_BYTES_MAX = 4 * 1024 * 1024
/** What a client has asked and the log has not committed yet: more is not read from it. */
const ASKED_MAX = 16
/** Keeps a frame well below what generated stubs accept. */
const FRAME_PARTITIONS_MAX = 5_000

export interface AttendSessionOptions {
  readonly outlet: AttendOutlet
  readonly coordinator: PartitionCoordinator
  readonly join: AttendJoin
  readonly member: string
  /** Network address of the client. */
  readonly address: string
  readonly instance: MemberInstance
}

/**
 * One stream of a member, at the coordinator of its group: attending -> attended -> over. What the client asks runs one
 * by one, in order. Who says so leaves, any other end lets the session run out, and so does silence.
 *
 * Told to the client: at most what MembershipFeed makes of committed states. What waits for a client that does not read is
 * bounded; beyond, its stream ends, and the state itself is what a new stream is told.
 */
export class AttendSession implements AttendBackend, MemberListener {
  readonly joined: Promise<{ readonly sessionTimeoutMs: number }>
  readonly #node: ServiceNode
  readonly #memory: ReadMemory
  readonly #options: AttendSessionOptions
  readonly #told = new Map<string, MembershipPartition>()
  #attended: { stream: MemberStream; watch: MemberWatch; starts: MemberStarts } | undefined
  #releaseTimeoutMs = 0
  #isOver = false
  #isFull = false
  #waiting: Uint8Array[] = []
  #waitingBytes = 0
  #asked: Promise<void>
  #askedCount = 0
  #isBeating = false
  #isLeaving = false

  constructor(node: ServiceNode, memory: ReadMemory, options: AttendSessionOptions) {
    this.#node = node
    this.#memory = memory
    this.#options = options
    this.joined = this.#attend()
    // What the client asks meanwhile waits for it.
    this.#asked = this.joined.then(ignore, ignore)
  }

  async #attend(): Promise<{ readonly sessionTimeoutMs: number }> {
    const { coordinator, join, member, address, instance } = this.#options
    const { group, topics, topicPattern, assignor, sessionTimeoutMs, clientId } = join
    const by = { member, clientId, address, instance }
    const wanted = { group, topics, topicPattern, assignor, sessionTimeoutMs, ...by }
    const attended = await coordinator.run((groups, nowMs) => {
      this.#releaseTimeoutMs = groups.settings.releaseTimeoutMs
      return groups.members.attend(wanted, nowMs)
    })
    const { stream, memberEpoch, sessionTimeoutMs: sessionMs, warnings } = attended
    const joined = { sessionTimeoutMs: sessionMs }
    if (this.#isOver) {
      this.#disconnect(stream)
      return joined
    }
    this.#send({ joined: { member, memberEpoch, warnings, ...joined } })
    const target = { stream, coordinator, isOver: () => this.#isOver }
    const starts = new MemberStarts(this.#node, this.#memory, { target, start: join.start })
    this.#attended = { stream, starts, watch: coordinator.watch(stream, this) }
    return joined
  }

  send(frame: Buffer): void {
    if (this.#isOver) return
    const { topics, release, heartbeat, join, leave } = Groups.attend.request.decode(frame)
    if (join !== undefined) throw invalidRequest('join is the first frame of the stream, and only that')
    if (topics !== undefined) {
      const { topicPattern } = topics
      const wanted = { topics: topics.topics, topicPattern }
      this.#ask((groups, stream, nowMs) => groups.members.subscribe(stream, wanted, nowMs))
    } else if (release !== undefined) this.#release(release)
    else if (heartbeat !== undefined) {
      const { number } = heartbeat
      this.#ask(
        (groups, stream) => groups.members.heartbeat(stream),
        ({ memberEpoch }) => this.#send({ heartbeat: { number, memberEpoch } }),
        // No answer says what there is to say.
        { mayBeLost: true },
      )
    } else if (leave !== undefined) this.#leave()
    else throw invalidRequest('a frame holds topics, release, heartbeat or leave')
  }

  heard(): void {
    const stream = this.#attended?.stream
    if (stream === undefined || this.#isOver || this.#isBeating) return
    this.#isBeating = true
    this.#options.coordinator
      .run(groups => groups.members.heartbeat(stream))
      // What is wrong comes as the end of the watch as well.
      .catch(ignoreNaruError)
      .finally(() => {
        this.#isBeating = false
      })
  }

  /** With what it has asked before as well. */
  #leave(): void {
    if (this.#isLeaving) return
    this.#isLeaving = true
    this.#ask(
      (groups, stream, nowMs) => groups.members.leave(stream, nowMs),
      () => this.#over()?.end(),
    )
  }

  drained(): void {
    this.#isFull = false
    while (!this.#isFull && !this.#isOver) {
      const next = this.#waiting.shift()
      if (next === undefined) return
      this.#waitingBytes -= next.length
      this.#isFull = !this.#options.outlet.write(next)
    }
  }

  close(): void {
    const stream = this.#attended?.stream
    const wasOpen = this.#over() !== undefined
    if (wasOpen && stream !== undefined) this.#disconnect(stream)
  }

  onChanges({ memberEpoch, lost, assigned, revoking }: MembershipChanges): void {
    if (lost.length > 0) this.#tellLost(lost, lostOwnership())
    for (const partitions of framesOf(assigned)) {
      for (const partition of partitions) this.#told.set(keyOf(partition), partition)
      this.#send({ assigned: { memberEpoch, partitions: partitions.map(assignedPartition) } })
    }
    const deadlineMs = this.#releaseTimeoutMs
    for (const partitions of framesOf(revoking))
      this.#send({ revoking: { memberEpoch, partitions: partitions.map(placeOf), deadlineMs } })
  }

  resolveStarts(partitions: readonly MembershipPartition[]): void {
    this.#attended?.starts.resolve(partitions)
  }

  onEnd(error: NaruError): void {
    // That it is gone may be told before its leave is answered.
    if (this.#isLeaving && error.reason === 'UNKNOWN_MEMBER') this.#over()?.end()
    else this.#failWith(error)
  }

  #release({ partitions, memberEpoch }: AttendRelease): void {
    // What is not told as this member's any more needs no release.
    const named = partitions.flatMap(one => this.#told.get(keyOf(one)) ?? [])
    if (named.length === 0) return
    const request = { memberEpoch, partitions: named.map(nameOf) }
    this.#ask(
      (groups, stream, nowMs) => {
        const result = groups.members.release(stream, request, nowMs)
        // At once: by the answer, the same partition may have been given to the member anew, and told.
        this.#released(named.filter((_, index) => result.response[index]?.error === undefined))
        return result
      },
      outcomes => {
        // Of another ownership: that it is lost is told by itself.
        const refused = outcomes.find(({ error }) => error?.reason === 'INVALID_REQUEST')
        if (refused?.error !== undefined) this.#failWith(refused.error)
      },
    )
  }

  #released(partitions: readonly MembershipPartition[]): void {
    for (const one of partitions) this.#told.delete(keyOf(one))
    this.#attended?.watch.released(partitions)
  }

  #ask<T>(
    handler: (groups: GroupCoordinator, stream: MemberStream, nowMs: number) => GroupResult<T>,
    onDone: (response: T) => void = () => {},
    { mayBeLost = false }: { readonly mayBeLost?: boolean } = {},
  ): void {
    this.#askedCount++
    if (this.#askedCount === ASKED_MAX) this.#options.outlet.pause()
    this.#asked = this.#asked.then(async () => {
      const stream = this.#attended?.stream
      if (stream !== undefined && !this.#isOver) {
        try {
          const response = await this.#options.coordinator.run((groups, nowMs) =>
            handler(groups, stream, nowMs),
          )
          if (!this.#isOver) onDone(response)
        } catch (thrown) {
          const error = NaruError.from(thrown)
          if (!mayBeLost || error.reason !== 'OVERLOADED') this.#failWith(error)
        }
      }
      this.#askedCount--
      if (this.#askedCount === ASKED_MAX - 1 && !this.#isOver) this.#options.outlet.resume()
    })
  }

  #tellLost(partitions: readonly MembershipPartition[], cause: NaruError): void {
    for (const one of partitions) this.#told.delete(keyOf(one))
    const failure = errorToFailure(cause)
    for (const some of framesOf(partitions))
      this.#send({ lost: { partitions: some.map(placeOf), cause: failure } })
  }

  #send(frame: Partial<AttendResponse>): void {
    if (this.#isOver) return
    const bytes = Groups.attend.response.encode(frame)
    if (!this.#isFull) {
      this.#isFull = !this.#options.outlet.write(bytes)
      return
    }
    this.#waiting.push(bytes)
    this.#waitingBytes += bytes.length
    if (this.#waitingBytes > WAITING_BYTES_MAX)
      this.#failWith(tooSlow(this.#options.member, this.#waitingBytes))
  }

  /** Ends the stream. Who is no member any more has lost all that it was told. */
  #failWith(error: NaruError): void {
    const { group } = this.#options.join
    const { member } = this.#options
    if (this.#isOver) return
    const isGone = error.reason === 'UNKNOWN_MEMBER' || error.reason === 'MEMBER_FENCED'
    if (isGone && this.#told.size > 0) this.#tellLost([...this.#told.values()], error)
    const stream = this.#attended?.stream
    this.#over()?.fail(isOfTheLeader(error) ? coordinatorMoves({ group, member }, error) : error)
    if (!isGone && stream !== undefined) this.#disconnect(stream)
  }

  /** undefined: it was over already. */
  #over(): AttendOutlet | undefined {
    if (this.#isOver) return undefined
    this.#isOver = true
    this.#attended?.watch.close()
    this.#waiting = []
    return this.#options.outlet
  }

  #disconnect(stream: MemberStream): void {
    this.#options.coordinator.run(groups => groups.members.disconnect(stream)).catch(ignoreNaruError)
  }
}

/** Where the coordinator moves, the next one gives every member its session anew: there is nothing to do about it. */
function ignoreNaruError(thrown: unknown): void {
  if (!(thrown instanceof NaruError)) throw thrown
}

function ignore(): void {}

function* framesOf(partitions: readonly MembershipPartition[]): Iterable<readonly MembershipPartition[]> {
  for (let at = 0; at < partitions.length; at += FRAME_PARTITIONS_MAX)
    yield partitions.slice(at, at + FRAME_PARTITIONS_MAX)
}

function keyOf({ topic, partition }: { readonly topic: string; readonly partition: number }): string {
  return `${topic}/${partition}`
}

function placeOf({ topic, partition }: MembershipPartition) {
  return { topic, partition }
}

function nameOf({ topic, topicId, partition }: MembershipPartition) {
  return { topic, topicId, partition }
}

function assignedPartition({ topic, topicId, partition, nextOffset = 0 }: MembershipPartition) {
  return { topic, topicId, partition, nextOffset }
}

function lostOwnership(): NaruError {
  return new NaruError(
    'PARTITION_NOT_OWNED',
    'the partition was not released in time, or its topic is not there any more (drop its records: whoever has it next goes on from the last commit)',
  )
}

function tooSlow(member: string, bytes: number): NaruError {
  return new NaruError(
    'READER_TOO_SLOW',
    `member "${member}" does not read its stream: ${bytes} bytes wait for it, at most ${WAITING_BYTES_MAX} (attend again, and read)`,
  )
}
