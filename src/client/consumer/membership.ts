import type { Epoch } from '../../base/brands.ts'
import { NaruError } from '../../base/errors.ts'
import type { Timer } from '../../ports/clock.ts'
import { randomUuid } from '../../ports/prng.ts'
import type {
  Assigned,
  AttendJoined,
  AttendResponse,
  Lost,
  Revoking,
  TopicPartition,
} from '../../wire/messages.ts'
import type { Backoff } from '../backoff.ts'
import type { Connection } from '../connection.ts'
import { mayPass } from '../reader/leader-streams.ts'
import { AttendStream } from './attend-stream.ts'
import type { MemberSettings } from './consumer-settings.ts'

/** Of a group whose members do not say. */
const SESSION_TIMEOUT_MS = 10_000
/** The grace that a coordinator gives a member whose stream broke, if the member did not ask for a timeout of its own. */
const BROKEN_STREAM_MS = 3_000
const HEARTBEAT_MS_MAX = 1_000
/** Another node is tried after that long without an answer. */
const SILENCE_MS_MAX = 2_500
const LEAVE_MS_MAX = 2_000
/** Answers after which whatever the member still has was told again. */
const ANSWERS_UNTIL_SETTLED = 2
/** Many more than there are within a session. */
const HELD_FRAMES_MAX = 1_000

export interface MembershipEvents {
  /** A stream speaks for the member, perhaps not its first: what it still has is told again by `onAssigned`. */
  readonly onJoined: (joined: AttendJoined) => void
  readonly onAssigned: (assigned: Assigned) => void
  readonly onRevoking: (revoking: Revoking) => void
  readonly onLost: (lost: Lost) => void
  /** What was not told again since `onJoined` is not the member's any more. */
  readonly onSettled: () => void
  /** Everything went, or must be taken as gone. The member joins anew. */
  readonly onExpelled: (cause: NaruError) => void
  /** `mayDeliver` may be true again. */
  readonly onHeard: () => void
  /** It is waited out. */
  readonly onTrouble: (error: NaruError) => void
  /** For good. */
  readonly onFailed: (error: NaruError) => void
}

/**
 * Keeps one member in its group: over one stream at a time, through any node that answers, always under the same name.
 *
 * D4: whether the coordinator still counts on the member is only known for times at which it sent a heartbeat that was
 * answered. From then on it has the session timeout, or the shorter grace of a broken stream: the coordinator may
 * have seen a break that is not seen here. After the grace nothing is delivered until it is heard again; after the session
 * timeout everything is taken as lost. Between, it goes on, also while it attends anew: what it was asked for unheard it is
 * asked for again.
 *
 * Nothing is told of partitions either while nothing may be delivered: what a process finds when it wakes up from a
 * standstill may have been so, and be another's by now. It is told once the member is heard, and forgotten with the stream.
 */
export class Membership {
  /** Drawn here unless it was given: an answer that is lost must not leave a nameless member behind. */
  readonly member: string
  /** So that of its own joins the last one holds, whenever they arrive. */
  readonly #instance: string
  readonly #connection: Connection
  readonly #settings: MemberSettings
  readonly #events: MembershipEvents
  readonly #backoff: Backoff
  #stream: AttendStream | undefined
  #retry: Timer | undefined
  #sessionTimer: Timer | undefined
  #memberEpoch: Epoch = 0
  #sessionTimeoutMs: number
  /** When the last heartbeat was sent that was answered; undefined: not since everything was lost. */
  #heardSentMs: number | undefined
  #isJoined = false
  #attempt = 0
  #answers = 0
  /** What the stream has said since the member was not heard. */
  #held: AttendResponse[] = []
  #joinCount = 0
  #isOver = false
  #onLeft: (() => void) | undefined

  constructor(options: { connection: Connection; settings: MemberSettings; events: MembershipEvents }) {
    this.#connection = options.connection
    this.#settings = options.settings
    this.#events = options.events
    const { prng } = options.connection
    this.member = options.settings.member ?? randomUuid(prng)
    this.#instance = randomUuid(prng)
    this.#sessionTimeoutMs = options.settings.sessionTimeoutMs ?? SESSION_TIMEOUT_MS
    this.#backoff = options.connection.backoff()
    // Its owner is not made yet.
    this.#retry = this.#connection.clock.setTimer(0, () => this.#open())
  }

  /** The newest that assignments were told with: what commits and releases quote (D3). */
  get memberEpoch(): Epoch {
    return this.#memberEpoch
  }

  /** A stream speaks for it. */
  get isJoined(): boolean {
    return this.#isJoined
  }

  /** Differs between streams. */
  get joinCount(): number {
    return this.#joinCount
  }

  get mayDeliver(): boolean {
    if (this.#heardSentMs === undefined || this.#isOver) return false
    return this.#connection.clock.monotonicMs() < this.#heardSentMs + this.#graceMs
  }

  release(partitions: readonly TopicPartition[]): void {
    if (this.#isJoined) this.#stream?.release(partitions, this.#memberEpoch)
  }

  /** Without a word, as a connection breaks. */
  abandon(): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#retry?.cancel()
    this.#sessionTimer?.cancel()
    this.#stream?.fail(new NaruError('CANCELLED', 'the member has gone'))
  }

  /** At once, if a stream is there to say so on; else by silence. */
  leave(): Promise<void> {
    if (this.#isOver) return Promise.resolve()
    this.#isOver = true
    this.#retry?.cancel()
    this.#sessionTimer?.cancel()
    const stream = this.#stream
    if (stream === undefined) return Promise.resolve()
    return new Promise(resolve => {
      const timer = this.#connection.clock.setTimer(LEAVE_MS_MAX, () =>
        stream.fail(new NaruError('CANCELLED', 'the consumer was closed')),
      )
      this.#onLeft = () => {
        timer.cancel()
        resolve()
      }
      stream.leave()
    })
  }

  get #graceMs(): number {
    const isOwn = this.#settings.sessionTimeoutMs !== undefined
    return isOwn ? this.#sessionTimeoutMs : Math.min(this.#sessionTimeoutMs, BROKEN_STREAM_MS)
  }

  #open(): void {
    if (this.#isOver) return
    const { group, topics, topicPattern, assignor, sessionTimeoutMs, clientId, start } = this.#settings
    this.#isJoined = false
    this.#answers = 0
    this.#attempt++
    const by = { member: this.member, clientId, instance: this.#instance, attempt: this.#attempt }
    const stream = new AttendStream({
      connection: this.#connection,
      join: { group, topics, topicPattern, assignor, sessionTimeoutMs, start, ...by },
      heartbeatMs: Math.min(HEARTBEAT_MS_MAX, this.#graceMs / 5),
      silenceMsMax: Math.min(SILENCE_MS_MAX, this.#graceMs / 2),
      onFrame: frame => this.#onFrame(stream, frame),
      onHeard: sentMs => this.#onHeard(sentMs),
      onClosed: error => this.#onClosed(stream, error),
    })
    this.#stream = stream
  }

  #onFrame(stream: AttendStream, frame: AttendResponse): void {
    if (this.#isOver) return
    if (frame.joined) this.#onJoined(frame.joined)
    else if (this.mayDeliver) this.#take(frame)
    else if (this.#held.push(frame) > HELD_FRAMES_MAX)
      stream.fail(
        new NaruError('CONNECTION_FAILED', `${HELD_FRAMES_MAX} frames came, and no heartbeat was answered`),
      )
  }

  #onJoined(joined: AttendJoined): void {
    this.#isJoined = true
    this.#joinCount++
    this.#memberEpoch = joined.memberEpoch
    this.#sessionTimeoutMs = joined.sessionTimeoutMs
    this.#armSession()
    this.#events.onJoined(joined)
  }

  #take({ assigned, revoking, lost, heartbeat }: AttendResponse): void {
    if (this.#isOver) return
    if (lost) this.#events.onLost(lost)
    if (assigned) {
      this.#memberEpoch = assigned.memberEpoch
      this.#events.onAssigned(assigned)
    }
    if (revoking) {
      this.#memberEpoch = revoking.memberEpoch
      this.#events.onRevoking(revoking)
    }
    if (heartbeat) {
      // Its epoch may be that of an assignment which is not told yet: quoting it could pass off an old ownership as the new one.
      this.#backoff.reset()
      this.#answers++
      if (this.#answers === ANSWERS_UNTIL_SETTLED) this.#events.onSettled()
    }
  }

  #onHeard(sentMs: number): void {
    if (this.#isOver) return
    this.#heardSentMs = Math.max(sentMs, this.#heardSentMs ?? sentMs)
    if (this.mayDeliver) for (const frame of this.#held.splice(0)) this.#take(frame)
    this.#events.onHeard()
  }

  #armSession(): void {
    this.#sessionTimer?.cancel()
    const { clock } = this.#connection
    const leftMs = (this.#heardSentMs ?? clock.monotonicMs()) + this.#sessionTimeoutMs - clock.monotonicMs()
    this.#sessionTimer = clock.setTimer(Math.max(1, leftMs), () =>
      // Rule A8: what the sockets hold by now counts.
      clock.afterTurn(() => this.#judgeSession()),
    )
  }

  #judgeSession(): void {
    if (this.#isOver || this.#heardSentMs === undefined) return
    const { clock } = this.#connection
    if (clock.monotonicMs() < this.#heardSentMs + this.#sessionTimeoutMs) {
      this.#armSession()
      return
    }
    const error = new NaruError(
      'UNKNOWN_MEMBER',
      `group "${this.#settings.group}" has not answered member "${this.member}" for its session timeout (${this.#sessionTimeoutMs} ms): its partitions are others' by now`,
    )
    this.#expelled(error)
    this.#stream?.fail(error)
  }

  #expelled(cause: NaruError): void {
    this.#heardSentMs = undefined
    this.#sessionTimer?.cancel()
    this.#events.onExpelled(cause)
  }

  #onClosed(stream: AttendStream, error: NaruError | undefined): void {
    if (this.#stream !== stream) return
    this.#stream = undefined
    this.#isJoined = false
    this.#held = []
    this.#onLeft?.()
    if (this.#isOver) return
    const cause = error ?? new NaruError('CONNECTION_FAILED', `${stream.address} ended the membership`)
    if (cause.reason === 'UNKNOWN_MEMBER' || cause.reason === 'UNKNOWN_GROUP') {
      if (this.#heardSentMs !== undefined) this.#expelled(cause)
    } else if (!mayPass(cause)) {
      this.#isOver = true
      this.#sessionTimer?.cancel()
      this.#events.onFailed(cause)
      return
    }
    const { nodes, clock } = this.#connection
    if (cause.reason !== 'UNKNOWN_MEMBER') nodes.avoidEntry(stream.address)
    this.#events.onTrouble(cause)
    this.#retry = clock.setTimer(Math.max(this.#backoff.nextMs(), cause.retryAfterMs ?? 0), () =>
      this.#open(),
    )
  }
}
