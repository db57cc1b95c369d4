import { NaruError } from '../../base/errors.ts'
import { Backoff } from '../../client/backoff.ts'
import type { MemberInstance } from '../../groups/group-record.ts'
import { delay, type Timer } from '../../ports/clock.ts'
import { randomUuid } from '../../ports/prng.ts'
import type { CallContext, MessageStream } from '../../ports/transport.ts'
import type { AttendJoin } from '../../wire/messages.ts'
import { Groups } from '../../wire/methods.ts'
import { isOfTheLeader, LEADER_PAUSE_MS, LEADER_RETRY_MS_MAX } from '../leader-attempts.ts'
import { changeOf } from '../partition-change.ts'
import { checkPosition } from '../positions.ts'
import type { ReadMemory } from '../read-memory.ts'
import { invalidRequest } from '../request-checks.ts'
import type { ServiceNode } from '../service-node.ts'
import type { AttendBackend, AttendOutlet } from './attend-backend.ts'
import { noCoordinator } from './attend-errors.ts'
import { AttendRelay } from './attend-relay.ts'
import { AttendSession } from './attend-session.ts'
import type { GroupsTopic } from './groups-topic.ts'

/** Frames that were on their way when reading stopped: a client that waits until it has joined sends none before. */
const EARLY_FRAMES_MAX = 100
/**
 * Between a half-close and the leave that it means: Node's clients half-close a stream that they cancel, and a member whose
 * stream is cancelled may come back.
 */
const LEAVE_PAUSE_MS = 100
/** Signs of life are asked for so often within a session timeout. */
const PINGS_PER_SESSION = 3

export interface AttendParts {
  readonly node: ServiceNode
  readonly memory: ReadMemory
  readonly topic: GroupsTopic
}

/** Who joins, as all attempts say it. */
interface Joining {
  readonly join: AttendJoin
  readonly joinFrame: Buffer
  readonly member: string
  readonly address: string
  /** Without a name of its own a client's stream is a process of its own. */
  readonly instance: Pick<MemberInstance, 'id' | 'attempt'>
  readonly outlet: AttendOutlet
}

/** One of the attempts, numbered from 0. */
interface Attempt {
  readonly round: number
  readonly timeoutMs: number
}

/**
 * Groups.Attend at the node that the client called: new -> joining -> joined -> over. Until the member has joined, another
 * coordinator is tried where one does not answer (rule E2: of several tries of one join the last one holds);
 * afterwards a coordinator that goes ends the stream, since the client must know that its session began anew.
 *
 * While the stream is open this node asks the client's connection for signs of life: only they keep the session, never
 * what the program at the other end says or does not say.
 */
export class AttendEntry {
  readonly #parts: AttendParts
  readonly #stream: MessageStream
  readonly #context: CallContext
  readonly #early: Buffer[] = []
  #state: 'new' | 'joining' | 'joined' | 'over' = 'new'
  #backend: AttendBackend | undefined
  #isHalfClosed = false
  /** Whoever attends for the client has been asked enough for now. */
  #isHeld = false
  #timer: Timer | undefined
  #leaveTimer: Timer | undefined

  constructor(parts: AttendParts, stream: MessageStream, context: CallContext) {
    this.#parts = parts
    this.#stream = stream
    this.#context = context
    stream.setHandlers({
      onMessage: message => this.#onMessage(message),
      onEnd: () => this.#onHalfClose(),
      onDrain: () => this.#backend?.drained(),
      onClose: () => {
        const backend = this.#backend
        this.#finish()
        backend?.close()
      },
    })
  }

  #onMessage(message: Buffer): void {
    if (this.#state === 'joined') this.#backend?.send(message)
    else if (this.#state === 'new') this.#start(message)
    else if (this.#state === 'joining') {
      if (this.#early.length >= EARLY_FRAMES_MAX)
        throw new NaruError(
          'OVERLOADED',
          `${EARLY_FRAMES_MAX} frames came before the member has joined: wait for it`,
        )
      this.#early.push(message)
    }
  }

  #start(joinFrame: Buffer): void {
    const { join } = Groups.attend.request.decode(joinFrame)
    if (join === undefined) throw invalidRequest('the first frame of the stream must be join')
    if (join.group === '') throw invalidRequest('join.group is empty: name the group')
    checkPosition(join.start, 'join.start')
    const stream = this.#stream
    const { prng } = this.#parts.node
    this.#state = 'joining'
    // Reading stops, but for what is on its way.
    stream.pause()
    void this.#join({
      join,
      joinFrame,
      member: join.member ?? randomUuid(prng),
      address: this.#context.peer,
      instance: { id: join.instance ?? randomUuid(prng), attempt: join.attempt ?? 0 },
      outlet: {
        write: bytes => stream.write(bytes),
        end: () => {
          this.#finish()
          stream.end()
        },
        fail: error => {
          this.#finish()
          stream.fail(error)
        },
        pause: () => {
          this.#isHeld = true
          stream.pause()
        },
        resume: () => {
          this.#isHeld = false
          if (this.#state === 'joined') stream.resume()
        },
      },
    })
  }

  async #join(joining: Joining): Promise<void> {
    try {
      const { sessionTimeoutMs } = await this.#tryUntilJoined(joining)
      if (this.#state !== 'joining') return
      this.#state = 'joined'
      this.#askForLife(sessionTimeoutMs / PINGS_PER_SESSION)
      for (const frame of this.#early.splice(0)) this.#backend?.send(frame)
      if (this.#isHalfClosed) this.#leaveSoon()
      // Only now: what comes next came later.
      if (!this.#isHeld) this.#stream.resume()
    } catch (thrown) {
      if (this.#state === 'over') return
      const backend = this.#backend
      this.#finish()
      this.#stream.fail(thrown as Error)
      backend?.close()
    }
  }

  async #tryUntilJoined(joining: Joining): Promise<{ readonly sessionTimeoutMs: number }> {
    const { clock, prng } = this.#parts.node
    const startMs = clock.monotonicMs()
    const backoff = new Backoff({ prng, ...LEADER_PAUSE_MS })
    for (let round = 0; ; round++) {
      try {
        const timeoutMs = startMs + LEADER_RETRY_MS_MAX - clock.monotonicMs()
        const backend = await this.#connect(joining, { round, timeoutMs })
        this.#backend = backend
        return await backend.joined
      } catch (thrown) {
        this.#backend = undefined
        if (!(thrown instanceof NaruError) || !isOfTheLeader(thrown) || this.#state === 'over') throw thrown
        const pauseMs = backoff.nextMs()
        const waitedMs = clock.monotonicMs() - startMs
        if (waitedMs + pauseMs >= LEADER_RETRY_MS_MAX)
          throw noCoordinator(joining.join.group, { waitedMs, last: thrown })
        await this.#pause(pauseMs)
      }
    }
  }

  /** A new coordinator ends it. */
  #pause(timeoutMs: number): Promise<void> {
    const { node, topic } = this.#parts
    const topicId = topic.view?.id
    return topicId === undefined ? delay(node.clock, timeoutMs) : changeOf(node, { topicId, timeoutMs })
  }

  async #connect(joining: Joining, { round, timeoutMs }: Attempt): Promise<AttendBackend> {
    const { node, memory, topic } = this.#parts
    const { group } = joining.join
    const place = await topic.placeOf(group, { creates: true, timeoutMs: Math.max(1, timeoutMs) })
    if (this.#state === 'over') throw new NaruError('CANCELLED', 'the client is gone')
    const leaderId = place.topic.partition(place.partition)?.leader ?? node.nodeId
    const numbered = { ...joining, instance: { ...joining.instance, round } }
    if (leaderId !== node.nodeId && node.leaders !== undefined)
      return new AttendRelay(node, { ...numbered, group, place, leaderId, leaders: node.leaders })
    return new AttendSession(node, memory, { ...numbered, coordinator: node.groups.of(group) })
  }

  #onHalfClose(): void {
    this.#isHalfClosed = true
    if (this.#state === 'joined') this.#leaveSoon()
    else if (this.#state === 'new') throw invalidRequest('the stream holds no join')
  }

  #leaveSoon(): void {
    const frame = Groups.attend.request.encode({ leave: {} })
    this.#leaveTimer = this.#parts.node.clock.setTimer(LEAVE_PAUSE_MS, () => this.#backend?.send(frame))
  }

  #askForLife(everyMs: number): void {
    this.#timer = this.#parts.node.clock.setTimer(everyMs, () => {
      this.#context.ping(() => this.#backend?.heard())
      this.#askForLife(everyMs)
    })
  }

  #finish(): void {
    this.#state = 'over'
    this.#timer?.cancel()
    this.#leaveTimer?.cancel()
    this.#backend = undefined
  }
}
