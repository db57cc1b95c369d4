import { NaruError } from '../base/errors.ts'
import type { Clock } from '../ports/clock.ts'
import type { Prng } from '../ports/prng.ts'
import type { Transport } from '../ports/transport.ts'
import { ClusterAdmin } from './admin/cluster-admin.ts'
import type { Admin } from './admin/types.ts'
import { ClusterNodes } from './cluster-nodes.ts'
import { Connection, clientClosed } from './connection.ts'
import { GroupConsumer } from './consumer/group-consumer.ts'
import type { Consumer, ConsumerOptions } from './consumer/types.ts'
import { ClusterGroups } from './groups/cluster-groups.ts'
import type { Groups } from './groups/types.ts'
import { MetadataCache } from './metadata-cache.ts'
import { checkOptions, shown, wholeNumber } from './option-check.ts'
import { StreamProducer } from './producer/stream-producer.ts'
import type { Producer, ProducerOptions } from './producer/types.ts'
import { StreamReader } from './reader/stream-reader.ts'
import type { Reader, ReaderOptions } from './reader/types.ts'
import type { Client, ClientOptions } from './types.ts'

export interface ClientPorts {
  readonly transport: Transport
  readonly clock: Clock
  readonly prng: Prng
  readonly onClose?: () => void
}

/** Resolves when a node has answered with the picture of the cluster; CONNECTION_FAILED if none does in time. */
export async function connectClient(
  bootstrap: string | readonly string[],
  options: ClientOptions,
  ports: ClientPorts,
): Promise<Client> {
  const addresses = typeof bootstrap === 'string' ? bootstrap.split(',') : bootstrap
  checkAddresses(addresses)
  checkOptions('connect', options, CLIENT_OPTIONS)
  const connection = new Connection({
    clock: ports.clock,
    prng: ports.prng,
    nodes: new ClusterNodes({
      transport: ports.transport,
      clock: ports.clock,
      bootstrap: addresses.map(address => address.trim()),
    }),
    requestTimeoutMs: options.requestTimeoutMs ?? 30_000,
    retryBackoffMs: options.retryBackoffMs ?? 50,
    retryBackoffMaxMs: options.retryBackoffMaxMs ?? 1_000,
  })
  const metadata = new MetadataCache(connection)
  try {
    await firstPicture(connection, metadata, options.connectTimeoutMs ?? 10_000)
  } catch (error) {
    metadata.close()
    connection.close()
    throw error
  }
  return new ClusterClient(connection, metadata, ports.onClose)
}

const HOUR_MS = 3_600_000

const CLIENT_OPTIONS = {
  connectTimeoutMs: wholeNumber({ min: 1, max: HOUR_MS }),
  requestTimeoutMs: wholeNumber({ min: 1, max: HOUR_MS }),
  retryBackoffMs: wholeNumber({ min: 1, max: HOUR_MS }),
  retryBackoffMaxMs: wholeNumber({ min: 1, max: HOUR_MS }),
}

function checkAddresses(addresses: readonly string[]): void {
  if (!Array.isArray(addresses) || addresses.length === 0)
    throw new TypeError('connect: give the address of a node as host:port, or several in an array')
  for (const address of addresses) {
    if (typeof address === 'string' && /^(\[[^\]\s]+\]|[^\s:]+):\d{1,5}$/.test(address.trim())) continue
    throw new TypeError(`connect: ${shown(address)} is not host:port, as in 127.0.0.1:7450`)
  }
}

function firstPicture(connection: Connection, metadata: MetadataCache, timeoutMs: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = connection.clock.setTimer(timeoutMs, () => {
      const cause = metadata.lastError
      const addresses = connection.nodes.bootstrap.join(', ')
      reject(
        new NaruError(
          'CONNECTION_FAILED',
          `no node answers at ${addresses}${cause ? `: ${cause.message}` : ''} (is the node running, and is the address right?)`,
          { cause, outcome: 'none', details: { addresses } },
        ),
      )
    })
    metadata.start().then(() => {
      timer.cancel()
      resolve()
    }, reject)
  })
}

class ClusterClient implements Client {
  readonly #connection: Connection
  readonly #metadata: MetadataCache
  readonly #admin: Admin
  readonly #groups: Groups
  readonly #producers = new Set<Producer>()
  readonly #readers = new Set<Reader>()
  readonly #consumers = new Set<Consumer>()
  readonly #onClose: (() => void) | undefined
  #closing: Promise<void> | undefined

  constructor(connection: Connection, metadata: MetadataCache, onClose: (() => void) | undefined) {
    this.#connection = connection
    this.#metadata = metadata
    this.#onClose = onClose
    this.#admin = new ClusterAdmin(connection, metadata)
    this.#groups = new ClusterGroups(connection)
  }

  get clusterId(): string {
    return this.#metadata.clusterId
  }

  admin(): Admin {
    this.#requireOpen()
    return this.#admin
  }

  groups(): Groups {
    this.#requireOpen()
    return this.#groups
  }

  producer(options: ProducerOptions = {}): Producer {
    this.#requireOpen()
    const producer = new StreamProducer({
      connection: this.#connection,
      metadata: this.#metadata,
      options,
      onClose: () => this.#producers.delete(producer),
    })
    this.#producers.add(producer)
    return producer
  }

  reader(options: ReaderOptions): Reader {
    this.#requireOpen()
    const reader = new StreamReader({
      connection: this.#connection,
      metadata: this.#metadata,
      options,
      onClose: () => this.#readers.delete(reader),
    })
    this.#readers.add(reader)
    return reader
  }

  consumer(options: ConsumerOptions): Consumer {
    this.#requireOpen()
    const consumer = new GroupConsumer({
      connection: this.#connection,
      metadata: this.#metadata,
      options,
      onClose: () => this.#consumers.delete(consumer),
    })
    this.#consumers.add(consumer)
    return consumer
  }

  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  async #close(): Promise<void> {
    const ends = [...this.#producers, ...this.#readers, ...this.#consumers].map(one => one.close())
    // All of them, before the first error is thrown: each still needs the connections.
    const results = await Promise.allSettled(ends)
    this.#metadata.close()
    this.#connection.close()
    this.#onClose?.()
    for (const result of results) if (result.status === 'rejected') throw result.reason
  }

  #requireOpen(): void {
    if (this.#closing) throw clientClosed()
  }
}
