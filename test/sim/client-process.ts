import { NaruError } from '../../src/base/errors.ts'
import { connectClient } from '../../src/client/client.ts'
import type { Client } from '../../src/client/index.ts'
import { delay } from '../../src/ports/clock.ts'
import type { Channel } from '../../src/ports/transport.ts'
import type { SeededPrng } from '../harness/seeded-prng.ts'
import { SimMachine } from '../harness/sim-machine.ts'
import type { SimNetwork } from '../harness/sim-network.ts'
import { SimTransport } from '../harness/sim-transport.ts'
import type { ClusterJournal } from './cluster-journal.ts'

/** One thing that a client does over and over on one connection, until it `isStopping`. */
export type ClientWork = (client: Client) => Promise<void>

export interface ClientProcessOptions {
  readonly name: string
  readonly network: SimNetwork
  readonly prng: SeededPrng
  readonly journal: ClusterJournal
  readonly bootstrap: readonly string[]
}

const REQUEST_TIMEOUT_MS = 4_000

/**
 * A program on a machine of its own that uses the SDK, and can be killed at any moment: the next one on its machine
 * begins a new life, and knows nothing of the one before.
 */
export class ClientProcess {
  readonly machine: SimMachine
  readonly #options: ClientProcessOptions
  #works: readonly ClientWork[] = []
  #onBegin: () => void = () => {}
  readonly #onStop = new Set<() => void>()
  #life = 0
  #running = 0
  #isStopping = false

  constructor(options: ClientProcessOptions) {
    this.#options = options
    const { name, network, prng } = options
    this.machine = new SimMachine(0, { name, scheduler: network.scheduler, prng: prng.fork('machine') })
  }

  get life(): number {
    return this.#life
  }

  get isStopping(): boolean {
    return this.#isStopping
  }

  /** All calls are answered or refused. */
  get isIdle(): boolean {
    return this.#running === 0
  }

  /** `onBegin`: at the start of each life. */
  start(works: readonly ClientWork[], onBegin: () => void = () => {}): void {
    this.#works = works
    this.#onBegin = onBegin
    this.#begin()
  }

  /** What is begun is ended in order. */
  stop(): void {
    this.#isStopping = true
    for (const callback of this.#onStop) callback()
  }

  /** For what waits for something that may never come; at once if it is stopping. Returns how to take it back. */
  onStop(callback: () => void): () => void {
    if (this.#isStopping) callback()
    this.#onStop.add(callback)
    return () => this.#onStop.delete(callback)
  }

  crash(): void {
    this.machine.kill()
    this.#onStop.clear()
    this.#running = 0
    if (!this.#isStopping) this.#begin()
  }

  connect(): Promise<Client> {
    const { network, bootstrap, prng } = this.#options
    const { incarnation, clock, name } = this.machine
    return connectClient(
      bootstrap,
      { requestTimeoutMs: REQUEST_TIMEOUT_MS, connectTimeoutMs: 5_000 },
      {
        transport: new SimTransport(network, incarnation, name),
        clock,
        prng: prng.fork(`sdk ${this.#life}`),
      },
    )
  }

  /** To one of the nodes, for who does without the SDK. */
  openChannel(): { channel: Channel; close: () => void } {
    const { network, bootstrap, prng } = this.#options
    const { incarnation, name } = this.machine
    const channel = new SimTransport(network, incarnation, name).connect(prng.pick(bootstrap))
    return { channel, close: () => channel.close() }
  }

  /** SIGSTOP: what comes in waits. */
  standStill(forMs: number): void {
    const { incarnation, name } = this.machine
    const { network, journal } = this.#options
    journal.tell(name, () => `stands still for ${forMs.toFixed(0)} ms`)
    incarnation.pause()
    network.scheduler.schedule(forMs, () => incarnation.resume(), { label: 'resume' })
  }

  pause(timeMs: number): Promise<void> {
    return delay(this.machine.clock, timeMs)
  }

  /** A client is told what happened, never of an accident. */
  mustBeKnown(thrown: unknown, what: string): NaruError {
    const { journal } = this.#options
    if (!(thrown instanceof NaruError)) journal.fail(thrown)
    const error = NaruError.from(thrown)
    journal.expect(error.reason !== 'INTERNAL', () => `${what}: ${error.message} (INTERNAL)`)
    return error
  }

  #begin(): void {
    this.#life++
    this.#onBegin()
    for (const work of this.#works) void this.#run(work)
  }

  async #run(work: ClientWork): Promise<void> {
    const life = this.#life
    this.#running++
    try {
      while (!this.#isStopping) {
        try {
          const client = await this.connect()
          await work(client)
          await client.close()
        } catch (thrown) {
          this.mustBeKnown(thrown, 'a connection')
        }
      }
    } catch (thrown) {
      this.#options.journal.fail(thrown)
    }
    if (life === this.#life) this.#running--
  }
}
