import { NaruError } from '../../src/base/errors.ts'
import { connectClient } from '../../src/client/client.ts'
import type { Client, ClientOptions, ConsumedRecord, Reader } from '../../src/client/index.ts'
import { InProcessTransport } from '../../src/ports/in-process-transport.ts'
import type {
  CallOptions,
  Channel,
  ChannelOptions,
  MessageStream,
  MethodPath,
  StreamHandlers,
  Transport,
} from '../../src/ports/transport.ts'
import { errorToFailure } from '../../src/wire/failure.ts'
import type { ReadPartition } from '../../src/wire/messages.ts'
import { Consumer } from '../../src/wire/methods.ts'
import { SeededPrng } from '../harness/seeded-prng.ts'
import { ServiceNodeHarness, type ServiceNodeOptions } from '../harness/service-node.ts'

export const ADDRESS = '127.0.0.1:7450'

/** What the network does with one message of a stream. `break`: the message is lost, and the stream with it. */
export type Fate = 'pass' | 'drop' | 'break' | Buffer

export interface NetworkFaults {
  /** Nobody is there. */
  readonly deadAddresses?: ReadonlySet<string>
  /** The client's machine is gone from the network: nothing that it sends arrives, nothing reaches it. */
  isCut?: boolean
  /** Called for each message of each stream of the SDK; `answer` makes up one from the node. */
  toNode?: (path: MethodPath, message: Uint8Array, answer: (message: Buffer) => void) => Fate
  toClient?: (path: MethodPath, message: Buffer) => Fate
}

/** The SDK on a simulated node in virtual time, with a network between them that tests can spoil. */
export class SdkHarness {
  readonly node: ServiceNodeHarness
  readonly client: Client
  readonly faults: NetworkFaults

  private constructor(node: ServiceNodeHarness, client: Client, faults: NetworkFaults) {
    this.node = node
    this.client = client
    this.faults = faults
  }

  static async start(options: ServiceNodeOptions = {}): Promise<SdkHarness> {
    const node = await ServiceNodeHarness.start(options)
    const faults: NetworkFaults = {}
    return new SdkHarness(node, await node.run(connectTo(node, ADDRESS, faults)), faults)
  }

  get nowMs(): number {
    return this.node.machine.clock.monotonicMs()
  }

  run<T>(promise: Promise<T>): Promise<T> {
    return this.node.run(promise)
  }

  /** All records that are stored in a topic, by partition. */
  async stored(topic: string): Promise<ConsumedRecord[]> {
    const other = await this.run(connectTo(this.node, ADDRESS, {}))
    const records = await this.run(readAll(other.reader({ topic, stop: 'currentEnd' })))
    await this.run(other.close())
    return records
  }

  async stop(): Promise<void> {
    this.faults.toClient = () => 'pass'
    this.faults.toNode = () => 'pass'
    await this.run(this.client.close().catch(() => {}))
    await this.node.stop()
  }
}

export function connectTo(
  node: ServiceNodeHarness,
  bootstrap: string | string[],
  faults: NetworkFaults,
  options: ClientOptions = {},
): Promise<Client> {
  const inner = new InProcessTransport({
    handlers: node.broker.handlers,
    clock: node.machine.clock,
    onFailure: (_, thrown) => node.bugs.push(thrown),
  })
  return connectClient(bootstrap, options, {
    transport: new FaultyTransport(inner, faults),
    clock: node.machine.clock,
    prng: new SeededPrng('client'),
  })
}

export async function readAll(reader: Reader): Promise<ConsumedRecord[]> {
  const records: ConsumedRecord[] = []
  for await (const record of reader) records.push(record)
  return records
}

/** What is left unhandled meanwhile, as errors of a program's own callbacks are. */
export async function unhandledIn(work: () => Promise<void>): Promise<unknown[]> {
  const unhandled: unknown[] = []
  const note = (thrown: unknown) => unhandled.push(thrown)
  const others = process.listeners('unhandledRejection')
  process.removeAllListeners('unhandledRejection').on('unhandledRejection', note)
  try {
    await work()
  } finally {
    process.off('unhandledRejection', note)
    for (const other of others) process.on('unhandledRejection', other)
  }
  return unhandled
}

/** Streams break, and behind that the log of a topic ends before: as if its end had been given up. */
export function cutOffLog(faults: NetworkFaults, endOffset: number): void {
  let isBroken = false
  faults.toClient = path => {
    if (path !== Consumer.read.path || isBroken) return 'pass'
    isBroken = true
    return 'break'
  }
  faults.toNode = (path, message, answer) => {
    if (path !== Consumer.read.path) return 'pass'
    const request = Consumer.read.request.decode(Buffer.from(message))
    const isBehind = ({ start }: ReadPartition) => (start?.offset ?? 0) > endOffset
    const details = { high_watermark: String(endOffset) }
    const failure = errorToFailure(new NaruError('OFFSET_OUT_OF_RANGE', 'behind the end', { details }))
    const failed = request.add.filter(isBehind)
    const failures = failed.map(({ topic, partition = 0 }) => ({ topic, partition, failure }))
    if (failures.length === 0) return 'pass'
    answer(Consumer.read.response.encode({ failures }))
    return Consumer.read.request.encode({ ...request, add: request.add.filter(added => !isBehind(added)) })
  }
}

class FaultyTransport implements Transport {
  readonly #inner: Transport
  readonly #faults: NetworkFaults

  constructor(inner: Transport, faults: NetworkFaults) {
    this.#inner = inner
    this.#faults = faults
  }

  connect(address: string, options?: ChannelOptions): Channel {
    const channel = this.#inner.connect(address, options)
    const faults = this.#faults
    const isDead = faults.deadAddresses?.has(address) === true
    return {
      address,
      unary: (path: MethodPath, request: Uint8Array, callOptions?: CallOptions) =>
        isDead || faults.isCut ? Promise.reject(refused(address)) : channel.unary(path, request, callOptions),
      stream: (path: MethodPath, callOptions?: CallOptions) => {
        const stream = channel.stream(path, callOptions)
        if (isDead) stream.fail(refused(address))
        return spoiled(path, stream, faults)
      },
      close: () => channel.close(),
    }
  }
}

function spoiled(path: MethodPath, stream: MessageStream, faults: NetworkFaults): MessageStream {
  let handlers: StreamHandlers | undefined
  const meet = (fate: Fate, message: Uint8Array, pass: (message: Uint8Array) => boolean): boolean => {
    if (fate === 'drop' || faults.isCut) return true
    if (fate !== 'break') return pass(fate === 'pass' ? message : fate)
    stream.fail(new NaruError('CONNECTION_FAILED', 'the connection broke', { outcome: 'unknown' }))
    return true
  }
  return {
    write: message =>
      meet(faults.toNode?.(path, message, answer => handlers?.onMessage(answer)) ?? 'pass', message, bytes =>
        stream.write(bytes),
      ),
    end: () => {
      if (!faults.isCut) stream.end()
    },
    fail: error => stream.fail(error),
    pause: () => stream.pause(),
    resume: () => stream.resume(),
    get metadata() {
      return stream.metadata
    },
    setHandlers: given => {
      handlers = given
      stream.setHandlers({
        ...given,
        onMessage: message => {
          meet(faults.toClient?.(path, message) ?? 'pass', message, bytes => {
            given.onMessage(bytes as Buffer)
            return true
          })
        },
      })
    },
  }
}

function refused(address: string): NaruError {
  return new NaruError('CONNECTION_FAILED', `connect ECONNREFUSED ${address}`, { outcome: 'none' })
}
