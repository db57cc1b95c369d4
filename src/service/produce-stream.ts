import { NaruError } from '../base/errors.ts'
import type { Acks } from '../drivers/replicas/partition-leader.ts'
import type { TopicView } from '../metadata/topic-image.ts'
import type { MessageStream } from '../ports/transport.ts'
import { checkProduceSize } from '../wire/limits.ts'
import type { ProduceAnswer, ProduceEntry, ProduceStreamRequest } from '../wire/messages.ts'
import { Producer } from '../wire/methods.ts'
import { type FailureWriter, failureOf } from './failures.ts'
import { isDirect } from './leader-attempts.ts'
import {
  checkEntry,
  type EntryResult,
  encodeResult,
  failedResults,
  ProduceEntries,
} from './produce-entries.ts'
import type { ProduceTopics } from './produce-topics.ts'
import { invalidRequest, timeoutMsOf } from './request-checks.ts'
import type { ServiceNode } from './service-node.ts'

/** The proto's limit: what one frame may cost in one turn. */
const ENTRIES_PER_FRAME_MAX = 10_000
/** Two of the largest frames: one is written while the next one comes. */
const STREAM_UNANSWERED_BYTES_MAX = 32 * 1024 * 1024
/** Small batches cost more than their bytes. */
const STREAM_UNANSWERED_ENTRIES_MAX = 20_000
/** Results and told failures per answer frame: 2.5 KiB each at the most, so a frame stays below 4 MiB. */
const ANSWER_FRAME_BYTES_MAX = 1024 * 1024
const RESULT_BYTES = 32
const FAILURE_BYTES = 2_600

/**
 * One ProduceStream. Frames are taken while what is unanswered stays below the limits, then the stream pauses;
 * nothing is refused for coming too fast. The answers of one turn leave as one frame.
 *
 * The stream of another node (`isForwarded`) differs in two things: it brings options with any frame, for that frame
 * alone, and it is told with an empty frame that it is open.
 *
 * A frame that breaks the protocol ends the stream, but only after everything before it was answered, so that
 * no outcome is lost.
 */
export class ProduceStream {
  readonly #stream: MessageStream
  readonly #topics: ProduceTopics
  readonly #node: ServiceNode
  readonly #entries: ProduceEntries
  readonly #isForwarded: boolean
  /** Entries of topics that are being created or looked for, by topic name, in order. */
  readonly #awaitingTopic = new Map<string, WaitingEntry[]>()
  #options: { readonly acks: Acks; readonly timeoutMs: number } | undefined
  #lastSeq = Number.NEGATIVE_INFINITY
  #ready: ReadyAnswer[] = []
  #warnings: string[] = []
  #unansweredBytes = 0
  #unansweredEntries = 0
  /** The frames that the budget of the node counts. */
  #takenBytes = 0
  #isFlushing = false
  #isBlocked = false
  #isPaused = false
  #isHalfClosed = false
  #isClosed = false
  #refusal: NaruError | undefined

  constructor(
    node: ServiceNode,
    topics: ProduceTopics,
    { stream, isForwarded = false }: { readonly stream: MessageStream; readonly isForwarded?: boolean },
  ) {
    this.#node = node
    this.#topics = topics
    this.#stream = stream
    this.#isForwarded = isForwarded
    this.#entries = new ProduceEntries(node, { isEntry: !isForwarded && !isDirect(stream.metadata) })
    stream.setHandlers({
      onMessage: message => this.#onMessage(message),
      onEnd: () => {
        this.#isHalfClosed = true
        this.#endIfDone()
      },
      onDrain: () => {
        this.#isBlocked = false
        this.#flush()
      },
      onClose: () => this.#close(),
    })
    if (isForwarded) stream.write(Producer.produceStream.response.encode({}))
  }

  #onMessage(message: Buffer): void {
    if (this.#refusal !== undefined || this.#isClosed) return
    try {
      this.#accept(message)
    } catch (thrown) {
      this.#refuse(NaruError.from(thrown))
      if (!(thrown instanceof NaruError)) throw thrown
    }
    this.#pauseOrResume()
  }

  #accept(message: Buffer): void {
    checkProduceSize('ProduceStreamRequest', message)
    const request = Producer.produceStream.request.decode(message)
    const { entries } = request
    if (entries.length > ENTRIES_PER_FRAME_MAX)
      throw new NaruError(
        'REQUEST_TOO_LARGE',
        `a frame of ${entries.length} entries, at most ${ENTRIES_PER_FRAME_MAX}: split it`,
      )
    const options = this.#checkOrder(request)
    if (entries.length === 0) return
    const frame: Frame = { seq: request.seq, bytes: message.length, left: entries.length, isTaken: false }
    this.#unansweredBytes += frame.bytes
    this.#unansweredEntries += entries.length
    const shed = this.#topics.admit(frame.bytes)
    frame.isTaken = shed === undefined
    if (frame.isTaken) this.#takenBytes += frame.bytes
    for (const [index, entry] of entries.entries()) {
      const waiting: WaitingEntry = { frame, index, entry, ...options }
      if (shed === undefined) this.#dispatch(waiting)
      else this.#answer(waiting, failedResults(entry, shed))
    }
  }

  /** What must be right of frame after frame. */
  #checkOrder(request: ProduceStreamRequest): { acks: Acks; timeoutMs: number } {
    const { seq, options } = request
    if (seq <= this.#lastSeq)
      throw invalidRequest(`seq ${seq} comes after ${this.#lastSeq}: it must rise from frame to frame`)
    if (this.#options !== undefined && options !== undefined && !this.#isForwarded)
      throw invalidRequest(`options come with the first frame only, the one with seq ${seq} has them again`)
    if (this.#options === undefined || options !== undefined)
      this.#options = { acks: options?.acks ?? 'ALL', timeoutMs: timeoutMsOf(options?.timeoutMs) }
    this.#lastSeq = seq
    return this.#options
  }

  #dispatch(waiting: WaitingEntry, isSettled = false): void {
    const { entry } = waiting
    const line = this.#awaitingTopic.get(entry.topic)
    if (line !== undefined) {
      line.push(waiting)
      return
    }
    try {
      checkEntry(entry)
      const topic = this.#topics.find(entry, isSettled)
      if (topic === undefined) this.#awaitTopic(waiting)
      else this.#write(waiting, topic)
    } catch (thrown) {
      if (!(thrown instanceof NaruError)) throw thrown
      this.#answer(waiting, failedResults(entry, thrown))
    }
  }

  #write(waiting: WaitingEntry, topic: TopicView): void {
    const { entry, frame, acks, timeoutMs } = waiting
    const answer = (results: EntryResult[]) => this.#answer(waiting, results)
    this.#entries.write({ topic, entry, acks, timeoutMs, messageBytes: frame.bytes, answer })
  }

  /** Entries of this topic line up behind the first one, which has it made or looked for. */
  #awaitTopic(first: WaitingEntry): void {
    const { topic } = first.entry
    const line = [first]
    this.#awaitingTopic.set(topic, line)
    const goOn = (warning: string | undefined, error: NaruError | undefined) => {
      this.#awaitingTopic.delete(topic)
      if (this.#isClosed) return
      if (warning !== undefined) this.#warnings.push(warning)
      for (const waiting of line) {
        if (error === undefined) this.#dispatch(waiting, true)
        else this.#answer(waiting, failedResults(waiting.entry, error))
      }
      this.#pauseOrResume()
    }
    this.#topics.settle(first.entry, first.timeoutMs).then(
      warning => goOn(warning, undefined),
      thrown => goOn(undefined, NaruError.from(thrown)),
    )
  }

  #answer(waiting: WaitingEntry, results: EntryResult[]): void {
    if (this.#isClosed) return
    this.#ready.push({ frame: waiting.frame, index: waiting.index, results })
    if (this.#isFlushing || this.#isBlocked) return
    this.#isFlushing = true
    this.#node.clock.afterTurn(() => {
      this.#isFlushing = false
      this.#flush()
    })
  }

  /** Writes what is answered until the stream is full; what is not written still counts as unanswered. */
  #flush(): void {
    let at = 0
    while (at < this.#ready.length && !this.#isBlocked && !this.#isClosed) {
      const answers: ProduceAnswer[] = []
      const told: FailureWriter = new Map()
      let bytes = 0
      for (; at < this.#ready.length && bytes < ANSWER_FRAME_BYTES_MAX; at++) {
        const { frame, index, results } = this.#ready[at] as ReadyAnswer
        const before = told.size
        answers.push({
          seq: frame.seq,
          entry: index,
          results: results.map(result => encodeResult(result, error => failureOf(error, told))),
        })
        bytes += results.length * RESULT_BYTES + (told.size - before) * FAILURE_BYTES
        this.#settle(frame)
      }
      const warnings = this.#warnings.splice(0)
      this.#isBlocked = !this.#stream.write(Producer.produceStream.response.encode({ answers, warnings }))
    }
    this.#ready = at === this.#ready.length ? [] : this.#ready.slice(at)
    this.#pauseOrResume()
    this.#endIfDone()
  }

  #settle(frame: Frame): void {
    frame.left--
    this.#unansweredEntries--
    if (frame.left > 0) return
    this.#unansweredBytes -= frame.bytes
    if (!frame.isTaken) return
    this.#takenBytes -= frame.bytes
    this.#topics.release(frame.bytes)
  }

  #pauseOrResume(): void {
    if (this.#isClosed) return
    const isFull =
      this.#unansweredBytes >= STREAM_UNANSWERED_BYTES_MAX ||
      this.#unansweredEntries >= STREAM_UNANSWERED_ENTRIES_MAX
    if (isFull === this.#isPaused) return
    this.#isPaused = isFull
    if (isFull) this.#stream.pause()
    else this.#stream.resume()
  }

  #refuse(error: NaruError): void {
    this.#refusal = error
    this.#endIfDone()
  }

  #endIfDone(): void {
    if (this.#isClosed || this.#unansweredEntries > 0) return
    if (this.#refusal !== undefined) this.#stream.fail(this.#refusal)
    else if (this.#isHalfClosed) this.#stream.end()
  }

  #close(): void {
    this.#isClosed = true
    this.#entries.close()
    this.#topics.release(this.#takenBytes)
    this.#takenBytes = 0
    this.#ready = []
  }
}

interface Frame {
  readonly seq: number
  readonly bytes: number
  /** Entries whose answer is not written yet. */
  left: number
  /** Counted by the node. */
  isTaken: boolean
}

interface WaitingEntry {
  readonly frame: Frame
  readonly index: number
  readonly entry: ProduceEntry
  readonly acks: Acks
  readonly timeoutMs: number
}

interface ReadyAnswer {
  readonly frame: Frame
  readonly index: number
  readonly results: EntryResult[]
}
