import { assert } from '../base/assert.ts'
import type { Epoch, NodeId, Offset, PartitionId } from '../base/brands.ts'
import { NaruError } from '../base/errors.ts'
import type { Acks } from '../drivers/replicas/partition-leader.ts'
import type { TopicView } from '../metadata/topic-image.ts'
import type { Clock, Timer } from '../ports/clock.ts'
import type { MessageStream } from '../ports/transport.ts'
import { failureToError } from '../wire/failure.ts'
import { Forward } from '../wire/generated/internal-services.ts'
import type { ProduceAnswer } from '../wire/messages.ts'

/** What became of one batch, here or at another node. */
export type AppendOutcome =
  | {
      readonly kind: 'stored'
      /** Means nothing with acks=none. */
      readonly baseOffset: Offset
      readonly logAppendTimeMs: number | undefined
    }
  | { readonly kind: 'failed'; readonly error: NaruError }

/** One ready batch for a partition that another node leads. */
export interface RemoteAppend {
  readonly topic: TopicView
  readonly partition: PartitionId
  readonly batch: Buffer
  readonly acks: Acks
  readonly deadlineMs: number
  /** Of the leader that is meant. */
  readonly leaderEpoch: Epoch
  readonly done: (outcome: AppendOutcome) => void
}

/** Waiting and unanswered for one leader; more is shed, so that a leader that hangs cannot take the memory of the node. */
const LINK_BYTES_MAX = 64 * 1024 * 1024
/** What a frame gathers. A large batch goes alone: there the leader can keep its bytes where they arrived. */
const FRAME_BYTES_MAX = 256 * 1024
const FRAME_ENTRIES_MAX = 1_000
/** A leader that does not open the stream within this is not there. */
const OPEN_MS_MAX = 1_000
/** Of the time that is left, for the way of the answer. */
const WAY_BACK_SHARE = 0.05
const WAY_BACK_MS_MAX = 200
/** A leader that has not answered by then, beyond the time that it had, answers no more. */
const ANSWER_GRACE_MS = 5_000
const SHED_RETRY_AFTER_MS = 250

export interface AppendLinkOptions {
  readonly clock: Clock
  readonly leaderId: NodeId
  /** Throws where the node cannot be reached for certain. */
  readonly open: () => MessageStream
  readonly onClosed: (link: AppendLink) => void
}

/**
 * The stream of batches from this node to one leader, for all clients that called here: opening -> open -> closed; a new
 * link follows a closed one. What a turn brings leaves in as few frames as its limits allow.
 *
 * Nothing is sent before the leader has opened the stream, and what was not sent has certainly not happened; what was sent
 * and not answered when the stream ends has an unknown outcome (rule E2).
 */
export class AppendLink {
  readonly #options: AppendLinkOptions
  readonly #stream: MessageStream | undefined
  readonly #frames = new Map<number, Frame>()
  #waiting: RemoteAppend[] = []
  /** Of the first that waits. */
  #head = 0
  #bytes = 0
  #seq = 0
  #timer: Timer | undefined
  #isOpen = false
  #isBlocked = false
  #isScheduled = false
  #closedBy: NaruError | undefined

  constructor(options: AppendLinkOptions) {
    this.#options = options
    try {
      this.#stream = options.open()
    } catch (thrown) {
      options.clock.afterTurn(() => this.#close(NaruError.from(thrown)))
      return
    }
    this.#stream.setHandlers({
      onMessage: message => this.#onMessage(message),
      onDrain: () => {
        this.#isBlocked = false
        this.#pump()
      },
      onClose: error => this.#close(error ?? this.#failure('ended the stream')),
    })
    this.#timer = options.clock.setTimer(OPEN_MS_MAX, () => {
      // Judged only after a turn that has read the sockets (rule A8).
      options.clock.afterTurn(() => {
        if (!this.#isOpen) this.#stream?.fail(this.#failure(`did not answer within ${OPEN_MS_MAX} ms`))
      })
    })
  }

  send(append: RemoteAppend): void {
    const refusal = this.#closedBy ?? this.#tooMuch(append)
    if (refusal !== undefined) {
      const outcome = { kind: 'failed' as const, error: asNone(refusal) }
      this.#options.clock.afterTurn(() => append.done(outcome))
      return
    }
    this.#waiting.push(append)
    this.#bytes += append.batch.length
    if (this.#isScheduled) return
    this.#isScheduled = true
    this.#options.clock.afterTurn(() => {
      this.#isScheduled = false
      this.#pump()
    })
  }

  close(): void {
    this.#stream?.fail(new NaruError('CANCELLED', 'this node is stopping'))
  }

  #pump(): void {
    while (this.#isOpen && !this.#isBlocked && this.#closedBy === undefined) {
      const entries = this.#gather()
      if (entries.length === 0) return
      this.#write(entries)
    }
  }

  /** The first that waits, and those behind it that may share a frame with it. */
  #gather(): RemoteAppend[] {
    const entries: RemoteAppend[] = []
    const nowMs = this.#options.clock.monotonicMs()
    const first = this.#waiting[this.#head]
    let bytes = 0
    while (this.#head < this.#waiting.length && first !== undefined) {
      const next = this.#waiting[this.#head] as RemoteAppend
      if (entries.length > 0 && !haveOneFrame(first, next, nowMs)) break
      this.#head++
      entries.push(next)
      bytes += next.batch.length
      if (bytes >= FRAME_BYTES_MAX || entries.length >= FRAME_ENTRIES_MAX) break
    }
    if (this.#head * 2 > this.#waiting.length) {
      this.#waiting = this.#waiting.slice(this.#head)
      this.#head = 0
    }
    return entries
  }

  #write(entries: RemoteAppend[]): void {
    const nowMs = this.#options.clock.monotonicMs()
    const { acks } = entries[0] as RemoteAppend
    const leftMs = Math.max(1, Math.min(...entries.map(({ deadlineMs }) => deadlineMs)) - nowMs)
    const timeoutMs = Math.max(1, Math.floor(leftMs - Math.min(WAY_BACK_MS_MAX, leftMs * WAY_BACK_SHARE)))
    const seq = ++this.#seq
    const frame: Frame = {
      entries: [...entries],
      left: entries.length,
      lastMs: nowMs + leftMs + ANSWER_GRACE_MS,
    }
    this.#frames.set(seq, frame)
    this.#watch()
    const message = Forward.produce.request.encode({
      seq,
      options: { acks, timeoutMs },
      entries: entries.map(({ topic, partition, batch, leaderEpoch }) => ({
        topic: topic.name,
        topicId: topic.id,
        partition,
        batch,
        leaderEpoch,
      })),
    })
    this.#isBlocked = this.#stream?.write(message) === false
  }

  #onMessage(message: Buffer): void {
    if (!this.#isOpen) {
      this.#isOpen = true
      this.#timer?.cancel()
      this.#timer = undefined
    }
    try {
      for (const answer of Forward.produce.response.decode(message).answers) this.#onAnswer(answer)
    } catch (thrown) {
      this.#stream?.fail(NaruError.from(thrown))
      if (!(thrown instanceof NaruError)) throw thrown
    }
    this.#pump()
  }

  #onAnswer({ seq, entry: place, results }: ProduceAnswer): void {
    const frame = this.#frames.get(seq)
    const entry = frame?.entries[place]
    const [result] = results
    if (frame === undefined || entry === undefined || result === undefined)
      throw new NaruError(
        'INTERNAL',
        `the leader answered entry ${place} of frame ${seq}, which waits for none`,
      )
    frame.entries[place] = undefined
    frame.left--
    if (frame.left === 0) this.#frames.delete(seq)
    this.#bytes -= entry.batch.length
    const { failure, offset = 0, logAppendTimeMs } = result
    entry.done(
      failure
        ? { kind: 'failed', error: failureToError(failure) }
        : { kind: 'stored', baseOffset: offset, logAppendTimeMs },
    )
  }

  /** One timer at a time, however many frames come and go. */
  #watch(): void {
    const [oldest] = this.#frames.values()
    if (oldest === undefined || this.#timer !== undefined) return
    const delayMs = Math.max(1, oldest.lastMs - this.#options.clock.monotonicMs())
    this.#timer = this.#options.clock.setTimer(delayMs, () => {
      this.#timer = undefined
      const [frame] = this.#frames.values()
      if (frame !== undefined && frame.lastMs <= this.#options.clock.monotonicMs())
        this.#stream?.fail(this.#failure('answers no more'))
      else this.#watch()
    })
  }

  #close(error: NaruError): void {
    assert(this.#closedBy === undefined, 'a stream ends once')
    this.#closedBy = this.#isOpen ? this.#failure(`is not reached any more: ${error.message}`) : asNone(error)
    this.#timer?.cancel()
    this.#options.onClosed(this)
    const unknown = { kind: 'failed' as const, error: this.#failure(`was lost: ${error.message}`, 'unknown') }
    for (const { entries } of this.#frames.values()) for (const entry of entries) entry?.done(unknown)
    this.#frames.clear()
    const unsent = this.#waiting.slice(this.#head)
    this.#waiting = []
    const none = { kind: 'failed' as const, error: asNone(this.#closedBy) }
    for (const append of unsent) append.done(none)
  }

  #tooMuch({ batch }: RemoteAppend): NaruError | undefined {
    if (this.#bytes === 0 || this.#bytes + batch.length <= LINK_BYTES_MAX) return undefined
    return new NaruError(
      'OVERLOADED',
      `${this.#bytes} bytes wait for the leader, node ${this.#options.leaderId}, at most ${LINK_BYTES_MAX}: slow down and try again`,
      { retryAfterMs: SHED_RETRY_AFTER_MS },
    )
  }

  #failure(what: string, outcome: 'none' | 'unknown' = 'none'): NaruError {
    const { leaderId } = this.#options
    return new NaruError('CONNECTION_FAILED', `the leader, node ${leaderId}, ${what}`, {
      outcome,
      details: { leader_id: String(leaderId) },
    })
  }
}

interface Frame {
  /** Undefined: answered. */
  readonly entries: (RemoteAppend | undefined)[]
  left: number
  /** Later than this nothing comes. */
  readonly lastMs: number
}

/** One acks for all, and no entry's time is cut by much because of another's. */
function haveOneFrame(first: RemoteAppend, next: RemoteAppend, nowMs: number): boolean {
  if (first.acks !== next.acks) return false
  const [lessMs, moreMs] = [first.deadlineMs - nowMs, next.deadlineMs - nowMs].sort((a, b) => a - b)
  return (moreMs as number) <= 1.25 * Math.max(1, lessMs as number)
}

function asNone(error: NaruError): NaruError {
  if (error.outcome === 'none') return error
  return new NaruError(error.reason, error.message, { cause: error, outcome: 'none', details: error.details })
}
