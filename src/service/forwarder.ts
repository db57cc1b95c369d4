import type { NodeId } from '../base/brands.ts'
import { NaruError } from '../base/errors.ts'
import { Backoff } from '../client/backoff.ts'
import type { MetadataQuorum } from '../drivers/controller/metadata-quorum.ts'
import { type Clock, delay } from '../ports/clock.ts'
import type { Prng } from '../ports/prng.ts'
import type { Channel, MethodPath } from '../ports/transport.ts'
import type { CallRequest } from '../wire/generated/forward.ts'
import { Forward } from '../wire/generated/internal-services.ts'
import type { MessageInit } from '../wire/messages.ts'
import { ByteBudget } from './byte-budget.ts'
import {
  finalError,
  isTriedAgain,
  noAddressKnown,
  noController,
  noLeaderKnown,
  notApplied,
  tooLate,
  unreachable,
} from './forward-errors.ts'
import { missingQuorum } from './missing-quorum.ts'
import { PeerChannels } from './peer-channels.ts'
import type { ServiceCluster } from './service-cluster.ts'
import { settledWithin } from './settled-within.ts'

/** Rule E2: who waits for a controller longer than this is better told so. */
const RETRY_MS_MAX = 10_000
/** Calls that wait for the controller, and their requests; more are shed with OVERLOADED. */
const PENDING_CALLS_MAX = 1_000
const PENDING_BYTES_MAX = 64 * 1024 * 1024
const SHED_RETRY_AFTER_MS = 500
const PAUSE_MS = { firstMs: 20, maxMs: 250 }
/** An address that does not answer a greeting within this is no way to the controller. */
const GREETING_MS_MAX = 1_000
/** Of the time that is left, for the way of the answer; the rest is the controller's. */
const WAY_BACK_SHARE = 0.05
const WAY_BACK_MS_MAX = 200

export interface ControllerCall {
  readonly method: MethodPath
  readonly request: Uint8Array
  readonly timeoutMs: number
  /** Doing it twice is the same as once: it is tried again also when its outcome is unknown. */
  readonly repeatable: boolean
  /** After this an attempt of a repeatable call is given up for another one. */
  readonly attemptMsMax?: number
  /** Serves it here, where this node is the controller. */
  readonly serve: (request: Buffer, timeoutMs: number) => Promise<Uint8Array>
  /** The caller is gone, or the node stops: no more attempts. */
  readonly isCancelled?: () => boolean
}

export interface ForwarderOptions {
  readonly quorum: MetadataQuorum
  readonly clock: Clock
  readonly prng: Prng
  readonly cluster: ServiceCluster | undefined
  readonly callsMax?: number
  readonly bytesMax?: number
}

/**
 * Takes calls that belong to the controller there, wherever it is, from the node that a client happened to call (rule
 * E2). Bytes pass untouched both ways. Only this side tries again: after proof that an attempt did nothing, or where
 * that does not matter, and while there is time; what broke after it was sent is UNKNOWN_OUTCOME. The answer of another
 * node is handed on once this one has applied what the answer tells of, so that the caller finds here what it has done.
 */
export class Forwarder {
  readonly #options: ForwarderOptions
  readonly #channels: PeerChannels | undefined
  readonly #pendingBytes: ByteBudget
  #pendingCalls = 0

  constructor(options: ForwarderOptions) {
    this.#options = options
    this.#channels = options.cluster && new PeerChannels(options.cluster.transport)
    this.#pendingBytes = new ByteBudget(options.bytesMax ?? PENDING_BYTES_MAX)
  }

  get #missing(): string {
    const { quorum, cluster } = this.#options
    return missingQuorum({ controller: quorum, ...(cluster && { cluster }) })
  }

  async call(call: ControllerCall): Promise<Uint8Array> {
    const bytes = call.request.length
    const callsMax = this.#options.callsMax ?? PENDING_CALLS_MAX
    if (this.#pendingCalls >= callsMax || !this.#pendingBytes.tryTake(bytes))
      throw new NaruError(
        'OVERLOADED',
        `${this.#pendingCalls} calls with ${this.#pendingBytes.takenBytes} bytes wait for the controller already, at most ${callsMax} with ${this.#pendingBytes.bytesMax}: slow down and try again`,
        { retryAfterMs: SHED_RETRY_AFTER_MS },
      )
    this.#pendingCalls++
    try {
      return await this.#tryUntilDone(call)
    } finally {
      this.#pendingCalls--
      this.#pendingBytes.giveBack(bytes)
    }
  }

  close(): void {
    this.#channels?.close()
  }

  async #tryUntilDone(call: ControllerCall): Promise<Uint8Array> {
    const { clock, prng } = this.#options
    const startMs = clock.monotonicMs()
    const deadlineMs = startMs + call.timeoutMs
    // The caller must hear of a failure before its own deadline.
    const giveUpMs = startMs + Math.min(handlingMs(call.timeoutMs), RETRY_MS_MAX)
    const backoff = new Backoff({ prng, ...PAUSE_MS })
    for (;;) {
      try {
        return await this.#attempt(call, deadlineMs)
      } catch (thrown) {
        if (!(thrown instanceof NaruError)) throw thrown
        if (!isTriedAgain(thrown, call)) throw finalError(thrown, call.method)
        const pauseMs = backoff.nextMs()
        const nowMs = clock.monotonicMs()
        const isOver = nowMs + pauseMs >= giveUpMs || call.isCancelled?.() === true
        if (isOver)
          throw noController({ ...call, waitedMs: nowMs - startMs, last: thrown, missing: this.#missing })
        await delay(clock, pauseMs)
      }
    }
  }

  async #attempt(call: ControllerCall, deadlineMs: number): Promise<Uint8Array> {
    const { quorum, cluster } = this.#options
    if (quorum.isLeading) return this.#serveHere(call, deadlineMs)
    const { leaderId } = quorum
    if (leaderId === undefined || leaderId === quorum.nodeId) throw noLeaderKnown()
    const address = cluster?.addressOfNode(leaderId)
    if (address === undefined || this.#channels === undefined) throw noAddressKnown(leaderId)
    try {
      return await this.#channels.use(address, {
        greet: channel => this.#greet(channel, leaderId),
        run: channel => this.#forward(call, { channel, leaderId, deadlineMs }),
      })
    } catch (thrown) {
      const isDoubtful =
        thrown instanceof NaruError &&
        (thrown.reason === 'CONNECTION_FAILED' || thrown.reason === 'DEADLINE_EXCEEDED')
      if (isDoubtful) this.#channels.doubt(address)
      throw thrown
    }
  }

  async #serveHere(call: ControllerCall, deadlineMs: number): Promise<Uint8Array> {
    const leftMs = this.#leftMs(call, deadlineMs)
    const { buffer, byteOffset, byteLength } = call.request
    const served = call.serve(Buffer.from(buffer, byteOffset, byteLength), handlingMs(leftMs))
    if (await settledWithin(this.#options.clock, served, leftMs)) return served
    throw tooLate(call, 'unknown')
  }

  async #greet(channel: Channel, leaderId: NodeId): Promise<void> {
    try {
      const timeoutMs = GREETING_MS_MAX
      await channel.unary(Forward.call.path, this.#envelope({ toNodeId: leaderId }), { timeoutMs })
    } catch (thrown) {
      if (!(thrown instanceof NaruError)) throw thrown
      throw unreachable(leaderId, channel.address, thrown)
    }
  }

  async #forward(
    call: ControllerCall,
    to: { channel: Channel; leaderId: NodeId; deadlineMs: number },
  ): Promise<Uint8Array> {
    const { method, request } = call
    const leftMs = this.#leftMs(call, to.deadlineMs)
    const timeoutMs = Math.floor(handlingMs(leftMs))
    const envelope = this.#envelope({ toNodeId: to.leaderId, method, request, timeoutMs })
    const answer = await to.channel.unary(Forward.call.path, envelope, { timeoutMs: leftMs })
    const { response, metadataIndex } = Forward.call.response.decode(answer)
    await this.#options.quorum
      .awaitApplied(metadataIndex, Math.max(1, to.deadlineMs - this.#options.clock.monotonicMs()))
      .catch(thrown => {
        throw notApplied(method, NaruError.from(thrown))
      })
    return response
  }

  #leftMs(call: ControllerCall, deadlineMs: number): number {
    const leftMs = deadlineMs - this.#options.clock.monotonicMs()
    if (leftMs <= 1) throw tooLate(call, 'none')
    return call.repeatable ? Math.min(leftMs, call.attemptMsMax ?? leftMs) : leftMs
  }

  #envelope(call: MessageInit<CallRequest>): Uint8Array {
    const { clusterId, nodeId: fromNodeId } = this.#options.quorum
    return Forward.call.request.encode({ clusterId, fromNodeId, ...call })
  }
}

/** What the handler may use of the time that is left. */
function handlingMs(leftMs: number): number {
  return leftMs - Math.min(WAY_BACK_MS_MAX, leftMs * WAY_BACK_SHARE)
}
