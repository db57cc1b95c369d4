import type { NodeId } from '../../base/brands.ts'
import { NaruError } from '../../base/errors.ts'
import type { MemberInstance } from '../../groups/group-record.ts'
import type { Timer } from '../../ports/clock.ts'
import type { MessageStream } from '../../ports/transport.ts'
import { Coordination } from '../../wire/generated/internal-services.ts'
import { Groups } from '../../wire/methods.ts'
import { isOfTheLeader } from '../leader-attempts.ts'
import type { LeaderForwarding } from '../leader-forwarding.ts'
import type { ServiceNode } from '../service-node.ts'
import type { AttendBackend, AttendOutlet } from './attend-backend.ts'
import { coordinatorMoves } from './attend-errors.ts'
import type { GroupPlace } from './groups-topic.ts'

/** A coordinator that has not taken a member by then hangs; a new one waits for what it took over. */
const JOIN_MS_MAX = 5_000

const NOT_THE_FIRST = { member: '', address: '', instance: '', round: 0 }

export interface AttendRelayOptions {
  readonly outlet: AttendOutlet
  readonly leaders: LeaderForwarding
  readonly leaderId: NodeId
  readonly place: GroupPlace
  readonly group: string
  readonly member: string
  /** Network address of the client. */
  readonly address: string
  readonly instance: MemberInstance
  readonly joinFrame: Buffer
}

/**
 * The stream of one member from the node that it called to the coordinator on another: bytes pass untouched, both ways and
 * against the flow control of both sides. It is over as soon as the metadata name another coordinator, since one that
 * hangs does not say so.
 *
 * The join goes only to a coordinator that has just answered: what waits in a connection until a network heals would come
 * when its client has long joined another way.
 */
export class AttendRelay implements AttendBackend {
  readonly joined: Promise<{ readonly sessionTimeoutMs: number }>
  readonly #options: AttendRelayOptions
  readonly #stream: MessageStream
  readonly #timer: Timer
  readonly #unsubscribe: () => void
  #hasAnswered = false
  #settle:
    | { resolve: (joined: { sessionTimeoutMs: number }) => void; reject: (error: NaruError) => void }
    | undefined

  /** Throws where the node cannot be reached for certain. */
  constructor({ clock, controller }: ServiceNode, options: AttendRelayOptions) {
    this.#options = options
    const { leaders, leaderId, place } = options
    this.joined = new Promise((resolve, reject) => {
      this.#settle = { resolve, reject }
    })
    this.#stream = leaders.openAttend(leaderId)
    this.#stream.setHandlers({
      onMessage: message => this.#onMessage(message),
      onDrain: () => options.outlet.resume(),
      onClose: error => this.#onClose(error),
    })
    this.#timer = clock.setTimer(JOIN_MS_MAX, () => this.#stream.fail(this.#gone('does not answer')))
    this.#unsubscribe = controller.subscribe((_, image) => {
      const leader = image.topics.byId(place.topic.id)?.partition(place.partition)?.leader
      if (leader !== leaderId) this.#stream.fail(this.#gone('is not the coordinator any more'))
    })
  }

  send(frame: Buffer): void {
    const message = Coordination.attend.request.encode({ ...NOT_THE_FIRST, frame })
    if (!this.#stream.write(message)) this.#options.outlet.pause()
  }

  heard(): void {
    this.#stream.write(Coordination.attend.request.encode(NOT_THE_FIRST))
  }

  close(): void {
    this.#stream.fail(new NaruError('CANCELLED', 'the client is gone'))
  }

  drained(): void {
    this.#stream.resume()
  }

  #join(): void {
    const { joinFrame: frame, member, address, instance } = this.#options
    const { id, round } = instance
    this.#stream.write(Coordination.attend.request.encode({ frame, member, address, instance: id, round }))
  }

  #onMessage(message: Buffer): void {
    const { outlet } = this.#options
    if (!this.#hasAnswered) {
      this.#hasAnswered = true
      this.#join()
      return
    }
    if (this.#settle !== undefined) {
      const { joined } = Groups.attend.response.decode(message)
      if (joined === undefined)
        throw new NaruError('INTERNAL', 'a coordinator spoke before the member has joined')
      this.#timer.cancel()
      this.#settle.resolve(joined)
      this.#settle = undefined
    }
    if (!outlet.write(message)) this.#stream.pause()
  }

  #onClose(error: NaruError | undefined): void {
    this.#timer.cancel()
    this.#unsubscribe()
    const { outlet, group, member } = this.#options
    const isOpening = this.#settle !== undefined
    this.#settle?.reject(error ?? this.#gone('ended the stream'))
    this.#settle = undefined
    if (isOpening) return
    if (error === undefined) outlet.end()
    else outlet.fail(isOfTheLeader(error) ? coordinatorMoves({ group, member }, error) : error)
  }

  #gone(what: string): NaruError {
    const { leaderId } = this.#options
    return new NaruError('CONNECTION_FAILED', `node ${leaderId} ${what}`, {
      outcome: 'none',
      details: { leader_id: String(leaderId) },
    })
  }
}
