import { NaruError } from '../../base/errors.ts'
import type { Channel, Transport } from '../../ports/transport.ts'
import type { MessageInit } from '../../wire/codec.ts'
import { Peers } from '../../wire/generated/internal-services.ts'
import type { FoundingOffer, Greeting, JoinRequest, JoinResponse } from '../../wire/generated/peers.ts'
import type { Method } from '../../wire/method.ts'
import { checkGreeting } from './peers-service.ts'

export interface GreetAnswer {
  readonly greeting: Greeting
  readonly offer: FoundingOffer | undefined
}

export interface PeerCallsOptions {
  readonly transport: Transport
  readonly timeoutMs: number
  readonly greeting: () => Greeting
}

/** Open at once; the one unused for longest gives way. Far above what a node greets in one round. */
const CHANNELS_MAX = 200

/** Calls of this node to the peers' ports of others, over connections that are kept while they are in use. */
export class PeerCalls {
  readonly #options: PeerCallsOptions
  /** The latest used last. */
  readonly #channels = new Map<string, Channel>()
  /** Used since the last sweep. */
  #used = new Set<string>()
  #isClosed = false

  constructor(options: PeerCallsOptions) {
    this.#options = options
  }

  /** What it says of itself is checked. */
  async greet(address: string, nonce: string): Promise<GreetAnswer> {
    const greeting = this.#options.greeting()
    const answer = await this.#call(address, Peers.greet, { greeting, nonce })
    return { greeting: checkGreeting(answer.greeting), offer: answer.offer }
  }

  join(address: string, request: JoinRequest, timeoutMs: number): Promise<JoinResponse> {
    return this.#call(address, Peers.join, request, timeoutMs)
  }

  /** Closes what was not used since the last sweep. */
  sweep(): void {
    for (const address of [...this.#channels.keys()]) if (!this.#used.has(address)) this.#close(address)
    this.#used = new Set()
  }

  close(): void {
    this.#isClosed = true
    for (const address of [...this.#channels.keys()]) this.#close(address)
  }

  async #call<Request, Response>(
    address: string,
    method: Method<Request, Response>,
    request: MessageInit<Request>,
    timeoutMs = this.#options.timeoutMs,
  ): Promise<Response> {
    if (this.#isClosed) throw new NaruError('CLOSED', `this node is stopping: ${address} is not called`)
    const bytes = await this.#channelTo(address).unary(method.path, method.request.encode(request), {
      timeoutMs,
    })
    return method.response.decode(bytes)
  }

  #channelTo(address: string): Channel {
    const known = this.#channels.get(address)
    const channel = known ?? this.#options.transport.connect(address, { purpose: 'raft' })
    this.#channels.delete(address)
    this.#channels.set(address, channel)
    this.#used.add(address)
    for (const oldest of this.#channels.keys()) {
      if (this.#channels.size <= CHANNELS_MAX) break
      this.#close(oldest)
    }
    return channel
  }

  #close(address: string): void {
    this.#channels.get(address)?.close()
    this.#channels.delete(address)
  }
}
