import { NaruError } from '../../base/errors.ts'
import type { ProducerBatch } from './producer-batch.ts'

interface Place {
  readonly topic: string
  readonly partition: number
}

/** The leader lacks what comes before this batch in its sequence: proof that the batch itself is not stored. */
export function isMissingPredecessor(error: NaruError, batch: ProducerBatch): boolean {
  if (error.reason === 'OUT_OF_ORDER_SEQUENCE') return error.outcome === 'none'
  // A leader that has forgotten the producer proves nothing about a batch that was sent before.
  return error.reason === 'UNKNOWN_PRODUCER_ID' && !batch.mayBeStored
}

/** No further attempt could help, or it could store the records twice. */
export function mustFail(error: NaruError, batch: ProducerBatch, idempotent: boolean): boolean {
  if (batch.mayBeStored && !idempotent) return true
  if (error.reason === 'UNKNOWN_OUTCOME') return false
  return !error.retriable
}

/** What is known of who leads the partition seems to be wrong. */
export function isAboutLeader({ reason }: NaruError): boolean {
  return reason === 'NOT_LEADER' || reason === 'FENCED_LEADER_EPOCH' || reason === 'LEADER_NOT_AVAILABLE'
}

/** What is told of records that may be stored although they failed (rule E1). */
export function unknownOutcome({ topic, partition }: Place, cause: NaruError): NaruError {
  return new NaruError(
    'UNKNOWN_OUTCOME',
    `records for "${topic}" partition ${partition} were sent, and whether they are stored is unknown: ${cause.message}`,
    { cause, outcome: 'unknown', details: { topic, partition: String(partition) } },
  )
}

/** With the reason why it could not be sent, if there was one. */
export function expired(batch: ProducerBatch, deliveryTimeoutMs: number): NaruError {
  const { lastError } = batch
  if (lastError === undefined)
    return new NaruError(
      'DEADLINE_EXCEEDED',
      `not sent within ${deliveryTimeoutMs} ms (deliveryTimeoutMs): records before it were not stored, or the cluster did not answer`,
      { outcome: batch.mayBeStored ? 'unknown' : 'none' },
    )
  return new NaruError(
    lastError.reason,
    `not stored within ${deliveryTimeoutMs} ms (deliveryTimeoutMs): ${lastError.message}`,
    { cause: lastError, details: lastError.details, outcome: batch.mayBeStored ? 'unknown' : 'none' },
  )
}

export function refusedSize(topic: string, bytes: number, maxMessageBytes: number): NaruError {
  return new NaruError(
    'RECORD_TOO_LARGE',
    `the record takes ${bytes} bytes, topic "${topic}" takes at most ${maxMessageBytes} (send a smaller one, or raise it: naru topics alter ${topic} --config max.message.bytes=${bytes})`,
    { details: { topic, max_message_bytes: String(maxMessageBytes) } },
  )
}
