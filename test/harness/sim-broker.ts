import { NaruError } from '../../src/base/errors.ts'
import type { Logger } from '../../src/base/logger.ts'
import type { MetadataQuorum } from '../../src/drivers/controller/metadata-quorum.ts'
import type { MetadataImage } from '../../src/metadata/metadata-image.ts'
import type { Disk } from '../../src/ports/disk.ts'
import { BatchBuilder } from '../../src/records/batch-builder.ts'
import { decodeBatch } from '../../src/records/decode-batch.ts'
import { Broker } from '../../src/server/broker.ts'
import type { BrokerAddresses, BrokerOptions } from '../../src/server/broker-options.ts'
import { resolveSettings } from '../../src/server/settings.ts'
import type { MessageInit } from '../../src/wire/codec.ts'
import { failureToError } from '../../src/wire/failure.ts'
import type { ProduceResult } from '../../src/wire/messages.ts'
import { Admin, Consumer, type Method, Producer } from '../../src/wire/methods.ts'
import { SeededPrng } from './seeded-prng.ts'
import type { SimMachine } from './sim-machine.ts'
import { SimNetwork } from './sim-network.ts'
import { SimTransport, serveSimulated } from './sim-transport.ts'

export interface LogLine {
  readonly level: keyof Logger
  readonly message: string
  readonly facts: Readonly<Record<string, unknown>>
}

export interface SimBrokerOptions {
  /** Of what the broker draws at random. */
  readonly seed?: string
  readonly onFailed?: (error: NaruError) => void
  readonly onLog?: (line: LogLine) => void
  readonly raftLimits?: BrokerOptions['raftLimits']
  readonly logLimits?: BrokerOptions['logLimits']
  /** To plant a bug between the broker and its disk. */
  readonly wrapDisk?: (disk: Disk) => Disk
}

/** The whole broker on a simulated machine, called as a client calls it, without a network between. */
export class SimBroker {
  readonly broker: Broker
  readonly log: LogLine[]

  readonly #addresses: BrokerAddresses

  private constructor(broker: Broker, log: LogLine[], addresses: BrokerAddresses) {
    this.broker = broker
    this.log = log
    this.#addresses = addresses
  }

  /** Not started yet. */
  static make(
    machine: SimMachine,
    given: Readonly<Record<string, string | number | boolean>> = {},
    network?: SimNetwork,
    options: SimBrokerOptions = {},
  ): SimBroker {
    const values = { 'data.dir': 'data', 'disk.free.min': 0, 'scrub.bytes.per.second': 0, ...given }
    const source = new Map(Object.entries(values).map(([key, value]) => [key, { value, givenAs: key }]))
    const log: LogLine[] = []
    const { name, scheduler, incarnation, clock } = machine
    const prng = new SeededPrng(options.seed ?? 1).fork(`${name} ${scheduler.nowMs}`)
    const disk = options.wrapDisk?.(machine.disk) ?? machine.disk
    const ownNetwork = network ?? new SimNetwork({ scheduler, prng: prng.fork('network') })
    const broker = new Broker({
      settings: resolveSettings([source]).settings,
      logger: recordingLogger(log, options.onLog),
      disk,
      clock,
      prng,
      transport: new SimTransport(ownNetwork, incarnation, name),
      openStore: async (_, how) => machine.openState(how),
      onFailed: error => options.onFailed?.(error),
      ...(options.raftLimits && { raftLimits: options.raftLimits }),
      ...(options.logLimits && { logLimits: options.logLimits }),
    })
    const addresses = { client: `${name}:7450`, peer: `${name}:7452` }
    const ports = [
      { address: addresses.client, handlers: broker.handlers },
      { address: addresses.peer, handlers: broker.peerHandlers },
    ]
    for (const port of ports) serveSimulated({ network: ownNetwork, incarnation, ...port })
    return new SimBroker(broker, log, addresses)
  }

  static async start(
    machine: SimMachine,
    given: Readonly<Record<string, string | number | boolean>> = {},
  ): Promise<SimBroker> {
    const node = SimBroker.make(machine, given)
    await node.start()
    return node
  }

  start(): Promise<void> {
    return this.broker.start(this.#addresses)
  }

  /** The node's part of the quorum, once it has one. */
  get quorum(): MetadataQuorum | undefined {
    return this.broker.quorum
  }

  get image(): MetadataImage {
    if (!this.broker.quorum) throw new Error('the node has no metadata yet')
    return this.broker.quorum.image
  }

  async call<Request, Response>(
    method: Method<Request, Response>,
    request: MessageInit<Request>,
  ): Promise<Response> {
    const handler = this.broker.handlers.get(method.path)
    if (handler?.kind !== 'unary') throw new Error(`${method.path} is no unary method`)
    const context = { metadata: {}, timeoutMs: undefined, peer: '127.0.0.1', onCancel() {}, ping() {} }
    return method.response.decode(await handler.handle(method.request.encode(request), context))
  }

  async createTopic(topic: string, settings: Record<string, string> = {}, partitions = 1): Promise<void> {
    const { results } = await this.call(Admin.createTopics, { topics: [{ topic, partitions, settings }] })
    const failure = results[0]?.failure
    if (failure) throw failureToError(failure)
  }

  /** One batch of values to one partition; throws what the result says. */
  async produce(target: ProduceTarget, values: readonly string[]): Promise<ProduceResult> {
    const builder = new BatchBuilder()
    for (const value of values) builder.append({ value: Buffer.from(value), timestamp: 1_700_000_000_000 })
    const { topic, partition = 0, producer } = target
    const batch = builder.build(producer)
    const { results } = await this.call(Producer.produce, { topic, batches: [{ partition, batch }] })
    const result = results[0]
    if (!result) throw new Error('a produce without a result')
    if (result.failure) throw failureToError(result.failure)
    return result
  }

  /** All values of a partition in the order of their offsets, which must be without a gap from the log start on. */
  async readAll(topic: string, partition = 0): Promise<{ logStartOffset: number; values: string[] }> {
    const values: string[] = []
    let from: number | undefined
    let logStartOffset = 0
    for (;;) {
      const start = from === undefined ? { at: 'EARLIEST' as const } : { offset: from }
      const answer = await this.call(Consumer.fetch, {
        partitions: [{ topic, partition, start }],
        format: 'BATCHES',
      })
      const failure = answer.failures[0]?.failure
      if (failure) throw failureToError(failure)
      const found = answer.partitions[0]
      if (!found) throw new Error('a fetch without its partition')
      logStartOffset = found.logStartOffset
      let next = from ?? logStartOffset
      for (const batch of found.batches.flatMap(bytes => splitBatches(bytes))) {
        for (const record of batch) {
          if (record.offset < next) continue
          if (record.offset !== next) throw new Error(`a gap: offset ${record.offset} after ${next - 1}`)
          values.push(String(record.value))
          next++
        }
      }
      if (next >= found.highWatermark) return { logStartOffset, values }
      if (next === from) throw new Error(`no progress at offset ${next}`)
      from = next
    }
  }
}

export interface ProduceTarget {
  readonly topic: string
  readonly partition?: number
  readonly producer?: {
    readonly producerId: number
    readonly producerEpoch: number
    readonly baseSequence: number
  }
}

function splitBatches(bytes: Buffer): { offset: number; value: Buffer | null }[][] {
  const batches: { offset: number; value: Buffer | null }[][] = []
  for (let at = 0; at < bytes.length; at += 12 + bytes.readInt32BE(at + 8))
    batches.push(decodeBatch(bytes, at))
  return batches
}

function recordingLogger(lines: LogLine[], onLog?: (line: LogLine) => void): Logger {
  const record = (level: keyof Logger) => (facts: object, message: string) => {
    const line = { level, message, facts: { ...facts } }
    lines.push(line)
    onLog?.(line)
  }
  return { debug: record('debug'), info: record('info'), warn: record('warn'), error: record('error') }
}

/** Runs work that must be refused, and gives the error. */
export async function refusalOf(work: Promise<unknown>): Promise<NaruError> {
  try {
    await work
  } catch (thrown) {
    if (thrown instanceof NaruError) return thrown
    throw thrown
  }
  throw new Error('it was not refused')
}
