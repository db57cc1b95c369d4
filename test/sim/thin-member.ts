import { NaruError } from '../../src/base/errors.ts'
import type { ConsumerOptions } from '../../src/client/index.ts'
import { wireStart } from '../../src/client/reader/reader-settings.ts'
import { Watchdog } from '../../src/client/watchdog.ts'
import type { Clock } from '../../src/ports/clock.ts'
import type { Channel, MessageStream } from '../../src/ports/transport.ts'
import type { MessageInit, SubscribeRequest, SubscribeResponse } from '../../src/wire/messages.ts'
import { Consumer } from '../../src/wire/methods.ts'
import type { MemberPositions } from './member-positions.ts'

export interface ThinMemberOptions {
  readonly channel: Channel
  readonly clock: Clock
  readonly positions: MemberPositions
  readonly settings: ConsumerOptions
  /** Nexts that it sends before it has anything. */
  readonly ahead: number
  /** Over one record. */
  readonly work: () => Promise<void>
}

/** A member is heard every 500 ms, once its group is found. */
const SILENCE_MS_MAX = 8_000
const FRAME_RECORDS_MAX = 3

/** A client of the twenty lines: Join, then a Next for each frame that is done. */
export class ThinMember {
  /** How it ended. */
  readonly closed: Promise<NaruError | undefined>
  readonly #options: ThinMemberOptions
  readonly #stream: MessageStream
  readonly #watchdog: Watchdog
  #todo: SubscribeResponse[] = []
  #isWorking = false
  #isLeaving = false
  #isOver = false

  constructor(options: ThinMemberOptions) {
    this.#options = options
    const { channel, clock, ahead, settings } = options
    const {
      group,
      topics = [],
      topicPattern,
      member,
      start = 'earliest',
      assignor,
      sessionTimeoutMs,
    } = settings
    this.#stream = channel.stream(Consumer.subscribe.path)
    this.#watchdog = new Watchdog({
      clock,
      silenceMsMax: SILENCE_MS_MAX,
      onSilent: () => this.#stream.fail(new NaruError('CONNECTION_FAILED', 'the node fell silent')),
    })
    this.closed = new Promise(resolve => {
      this.#stream.setHandlers({
        onMessage: message => this.#onFrame(Consumer.subscribe.response.decode(message)),
        onClose: error => {
          this.#isOver = true
          this.#watchdog.stop()
          resolve(error)
        },
      })
    })
    this.#send({
      join: {
        group,
        topics: [...topics],
        topicPattern,
        member,
        start: wireStart(start),
        assignor,
        sessionTimeoutMs,
        maxFrameRecords: FRAME_RECORDS_MAX,
      },
    })
    for (let count = 0; count < ahead; count++) this.#send({ next: {} })
  }

  /** After what it is at; the node commits, and closes. */
  leave(timeMsMax: number): void {
    if (this.#isLeaving || this.#isOver) return
    this.#isLeaving = true
    if (!this.#isWorking) this.#stream.end()
    const late = new NaruError('CANCELLED', 'the node takes too long to let the member go')
    this.#options.clock.setTimer(timeMsMax, () => this.#stream.fail(late))
  }

  /** As a process ends that nobody asked. */
  abandon(): void {
    this.#stream.fail(new NaruError('CANCELLED', 'the client is gone'))
  }

  #onFrame(frame: SubscribeResponse): void {
    this.#watchdog.heard()
    const { positions } = this.#options
    for (const assigned of frame.assigned?.partitions ?? []) positions.assigned(assigned)
    if (frame.skipped) positions.skipped(frame.skipped)
    for (const { topic, partition, records } of frame.records?.partitions ?? [])
      for (const { offset } of records) positions.given({ topic, partition, offset })
    if (!frame.records && !frame.revoking) return
    this.#todo.push(frame)
    if (!this.#isWorking) void this.#work()
  }

  /** Frame after frame; what it says is done was done before. */
  async #work(): Promise<void> {
    const { positions, work } = this.#options
    this.#isWorking = true
    for (
      let frame = this.#todo.shift();
      frame && !this.#isOver && !this.#isLeaving;
      frame = this.#todo.shift()
    ) {
      for (const { topic, partition, records } of frame.records?.partitions ?? [])
        for (const { offset } of records) {
          await work()
          positions.done({ topic, partition, offset })
        }
      if (!this.#isOver) this.#send({ next: { doneFrame: frame.number } })
    }
    this.#isWorking = false
    if (this.#isLeaving && !this.#isOver) this.#stream.end()
  }

  #send(request: MessageInit<SubscribeRequest>): void {
    this.#stream.write(Consumer.subscribe.request.encode(request))
  }
}
