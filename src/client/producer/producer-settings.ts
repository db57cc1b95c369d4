import { BATCH_BYTES_MAX } from '../../records/batch-header.ts'
import { COMPRESSIONS, type Compression } from '../../records/codecs.ts'
import type { Acks as WireAcks } from '../../wire/messages.ts'
import { callback, checkOptions, oneOf, wholeNumber, yesOrNo } from '../option-check.ts'
import type { Delivered, DeliveryFailure, Partitioner, ProducerOptions } from './types.ts'

/** The options of a producer with everything that was left out. */
export interface ProducerSettings {
  readonly compression: Compression
  readonly acks: WireAcks
  readonly idempotent: boolean
  readonly partitioner: Partitioner | undefined
  readonly batchBytesMax: number
  readonly lingerMs: number
  readonly bufferBytesMax: number
  readonly deliveryTimeoutMs: number
  readonly requestTimeoutMs: number
  /** Batches of one partition that are sent and not answered. */
  readonly inFlightMax: number
  readonly onDelivered: ((delivered: Delivered) => void) | undefined
  readonly onError: ((failure: DeliveryFailure) => void) | undefined
  readonly onWarning: ((warning: string) => void) | undefined
}

export function producerSettings(options: ProducerOptions): ProducerSettings {
  checkOptions('producer', options, PRODUCER_OPTIONS)
  const idempotent = options.idempotent ?? true
  return {
    compression: options.compression ?? 'none',
    acks: WIRE_ACKS[options.acks ?? 'all'],
    idempotent,
    partitioner: options.partitioner,
    batchBytesMax: options.batchBytesMax ?? 256 * KIB,
    lingerMs: options.lingerMs ?? 0,
    bufferBytesMax: options.bufferBytesMax ?? 32 * 1024 * KIB,
    deliveryTimeoutMs: options.deliveryTimeoutMs ?? 120_000,
    requestTimeoutMs: options.requestTimeoutMs ?? 30_000,
    // Leaders remember the last five batches of a producer (C7); without sequences only one at a time keeps order.
    inFlightMax: idempotent ? 5 : 1,
    onDelivered: options.onDelivered,
    onError: options.onError,
    onWarning: options.onWarning,
  }
}

const KIB = 1024
const HOUR_MS = 3_600_000
const WIRE_ACKS = { all: 'ALL', leader: 'LEADER', none: 'NONE' } as const

const PRODUCER_OPTIONS = {
  compression: oneOf(COMPRESSIONS),
  acks: oneOf(Object.keys(WIRE_ACKS)),
  idempotent: yesOrNo,
  partitioner: callback,
  batchBytesMax: wholeNumber({ min: 1, max: BATCH_BYTES_MAX }),
  lingerMs: wholeNumber({ min: 0, max: HOUR_MS }),
  bufferBytesMax: wholeNumber({ min: KIB, max: 64 * KIB * KIB * KIB }),
  deliveryTimeoutMs: wholeNumber({ min: 1, max: 24 * HOUR_MS }),
  // The limit of the API.
  requestTimeoutMs: wholeNumber({ min: 1, max: 300_000 }),
  onDelivered: callback,
  onError: callback,
  onWarning: callback,
}
