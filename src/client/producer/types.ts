import type { NaruError } from '../../base/errors.ts'
import type { Compression } from '../../records/codecs.ts'

/** A record to write. Strings are written as UTF-8. Bytes are copied before the call returns. */
export interface ProducerRecord {
  readonly topic: string
  /** Default: picked by `partitioner`. */
  readonly partition?: number | undefined
  /** Records with the same key go to the same partition. Null or absent: no key. */
  readonly key?: Uint8Array | string | null | undefined
  /** Null or absent: a tombstone, which deletes the key in a compacted topic. */
  readonly value?: Uint8Array | string | null | undefined
  readonly headers?:
    | readonly { readonly key: string; readonly value?: Uint8Array | string | null | undefined }[]
    | undefined
  /** Milliseconds since 1970. Default: now. */
  readonly timestampMs?: number | undefined
}

/** Where a record is stored. */
export interface RecordLocation {
  readonly topic: string
  readonly partition: number
  /** -1 with `acks: 'none'`, where nobody waits to learn it. */
  readonly offset: number
}

/** Records of one partition that were stored together. */
export interface Delivered {
  readonly topic: string
  readonly partition: number
  /** Of the first; the others follow it one by one. -1 with `acks: 'none'`. */
  readonly baseOffset: number
  readonly recordCount: number
}

/** Records of one partition that failed together. `error.outcome` says whether they may be stored all the same. */
export interface DeliveryFailure {
  readonly topic: string
  /** Undefined if none was picked yet. */
  readonly partition: number | undefined
  readonly recordCount: number
  readonly error: NaruError
}

export type Acks = 'all' | 'leader' | 'none'

/** Picks a partition of 0 ... partitionCount - 1; undefined leaves it to the default. */
export type Partitioner = (
  record: ProducerRecord,
  topic: { readonly name: string; readonly partitionCount: number },
) => number | undefined

export interface ProducerOptions {
  /** Compression of batches: none, gzip, snappy, lz4 or zstd. Default none. */
  readonly compression?: Compression
  /**
   * When a record counts as stored: on the disks of all in-sync replicas (`all`), on the leader's (`leader`), or
   * as soon as the leader has taken it (`none`: it may be lost at any failure). Default all.
   */
  readonly acks?: Acks
  /**
   * Retries are recognised, so that no record is stored twice, and order is kept with five batches in flight. False:
   * one batch in flight, and a record whose answer is lost fails with UNKNOWN_OUTCOME. Default true.
   */
  readonly idempotent?: boolean
  /**
   * Default: records with a key by murmur2 of the key, as Kafka does it; the others stay together for a batch, then
   * go to the next partition. A record that names its partition is not asked about.
   */
  readonly partitioner?: Partitioner
  /** Largest batch, before compression, in bytes; a larger record goes alone. Default 256 KiB, at most 8 MiB. */
  readonly batchBytesMax?: number
  /**
   * How long a batch waits for more records when nothing is in flight, in ms. While something is, records gather by
   * themselves. Default 0: an idle producer sends at once.
   */
  readonly lingerMs?: number
  /** Records taken and not yet stored, in bytes. When it is reached, `enqueue` returns false. Default 32 MiB. */
  readonly bufferBytesMax?: number
  /** How long a record is tried for, in ms, from when it was taken. Default 120,000. */
  readonly deliveryTimeoutMs?: number
  /** How long the cluster waits for the replicas before it answers, in ms. Default 30,000. */
  readonly requestTimeoutMs?: number
  /** Called after a batch is stored. */
  readonly onDelivered?: (delivered: Delivered) => void
  /** Called for records that failed, sent or enqueued. */
  readonly onError?: (failure: DeliveryFailure) => void
  /** Called with what the cluster has to say of records that it took, as that it made their topic. */
  readonly onWarning?: (warning: string) => void
}

export interface Producer {
  /**
   * Resolves when the record is stored. When the buffer is full it waits its turn; sends keep their order.
   * Rejects with a `NaruError`, whose `outcome` says whether the record may be stored all the same.
   */
  send(record: ProducerRecord): Promise<RecordLocation>
  /**
   * The same without a promise: takes the record and returns true, or false if that filled the buffer: await
   * `ready()` then before the next. Whoever goes on all the same meets OVERLOADED at twice `bufferBytesMax`.
   * Failures come out of `flush`, and of `onError`.
   */
  enqueue(record: ProducerRecord): boolean
  /** Resolves when the buffer has room. */
  ready(): Promise<void>
  /**
   * Sends what waits and resolves when everything taken before is stored. Rejects with the first error of the
   * enqueued records that failed since the flush before; those of `send` are told there.
   */
  flush(): Promise<void>
  /** Flushes and ends. Further records fail with CLOSED. */
  close(): Promise<void>
  /** Bytes of records that are taken and not yet stored. */
  readonly bufferedBytes: number
  [Symbol.asyncDispose](): Promise<void>
}
