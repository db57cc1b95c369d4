import type { NaruError } from '../../src/base/errors.ts'
import { InProcessTransport } from '../../src/ports/in-process-transport.ts'
import type { CallOptions, Channel, MessageStream } from '../../src/ports/transport.ts'
import { BatchBuilder } from '../../src/records/batch-builder.ts'
import type { Compression } from '../../src/records/codecs.ts'
import { initCompression } from '../../src/records/compression.ts'
import { Broker } from '../../src/server/broker.ts'
import { resolveSettings } from '../../src/server/settings.ts'
import type { MessageInit } from '../../src/wire/codec.ts'
import { Admin, type Method } from '../../src/wire/methods.ts'
import { failureOf } from './recorded-stream.ts'
import { SeededPrng } from './seeded-prng.ts'
import { SimMachine } from './sim-machine.ts'
import { SimNetwork } from './sim-network.ts'
import { SimTransport, serveSimulated } from './sim-transport.ts'

export interface ServiceNodeOptions {
  readonly settings?: Readonly<Record<string, string | number | boolean>>
  readonly seed?: number
  /** Bytes that wait in each direction of a stream before its writer must stop. */
  readonly streamBytesMax?: number
  readonly receiveMessageBytesMax?: number
}

/**
 * A whole node on a simulated machine, called in-process: no sockets, no files, and time is virtual, so that a
 * heartbeat or a timeout costs nothing. Everything runs only while one of the methods here is awaited.
 */
export class ServiceNodeHarness {
  readonly machine: SimMachine
  readonly broker: Broker
  readonly channel: Channel
  readonly warnings: string[] = []
  /** What handlers threw that is no NaruError: there must be none. */
  readonly bugs: unknown[]

  private constructor(parts: {
    machine: SimMachine
    broker: Broker
    warnings: string[]
    bugs: unknown[]
    options: ServiceNodeOptions
  }) {
    this.machine = parts.machine
    this.broker = parts.broker
    this.warnings = parts.warnings
    this.bugs = parts.bugs
    const { streamBytesMax, receiveMessageBytesMax = 64 * 1024 * 1024 } = parts.options
    const transport = new InProcessTransport({
      handlers: parts.broker.handlers,
      clock: parts.machine.clock,
      onFailure: (_, thrown) => parts.bugs.push(thrown),
      ...(streamBytesMax !== undefined && { streamBytesMax }),
    })
    this.channel = transport.connect('this-node', { receiveMessageBytesMax })
  }

  static async start(options: ServiceNodeOptions = {}): Promise<ServiceNodeHarness> {
    await initCompression()
    const machine = new SimMachine(options.seed ?? 1)
    const warnings: string[] = []
    const bugs: unknown[] = []
    const given = { 'data.dir': '/data', 'disk.free.min': 0, ...options.settings }
    const { settings } = resolveSettings([
      new Map(Object.entries(given).map(([key, value]) => [key, { value, givenAs: key }])),
    ])
    const { disk, clock } = machine
    const { incarnation, scheduler } = machine
    const prng = new SeededPrng(`node ${options.seed ?? 1}`)
    const network = new SimNetwork({ scheduler, prng: prng.fork('network') })
    const broker = new Broker({
      settings,
      disk,
      clock,
      prng,
      transport: new SimTransport(network, incarnation, machine.name),
      openStore: async (_, how) => machine.openState(how),
      logger: {
        debug() {},
        info() {},
        warn: (_, message) => warnings.push(message),
        error: (_, message) => warnings.push(message),
      },
      onFailed: error => bugs.push(error),
    })
    const addresses = { client: '127.0.0.1:7450', peer: `${machine.name}:7452` }
    serveSimulated({ network, incarnation, address: addresses.peer, handlers: broker.peerHandlers })
    await scheduler.finish(broker.start(addresses))
    return new ServiceNodeHarness({ machine, broker, warnings, bugs, options })
  }

  /** Runs the machine until the promise has settled. */
  run<T>(promise: Promise<T>): Promise<T> {
    return this.machine.scheduler.finish(promise)
  }

  until(condition: () => boolean): Promise<void> {
    return this.machine.scheduler.runUntil(condition, { timeMsMax: 600_000 })
  }

  forMs(durationMs: number): Promise<void> {
    return this.machine.scheduler.runFor(durationMs)
  }

  async call<Q, A>(method: Method<Q, A>, request: MessageInit<Q>, options?: CallOptions): Promise<A> {
    return method.response.decode(await this.run(this.send(method, request, options)))
  }

  /** Without waiting. */
  send<Q, A>(method: Method<Q, A>, request: MessageInit<Q>, options?: CallOptions): Promise<Buffer> {
    return this.channel.unary(method.path, method.request.encode(request), options)
  }

  /** The error of a call that must fail. */
  refusal<Q, A>(method: Method<Q, A>, request: MessageInit<Q>): Promise<NaruError> {
    return this.run(failureOf(this.send(method, request)))
  }

  stream<Q, A>(method: Method<Q, A>): TestStream<Q, A> {
    return new TestStream(this, method, this.channel.stream(method.path))
  }

  async createTopic(topic: string, partitions = 1, settings: Record<string, string> = {}): Promise<string> {
    const { results } = await this.call(Admin.createTopics, { topics: [{ topic, partitions, settings }] })
    const [result] = results
    if (result === undefined || result.failure) throw new Error(`${topic}: ${result?.failure?.message}`)
    return result.topicId
  }

  async stop(): Promise<void> {
    await this.run(this.broker.close())
    this.machine.kill()
  }
}

/** The client's end of a stream, with its messages decoded. */
export class TestStream<Q, A> {
  readonly frames: A[] = []
  readonly sizes: number[] = []
  drains = 0
  /** Undefined while open. */
  closed: { readonly error: NaruError | undefined } | undefined
  readonly stream: MessageStream
  readonly #node: ServiceNodeHarness
  readonly #method: Method<Q, A>

  constructor(node: ServiceNodeHarness, method: Method<Q, A>, stream: MessageStream) {
    this.#node = node
    this.#method = method
    this.stream = stream
    stream.setHandlers({
      onMessage: message => {
        this.sizes.push(message.length)
        this.frames.push(method.response.decode(message))
      },
      onDrain: () => {
        this.drains++
      },
      onClose: error => {
        this.closed = { error }
      },
    })
  }

  /** False: the stream is full. */
  send(request: MessageInit<Q>): boolean {
    return this.stream.write(this.#method.request.encode(request))
  }

  end(): void {
    this.stream.end()
  }

  /** Runs until the condition holds for the frames so far. */
  until(condition: (frames: readonly A[]) => boolean): Promise<void> {
    return this.#node.until(() => condition(this.frames) || this.closed !== undefined)
  }

  async untilClosed(): Promise<NaruError | undefined> {
    await this.#node.until(() => this.closed !== undefined)
    return this.closed?.error
  }
}

export interface TestBatchOptions {
  readonly compression?: Compression
  readonly producerId?: number
  readonly baseSequence?: number
  readonly timestampMs?: number
  readonly valueBytes?: number
}

/** A ready batch with these values. */
export function batchOf(values: readonly string[], options: TestBatchOptions = {}): Buffer {
  const builder = new BatchBuilder()
  for (const value of values)
    builder.append({
      value: Buffer.from(value.padEnd(options.valueBytes ?? 0, '.')),
      timestamp: options.timestampMs ?? 1_700_000_000_000,
    })
  const { producerId, baseSequence } = options
  return builder.build({
    compression: options.compression ?? 'none',
    ...(producerId !== undefined && { producerId, producerEpoch: 0, baseSequence: baseSequence ?? 0 }),
  })
}
