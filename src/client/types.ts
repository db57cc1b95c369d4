import type { Admin } from './admin/types.ts'
import type { Consumer, ConsumerOptions } from './consumer/types.ts'
import type { Groups } from './groups/types.ts'
import type { Producer, ProducerOptions } from './producer/types.ts'
import type { Reader, ReaderOptions } from './reader/types.ts'

/** A connection to a cluster. Its producers, readers and consumers share its channels and its view of the cluster. */
export interface Client {
  /** Random id of the cluster, the same on all its nodes. */
  readonly clusterId: string
  admin(): Admin
  groups(): Groups
  producer(options?: ProducerOptions): Producer
  reader(options: ReaderOptions): Reader
  /** Joins a group: its members share the partitions, and what they have done is remembered. */
  consumer(options: ConsumerOptions): Consumer
  /**
   * Closes producers (after what they have taken is stored or has failed), readers and consumers (after what they have
   * done is committed), then the connections.
   */
  close(): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

export interface ClientOptions {
  /** How long `connect` tries the addresses, in ms. Default 10,000. */
  readonly connectTimeoutMs?: number
  /**
   * How long one call may take, its retries included, in ms (a call that names its own timeout gets that on top).
   * Default 30,000.
   */
  readonly requestTimeoutMs?: number
  /** First pause before something is tried again, in ms; it doubles with each failure. Default 50. */
  readonly retryBackoffMs?: number
  /** Longest pause before something is tried again, in ms. Default 1,000. */
  readonly retryBackoffMaxMs?: number
}
